"""The bridge from Python's `logging`: a handler that keeps records as `message` events."""

from __future__ import annotations

import logging
import numbers
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from pathlib import PurePath
from typing import Any

from mlv import InvalidArgument, Logger

_OWN = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "asctime", "taskName"}
"""Attributes that every record has; all others were passed as `extra`."""
_LEVELS = {logging.ERROR: "error", logging.WARNING: "warning", logging.INFO: "info"}
_NAMES = ("DEBUG", "INFO", "WARNING", "ERROR")
_DEEPEST = 8  # arguments of messages may contain themselves


class Handler(logging.Handler):
    """Keeps each record as one line of type `message`, in the stream and under the name of a Logger.

    `logging.getLogger().addHandler(Handler(exp.log))` is all; `logging.captureWarnings(True)` brings warnings as well. The line
    has `level` (`debug`, `info`, `warning` or `error`), `message`, `exception` with its traceback, and `extra`: the fields
    passed as `extra`, and the origin: `logger`, `path`, `line`, and `level_name` where it is another than those.
    A number passed as `extra={"step": 3}` is the step of the line. A value without a JSON form stands as its `repr`.
    A formatter is not used: the fields stay apart.

    It never raises. What is logged while it keeps a record, in the same thread, by mlv itself or by a `__repr__`, is left to
    the other handlers. It may be used in threads and in forked children, whose lines are those of a run of their own.
    """

    def __init__(self, log: Logger, level: int | str = logging.NOTSET) -> None:
        """Send records of a level, or of higher ones, to a Logger: `exp.log`, or `exp.logger("messages")`.

        Raises:
            InvalidArgument: `log` is no Logger.
        """
        if not isinstance(log, Logger):
            raise InvalidArgument(f"log={log!r:.100} is of type {type(log).__name__}: give a Logger, such as exp.log", log=log)
        super().__init__(level)
        self._log = log
        self._thread = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        if getattr(self._thread, "is_busy", False):
            return
        self._thread.is_busy = True
        try:
            self._keep(record)
        except Exception:
            with suppress(Exception):  # a stderr that raises, for one
                self.handleError(record)
        finally:
            self._thread.is_busy = False

    def _keep(self, record: logging.LogRecord) -> None:
        call = getattr(self._log, _level(record.levelno))
        extra = {**_origin(record), **_extra(record)}
        step = extra.pop("step") if _is_number(extra.get("step")) else None
        if "step" in extra:  # no number: it cannot be the line's own
            extra["step_"] = extra.pop("step")
        call(*_message(record), step=step, exc_info=record.exc_info, **extra)


def _level(number: int) -> str:
    return next((name for least, name in _LEVELS.items() if number >= least), "debug")


def _message(record: logging.LogRecord) -> tuple[object, ...]:
    """Return the message; where its arguments do not fit, both, as a Logger shows them."""
    try:
        return (record.getMessage(),)
    except Exception:
        return (record.msg, *(record.args if isinstance(record.args, tuple) else (record.args,)))


def _origin(record: logging.LogRecord) -> dict[str, Any]:
    origin: dict[str, Any] = {"logger": record.name, "path": record.pathname, "line": record.lineno}
    if record.levelname not in _NAMES:
        origin["level_name"] = record.levelname
    if record.stack_info:
        origin["stack"] = record.stack_info
    if record.exc_text and not record.exc_info:  # it came from another process
        origin["traceback"] = record.exc_text
    return origin


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields that were passed as `extra`."""
    return {str(key): _storable(value) for key, value in record.__dict__.items() if key not in _OWN}


def _storable(value: Any, depth: int = 0) -> Any:
    """Return the value in a form that a Logger stores; one without such a form, or too deep, as its `repr`."""
    if value is None or isinstance(value, (bool, str, date, PurePath)) or _is_number(value):
        return value
    if depth < _DEEPEST and isinstance(value, Mapping):
        return {str(key): _storable(item, depth + 1) for key, item in value.items()}
    if depth < _DEEPEST and isinstance(value, (list, tuple, set, frozenset)):
        return [_storable(item, depth + 1) for item in value]
    try:
        return repr(value)
    except Exception:
        return object.__repr__(value)


def _is_number(value: Any) -> bool:
    """Return whether it is a number of Python or a scalar of numpy, which a Logger stores."""
    if isinstance(value, bool):
        return False
    return isinstance(value, (int, float)) or (isinstance(value, numbers.Real) and hasattr(value, "item"))
