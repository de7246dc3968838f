"""Lists of runs that a script made of `api.runs(...)`: `config`, `summary` and `name` of each, as JSON, JSON lines or CSV."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from mlv.errors import MlvError
from mlv.experiment.importing.source import Item, RunBegins, SourceEvent, SourceExperiment
from mlv.importers import csv_files, jsonl, tables
from mlv.importers.endings import end_of
from mlv.importers.listing import SourceListing, size_of
from mlv.importers.reading import UNREADABLE, Opened, SourceReading, Unit
from mlv.importers.values import moment, time_of
from mlv.importers.wandb.exports.charts import NAME
from mlv.importers.wandb.exports.histories import events_of, plain_values
from mlv.importers.wandb.media import MediaFiles, media_of

_SUMMARIES = ("summary", "summary_metrics", "summaryMetrics")
_MOST_BYTES = 256 << 20
_LOOKED_AT = 1 << 16
_RUN = "run"
_STATUSES = {"finished": "ok", "failed": "failed", "crashed": "lost", "killed": "killed", "preempted": "preempted"}


def units(listing: SourceListing) -> Iterator[Unit]:
    """Yield the runs in the lists."""
    for path in list(listing.files()):
        runs = _runs_in(path)
        if not runs:
            continue
        listing.take([path])
        folders, name = listing.place(path)
        place, size_bytes = (*folders, name.partition(".")[0] or name), size_of([path]) // len(runs)
        for number, run in enumerate(runs):
            yield Unit(NAME, path, size_bytes, partial(_opened, path, number, run, place))


def _runs_in(path: Path) -> list[Mapping[str, Any]]:
    """Return the runs in a file, none where it is no list of them."""
    read = {".json": _json, ".jsonl": _lines, ".csv": _table}.get(path.suffix.lower())
    try:
        rows = read(path) if read is not None else []
    except (MlvError, *UNREADABLE):
        return []
    runs = [row for row in rows if _is_run(row)]
    return runs if len(runs) == len(rows) else []


def _is_run(row: Any) -> bool:
    return isinstance(row, Mapping) and "config" in row and any(key in row for key in _SUMMARIES)


def _json(path: Path) -> list[Any]:
    with open(path, "rb") as file:
        beginning = file.read(_LOOKED_AT)
    if path.stat().st_size > _MOST_BYTES or not beginning.lstrip().startswith(b"[") or b'"config"' not in path.read_bytes():
        return []
    content = json.loads(path.read_bytes())
    return content if isinstance(content, list) else []


def _lines(path: Path) -> list[Any]:
    rows = jsonl.rows(path, SourceReading())
    first = next(rows, None)
    return [first, *rows] if _is_run(first) and path.stat().st_size <= _MOST_BYTES else []


def _table(path: Path) -> list[Any]:
    names = csv_files.header_of(path)
    if "config" not in names or not any(key in names for key in _SUMMARIES):
        return []
    _, rows = csv_files.rows_of(path, SourceReading())
    return [row for row in rows if any(key in row for key in ("config", *_SUMMARIES))]


def _opened(path: Path, number: int, run: Mapping[str, Any], folders: tuple[str, ...], reading: SourceReading) -> Opened:
    name = next((str(run[key]) for key in ("display_name", "displayName", "name", "id") if run.get(key)), f"run_{number}")
    known = {key: str(run[key]) for key in ("entity", "project", "id", "group") if run.get(key)}
    identity = {"format": NAME, **(known if "id" in known else {"path": str(path.resolve()), "run": name, "number": number})}
    begun = time_of(run.get("created_at") or run.get("createdAt"))
    config, tags = _mapping(run["config"], reading), run.get("tags")
    experiment = SourceExperiment(
        name,
        begun or tables.modified(path),
        identity,
        params=params_of(config),
        tags=[*(str(tag) for tag in tags if str(tag).strip()), "imported", NAME]
        if isinstance(tags, list)
        else ["imported", NAME],
        notes=run["notes"] if isinstance(run.get("notes"), str) else None,
        folders=folders,
    )
    return Opened(experiment, lambda created: _items(path, run, created, reading))


def _items(path: Path, run: Mapping[str, Any], created: datetime, reading: SourceReading) -> Iterator[Item]:
    files, history = MediaFiles(path.parent, reading), run.get("history")
    yield RunBegins(_RUN, created)
    latest = created
    rows = [row for row in history if isinstance(row, dict)] if isinstance(history, list) else []
    names = list(dict.fromkeys(key for row in rows for key in row))
    for event in events_of(_RUN, names, rows, created, files, reading):
        latest = max(latest, event.time)
        yield event
    summary = next((_mapping(run[key], reading) for key in _SUMMARIES if key in run), {})
    stamp = summary.get("_timestamp")
    latest = max(latest, (moment(stamp) if isinstance(stamp, (int, float)) else None) or latest)
    yield from summarized(_RUN, summary, latest, files)
    status = _STATUSES.get(str(run.get("state")).lower())
    yield from end_of(_RUN, latest, status, lambda run: [], reading, length="", has_ends="state" in run)


def summarized(run: str, summary: Mapping[str, Any], time: datetime, files: MediaFiles) -> Iterator[SourceEvent]:
    """Yield the values of a summary, without W&B's own."""
    media: list[tuple[str, Any]] = []
    values = plain_values({key: value for key, value in summary.items() if not key.startswith("_")}, media)
    if values:
        yield SourceEvent(run, time, "summary", values)
    for name, value in media:
        for medium in media_of(value, files):
            yield SourceEvent(run, time, medium.type, medium.data, name)


def params_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params in a configuration, which holds each as it is, or as its `value` beside a description."""
    return {
        key: value["value"] if isinstance(value, dict) and value.keys() <= {"value", "desc"} and "value" in value else value
        for key, value in config.items()
        if not key.startswith("_")
    }


def _mapping(value: Any, reading: SourceReading) -> dict[str, Any]:
    """Return a mapping; in a table it stands as JSON, or as Python prints it."""
    if isinstance(value, str):
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            value = _parsed(value)
    if not isinstance(value, dict):
        reading.leave("settings or summaries that are no mapping")
        return {}
    return {str(key): item for key, item in value.items()}


class _Numbers(ast.NodeTransformer):
    """Makes numbers of `nan` and `inf`, which Python prints, and does not read."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Return the number of a name."""
        return ast.Constant(float(node.id)) if node.id in ("nan", "inf") else node


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        # It evaluates literals alone.
        return ast.literal_eval(_Numbers().visit(ast.parse(text, mode="eval")))
