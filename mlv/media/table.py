"""Tables: small ones in the line itself, large ones as Parquet, or as CSV where pyarrow is missing."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import orjson

from mlv.encoding import Conversion, as_mapping, dumps, restored, shown
from mlv.media import arrays
from mlv.media.jobs import Prepared, Target, Unusable
from mlv.protocols import Buffer

INLINE_BYTES = 64 << 10  # a small table is read with the line, without a file to open
_BEGINNING = 5
_LISTS = ("to_list", "to_pylist", "tolist")
"""How columns of polars, pyarrow and arrays become lists of Python values."""


def prepare(value: Any, *, columns: Any = None) -> Prepared:
    """Prepare a table for an event of type `table`: in the line itself, or in a file where its JSON has more than 64 KiB.

    The file is Parquet wherever pyarrow is installed, for tables of any library: pyarrow is imported for the first one that
    needs a file. It is CSV without pyarrow, and for columns of mixed types, which Arrow refuses.

    Args:
        value: Rows (mappings, or sequences of one length, or an array with two axes), a mapping of names to columns, or a data
            frame: of pandas (its index becomes a column, unless it only counts the rows), polars, pyarrow, or of another
            library that exports Arrow streams. A cell that a mapping lacks is None.
        columns: Names of the columns where rows have none; else, which ones to log, in which order.

    Raises:
        Unusable: It is no table, its columns differ in length, or a cell of a large one has no JSON form.
    """
    table = _columns(value, None if columns is None else _names(columns))
    count = len(next(iter(table.values()), ()))
    if 2 * count * len(table) <= INLINE_BYTES:  # a cell has at least a digit and a comma
        data = {"columns": list(table), "rows": _rows(table)}
        conversion = Conversion()
        if len(dumps(conversion.value(data))) + len(dumps(conversion.nonfinite)) <= INLINE_BYTES:
            return Prepared("table", None, data)
    beginning = _rows({name: column[:_BEGINNING] for name, column in table.items()})
    options = {"columns": list(table), "count": count, "beginning": beginning}
    stream = _arrow_stream(table)
    if stream is not None:
        return Prepared("table", "table", {**options, "form": "arrow"}, [stream])
    return Prepared("table", "table", {**options, "form": "json"}, _json_columns(table))


def _names(names: Any) -> list[str]:
    if isinstance(names, (str, bytes)) or not isinstance(names, Iterable):
        raise Unusable(f"columns={shown(names)}: give a list of names")
    return [name if type(name) is str else str(name) for name in names]


def _columns(value: Any, requested: list[str] | None) -> dict[str, Any]:
    """Return the columns by name, of one length, in order; each has a length, and can be sliced and listed."""
    pandas, polars, pyarrow = (sys.modules.get(name) for name in ("pandas", "polars", "pyarrow"))
    if _library(value) in ("pandas", "polars") and hasattr(value, "to_frame"):
        value = value.to_frame()  # one column, with its index
    if type(value) is dict:
        value = value.copy()  # another thread may be adding to it
    if pandas is not None and isinstance(value, pandas.DataFrame):
        frame = _with_index(value, pandas)
        columns = _named(list(frame.columns), [frame.iloc[:, i] for i in range(frame.shape[1])])
    elif polars is not None and isinstance(value, polars.DataFrame):
        columns = _named(value.columns, value.get_columns())
    elif hasattr(type(value), "__arrow_c_stream__"):
        table = value if pyarrow is not None and isinstance(value, pyarrow.Table) else _arrow_table(value)
        columns = _named(table.column_names, table.columns)
    elif isinstance(value, Mapping):
        columns = _named(list(value), [_column(name, value[name]) for name in value])
    elif arrays.is_array(value):
        return _of_array(value, requested)
    else:
        rows = _row_list(value)
        if any(as_mapping(row) is not None for row in rows):
            columns = _of_mappings(rows)
        else:
            return _of_sequences(rows, requested)
    return columns if requested is None else _chosen(columns, requested)


def _with_index(frame: Any, pandas: Any) -> Any:
    index = frame.index
    is_count = isinstance(index, pandas.RangeIndex) and index.start == 0 and index.step == 1 and index.name is None
    try:
        return frame if is_count else frame.reset_index()
    except ValueError as error:
        raise Unusable(f"the index of the data frame cannot become a column: {error}") from None


def _arrow_table(value: Any) -> Any:
    try:
        import pyarrow

        return pyarrow.table(value)
    except ImportError:
        text = f"a value of type {type(value).__name__} is read with pyarrow: pip install pyarrow, or give a mapping of columns"
        raise Unusable(text) from None
    except Exception as error:  # a stream of something else than a table
        raise Unusable(f"a value of type {type(value).__name__} is no table: {shown(error)}") from None


def _column(name: Any, values: Any) -> Any:
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable) or getattr(values, "shape", None) == ():
        raise Unusable(f"column {shown(name)} is {shown(values)}, not a list of values")
    if _library(values) in ("numpy", "pandas", "polars", "pyarrow") and len(getattr(values, "shape", (0,))) == 1:
        return values
    return _listed(values)


def _library(value: Any) -> str:
    return type(value).__module__.partition(".")[0]


def _of_array(value: Any, names: list[str] | None) -> dict[str, Any]:
    if len(value.shape) != 2:
        raise Unusable(f"an array of shape {tuple(value.shape)} is no table: give one with two axes")
    if _library(value) != "numpy":
        return _of_sequences(value.tolist(), names)
    width = value.shape[1]
    if names is not None and len(names) != width:
        raise Unusable(f"an array of shape {value.shape} has {width} columns, not {len(names)}: {shown(names)}")
    return _named(names or list(range(width)), [value[:, i] for i in range(width)])


def _row_list(value: Any) -> list[Any]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise Unusable(f"a value of type {type(value).__name__} is no table: give rows, a mapping of columns, or a data frame")
    return list(value)


def _of_mappings(rows: list[Any]) -> dict[str, Any]:
    mappings = [as_mapping(row) for row in rows]
    for number, mapping in enumerate(mappings):
        if mapping is None:
            raise Unusable(f"row {number} is {shown(rows[number])}, not a mapping as others are")
    checked = [mapping for mapping in mappings if mapping is not None]
    names = list(dict.fromkeys(chain.from_iterable(checked)))
    return _named(names, [[mapping.get(name) for mapping in checked] for name in names])


def _of_sequences(rows: list[Any], names: list[str] | None) -> dict[str, Any]:
    for number, row in enumerate(rows):
        if isinstance(row, (str, bytes)) or not (isinstance(row, Sequence) or arrays.is_array(row)):
            raise Unusable(f"row {number} is {shown(row)}: give mappings, or sequences of one length")
    width = len(names) if names is not None else len(rows[0]) if rows else 0
    for number, row in enumerate(rows):
        if len(row) != width:
            raise Unusable(f"row {number} has {len(row)} cells, not {width} as there are columns: {shown(row)}")
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
    return _named(names or list(range(width)), columns)


def _named(names: Sequence[Any], columns: Sequence[Any]) -> dict[str, Any]:
    texts = _names(names)
    table = dict(zip(texts, columns, strict=True))
    if len(table) < len(texts):
        twice = next(name for name in table if texts.count(name) > 1)
        raise Unusable(f"the table has two columns {twice!r}")
    lengths = {name: len(column) for name, column in table.items()}
    if len(set(lengths.values())) > 1:
        raise Unusable(f"the columns differ in length: {shown(lengths)}")
    return table


def _chosen(table: dict[str, Any], requested: list[str]) -> dict[str, Any]:
    unknown = [name for name in requested if name not in table]
    if unknown and table:
        raise Unusable(f"the table has no column {unknown[0]!r}; it has {shown(list(table))}")
    return _named(requested, [table.get(name, []) for name in requested])


def _rows(table: Mapping[str, Any]) -> list[list[Any]]:
    return [list(row) for row in zip(*map(_listed, table.values()), strict=True)]


def _listed(column: Any) -> list[Any]:
    """Return the cells as Python values."""
    if _library(column) == "pandas":
        return _listed_pandas(column)
    method = next((name for name in _LISTS if hasattr(column, name)), None)
    return list(column) if method is None else list(getattr(column, method)())


def _listed_pandas(column: Any) -> list[Any]:
    """Return the cells with pandas' missing ones as None; a NaN among floats is a NaN."""
    are_floats = getattr(column.dtype, "kind", "") == "f"
    pairs = zip(column.tolist(), column.isna().tolist(), strict=True)
    return [None if is_missing and not (are_floats and type(cell) is float) else cell for cell, is_missing in pairs]


