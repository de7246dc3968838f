"""The metrics of an experiment as one Arrow table, a row for each value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from mlv.events import full_name
from mlv.optional import package
from mlv.query.metrics import cache
from mlv.query.rewinds import SURVIVING, rewinds_of, surviving_rows
from mlv.query.unreadable import leaving_out
from mlv.state import Rewind
from mlv.store import layout
from mlv.store.streams import Skipped


def metrics(
    folder: Path,
    streams: Sequence[str] | None = None,
    *,
    skipped: list[Skipped] | None = None,
    branches: str = SURVIVING,
    cut: Mapping[str, int] | None = None,
    limits: cache.CacheLimits = cache.LIMITS,
) -> Any:
    """Return a `pyarrow.Table` of all values of all metrics that survive, of some streams or of all, up to a cut.

    Its columns: `stream`, `run`, `seq`, `time` (microseconds, UTC), `step` (null where there is none, or it is no number),
    `name` (the full name), `value` (NaN and infinities restored; null where it is no number), `text` (the JSON of a value that
    is no number, and of an integer that a float cannot hold), `at` (the JSON of the coordinates, null if there are none).
    No order of rows is promised: `run` and `seq` give it. Damaged lines are passed over, and their byte ranges added to
    `skipped`.

    Raises:
        MissingExtra: pyarrow is not installed.
    """
    pa = package("pyarrow")
    exploded, rewinds = [], rewinds_of(folder, branches, cut)
    for stream in requested_streams(folder, streams):
        every = cache.read(folder, stream, [] if skipped is None else skipped, limits)
        tables = _surviving(every if cut is None else (rows_before(table, cut) for table in every), rewinds)
        exploded += [_exploded(table, layout.logical_stream(stream)) for table in tables]
    return pa.concat_tables(exploded) if exploded else _empty()


def metrics_of_many(folder: Path, skipped: list[Skipped] | None = None, cut: Mapping[str, int] | None = None) -> Any:
    """Return `metrics` of one of many experiments; an empty table, with a warning, where it cannot be read."""
    with leaving_out(folder):
        return metrics(folder, skipped=skipped, cut=cut)
    return _empty()


def rows_before(table: Any, cut: Mapping[str, int]) -> Any:
    """Return the rows of a table of `mlv.query.metrics.schema` up to a cut, the last `seq` of each run."""
    np, run = package("numpy"), table["run"].combine_chunks()
    last = np.asarray([cut.get(name, 0) for name in run.dictionary.to_pylist()] or [0], np.int64)
    return table.filter(package("pyarrow").array(table["seq"].to_numpy() <= last[np.asarray(run.indices)]))


def _surviving(tables: Iterable[Any], rewinds: Sequence[Rewind]) -> Iterator[Any]:
    """Return the tables without superseded rows, leaving out tables that are empty then."""
    return (table for table in (surviving_rows(table, rewinds) for table in tables) if table.num_rows)


def requested_streams(folder: Path, streams: Sequence[str] | None) -> list[str]:
    """Return the streams with a file; those of second writers belong to the stream whose name they begin with."""
    return [name for name in layout.streams_in(folder) if streams is None or layout.logical_stream(name) in streams]


def full_names(name: str, keys: str) -> list[str]:
    """Return the full names of the metrics of a line, from its name and its `keys`."""
    return [full_name(name, key) for key in orjson.loads(keys)]


def _schema() -> Any:
    pa = package("pyarrow")
    return pa.schema([
        ("stream", pa.string()), ("run", pa.string()), ("seq", pa.int64()), ("time", pa.timestamp("us", "UTC")),
        ("step", pa.float64()), ("name", pa.string()), ("value", pa.float64()), ("text", pa.string()), ("at", pa.string()),
    ])  # fmt: skip


def _empty() -> Any:
    return _schema().empty_table()


def _exploded(table: Any, stream: str) -> Any:
    """Return a table with a row for each value of each line."""
    pa, pc, np = package("pyarrow"), package("pyarrow.compute"), package("numpy")
    table = table.combine_chunks()
    lists = pa.chunked_array(table["values"].chunks or [pa.array([], table["values"].type)]).combine_chunks()
    rows = pc.list_parent_indices(lists)
    counts = np.diff(np.asarray(lists.offsets))
    texts = pa.nulls(len(rows), pa.string())
    if table["texts"].null_count < table.num_rows:
        filled = [
            line if line is not None else [None] * int(n) for line, n in zip(table["texts"].to_pylist(), counts, strict=True)
        ]
        texts = pa.array([text for line in filled for text in line], pa.string())
    columns = {
        "stream": pa.repeat(pa.scalar(stream), len(rows)),
        "name": _names(table, counts),
        "value": lists.flatten(),
        "text": texts,
        **{name: pc.cast(table[name].take(rows), pa.string()) for name in ("run", "at")},
        **{name: table[name].take(rows) for name in ("seq", "time", "step")},
    }
    return pa.table([columns[name] for name in _schema().names], schema=_schema())


def _names(table: Any, counts: Any) -> Any:
    """Return the full name of each value; each pair of a name and keys is put together once."""
    pa, np = package("pyarrow"), package("numpy")
    prefix, keys = (table[name].unify_dictionaries().combine_chunks() for name in ("name", "keys"))
    prefix, keys = (column.chunk(0) if isinstance(column, pa.ChunkedArray) else column for column in (prefix, keys))
    codes = np.asarray(prefix.indices).astype(np.int64) * len(keys.dictionary) + np.asarray(keys.indices)
    pairs, inverse = np.unique(codes, return_inverse=True)
    names: list[str] = []
    firsts = []
    for pair in pairs:
        of_prefix, of_keys = divmod(int(pair), len(keys.dictionary))
        firsts.append(len(names))
        names += full_names(prefix.dictionary[of_prefix].as_py(), keys.dictionary[of_keys].as_py())
    begins = np.repeat(np.asarray(firsts, np.int64)[inverse], counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return pa.array(names, pa.string()).take(pa.array(begins + within))
