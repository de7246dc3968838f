"""The loggers of this process, and their way to the processes that it starts."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import mlv
from mlv.compat.allogger.steps import Steps

if TYPE_CHECKING:
    from mlv.compat.allogger.logger import Logger

_IN_CHILDREN = "mlv.compat.allogger"


class Hub:
    """All loggers by scope, and the counters that they share."""

    def __init__(self) -> None:
        self.loggers: dict[str, Logger] = {}
        self.steps = Steps()
        self.is_enabled = True
        self.is_begun = False
        """Whether there is a session: one logger at least has a logdir."""
        self.lock = threading.RLock()

    def get(self, scope: str, make: Callable[[str], Logger]) -> Logger:
        """Return the logger of a scope, made if it is missing."""
        if scope.split(".")[0] != "root":
            scope = f"root.{scope}"
        with self.lock:
            self.join(make)
            if scope not in self.loggers:
                self.loggers[scope] = make(scope)
            return self.loggers[scope]

    def above(self, scope: str) -> Logger | None:
        """Return the nearest logger of this session above a scope; None above the root."""
        while "." in scope:
            scope = scope.rpartition(".")[0]
            logger = self.loggers.get(scope)
            if logger is not None and (logger.is_configured or scope == "root"):
                return logger
        return None

    def begin(self) -> None:
        """Let children find the session, however they are started."""
        self.is_begun = True
        # Private, but the one thing of multiprocessing's that reaches a child by every start method, and grandchildren.
        multiprocessing.current_process()._config[_IN_CHILDREN] = _Travel(self)  # type: ignore[attr-defined]

    def join(self, make: Callable[[str], Logger]) -> None:
        """Go on, in a spawned child, with the session of the process that started it."""
        packed = None if self.is_begun else multiprocessing.current_process()._config.get(_IN_CHILDREN)  # type: ignore[attr-defined]
        if not isinstance(packed, bytes):
            return
        self.begin()
        try:
            self.is_enabled, folder, configured = pickle.loads(packed)  # noqa: S301 - from the process that started this one
        except Exception as error:  # its experiment was removed meanwhile: the child goes on with its work
            warnings.warn(f"this process cannot log into the session that it belongs to: {error}", mlv.MlvWarning, stacklevel=2)
            return
        self.steps = Steps(folder)
        for scope, (settings, experiment) in configured.items():
            self.get(scope, make).restore(settings, experiment)

    def packed(self) -> bytes:
        """Return the session as a spawned child needs it."""
        self.steps.share()
        configured = {scope: (logger.settings, logger.experiment) for scope, logger in self.loggers.items()}
        return pickle.dumps((self.is_enabled, self.steps.folder, configured))

    def close(self) -> None:
        """Close all loggers, the latest first; an error of one does not keep the others open."""
        with self.lock:
            loggers = list(self.loggers.values())
        with ExitStack() as stack:
            stack.callback(self._end)
            for logger in loggers:
                stack.callback(logger.close)

    def _end(self) -> None:
        self.is_begun, self.is_enabled = False, True
        multiprocessing.current_process()._config.pop(_IN_CHILDREN, None)  # type: ignore[attr-defined]
        self.steps.discard()


class _Travel:
    """A stand-in for the session; pickled, on the way to a spawned child, it becomes the session at that moment."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def __reduce__(self) -> tuple[Any, ...]:
        return bytes, (self._hub.packed(),)


hub = Hub()


def _before_fork() -> None:
    hub.lock.acquire()
    if hub.is_begun:
        hub.steps.before_fork()


def _after_fork() -> None:
    if hub.is_begun:
        hub.steps.after_fork()
    hub.lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
