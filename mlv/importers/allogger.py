"""Folders of ALLogger: tables of HDF5 and event files in `events`, and a text log beside it.

A scalar that the event files have comes from these: there its key is whole, and its time exact.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import datetime
from heapq import merge
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from mlv.errors import MissingExtra
from mlv.experiment.importing.source import EPOCH, Item, RunBegins, SourceEvent, SourceExperiment, SourcePoints
from mlv.importers import hdf5, own_files, tables, values
from mlv.importers.endings import end_of
from mlv.importers.growing import behind_recorded
from mlv.importers.listing import SourceListing, size_of
from mlv.importers.log_lines import LogForm
from mlv.importers.reading import UNREADABLE, Opened, SourceReading, Unit, unreadable
from mlv.importers.tensorboard.folders import EventFolder, event_folders, refuse_own
from mlv.importers.values import moment

NAME = "allogger"
_EVENTS = "events"
_KINDS = ("scalar", "image", "array")
_COLUMNS = ("step", "time", "walltime", "value")
_BEGUN = re.compile(r"(\d{9,11})_")
"""Files are named by the second in which they were begun, and the host."""
_LINES = LogForm(
    re.compile(r"(?P<time>\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}) \((?P<level>[A-Z]+)\) \[(?P<name>[^\]]*)\] > (?P<text>.*)\Z"),
    "%Y-%m-%d %H:%M:%S",
)
_BLOCK_BYTES = 1 << 20
_MOST_POINTS = 1000
_LONGEST_S = 1e9  # a damaged time is none, as NaN is none


class _Table(NamedTuple):
    """A file of HDF5."""

    path: Path
    begun: datetime


def units(listing: SourceListing) -> Iterator[Unit]:
    """Yield the folders with tables of ALLogger, or with its text log beside event files."""
    for folder in list(listing.folders):
        inside = folder / _EVENTS if (folder / _EVENTS) in listing.folders else folder
        logs = [path for path in listing.within(folder) if path.suffix == ".log" and _LINES.first(path) is not None]
        files: list[Path] = []
        for path in [path for path in listing.within(inside) if path.suffix == ".h5" and hdf5.is_hdf5(path)]:
            try:
                files += [path] if _is_table(path) else []
            except (MissingExtra, *UNREADABLE) as error:
                if inside.name == _EVENTS:  # by its place it is one; another file of HDF5 is no matter of this format
                    listing.take([path])
                    yield unreadable(NAME, path, size_of([path]), error)
        if not files and not (logs and inside != folder):
            continue
        listing.take([*logs, *files])
        events = event_folders(listing, inside)
        whole = folder.parent if folder.name == _EVENTS else folder
        size_bytes = size_of([*logs, *files]) + sum(each.size_bytes for each in events)
        yield Unit(NAME, whole, size_bytes, _LogFolder(whole, listing.place(whole), logs, files, events).open)


def _is_table(path: Path) -> bool:
    with hdf5.opened(path) as file:
        return any(True for _ in _tables_of(file))


def _tables_of(file: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield kind, key and dataset of the tables in a file."""
    for kind, group in hdf5.groups(file):
        if kind in _KINDS:
            for key, dataset in hdf5.datasets(group):
                if dataset.dtype.names == _COLUMNS and dataset.ndim == 1:
                    yield kind, key, dataset


class _LogFolder:
    """A folder that a logger was given as its `logdir`."""

    def __init__(
        self, folder: Path, place: tuple[tuple[str, ...], str], logs: list[Path], files: list[Path], events: list[EventFolder]
    ) -> None:
        self._folder, self._place, self._logs, self._events = folder, place, logs, events
        self._tables = [_Table(path, _begun(path)) for path in files]

    def open(self, reading: SourceReading) -> Opened:
        """Return the experiment, and its items."""
        for path in (*self._logs, *(table.path for table in self._tables)):
            own_files.refuse_beside(self._folder, path.stem, path)
        for folder in self._events:
            refuse_own(folder.files[0].path)
        folders, name = self._place
        begun = [*(table.begun for table in self._tables), *map(_begun, self._logs)]
        experiment = SourceExperiment(
            name, min(begun), {"format": NAME, "path": str(self._folder.resolve())}, tags=["imported", NAME], folders=folders
        )
        return Opened(experiment, lambda created: self._items(created, reading))

    def _items(self, created: datetime, reading: SourceReading) -> Iterator[Item]:
        for path in self._logs:
            yield from _messages(path, reading)
        names: set[str] = set()
        for folder in self._events:
            for item in folder.items(created, reading):
                if isinstance(item, SourcePoints):
                    names.update(item.names)
                elif isinstance(item, SourceEvent) and item.type == "metrics":
                    names.update(item.data)
                yield item
        covered = {_key_of(name) for name in names}
        for table in self._tables:
            yield from _rows(table, covered, reading)


