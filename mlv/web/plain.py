"""Values in the forms that JSON and a script can hold, and numbers in the texts of a question."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, TypeVar

from mlv.encoding import BadLine, Huge, digits, parse_time
from mlv.errors import InvalidArgument
from mlv.query.metrics.schema import EXACT

T = TypeVar("T")


def plain(value: Any) -> Any:
    """Return a value in a form of JSON: numbers that JSON lacks as the texts `NaN`, `Infinity` and `-Infinity`.

    Moments become seconds since 1970, spans seconds, and integers that a float cannot hold texts of their digits.
    """
    if value is None or type(value) is str or (type(value) is float and math.isfinite(value)):
        return value  # most are one of these: the questions below take ten times as long
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, (Huge, int)) and not isinstance(value, bool) and abs(value) > EXACT:
        return digits(value)
    if isinstance(value, bytes):
        return repr(value)
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return plain(float(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def shortened(value: Any, most: int) -> Any:
    """Return a value that takes no more than some characters: a text that goes on ends with an ellipsis."""
    if isinstance(value, str) and len(value) > most:
        return f"{value[:most]}…"
    if isinstance(value, (list, dict)) and len(text := str(value)) > most:
        return f"{text[:most]}…"
    return value


def bounded(value: Any, most: int) -> tuple[Any, bool]:
    """Return a value that takes no more than about so many bytes as JSON, and whether anything is left out.

    Texts are shortened, and of mappings and lists the first items stay.
    """
    left = [most]

    def within(value: Any) -> Any:
        if isinstance(value, str):
            left[0] -= len(value) + 4
            return value if left[0] >= 0 else f"{value[: max(0, len(value) + left[0])]}…"
        if isinstance(value, Mapping):
            kept: dict[Any, Any] = {}
            for key, item in value.items():
                if left[0] <= 0:
                    break
                left[0] -= len(str(key)) + 4
                kept[key] = within(item)
            return kept
        if isinstance(value, (list, tuple)):
            items = []
            for item in value:
                if left[0] <= 0:
                    break
                items.append(within(item))
            return items
        left[0] -= 8
        return value

    return within(value), left[0] <= 0


def as_text(value: T) -> T:
    """Return a value whose texts UTF-8 can hold: names of files need not be."""
    result: Any = value
    if isinstance(value, str) and not value.isascii():
        result = value.encode("utf-8", "backslashreplace").decode()
    elif isinstance(value, dict):
        result = {as_text(key): as_text(item) for key, item in value.items()}
    elif isinstance(value, list):
        result = [as_text(item) for item in value]
    return result  # type: ignore[no-any-return]


def asof(query: Mapping[str, str]) -> datetime | None:
    """Read the moment of a question, ISO 8601 or seconds since 1970; None without one, and for one that is still to come.

    Raises:
        InvalidArgument: It is none.
    """
    text = query.get("asof", "").strip()
    if not text:
        return None
    try:
        moment = datetime.fromtimestamp(float(text), timezone.utc) if _SECONDS.fullmatch(text) else _local(text)
    except (BadLine, ValueError, OverflowError, OSError):
        raise InvalidArgument(f"asof={text!r:.60} is no moment: give one such as 2026-11-21T03:03:00Z", asof=text) from None
    return moment if moment <= datetime.now(timezone.utc) else None


_SECONDS = re.compile(r"-?\d{1,12}(\.\d*)?")


def _local(text: str) -> datetime:
    """Read a moment; one without a zone is in local time."""
    moment = datetime.fromisoformat(text) if _NAIVE.fullmatch(text) else parse_time(text)
    return moment.astimezone(timezone.utc)


_NAIVE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{3}|\.\d{6})?)?)?")


def whole(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    """Read a whole number of a question, from 1 on; a greater one than `most` counts as that.

    Raises:
        InvalidArgument: It is none.
    """
    text = query.get(name, "")
    if text and not (text.isdecimal() and int(text[:9]) > 0):
        raise InvalidArgument(f"{name}={text!r:.50}: give a whole number from 1 on", name=name)
    return min(most, int(text[:9])) if text else default
