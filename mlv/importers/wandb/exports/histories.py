"""Histories of runs as tables with `_step`, `_runtime` and `_timestamp`: of `run.history()`, `scan_history()`, artifacts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from mlv.errors import MlvError
from mlv.experiment.importing.source import Item, RunBegins, SourceEvent, SourceExperiment
from mlv.importers import csv_files, jsonl, parquet, tables
from mlv.importers.endings import end_of
from mlv.importers.listing import SourceListing, size_of
from mlv.importers.reading import UNREADABLE, Opened, SourceReading, Unit
from mlv.importers.wandb.exports.charts import NAME
from mlv.importers.wandb.media import MediaFiles, media_of

_COLUMNS = frozenset({"_step", "_runtime", "_timestamp"})
_READERS = {".csv": csv_files.rows_of, ".jsonl": jsonl.rows_of, ".parquet": parquet.rows_of}
_ARTIFACT = re.compile(r"run-(?P<id>.+)-history(?:[-:_]v\d+)?\Z")
"""Name of the folder of an artifact of the type wandb-history, whose tables are numbered."""
_RUN = "history"


def units(listing: SourceListing) -> Iterator[Unit]:
    """Yield the histories; the tables of an artifact are one."""
    numbered: dict[Path, list[Path]] = {}
    for path in list(listing.files()):
        if path.suffix.lower() in _READERS and _is_history(path):
            listing.take([path])
            if path.stem.isdigit() and path.suffix == ".parquet":
                numbered.setdefault(path.parent, []).append(path)
            else:
                folders, name = listing.place(path)
                yield _unit([path], path, (folders, name.partition(".")[0] or name))
    for folder, paths in numbered.items():
        folders, name = listing.place(folder)
        match = _ARTIFACT.match(name)
        yield _unit(sorted(paths), folder, (folders, match["id"] if match else name))


def _is_history(path: Path) -> bool:
    if path.suffix.lower() == ".csv":
        return _COLUMNS.issubset(csv_files.header_of(path))
    try:
        names, _ = _READERS[path.suffix.lower()](path, SourceReading())
    except (MlvError, *UNREADABLE):
        return False
    return _COLUMNS.issubset(names)


def _unit(paths: Sequence[Path], source: Path, place: tuple[tuple[str, ...], str]) -> Unit:
    return Unit(NAME, source, size_of(paths), partial(_opened, paths, source, place))


def _opened(paths: Sequence[Path], source: Path, place: tuple[tuple[str, ...], str], reading: SourceReading) -> Opened:
    folders, name = place
    identity = {"format": NAME, "path": str(source.resolve())}
    experiment = SourceExperiment(
        name, _first_time(paths[0]) or tables.modified(paths[0]), identity, tags=["imported", NAME], folders=folders
    )
    return Opened(experiment, lambda created: _items(paths, created, reading))


def _first_time(path: Path) -> datetime | None:
    created = tables.modified(path)
    _, rows = _READERS[path.suffix.lower()](path, SourceReading())
    columns = tables.TableColumns.of(sorted(_COLUMNS), SourceReading().options)
    first = next(iter(tables.events_of(_RUN, columns, rows, created, SourceReading())), None)
    return first.time if first is not None else None


def _items(paths: Sequence[Path], created: datetime, reading: SourceReading) -> Iterator[Item]:
    yield RunBegins(_RUN, created)
    latest, files = created, MediaFiles(paths[0].parent, reading)
    for path in paths:
        names, rows = _READERS[path.suffix.lower()](path, reading)
        for event in events_of(_RUN, names, rows, created, files, reading):
            latest = max(latest, event.time)
            yield event
    yield from end_of(_RUN, latest, None, lambda run: [], reading, length="", has_ends=False)


def events_of(
    run: str, names: Sequence[str], rows: tables.Rows, created: datetime, files: MediaFiles, reading: SourceReading
) -> Iterator[SourceEvent]:
    """Yield the events of rows: their metrics, and each of their media."""
    columns = tables.TableColumns("_step", "_timestamp" if "_timestamp" in names else None, None, None, ())
    for event in tables.events_of(run, columns, rows, created, reading):
        media: list[tuple[str, Any]] = []
        metrics = plain_values(event.data, media)
        metrics.pop("_runtime", None)
        if metrics:
            yield event._replace(data=metrics)
        for name, value in media:
            for medium in media_of(value, files):
                yield event._replace(type=medium.type, data=medium.data, name=name)


def plain_values(data: Mapping[str, Any], media: list[tuple[str, Any]], around: str = "") -> dict[str, Any]:
    """Return the values of a row or a summary by their full names, without media, which are added to a list."""
    values: dict[str, Any] = {}
    for key, value in data.items():
        name = f"{around}{key}"
        if isinstance(value, dict) and isinstance(value.get("_type"), str):
            media.append((name, {field: item for field, item in value.items() if item is not None}))
        elif isinstance(value, dict):
            values.update(plain_values(value, media, f"{name}/"))
        elif value is not None:
            values[name] = value
    return values
