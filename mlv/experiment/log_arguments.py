"""Arguments of log calls: their kinds, whatever their classes claim, and texts of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, TypeGuard

from mlv.encoding import shown
from mlv.interrupts import pass_on
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
