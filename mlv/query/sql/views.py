"""The views that SQL sees: `experiments`, `runs`, `events`, `metrics` and `files`, as Arrow tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import orjson

from mlv import wire
from mlv.encoding import TAG, Huge, loads
from mlv.optional import package
from mlv.query.digest import STATS, Digest
from mlv.query.metrics import long_table
from mlv.query.metrics.schema import from_json_text
from mlv.query.metrics.summary import Summary
from mlv.query.rewinds import is_superseded
from mlv.query.runs import RunView
from mlv.query.sql.arrow import column, nearest_float, struct
from mlv.query.sql.arrow import text as text_of
from mlv.query.unique_names import distinct
from mlv.query.unreadable import leaving_out
from mlv.store import layout
from mlv.store.reading import Lines
from mlv.store.streams import Skipped

_GIT = ("commit", "branch", "dirty", "message", "date")
_MACHINE = ("host", "user", "platform", "os", "arch", "cpu", "memory_bytes")


def experiments(digests: Sequence[Digest]) -> Any:
    """Return a row per experiment; params and metrics are structs, and null stands for a NaN of a summary."""
    now = datetime.now(timezone.utc)
    latest = [next(reversed(digest.runs(now)), None) for digest in digests]
    return of_columns({
        "id": [digest.id for digest in digests],
        "name": [digest.name for digest in digests],
        "made_as": _texts(digest.made_as for digest in digests),
        "kind": _texts(digest.kind for digest in digests),
        "status": [digest.status(now) for digest in digests],
        "path": [str(digest.path) for digest in digests],
        "created": _moments(digest.created_at for digest in digests),
        "started": _moments(run.started if run else None for run in latest),
        "duration_s": _numbers(run.duration_s if run else None for run in latest),
        "total_s": _numbers(digest.total_s(now) for digest in digests),
        "tags": _lists(digest.tags for digest in digests),
        "notes": _lists(digest.notes for digest in digests),
        "parent": _texts(digest.parent_id for digest in digests),
        "params": [digest.params or None for digest in digests],
        "metrics": _summaries(digests),
        "git": [{key: digest.captured("git").get(key) for key in _GIT} for digest in digests],
        "machine": [{key: digest.captured("machine").get(key) for key in _MACHINE} for digest in digests],
    })  # fmt: skip


def _summaries(digests: Sequence[Digest]) -> Any:
    names = dict.fromkeys(name for digest in digests for name in digest.metrics)
    if not names:
        return column([None] * len(digests))
    children = {name: summaries([digest.metrics.get(name) for digest in digests]) for name in names}
    return struct(children, [False] * len(digests))


def summaries(of_one: Sequence[Summary | None]) -> Any:
    """Return a column of the numbers of one metric, whose summaries are those of several experiments."""
    stats = {
        stat: _numbers(None if summary is None else _number_or_null(getattr(summary, stat)) for summary in of_one)
        for stat in STATS
    }
    lasts, values = ([None if summary is None else getattr(summary, of) for summary in of_one] for of in ("last", "value"))
    stats.update(last=_numbers_or_others(lasts), value=_numbers_or_others(values))
    others = [_other(value) if _other(last) is None else _other(last) for last, value in zip(lasts, values, strict=True)]
    if any(other is not None for other in others):
        stats["text"] = _texts(None if other is None else text_of(other) for other in others)
    return struct(stats, [summary is None for summary in of_one])


def _numbers_or_others(values: Sequence[Any]) -> Any:
    """Return a column of the numbers among values, or of all values where none is a number."""
    if any(map(_is_number, values)) or all(value is None for value in values):
        return _numbers(map(_number_or_null, values))
    return column(values)


def _other(value: Any) -> Any:
    """Return a value that is no number, and None for one that is."""
    return None if _is_number(value) else value


def _is_number(value: Any) -> bool:
    return type(value) in (int, float, Huge)


def _number_or_null(value: Any) -> float | None:
    """Return a number, None for NaN: SQL takes it for the greatest, and `metrics.acc.last > 0.9` must not hold of it."""
    return nearest_float(value) if _is_number(value) and value == value else None


def runs(digests: Sequence[Digest]) -> Any:
    """Return a row per run, including runs of children."""
    return of_columns(columns_of_runs(digests))


def columns_of_runs(digests: Sequence[Digest]) -> dict[str, Any]:
    """Return the columns of `runs`: lists of values, and arrays."""
    now = datetime.now(timezone.utc)
    pairs = [(digest, run) for digest in digests for run in with_children(digest.runs(now))]
    return {
        **_owner_columns([digest for digest, _ in pairs]),
        "run": [run.id for _, run in pairs],
        "status": [run.status for _, run in pairs],
        "started": _moments(run.started for _, run in pairs),
        "ended": _moments(run.ended for _, run in pairs),
        "duration_s": _numbers(run.duration_s for _, run in pairs),
        "paused": [run.paused for _, run in pairs],
        "parent_run": _texts(run.parent_run for _, run in pairs),
        "exception": _texts((run.exception or {}).get("type") for _, run in pairs),
        "message": _texts((run.exception or {}).get("message") for _, run in pairs),
        "host": _texts((run.process or {}).get("host") for _, run in pairs),
        "params": [dict(run.params) or None for _, run in pairs],
    }  # fmt: skip


def with_children(views: Iterable[RunView]) -> Iterator[RunView]:
    """Yield runs, each before those of its children."""
    for view in views:
        yield view
        yield from with_children(view.children)


def events(digests: Iterable[Digest], skipped: list[str]) -> Any:
    """Return a row per event, superseded ones too, in the order of the files; `data`, `at` and `nonfinite` are JSON.

    Damaged lines are passed over, and added to `skipped`, as in `metrics` and `files`.
    """
    cells: dict[str, list[Any]] = {name: [] for name in _EVENT}
    for digest in digests:
        rewinds = digest.state.rewinds
        for stream, fields, when in _lines(digest, skipped):
            is_gone = is_superseded(rewinds, fields["run"], fields["seq"], fields.get("step"))
            row = (digest.id, digest.name, *event_values(stream, fields, when), is_gone)
            for values, value in zip(cells.values(), row, strict=True):
                values.append(value)
    return of_columns(_typed(cells))


def event_values(stream: str, fields: Mapping[str, Any], when: datetime) -> tuple[Any, ...]:
    """Return the values of an event's row, from `stream` to `nonfinite`."""
    step = fields.get("step")
    return (
        stream, fields["run"], fields["seq"], when, fields["type"], fields.get("name") or "",
        float(step) if isinstance(step, (int, float)) else None,
        *(orjson.dumps(fields[key]).decode() if key in fields else None for key in ("at", "data", "nonfinite")),
    )  # fmt: skip