def _begun(path: Path) -> datetime:
    match = _BEGUN.match(path.name)
    return (moment(float(match[1])) if match else None) or tables.modified(path)


def _key_of(tag: str) -> str:
    """Return the key in HDF5 of a tag of the event files: ALLogger cuts at dots, and makes groups of dashes."""
    return tag.rpartition(".")[2].replace("-", "/")


def _messages(path: Path, reading: SourceReading) -> Iterator[Item]:
    reading.note("the text log names no zone: its times are taken as UTC")
    begun = latest = _begun(path)
    yield RunBegins(path.name, begun)
    for message in _LINES.messages(path, reading):
        latest = max(latest, message.time)
        data = {"level": message.level, "message": message.text}
        yield SourceEvent(path.name, message.time, "message", data, message.name)
    yield from end_of(path.name, latest, None, lambda run: [], reading, length="", has_ends=False)


def _rows(table: _Table, covered: set[str], reading: SourceReading) -> Iterator[Item]:
    """Yield the rows of a file's tables: numbers by their times, and the arrays of each table as a run of its own.

    Times are seconds since the writer began, as the time itself has 128 s steps. Rows of one time may come to the file at
    several, and each table may be behind the others.
    """
    run, latest = table.path.name, table.begun
    yield RunBegins(run, table.begun)
    with hdf5.opened(table.path) as file, ExitStack() as stack:
        series, arrays = [], []
        for kind, key, dataset in _tables_of(file):
            if dataset.dtype["value"].shape:
                arrays.append((f"{run} {kind}/{key}", key, dataset))
            elif kind != "scalar" or key not in covered:
                series.append(_points(key, dataset, reading))
                stack.callback(series[-1].close)
        points = merge(*series, key=lambda point: (point.elapsed_s, point.key))
        for item in _numbers(run, table.begun, points, reading):
            time = item.time if isinstance(item, SourceEvent) else moment(max(item.times_us) / 1e6)
            latest = max(latest, time or latest)
            yield item
        for name, key, dataset in arrays:
            yield RunBegins(name, table.begun, parent=run)
            last = table.begun
            for point in _points(key, dataset, reading):
                time = moment(_time_us(table.begun, point) / 1e6) or table.begun
                last = max(last, time)
                yield SourceEvent(name, time, "array", values.array(point.value), key, point.step)
            yield from end_of(name, last, None, lambda run: [], reading, length="", has_ends=False)
    yield from end_of(run, latest, None, lambda run: [], reading, length="", has_ends=False)
    reading.advance(table.path.stat().st_size)


class _Point(NamedTuple):
    elapsed_s: float
    key: str
    step: int
    value: Any


def _points(key: str, dataset: Any, reading: SourceReading) -> Any:
    rows = max(1, _BLOCK_BYTES // dataset.dtype.itemsize)
    for block in hdf5.blocks(dataset, rows, reading):
        columns = (block["walltime"].tolist(), block["step"].tolist())
        column = block["value"].tolist() if block["value"].ndim == 1 else block["value"]
        for elapsed_s, step, value in zip(*columns, column, strict=True):
            yield _Point(elapsed_s if abs(elapsed_s) < _LONGEST_S else 0.0, key, step, value)


def _numbers(
    run: str, begun: datetime, points: Iterable[_Point], reading: SourceReading
) -> Iterator[SourcePoints | SourceEvent]:
    """Yield numbers, many at a time where none was recorded before."""
    batches = _batched(run, begun, points)
    if next(reading.recorded_metrics(run), None) is None:
        yield from batches
    else:
        rows = (event for batch in batches for event in batch.events())
        yield from behind_recorded(rows, run, reading, is_timed=True)


def _batched(run: str, begun: datetime, points: Iterable[_Point]) -> Iterator[SourcePoints]:
    points = iter(points)
    while batch := list(islice(points, _MOST_POINTS)):
        times = [_time_us(begun, point) for point in batch]
        columns = ([point.key for point in batch], [point.step for point in batch], [point.value for point in batch])
        yield SourcePoints(run, times, *columns)


def _time_us(begun: datetime, point: _Point) -> int:
    return round((begun - EPOCH).total_seconds() * 1e6) + round(point.elapsed_s * 1e6)
