"""Filters over runs, as `Api().runs(filters=)` takes them: the query language of MongoDB, as far as wandb serves it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

from mlv.compat.wandb.errors import UsageError

MISSING = object()
"""The value of a field that a run has not."""


def matches(filters: Mapping[str, Any], value_of: Callable[[str], Any]) -> bool:
    """Return whether a run is one of those that a filter asks for.

    Args:
        filters: Fields and what they have to be, or `$and`, `$or`, `$nor` with lists of filters, `$not` with one.
        value_of: Returns the value of a field, `MISSING` if there is none.

    Raises:
        UsageError: An operator is unknown, or has an operand that it cannot have.
    """
    if not isinstance(filters, Mapping) or not all(isinstance(key, str) for key in filters):
        raise UsageError(f"filters: {filters!r} is no filter: give a mapping of fields to values")
    return all(_holds(key, operand, value_of) for key, operand in filters.items())


def _holds(key: str, operand: Any, value_of: Callable[[str], Any]) -> bool:
    if key in ("$and", "$or", "$nor"):
        if not isinstance(operand, (list, tuple)):
            raise UsageError(f"filters: {key} has {operand!r}: give a list of filters")
        results = (matches(item, value_of) for item in operand)
        return all(results) if key == "$and" else any(results) == (key == "$or")
    if key == "$not":
        return not matches(operand, value_of)
    if key.startswith("$"):
        raise UsageError(f"filters: {key} is no operator between fields: give one of $and, $or, $nor, $not")
    return _fits(value_of(key), operand)


def _fits(value: Any, operand: Any) -> bool:
    """Return whether a value is what a filter says: equal to its operand, or as operators in it say."""
    if isinstance(operand, Mapping) and operand and all(str(key).startswith("$") for key in operand):
        return all(_compares(value, word, item, operand) for word, item in operand.items())
    return _is(value, operand)


def _compares(value: Any, word: str, operand: Any, around: Mapping[str, Any]) -> bool:
    if word == "$exists":
        return (value is not MISSING) == bool(operand)
    if word == "$not":
        return not _fits(value, operand)
    if word in ("$eq", "$ne"):
        return _is(value, operand) == (word == "$eq")
    if word in ("$in", "$nin", "$all"):
        if not isinstance(operand, (list, tuple, set, frozenset)):
            raise UsageError(f"filters: {word} has {operand!r}: give a list")
        if word == "$all":
            return all(_is(value, item) for item in operand)
        return any(_is(value, item) for item in operand) == (word == "$in")
    if word == "$regex":
        flags = re.IGNORECASE if "i" in str(around.get("$options", "")) else 0
        try:
            pattern = re.compile(operand, flags)
            pattern.search("")  # one of bytes finds none in texts
        except (re.error, TypeError, ValueError, RecursionError, OverflowError) as error:
            raise UsageError(f"filters: $regex has {operand!r}, which is no pattern: {error}") from error
        return any(isinstance(item, str) and pattern.search(item) is not None for item in _each(value))
    if word == "$options":
        return True
    if word not in _ORDERS:
        raise UsageError(f"filters: {word} is no operator here: give one of {', '.join(_WORDS)}")
    return any(_is_in_order(item, word, _plain(operand)) for item in _each(value))


def _is(value: Any, operand: Any) -> bool:
    """Return whether a value is equal to another, or a list that holds it; what is missing is equal to None, as in MongoDB."""
    if isinstance(operand, re.Pattern):
        return any(isinstance(item, str) and operand.search(item) is not None for item in _each(value))
    value, operand = None if value is MISSING else value, _plain(operand)
    if isinstance(value, bool) != isinstance(operand, bool) and not isinstance(value, (list, tuple)):
        return False
    return bool(value == operand) or (isinstance(value, (list, tuple)) and operand in value)


def _is_in_order(value: Any, word: str, operand: Any) -> bool:
    numbers = all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in (value, operand))
    if not numbers and not (isinstance(value, str) and isinstance(operand, str)):
        return False  # values of different kinds are in no order
    return bool(_ORDERS[word](value, operand))


def _each(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def _plain(operand: Any) -> Any:
    if isinstance(operand, datetime):  # fields hold moments as texts, in UTC
        return (operand if operand.tzinfo is None else operand.astimezone(timezone.utc)).isoformat()
    return list(operand) if isinstance(operand, tuple) else operand


_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": lambda value, operand: value > operand,
    "$gte": lambda value, operand: value >= operand,
    "$lt": lambda value, operand: value < operand,
    "$lte": lambda value, operand: value <= operand,
}
_WORDS = ("$eq", "$ne", *_ORDERS, "$in", "$nin", "$all", "$exists", "$regex", "$not")