_EVENT = ("exp", "exp_name", "stream", "run", "seq", "time", "type", "name", "step", "at", "data", "nonfinite", "superseded")


def metrics(digests: Iterable[Digest], skipped: list[str]) -> Any:
    """Return a row per value of each metric, in the order of logging: `value` for numbers and infinities, else `text`.

    SQL takes NaN for the greatest number, so that it is no `value` but the text `nan`: no query for the best returns runs that
    diverged. A text is as it was logged, any other value its JSON; so is an integer that a float cannot hold, beside the
    nearest float.
    """
    from mlv.query.many import values as values_  # starts threads: not for what `import mlv` imports

    pa = package("pyarrow", "sql")
    tables = []
    for digest in digests:
        holes: list[Skipped] = []
        table = _with_plain_texts(values_.ordered(long_table.metrics_of_many(digest.path, holes)))
        skipped += damage_texts(digest.path, holes)
        owner = [pa.repeat(pa.scalar(text, pa.string()), table.num_rows) for text in (digest.id, digest.name)]
        tables.append(pa.table([*owner, *table.columns], names=["exp", "exp_name", *table.column_names]))
    return pa.concat_tables(tables)


def _with_plain_texts(table: Any) -> Any:
    """Return a metrics table with NaN as a text, and with texts as they were logged instead of their JSON."""
    pa, compute = package("pyarrow", "sql"), package("pyarrow.compute", "sql")
    values, texts = table["value"], table["text"]
    if texts.null_count < len(texts):
        texts = pa.array([None if text is None else text_of(from_json_text(text)) for text in texts.to_pylist()], pa.string())
    is_nan = compute.is_nan(values)
    if compute.any(is_nan).as_py():
        texts = compute.if_else(compute.fill_null(is_nan, False), "nan", texts)
        values = compute.if_else(is_nan, pa.scalar(None, pa.float64()), values)
    replaced = {"value": values, "text": texts}
    return pa.table([replaced.get(name, table[name]) for name in table.column_names], names=table.column_names)


def files(digests: Iterable[Digest], skipped: list[str]) -> Any:
    """Return a row per reference to a file in an event, in the order of the files."""
    cells: dict[str, list[Any]] = {name: [] for name in _FILE}
    for digest in digests:
        for stream, fields, when in _lines(digest, skipped, containing=wire.TO_FILE):
            for file in file_values(stream, fields, when):
                for values, value in zip(cells.values(), (digest.id, digest.name, *file), strict=True):
                    values.append(value)
    return of_columns(_typed(cells))


