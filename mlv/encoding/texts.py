"""Texts of values: exact ones for the log, short ones for people."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Set
from datetime import datetime, timezone
from enum import Enum
from reprlib import Repr
from typing import Any

from mlv.encoding.forms import TAG, digits, huge
from mlv.foreign import is_of_standard_library, plain_forms, without_addresses
from mlv.interrupts import pass_on

EXACT_TEXTS = ("uuid.UUID", "decimal.Decimal", "fractions.Fraction")
"""Types that are stored as their text, which is exact."""
_LONGEST_REPR = 300  # it is in messages and in the log: a whole array says no more
_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 200
_SHORT.maxlevel = 2


def shown(value: object) -> str:
    """Return a `repr` for people: short, text that UTF-8 can hold, without addresses; never raise."""
    try:
        if type(value) is int:
            return _SHORT.repr(huge(value))
        return text_only(without_addresses(_SHORT.repr(value))[:_LONGEST_REPR])
    except Exception as error:
        pass_on(error)
        return f"<{type_name(value)}, whose repr failed>"


TIME_LENGTH = len("2026-01-01T00:00:00.000000Z")
"""Of each time that `utc_text` writes. Texts of this length can be compared as they are: all are in UTC, to the microsecond."""


def utc_text(moment: datetime) -> str:
    """Return ISO 8601 in UTC with a Z and microseconds; a naive moment is local time, as in `datetime`."""
    return exact(moment).astimezone(timezone.utc).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def text_form(value: str) -> Any:
    """Return text as JSON; a lone surrogate has no UTF-8 form, so such a text is kept as bytes beside a readable one."""
    try:
        value.encode()
        return value
    except UnicodeEncodeError:
        raw = value.encode("utf-8", "surrogatepass")
        return {TAG: "text", "text": text_only(value), "base64": base64.b64encode(raw).decode("ascii")}


def text_only(value: str) -> str:
    """Return a text that UTF-8 can hold: the same, but for half surrogate pairs, which are spelled out."""
    return value.encode("utf-8", "backslashreplace").decode()


def fraction_text(value: Any) -> str:
    """Return the text of a fraction like `str`, which refuses many digits."""
    return digits(value.numerator) + (f"/{digits(value.denominator)}" if value.denominator != 1 else "")


def moment_text(value: datetime) -> str | None:
    """Return a moment in UTC; in its own zone where UTC has no year for it, and None for NaT."""
    if value != value:  # pandas' NaT is a datetime that equals nothing
        return None
    try:
        return utc_text(value)
    except (OverflowError, ValueError):  # in UTC it would lie before the year 1, or after 9999
        return value.isoformat()


def is_naive(value: datetime) -> bool:
    """Return whether a moment lacks a zone."""
    return value == value and value.utcoffset() is None  # NaT equals nothing


def exact(value: datetime) -> datetime:
    """Return the moment as a datetime of the standard library: that of pandas refuses much, and prints nanoseconds."""
    return value if type(value) is datetime else datetime.combine(value.date(), value.timetz())


def path_text(path: os.PathLike[Any]) -> str:
    """Return a path as text that is the same under every locale: its bytes as UTF-8, as far as they are."""
    raw = os.fspath(path)
    if isinstance(raw, str):
        if raw.isascii():
            return raw
        raw = raw.encode("utf-8", "surrogateescape")
    return bytes(raw).decode("utf-8", "surrogateescape")


def key_text(key: Any) -> str:
    """Return a key as text, as JSON encoders write it: true, null, 3, 0.5; the `str` of others."""
    if isinstance(key, Enum):
        return key_text(key.value)
    if isinstance(key, str):
        return text_only(str.__str__(key))
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    if isinstance(key, int):
        return digits(int.__int__(key))
    if is_of_standard_library(key, ("fractions.Fraction",)):
        return fraction_text(key)
    if isinstance(key, datetime):
        return moment_text(key) or "null"
    if isinstance(key, bytes):
        return key.decode("utf-8", "backslashreplace")
    if type(key).__module__ == "numpy" and not isinstance(key, float):
        return key_text(next(plain_forms(key), None))
    return text_only(without_addresses(str(key)))


def readable_key(key: Any) -> str:
    """Return a key as text, for a message; never raise."""
    try:
        return key_text(key)
    except Exception as error:
        pass_on(error)
        return shown(key)


def in_order(values: Iterable[Any]) -> list[Any]:
    """Return a set in an order that does not change from run to run."""
    items = list(values)
    try:
        # Sets compare by inclusion, and NaN equals nothing: neither is an order.
        if not any(isinstance(item, Set) or item != item for item in items):
            return sorted(items)
    except TypeError:
        pass
    return sorted(items, key=_by_text)


def _by_text(item: Any) -> tuple[str, str]:
    if isinstance(item, int):
        return type(item).__name__, digits(item)
    return type(item).__name__, without_addresses(repr(in_order(item) if isinstance(item, Set) else item))


def type_name(value: Any) -> str:
    """Return the name of a value's type with its module; never raise."""
    kind = type(value)
    try:
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        return text_only(name)
    except Exception as error:
        pass_on(error)
        return "object"
