"""Python values of many experiments as Arrow columns: a type for all, structs for mappings, JSON text where they differ."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from mlv.encoding import TAG, Conversion, digits, dumps
from mlv.query.packages import package

_LARGEST = 2**63


def column(values: Sequence[Any]) -> Any:
    """An Arrow array of values, each of which may be None.

    All of one kind keep it: booleans, integers, numbers, texts, moments, lists, mappings (a struct with the keys of all). The
    rest is text: a text as it is, anything else as its JSON.
    """
    pa = package("pyarrow", "sql")
    present = [value for value in values if value is not None]
    kinds = {_kind(value) for value in present}
    if not present:
        return pa.nulls(len(values))
    if kinds <= {"integer", "number"}:
        if kinds == {"integer"}:
            return pa.array(values, pa.int64())
        return pa.array([None if value is None else nearest_float(value) for value in values], pa.float64())
    if kinds == {"boolean"}:
        return pa.array(values, pa.bool_())
    if kinds == {"mapping"}:
        keys = dict.fromkeys(key for value in present for key in value)
        children = {key: column([None if value is None else value.get(key) for value in values]) for key in keys}
        return struct(children, [value is None for value in values])
    if kinds == {"list"}:
        return _lists(pa, values)
    if all(isinstance(value, datetime) for value in present):
        return pa.array(values, pa.timestamp("us", tz="UTC"))
    return pa.array([None if value is None else _text(value) for value in values], pa.string())


def nearest_float(value: float) -> float:
    """A number as a float, which Arrow refuses to round an integer to; infinite where it is beyond all floats."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def struct(children: Mapping[str, Any], is_null: Sequence[bool]) -> Any:
    """An array of structs; keys that SQL takes for equal, as it does not look at case, are numbered."""
    pa = package("pyarrow", "sql")
    return pa.StructArray.from_arrays(list(children.values()), distinct(children), mask=pa.array(is_null, pa.bool_()))


def distinct(names: Iterable[str]) -> list[str]:
    """Names that differ in more than case, none of them empty: `lr LR` become `lr LR_1`."""
    result: list[str] = []
    taken: set[str] = set()
    for name in names:
        readable = name.encode("utf-8", "backslashreplace").decode() or "_"
        new, number = readable, 0
        while new.lower() in taken:
            number += 1
            new = f"{readable}_{number}"
        taken.add(new.lower())
        result.append(new)
    return result


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer" if -_LARGEST <= value < _LARGEST else "other"
    if isinstance(value, float):
        return "number"
    if isinstance(value, Mapping):
        return "mapping" if value and TAG not in value else "other"
    return "list" if isinstance(value, (list, tuple)) else "text" if isinstance(value, str) else "other"


def _lists(pa: Any, values: Sequence[Any]) -> Any:
    offsets: list[int | None] = []
    items: list[Any] = []
    for value in values:
        offsets.append(None if value is None else len(items))
        items.extend(value or ())
    offsets.append(len(items))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), column(items))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, int) and not isinstance(value, bool):
        return digits(value)
    return dumps(Conversion().value(value)).decode()