def file_values(stream: str, fields: Mapping[str, Any], when: datetime) -> Iterator[tuple[Any, ...]]:
    """Yield the values of the row of each reference to a file in an event, from `stream` to `media_type`."""
    step = fields.get("step")
    for data_path, reference in _references(fields.get("data"), ""):
        size = reference.get("size")
        yield (
            stream, fields["run"], fields["seq"], when, fields["type"], fields.get("name", ""),
            float(step) if isinstance(step, (int, float)) else None, data_path, str(reference.get("path")),
            size if isinstance(size, int) else None, reference.get("sha256"), reference.get("media_type"),
        )  # fmt: skip


_FILE = (
    "exp", "exp_name", "stream", "run", "seq", "time", "type", "name", "step", "place", "path", "size", "sha256", "media_type",
)  # fmt: skip


def _references(data: Any, data_path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the references to files in an event's data, each with its path within the data."""
    if isinstance(data, dict):
        if data.get(TAG) == "file":
            yield data_path, data
            return
        for key, value in data.items():
            yield from _references(value, f"{data_path}.{key}" if data_path else key)
    elif isinstance(data, list):
        for position, value in enumerate(data):
            yield from _references(value, f"{data_path}[{position}]")


def _lines(digest: Digest, skipped: list[str], containing: bytes = b"") -> Iterator[tuple[str, dict[str, Any], datetime]]:
    """Yield stream, fields and time of the lines that are whole events."""
    lines = Lines(digest.path, [])
    with leaving_out(digest.path):
        lines.streams = layout.streams_in(digest.path)
    for stream in lines.streams:
        for start, line in _raw(lines, stream):
            if containing not in line and wire.looks_whole(line):
                continue
            event = lines.event(stream, start, line)
            if event is not None and containing in line:
                yield layout.logical_stream(stream), loads(line), event.time
    skipped += damage_texts(digest.path, lines.skipped)


def _raw(lines: Lines, stream: str) -> Iterator[tuple[int, bytes]]:
    with leaving_out(lines.folder):
        yield from lines.raw(stream)


def damage_texts(folder: Path, holes: Iterable[Skipped]) -> list[str]:
    """Return descriptions of damaged lines, each with its file."""
    return [f"{folder}/{hole}" for hole in holes]


def _typed(cells: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Return columns with fixed types, whatever values they hold."""
    pa = package("pyarrow", "sql")
    types = {
        "seq": pa.int64(),
        "size": pa.int64(),
        "step": pa.float64(),
        "time": pa.timestamp("us", tz="UTC"),
        "superseded": pa.bool_(),
    }
    return {name: fitted(values, types.get(name, pa.string())) for name, values in cells.items()}


def fitted(values: list[Any], type: Any) -> Any:
    """Return a column of a type; values of other types, in a log that was tampered with, become null."""
    pa = package("pyarrow", "sql")

    def fits(value: Any) -> bool:
        try:
            return bool(pa.array([value], type))
        except (pa.ArrowException, TypeError, OverflowError):
            return False

    try:
        return pa.array(values, type)
    except (pa.ArrowException, TypeError, OverflowError):
        return pa.array([value if fits(value) else None for value in values], type)


def _owner_columns(digests: Sequence[Digest]) -> dict[str, Any]:
    return {"exp": [digest.id for digest in digests], "exp_name": [digest.name for digest in digests]}


def of_columns(cells: Mapping[str, Any]) -> Any:
    """Return an Arrow table of columns, each a list of values or an array."""
    pa = package("pyarrow", "sql")
    arrays = [column(values) if isinstance(values, list) else values for values in cells.values()]
    return pa.table(arrays, names=distinct(cells))


def _texts(values: Iterable[Any]) -> Any:
    pa = package("pyarrow", "sql")
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _lists(values: Iterable[Iterable[str]]) -> Any:
    pa = package("pyarrow", "sql")
    return pa.array([list(texts) for texts in values], pa.list_(pa.string()))


def _numbers(values: Iterable[float | None]) -> Any:
    return package("pyarrow", "sql").array(list(values), "float64")


def _moments(values: Iterable[datetime | None]) -> Any:
    pa = package("pyarrow", "sql")
    return pa.array(list(values), pa.timestamp("us", tz="UTC"))


VIEWS: dict[str, Callable[[Sequence[Digest]], Any]] = {"experiments": experiments, "runs": runs}
"""Views that digests suffice for, and the functions that make them."""
LONG_VIEWS: dict[str, Callable[[Iterable[Digest], list[str]], Any]] = {"events": events, "metrics": metrics, "files": files}
"""Views that the logs are read for line by line, and the functions that make them."""
