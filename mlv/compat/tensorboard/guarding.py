"""Calls that cannot end a training run: what cannot be logged is left out, with a warning and a message in the log."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from mlv.compat.telling import warn


def guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of a writer that lets no error out; `self.report(text)` says which call was left out."""

    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except Exception as error:
            self.report(f"{method.__name__} was left out: {type(error).__name__}: {error}")
            return None

    return call


class Reporter:
    """Tells of the calls that were left out: of each in the log, and of each kind of reason once in a warning."""

    def __init__(self) -> None:
        self._warned: set[str] = set()

    def __call__(self, text: str, log: Any) -> None:
        """Log a message, and warn; the text is `<call>: <kind of error>: <words>`."""
        kind = ":".join(text.split(":")[:2])
        if kind not in self._warned:
            self._warned.add(kind)
            warn(f"{text}. The run goes on")
        if log is not None:
            log.warning(text)
