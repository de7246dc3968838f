"""Lines of type `metrics` as rows of Arrow tables: the columns, and the form of values that are no floats."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import orjson

from mlv.encoding import TAG, Conversion, Huge, restored
from mlv.events import Event
from mlv.optional import package

EXACT = 2**53
"""Up to this number a float holds every integer."""


@lru_cache(maxsize=1)
def schema() -> Any:
    """Return the columns: `keys` is the JSON list of the names in `data`, `values` and `texts` have an item for each of them.

    A value that is no number is null in `values`, and JSON in `texts`; so is an integer that a float cannot hold, beside the
    nearest float. Where all values are numbers, `texts` is null. A step that is no float is JSON in `step_text`; `at` is the
    JSON of the coordinates with sorted keys, null if there are none.
    """
    pa = package("pyarrow")
    word = pa.dictionary(pa.int32(), pa.string())
    return pa.schema([
        ("run", word), ("seq", pa.int64()), ("time", pa.timestamp("us", "UTC")), ("step", pa.float64()),
        ("step_text", pa.string()), ("name", word), ("at", word), ("keys", word),
        ("values", pa.list_(pa.float64())), ("texts", pa.list_(pa.string())),
    ])  # fmt: skip


def row(event: Event) -> tuple[Any, ...]:
    """Return the row of an event of type `metrics`, in the order of `schema()`."""
    step, step_text = _number_and_text(event.step) if event.step is not None else (None, None)
    pairs = [_number_and_text(value) for value in event.data.values()]
    texts = [text for _, text in pairs]
    return (
        event.run, event.seq, event.time, step, step_text, event.name, at_text(event.at),
        orjson.dumps(list(event.data)).decode(), [number for number, _ in pairs], texts if any(texts) else None,
    )  # fmt: skip


def _number_and_text(value: Any) -> tuple[float | None, str | None]:
    """Return the nearest float, None if the value is no number; and its JSON, None where the float is exact."""
    if type(value) is float:
        return value, None
    if type(value) is not int and type(value) is not Huge:
        return None, json_text(value)
    try:
        number = float(value)
    except OverflowError:
        number = float("inf") if value > 0 else float("-inf")
    return number, None if abs(value) <= EXACT else json_text(value)


def json_text(value: Any) -> str:
    """Return the JSON of a value as it was logged; `from_json_text` restores the value."""
    conversion = Conversion()
    form = conversion.value(value)
    tagged = restored(form, conversion.nonfinite, lambda text: {TAG: "float", "value": text}) if conversion.nonfinite else form
    return orjson.dumps(tagged).decode()


def from_json_text(text: str) -> Any:
    """Restore a value from the text of `json_text`."""
    return _with_floats(restored(orjson.loads(text), {}))


def _with_floats(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_floats(item) for item in value]
    if isinstance(value, dict) and value.get(TAG) == "float":
        return float(value["value"])
    return {key: _with_floats(item) for key, item in value.items()} if type(value) is dict else value


def at_text(at: Any) -> str | None:
    """Return the JSON of coordinates; None if there are none."""
    if not at:
        return None
    form = Conversion().value({key: coordinate(value) for key, value in at.items()})
    return orjson.dumps(form, option=orjson.OPT_SORT_KEYS).decode()


def coordinate(value: Any) -> Any:
    """Return 3 for 3.0, so that equal coordinates have the same text."""
    return int(value) if type(value) is float and value.is_integer() and abs(value) <= EXACT else value


def table_of(rows: list[tuple[Any, ...]]) -> Any:
    """Return a table of rows."""
    pa = package("pyarrow")
    columns = list(zip(*rows, strict=True)) or [()] * len(schema())
    arrays = []
    for column, kind in zip(columns, schema(), strict=True):
        is_word = pa.types.is_dictionary(kind.type)
        plain = pa.array(column, kind.type.value_type if is_word else kind.type)
        arrays.append(plain.dictionary_encode() if is_word else plain)
    return pa.Table.from_arrays(arrays, schema=schema())


def constant(name: str, value: Any, count: int) -> Any:
    """Return a column of `schema()` in which one value is repeated; such columns share their memory."""
    pa, kind = package("pyarrow"), _kinds()[name]
    if value is None:
        return _nulls(name, _rounded(count)).slice(0, count)
    if pa.types.is_dictionary(kind):
        return pa.DictionaryArray.from_arrays(_zeros(_rounded(count)).slice(0, count), pa.array([value], kind.value_type))
    return pa.array([value] * count, kind)


@lru_cache(maxsize=1)
def _kinds() -> dict[str, Any]:
    return {field.name: field.type for field in schema()}


def lists(values: Any, is_missing: Sequence[bool] = ()) -> Any:
    """Return a column of lists of numbers, one for each row of a matrix; columns that are missing become nulls."""
    pa, np = package("pyarrow"), package("numpy")
    count, width = values.shape
    mask = np.broadcast_to(is_missing, (count, width)).ravel() if any(is_missing) else None
    return pa.ListArray.from_arrays(
        _offsets(_rounded(count + 1), width).slice(0, count + 1), pa.array(values.ravel(), mask=mask)
    )


def _rounded(count: int) -> int:
    # To a power of two: blocks have any number of rows, and few columns are kept for all of them.
    return 1 << (max(1, count) - 1).bit_length()


@lru_cache(maxsize=32)
def _nulls(name: str, count: int) -> Any:
    return package("pyarrow").nulls(count, _kinds()[name])


@lru_cache(maxsize=32)
def _zeros(count: int) -> Any:
    return package("pyarrow").array(package("numpy").zeros(count, "i4"))


@lru_cache(maxsize=32)
def _offsets(count: int, width: int) -> Any:
    np = package("numpy")
    return package("pyarrow").array(np.arange(count, dtype=np.int32) * np.int32(width))
