"""Arguments of log calls: their kinds, whatever their classes claim, texts of them, and those that are rejected."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any, TypeGuard

from mlv.encoding import dumps, shown
from mlv.errors import InvalidName, RejectedWarning
from mlv.events import Rejected
from mlv.interrupts import pass_on
from mlv.notices import warn_once
from mlv.state import STATISTICS

_REASONS_SHOWN = 5  # the others tend to have the same cause
_NO_NUMBERS = frozenset({dict, str, bool, list, type(None)})


def joined(problems: Sequence[tuple[str, str]]) -> str:
    """Return the problems of values in one text; beyond the first few they are only counted."""
    reasons = [f"{path or 'the value'} {reason}" for path, reason in problems[:_REASONS_SHOWN]]
    more = [f"and {len(problems) - _REASONS_SHOWN} more"] if len(problems) > _REASONS_SHOWN else []
    return "; ".join([*reasons, *more])


def problem_of_description(mode: Any, x: Any, summary: Any) -> str:
    """Return the reason why a description cannot be stored, empty if there is none."""
    if mode is not None and not (type(mode) is str and mode in ("min", "max")):
        return f'mode={shown(mode)} is neither "min" nor "max"'
    if x is not None and not (type(x) is str and x):
        return f"x={shown(x)} is no name of a coordinate or metric"
    if summary is not None and not (type(summary) is str and summary in STATISTICS):
        return f"summary={shown(summary)} is none of {', '.join(STATISTICS)}"
    return ""


def is_text(value: object) -> TypeGuard[str]:
    """Return whether a value is a text; never raise."""
    try:
        return isinstance(value, str)
    except Exception as error:  # an object may lie about its class, even by raising
        pass_on(error)
        return False


def is_number(value: object) -> bool:
    """Return whether a value is a plain number, which makes it a metric."""
    kind = type(value)
    if kind is float or kind is int:
        return True
    if kind in _NO_NUMBERS:
        return False
    from mlv.media.infer import kind_of  # `import mlv` does without

    try:
        return not isinstance(value, (bool, Enum)) and kind_of(value) == "metric"
    except Exception as error:  # an object may lie about its class, even by raising
        pass_on(error)
        return False


def is_mapping(value: object) -> TypeGuard[Mapping[Any, Any]]:
    """Return whether a value is a mapping; never raise."""
    try:
        return isinstance(value, Mapping)
    except Exception as error:
        pass_on(error)
        return False


def formatted(message: object, args: tuple[Any, ...]) -> str:
    """Return `message % args`; if they do not fit, both side by side."""
    try:
        text = str(message)
        if args:  # one mapping serves named fields, as in `logging`
            return text % (args[0] if len(args) == 1 and isinstance(args[0], Mapping) and args[0] else args)
        return text
    except Exception as error:
        pass_on(error)
        return " ".join([message if type(message) is str else shown(message), *map(shown, args)])


def exception_of(exc_info: Any) -> BaseException | None:
    """Return the exception that the argument `exc_info` of `logging` means."""
    if type(exc_info) is tuple:
        return exc_info[1] if len(exc_info) == 3 and isinstance(exc_info[1], BaseException) else None
    try:
        return exc_info if isinstance(exc_info, BaseException) else sys.exc_info()[1] if exc_info else None
    except Exception as error:  # the argument has no truth value
        pass_on(error)
        return None


def checked_event_name(name: object) -> str:
    """Accept the name of an event or of a logger.

    Raises:
        InvalidName: It is no text, or empty.
    """
    if not is_text(name):
        raise InvalidName(f"event name {shown(name)} is of type {type(name).__name__}: give a text", name=name)
    text = str.__str__(name)
    if not text:
        raise InvalidName('event name "" is empty: give it a name, such as "checkpointed"', name=name)
    return text


def are_plain_numbers(coordinates: Mapping[str, Any]) -> bool:
    """Return whether all coordinates are numbers that JSON holds, under names that need no escape; none is the step."""
    for name, value in coordinates.items():
        if not _is_plain_name(name):
            return False
        if not (-(2**63) <= value < 2**63 if type(value) is int else type(value) is float and value - value == 0.0):
            return False
    return bool(coordinates)


@lru_cache(maxsize=256)
def _is_plain_name(name: str) -> bool:
    return name.isidentifier() and name[0] != "_" and name != "step"


def rejected(type: str, reason: str, readable: Any, nonfinite: Mapping[str, str]) -> tuple[bytes, dict[str, str]]:
    """Return the data of an event `rejected`, and its numbers that are not finite."""
    record = Rejected(type, reason, readable).to_data()
    return dumps(record), {f"/rest{pointer}": text for pointer, text in nonfinite.items()}


def warn_of_rejected(type: str, name: str, reason: str) -> None:
    """Warn that an event is stored as `rejected`, once for each line of the caller's code."""
    where = f"{type} {name!r}" if name else type
    warn_once(f"an event is stored as rejected, not as {where}: {reason}", RejectedWarning)
