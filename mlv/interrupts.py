"""Exceptions that interrupt the reading of a value without being about it: Ctrl-C, `sys.exit`, those of signal handlers."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from itertools import pairwise
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

_LONGEST_CHAIN = 50  # causes may be set by hand, even in a circle
_VARARGS = 4
"""Flag of code that takes any number of arguments, as in `inspect`."""


def pass_on(error: BaseException) -> None:
    """Raise the interruption that an exception is, or was caused by; return where the exception is about the value alone.

    Call it first wherever exceptions of a value's own methods are caught.
    """
    interruption = interruption_in(error)
    if interruption is not None:
        raise interruption


def interruption_in(error: BaseException) -> BaseException | None:
    """Return the exception in the chain of causes that is not about the value, None where there is none.

    Such are all that are no `Exception`, and those that a signal handler raised, of whatever type. C code (orjson's
    `default`) and careless `except` clauses turn an exception into another one, which names it as its cause or context.
    """
    current: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if current is None:
            break
        if not isinstance(current, Exception) or _is_of_signal_handler(current):
            return current
        cause, context = current.__cause__, current.__context__
        current = cause if cause is not None else context if context is not None and not _is_being_handled(context) else None
    return None


def without_warnings(read: Callable[[], T]) -> T:
    """Return the result of reading a value, also where a filter turns the value's own warnings into errors."""
    try:
        return read()
    except Warning:
        # Only here: the filters belong to the whole process, and changing them makes Python forget which warnings it has shown.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read()


def read_or_itself(read: Callable[[T], Any], value: T) -> Any:
    """Return what a function reads from a value of a library; the value itself where that raises, but for interruptions."""
    try:
        return without_warnings(lambda: read(value))
    except Exception as error:
        pass_on(error)
        return value


def _is_of_signal_handler(error: BaseException) -> bool:
    """Return whether the exception came through a signal handler.

    Python keeps no record of that. But it calls a handler between two instructions of a frame, with the number of the signal
    and that very frame: no other call has its own caller beside a number among its arguments.
    """
    trace = error.__traceback__
    while trace is not None:
        if _is_signal_handler(trace.tb_frame):
            return True
        trace = trace.tb_next
    return False


def _is_signal_handler(frame: FrameType) -> bool:
    interrupted = frame.f_back
    code = frame.f_code
    if interrupted is None or not (code.co_argcount > 1 or code.co_flags & _VARARGS):
        return False
    names, local = code.co_varnames, frame.f_locals
    arguments = [local.get(name) for name in names[: code.co_argcount]]
    if code.co_flags & _VARARGS:
        arguments += local.get(names[code.co_argcount + code.co_kwonlyargcount]) or ()
    return any(second is interrupted and isinstance(first, int) for first, second in pairwise(arguments))


def _is_being_handled(error: BaseException) -> bool:
    """Return whether an exception is older than the call: a frame that is still running caught it, as in `except: log(...)`."""
    trace = error.__traceback__
    frame: FrameType | None = sys._getframe(1)
    while trace is not None and frame is not None:
        if frame is trace.tb_frame:
            return True
        frame = frame.f_back
    return trace is None
