"""Projects of Trackio: a database of SQLite for each, and media beside them."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from mlv.experiment.importing.source import Item, RunBegins, RunEnds, SourceEvent, SourceExperiment, SourceFile
from mlv.importers import values
from mlv.importers.databases import columns_of, opened, tables_of
from mlv.importers.listing import SourceListing, size_of
from mlv.importers.reading import Opened, SourceReading, Unit, unreadable
from mlv.importers.values import moment, time_of
from mlv.store import layout

NAME = "trackio"
_TABLES = {"metrics", "configs"}
_COLUMNS = {"run_name", "step", "metrics", "timestamp"}
_RUNS_IN = {"metrics": "timestamp", "configs": "created_at", "system_metrics": "timestamp", "alerts": "timestamp"}
"""Tables that name runs, with the column of the time, the first ones first."""
_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_LEVELS = {"warn": "warning", "error": "error"}
_MAIN, _SYSTEM, _ALERTS = "main", "system", "alerts"
_OF_FILES = {"image": "image", "video": "video", "audio": "audio", "html": "figure"}


def units(listing: SourceListing) -> Iterator[Unit]:
    """Yield the runs of all projects below a folder."""
    for path in list(listing.files()):
        if path.suffix != ".db" or not tables_of(path) >= _TABLES:
            continue
        try:
            with opened(path) as connection:
                columns = columns_of(connection, "metrics")
                if not columns >= _COLUMNS:
                    continue
                key = "run_id" if "run_id" in columns else "run_name"
                runs = _runs(connection, key, listing.options.follows)
        except sqlite3.Error as error:
            listing.take([path])
            yield unreadable(NAME, path, size_of([path]), error)
            continue
        endings = ("", "-wal", "-shm", "-journal")
        listing.take([*(path.with_name(path.name + ending) for ending in endings), path.with_suffix(".lock")])
        listing.take(listing.below(path.parent / "media" / path.stem))
        for identity, (name, first) in sorted(runs.items(), key=lambda run: run[1][1]):
            yield Unit(NAME, path, size_of([path]) // len(runs), _TrackioRun(path, key, identity, name, first).open)


def _runs(connection: sqlite3.Connection, key: str, follows: bool) -> dict[str, tuple[str, str]]:
    """Return name and first moment of each run by its ID; one that never logged a metric stands in other tables alone."""
    runs: dict[str, tuple[str, str]] = {}
    for table, time in _RUNS_IN.items():
        if follows and table not in _TABLES:
            continue  # params are stored with the first metric, which may still come
        if columns_of(connection, table) >= {key, "run_name", time}:
            query = f"select {key}, run_name, min({time}) from {table} group by {key}"  # noqa: S608 - names of ours
            for identity, name, first in connection.execute(query):
                runs.setdefault(str(identity), (str(name), str(first)))
    return runs


class _TrackioRun:
    """A run in a database: its rows are in the order in which they were stored."""

    def __init__(self, path: Path, key: str, identity: str, name: str, first: str) -> None:
        self._path, self._key, self._id, self._name, self._first = path, key, identity, name, first

    def open(self, reading: SourceReading) -> Opened:
        """Return the experiment, and its items."""
        config: dict[str, Any] = {}
        with opened(self._path) as connection:
            for row in connection.execute(f"select config from configs where {self._key} = ?", (self._id,)):  # noqa: S608
                config = _object(row[0])
        created = time_of(config.get("_Created")) or time_of(self._first) or moment(0)
        group = {"group": config["_Group"]} if config.get("_Group") else {}
        experiment = SourceExperiment(
            self._name,
            created,  # type: ignore[arg-type]
            {"format": NAME, "project": self._path.stem, "id": self._id, **group},
            {key: _plain(value) for key, value in config.items() if not key.startswith("_")},
            tags=["imported", NAME],
            folders=(self._path.stem,),
        )
        return Opened(experiment, lambda created: self._items(created, reading))

    def _items(self, created: datetime, reading: SourceReading) -> Iterator[Item]:
        """Yield the items: tables grow side by side, so that each is a run of its own."""
        with opened(self._path) as connection:
            names = (
                _MAIN,
                *(name for name, table in ((_SYSTEM, "system_metrics"), (_ALERTS, "alerts")) if self._has(connection, table)),
            )
            ends = dict.fromkeys(names, created)
            for name in names:
                yield RunBegins(name, created, parent=None if name == _MAIN else _MAIN)
            readers = {_MAIN: self._metrics, _SYSTEM: self._system, _ALERTS: self._alerts}
            for name in names:
                for event in readers[name](connection, created, reading):
                    ends[name] = max(ends[name], event.time)
                    yield event
            for table in ("artifact_versions", "traces"):
                column = "producer_run_id" if table == "artifact_versions" else "run_id"
                if column in columns_of(connection, table):
                    query = f"select count(*) from {table} where {column} = ?"  # noqa: S608 - names of ours
                    if count := connection.execute(query, (self._id,)).fetchone()[0]:
                        reading.leave(f"rows of {table}", count)
        reading.advance(size_of([self._path]) // 100)
        if not reading.options.follows:
            yield from (RunEnds(name, ends[name], "ended") for name in names)

    def _has(self, connection: sqlite3.Connection, table: str) -> bool:
        if self._key not in columns_of(connection, table):
            return False
        query = f"select 1 from {table} where {self._key} = ? limit 1"  # noqa: S608 - names of ours
        return connection.execute(query, (self._id,)).fetchone() is not None

    def _rows(self, connection: sqlite3.Connection, table: str, columns: str) -> Iterator[Any]:
        query = f"select timestamp, {columns} from {table} where {self._key} = ? order by id"  # noqa: S608 - names of ours
        yield from connection.execute(query, (self._id,))

    def _metrics(self, connection: sqlite3.Connection, created: datetime, reading: SourceReading) -> Iterator[SourceEvent]:
        for stamp, step, text in self._rows(connection, "metrics", "step, metrics"):
            time, row = time_of(stamp) or created, _object(text)
            if not row and text not in (b"{}", "{}"):
                reading.leave("rows of metrics that are no JSON")
            media = {name: value for name, value in row.items() if isinstance(value, dict) and "_type" in value}
            metrics = {name: _plain(value) for name, value in row.items() if name not in media}
            if metrics:
                yield SourceEvent(_MAIN, time, "metrics", metrics, "", step)
            for name, value in media.items():
                type_, data = self._medium(value, reading)
                if data:
                    yield SourceEvent(_MAIN, time, type_, data, name, step)

    def _system(self, connection: sqlite3.Connection, created: datetime, reading: SourceReading) -> Iterator[SourceEvent]:
        for stamp, text in self._rows(connection, "system_metrics", "metrics"):
            measured = dict(_flat(_plain(_object(text))))
            numbers = {key: value for key, value in measured.items() if isinstance(value, (int, float))}
            if len(numbers) < len(measured):
                reading.leave("values of system_metrics that are no numbers", len(measured) - len(numbers))
            if numbers:
                yield SourceEvent(_SYSTEM, time_of(stamp) or created, "system", numbers, stream=layout.SYSTEM_STREAM)

    def _alerts(self, connection: sqlite3.Connection, created: datetime, _: SourceReading) -> Iterator[SourceEvent]:
        for stamp, title, text, level, step in self._rows(connection, "alerts", "title, text, level, step"):
            data = {"level": _LEVELS.get(level, "info"), "message": ": ".join(filter(None, [title, text]))}
            yield SourceEvent(_ALERTS, time_of(stamp) or created, "message", data, "", step)

    def _medium(self, value: Mapping[str, Any], reading: SourceReading) -> tuple[str, Any]:
        """Return type and data of a medium; None in place of data where its file is gone, which is recorded."""
        kind = str(value["_type"]).removeprefix("trackio.")
        if kind == "table" and isinstance(value.get("_value"), list):
            rows = [row for row in value["_value"] if isinstance(row, dict)]
            columns = list(dict.fromkeys(key for row in rows for key in row))
            cells = [[self._cell(row.get(column), reading) for column in columns] for row in rows]
            return "table", values.table(columns, cells)
        if kind == "histogram" and isinstance(value.get("values"), list):
            data = values.histogram(value["values"], value.get("bins") or [])
            if data is not None:
                return "histogram", data
        if kind == "markdown" and isinstance(value.get("_value"), str):
            return "text", {"text": value["_value"], "format": "markdown"}
        beside = {key: item for key, item in value.items() if key not in ("_type", "file_path")}
        if not isinstance(value.get("file_path"), str):
            return "event", beside
        file = self._file(value["file_path"], reading)
        if file is None:
            return "event", None
        caption = {"caption": value["caption"]} if value.get("caption") else {}
        if kind in _OF_FILES:
            return _OF_FILES[kind], {"file": file, **(caption if kind != "html" else {})}
        return "event", {**beside, "file": file}

    def _cell(self, value: Any, reading: SourceReading) -> Any:
        """Return a cell of a table; a medium becomes its file."""
        if isinstance(value, dict) and "_type" in value and isinstance(value.get("file_path"), str):
            return self._file(value["file_path"], reading) or value
        return _plain(value)

    def _file(self, name: str, reading: SourceReading) -> SourceFile | None:
        """Return a file of media; None where it is gone, which is recorded."""
        media = self._path.resolve().parent / "media"
        path = media / name
        if ".." in path.parts or not path.is_relative_to(media) or not reading.takes_file(path, media):
            reading.leave("files of media that are gone, or lie elsewhere")
            return None
        return SourceFile(path, path.suffix, is_linked=True)


def _object(text: Any) -> dict[str, Any]:
    """Return an object of JSON; empty where there is none."""
    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _plain(value: Any) -> Any:
    """Return a value; what JSON has no number for is a word there."""
    if isinstance(value, str):
        return _WORDS.get(value, value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested objects by their path, as metrics have it."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value
