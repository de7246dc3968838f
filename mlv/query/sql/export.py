"""Experiments as files for other tools: the views of SQL as CSV, Parquet or JSON lines."""

from __future__ import annotations

import os
import shutil
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import orjson

from mlv import words
from mlv.encoding import Conversion, dumps
from mlv.errors import InvalidArgument
from mlv.optional import package
from mlv.query.digest import STATS, Digest
from mlv.query.many import table
from mlv.query.many import values as values_
from mlv.query.metrics import long_table
from mlv.query.sql import views
from mlv.query.sql.arrow import column, text
from mlv.store.layout import TEMPORARY

Watch = Callable[[Sequence[Digest]], Iterable[Digest]]
"""Iterates over experiments, and may show progress."""
Writer = Callable[[Iterator[Any], Path], None]
"""Writes tables into one file."""
FORMATS = ("csv", "parquet", "jsonl")
_JSON = ("at", "data", "nonfinite", "text")
"""Columns that hold JSON already."""
_ROWS_AT_ONCE = 10_000  # rows are Python objects, many times as large as columns
_AS_IN_THE_LOG = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z


def export(
    digests: Sequence[Digest], to: str, out: Path, watch: Watch = iter, *, safe: bool = False, bom: bool = False
) -> list[str]:
    """Write a folder that appears whole or not at all: `experiments`, `runs`, `events` (without metrics), `files`, `metrics`.

    Metrics of several experiments as Parquet are a dataset, a folder for each experiment: `metrics/exp=<ID>/part.parquet`.
    Where damaged lines were passed over, `skipped.txt` names them. CSV that is `safe` holds no formulas; with `bom` it begins
    with the mark by which Excel recognises UTF-8.

    Returns:
        The names in the folder.

    Raises:
        InvalidArgument: The format is unknown, or is not CSV and has options of CSV; or the folder exists and is not empty.
        MissingExtra: pyarrow is not installed.
        OSError: The folder cannot be written.
    """
    if to not in FORMATS:
        raise InvalidArgument(f"--to {to!r}: give {', '.join(FORMATS[:-1])} or {FORMATS[-1]}", to=to)
    refuse_options_of_csv(to, safe=safe, bom=bom)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InvalidArgument(f"{str(out)!r} is there already: give a folder that is new, or empty", out=str(out))
    package("pyarrow")
    temporary = out.absolute().parent / f"{TEMPORARY}{out.name}-{os.getpid()}"
    temporary.mkdir(parents=True)
    try:
        _write_all(digests, to, temporary, watch, _csv(safe, bom) if to == "csv" else _WRITERS[to])
        if out.exists():
            out.rmdir()
        temporary.rename(out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return sorted(os.listdir(out))


def refuse_options_of_csv(to: str, *, safe: bool, bom: bool) -> None:
    """Accept the options of CSV for CSV alone.

    Raises:
        InvalidArgument: The format is another.
    """
    if safe and to != "csv":
        raise InvalidArgument(f"--safe is about formulas in CSV, and --to is {to}: leave it out", safe=safe)
    if bom and to != "csv":
        raise InvalidArgument(f"--bom is about CSV in Excel, and --to is {to}: leave it out", bom=bom)


def _write_all(digests: Sequence[Digest], to: str, folder: Path, watch: Watch, write: Writer) -> None:
    if to == "jsonl":
        _write_rows(_rows(digests), folder / "experiments.jsonl")
        _write_rows(_rows_of_runs(digests), folder / "runs.jsonl")
    else:
        is_nested = to == "parquet"
        write(iter([views.experiments(digests) if is_nested else _flat(_rows(digests))]), folder / f"experiments.{to}")
        write(iter([views.runs(digests) if is_nested else _flat(_rows_of_runs(digests))]), folder / f"runs.{to}")
    skipped: list[str] = []
    write((_without_metrics(views.events([digest], skipped)) for digest in watch(digests)), folder / f"events.{to}")
    write((views.files([digest], skipped) for digest in watch(digests)), folder / f"files.{to}")
    if skipped:
        (folder / "skipped.txt").write_text("".join(f"{hole}\n" for hole in dict.fromkeys(skipped)))
    if to == "parquet" and len(digests) > 1:
        for digest in watch(digests):
            partition = folder / "metrics" / f"exp={digest.id}"
            partition.mkdir(parents=True)
            write(iter([_metrics(digest).drop_columns(["exp"])]), partition / "part.parquet")
    else:
        write(map(_metrics, watch(digests)), folder / f"metrics.{to}")


def _rows(digests: Sequence[Digest]) -> list[dict[str, Any]]:
    """Return a row per experiment, with a key for each param and each number of a metric."""
    rows = table.rows(digests, STATS[1:], datetime.now(timezone.utc))
    names = table.columns(rows)
    return [{name: row.get(name) for name in names} for row in rows]


def _rows_of_runs(digests: Sequence[Digest]) -> list[dict[str, Any]]:
    cells = views.columns_of_runs(digests)
    columns = [values if isinstance(values, list) else values.to_pylist() for values in cells.values()]
    return [dict(zip(cells, row, strict=True)) for row in zip(*columns, strict=True)]


def _flat(rows: Sequence[dict[str, Any]]) -> Any:
    """Return rows as a table of exact names, with nested values as JSON."""
    pa = package("pyarrow")

    def cells(name: str) -> Any:
        values = [row[name] for row in rows]
        if any(isinstance(value, (Mapping, list, tuple)) for value in values):
            return pa.array([None if value is None else text(value) for value in values], pa.string())
        return column(values, keep_nan=True)

    names = list(rows[0]) if rows else []
    return pa.table([cells(name) for name in names], names=[text(name) for name in names])


def _without_metrics(events: Any) -> Any:
    return events.filter(package("pyarrow.compute").not_equal(events["type"], "metrics"))


def _metrics(digest: Digest) -> Any:
    pa = package("pyarrow")
    metrics = values_.ordered(long_table.metrics_of_many(digest.path))
    owner = [pa.repeat(pa.scalar(text, pa.string()), metrics.num_rows) for text in (digest.id, digest.name)]
    return pa.table([*owner, *metrics.columns], names=["exp", "exp_name", *metrics.column_names])


def _write_parquet(tables: Iterator[Any], path: Path) -> None:
    first = next(tables)
    with package("pyarrow.parquet").ParquetWriter(path, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for arrow_table in tables:
            writer.write_table(arrow_table)


def _csv(safe: bool, bom: bool) -> Writer:
    """Return a writer of CSV, without formulas if `safe`, and with `bom` the mark by which Excel recognises UTF-8."""
    # In quotes if safe: to a reader whose cells end at a semicolon, a text could otherwise begin a cell.
    options = package("pyarrow.csv").WriteOptions(quoting_style="all_valid" if safe else "needed")

    def cells(arrow_table: Any) -> Any:
        return _inert(_texts(arrow_table)) if safe else _texts(arrow_table)

    def write(tables: Iterator[Any], path: Path) -> None:
        first = cells(next(tables))
        with open(path, "wb") as file:
            file.write(BOM_UTF8 if bom else b"")
            with package("pyarrow.csv").CSVWriter(file, first.schema, write_options=options) as writer:
                writer.write_table(first)
                for arrow_table in tables:
                    writer.write_table(cells(arrow_table))

    return write


def _inert(arrow_table: Any) -> Any:
    """Return a table with names and texts that no spreadsheet takes for formulas."""
    pa, compute = package("pyarrow"), package("pyarrow.compute")

    def inert(field: Any, column: Any) -> Any:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            return column
        column = column.cast(pa.string())
        begins = compute.fill_null(compute.match_substring_regex(column, words.FORMULA), False)
        if not compute.any(begins).as_py():
            return column
        return pa.array([None if text is None else words.inert(text) for text in column.to_pylist()], pa.string())

    return _with_columns(arrow_table, inert, words.inert)


def _texts(arrow_table: Any) -> Any:
    """Return a table with nested columns as JSON text: CSV has no other form for them."""
    pa = package("pyarrow")

    def texts(field: Any, column: Any) -> Any:
        if not (pa.types.is_nested(field.type) or pa.types.is_null(field.type)):
            return column
        return pa.array([None if value is None else orjson.dumps(value).decode() for value in column.to_pylist()], pa.string())

    return _with_columns(arrow_table, texts)


def _with_columns(arrow_table: Any, changed: Callable[[Any, Any], Any], name: Callable[[str], str] = str) -> Any:
    """Return a table with the columns that `changed` makes of each field and column, under the names that `name` makes."""
    # Made in one go: to set one column copies the list of all, and an experiment may have 20,000 metrics.
    schema = arrow_table.schema
    columns = [changed(field, column) for field, column in zip(schema, arrow_table.columns, strict=True)]
    return package("pyarrow").table(columns, names=[name(field.name) for field in schema])


def _write_jsonl(tables: Iterator[Any], path: Path) -> None:
    with open(path, "wb") as file:
        for arrow_table in tables:
            for batch in arrow_table.to_batches(max_chunksize=_ROWS_AT_ONCE):
                file.writelines(orjson.dumps(_row(row), option=_AS_IN_THE_LOG) for row in batch.to_pylist())


def _write_rows(rows: Iterable[dict[str, Any]], path: Path) -> None:
    """Write rows as JSON lines; values that JSON lacks are named in `nonfinite`, as in the log."""
    with open(path, "wb") as file:
        for row in rows:
            conversion = Conversion()
            line = conversion.value({key: value for key, value in row.items() if value is not None})
            if conversion.nonfinite:
                line["nonfinite"] = conversion.nonfinite
            file.write(dumps(line) + b"\n")


def _row(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row without absent values; a value that JSON lacks is null, and named in `nonfinite`."""
    value = row.get("value")
    if isinstance(value, float) and value - value != 0:
        row["nonfinite"] = orjson.dumps("nan" if value != value else "inf" if value > 0 else "-inf").decode()
    return {
        key: orjson.Fragment(cell) if key in _JSON and isinstance(cell, str) else cell
        for key, cell in row.items()
        if cell is not None
    }


_WRITERS: dict[str, Writer] = {"parquet": _write_parquet, "jsonl": _write_jsonl}
