"""Python values of many experiments as Arrow columns: a type for all, structs for mappings, JSON text where they differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from mlv.encoding import TAG, Conversion, digits, dumps, restored
from mlv.optional import package
from mlv.query.unique_names import distinct

_LARGEST = 2**63  # a column of integers has 64 bits with a sign


def column(values: Sequence[Any], *, keep_nan: bool = False) -> Any:
    """Return an Arrow array of values, each of which may be None.

    Values of one kind keep it: booleans, integers, numbers, texts, moments, lists, mappings (a struct with the keys of all).
    Mixed values become text, as `text` writes it. Among numbers NaN is null, as SQL takes it for the greatest, and
    `params.clip > 1` must not hold of it; `keep_nan` keeps it for other readers.
    """
    pa = package("pyarrow", "sql")
    present = [value for value in values if value is not None]
    kinds = {_kind(value) for value in present}
    if not present:
        return pa.nulls(len(values))
    # Integers stay integers: as floats, those above 2**53 would change.
    if kinds <= {"integer", "number"}:
        if kinds == {"integer"}:
            return pa.array(values, pa.int64())
        numbers = [None if value is None or (value != value and not keep_nan) else nearest_float(value) for value in values]
        return pa.array(numbers, pa.float64())
    if kinds == {"boolean"}:
        return pa.array(values, pa.bool_())
    if kinds == {"mapping"}:
        keys = dict.fromkeys(key for value in present for key in value)
        children = {
            key: column([None if value is None else value.get(key) for value in values], keep_nan=keep_nan) for key in keys
        }
        return struct(children, [value is None for value in values])
    if kinds == {"list"}:
        return _lists(pa, values, keep_nan)
    if all(isinstance(value, datetime) for value in present):
        return pa.array(values, pa.timestamp("us", tz="UTC"))
    return pa.array([None if value is None else text(value) for value in values], pa.string())


def nearest_float(value: float) -> float:
    """Round a number to a float, which Arrow refuses to do for integers; return an infinity where it is beyond all floats."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def struct(children: Mapping[str, Any], is_null: Sequence[bool]) -> Any:
    """Return an array of structs, with keys as `distinct` spells them."""
    pa = package("pyarrow", "sql")
    return pa.StructArray.from_arrays(list(children.values()), distinct(children), mask=pa.array(is_null, pa.bool_()))


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


def _lists(pa: Any, values: Sequence[Any], keep_nan: bool) -> Any:
    offsets: list[int | None] = []
    items: list[Any] = []
    for value in values:
        offsets.append(None if value is None else len(items))
        items.extend(value or ())
    offsets.append(len(items))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), column(items, keep_nan=keep_nan))


def text(value: Any) -> str:
    """Return a value as text: a text as it is, anything else as its JSON, in which `nan`, `inf` and `-inf` are texts."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, int) and not isinstance(value, bool):
        return digits(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    conversion = Conversion()
    form = conversion.value(value)
    return dumps(restored(form, conversion.nonfinite, lambda word: word) if conversion.nonfinite else form).decode()
