"""What a run says when the process is asked to end: SIGTERM, and under SLURM SIGUSR1, leave a notice in the log.

Then the handler that was there before is called; where there was none, the run ends as `preempted` and the signal kills the
process as it would have. Handlers are there only while a run goes on, and only where the main thread began one.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic, sleep
from types import FrameType
from typing import Any, Protocol

_NOTICE_WITHIN_S = 1.0
_END_WITHIN_S = 3.0
_AGAIN_AFTER_S = 0.02


class Preemptible(Protocol):
    """A run that can be told that the process is asked to end."""

    def notice(self, signal: str, timeout_s: float) -> None:
        """Leave a notice in the log, and wait until it is on the disk."""

    def end_preempted(self, timeout_s: float) -> bool:
        """End the run as preempted; whether all of it is written. May be called again to wait on."""


def watch(runs: Callable[[], Sequence[Preemptible]]) -> None:
    """Install the handlers, unless they are there; `runs` gives the runs that are going on when a signal comes.

    A signal that is ignored stays ignored. Elsewhere than in the main thread nothing can be installed.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in _signals(os.environ):
        before = signal.getsignal(number)
        if not isinstance(before, _Handler) and (before == signal.SIG_DFL or callable(before)):
            handler = _Handler(before, runs)
            with suppress(ValueError, OSError):  # not the main interpreter
                signal.signal(number, handler)
                _installed[number] = handler


def unwatch() -> None:
    """Put back the handlers that were there before, where ours are the latest."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in list(_installed):
        handler, now = _installed.pop(number), signal.getsignal(number)
        if isinstance(now, _Handler) and now is handler:
            with suppress(ValueError, OSError):
                signal.signal(number, handler.before)


def _signals(environ: Mapping[str, str]) -> list[int]:
    """SIGUSR1 asks a process to end only where SLURM sends it (`--signal=USR1@60`)."""
    names = ["SIGTERM", *(["SIGUSR1"] if environ.get("SLURM_JOB_ID") else [])]
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


class _Handler:
    """A handler of one signal."""

    def __init__(self, before: Any, runs: Callable[[], Sequence[Preemptible]]) -> None:
        self.before, self._runs = before, runs
        self._ending: list[Preemptible] = []
        self._until: float | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._until is None:
            self._notice(number)
        if callable(self.before):
            self.before(number, frame)
        elif os.getpid() != 1:  # the system protects the first process of a container from what has no handler
            self._die(number)

    def _notice(self, number: int) -> None:
        until = monotonic() + _NOTICE_WITHIN_S
        with suppress(Exception):  # what the user's handler does matters more
            for run in self._runs():
                run.notice(signal.Signals(number).name, max(0.0, until - monotonic()))

    def _die(self, number: int) -> None:
        """End the runs, then die of the signal."""
        if self._until is None:
            self._until = monotonic() + _END_WITHIN_S
            self._ending = list(self._runs())
        is_done = True
        for run in self._ending:
            with suppress(Exception):
                is_done = run.end_preempted(max(0.0, self._until - monotonic())) and is_done
        if not is_done and monotonic() < self._until:
            # The signal came in the middle of a call that logs: it has to go on before the run can end.
            threading.Thread(target=_send_again, args=(number,), daemon=True).start()
            return
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _send_again(number: int) -> None:
    sleep(_AGAIN_AFTER_S)
    os.kill(os.getpid(), number)


_installed: dict[int, _Handler] = {}