def _arrow_stream(table: Mapping[str, Any]) -> Buffer | None:
    """Return the table as an Arrow stream; None without pyarrow, and for values that Arrow has no types for."""
    try:
        import pyarrow

        arrow_table = pyarrow.table(list(map(_arrow_column, table.values())), names=list(table))
        sink = pyarrow.BufferOutputStream()
        with pyarrow.ipc.new_stream(sink, arrow_table.schema) as writer:
            writer.write_table(arrow_table)
        return memoryview(sink.getvalue())
    except Exception:  # Arrow refuses mixed types in many ways
        return None


def _arrow_column(column: Any) -> Any:
    if hasattr(column, "to_arrow"):  # polars
        return column.to_arrow()
    if _library(column) == "pandas" and str(column.dtype) in ("float64", "float32", "float16"):
        return column.to_numpy()  # of these, Arrow would take a NaN for a missing value
    return column


def _json_columns(table: Mapping[str, Any]) -> list[bytes]:
    conversion = Conversion()
    columns = conversion.value({name: _listed(column) for name, column in table.items()})
    if conversion.problems:
        path, reason = conversion.problems[0]
        raise Unusable(f"{path} {reason}")
    return [dumps(columns), dumps(conversion.nonfinite)]


def encode(options: Mapping[str, Any], buffers: Sequence[Buffer], target: Target) -> dict[str, Any]:
    """Publish the file, and return the event's data, with the first five rows for a quick look."""
    described = {name: options[name] for name in ("columns", "count", "beginning")}
    if options["form"] == "arrow":
        return {"file": target.file(".parquet", lambda path: _write_parquet(buffers[0], path)), **described}
    cells = restored(orjson.loads(buffers[0]), orjson.loads(buffers[1]))
    return {"file": target.file(".csv", lambda path: _write_csv(options["columns"], cells.values(), path)), **described}


def _write_parquet(stream: Buffer, path: str) -> None:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.ipc.open_stream(pyarrow.py_buffer(stream)).read_all(), path)


def _write_csv(names: Sequence[str], columns: Iterable[Sequence[Any]], path: str) -> None:
    with open(path, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(map(_cell, row) for row in zip(*columns, strict=True))


def _cell(value: Any) -> Any:
    """Return numbers and texts as they are, NaN as `nan`, None as nothing, all else as JSON."""
    if value is None or isinstance(value, (str, float)) or type(value) is int:
        return value
    return dumps(Conversion().value(value)).decode()
