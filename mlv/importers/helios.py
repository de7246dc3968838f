"""Runs of helios: a text log, and the event files of its TensorBoard writer, in a folder of the same name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from mlv.experiment.importing.source import Item, RunBegins, SourceEvent, SourceExperiment
from mlv.importers import own_files
from mlv.importers.endings import end_of
from mlv.importers.listing import SourceListing, size_of
from mlv.importers.log_lines import LogForm, Message
from mlv.importers.reading import Opened, SourceReading, Unit
from mlv.importers.tensorboard.folders import EventFolder, event_folders, refuse_own

NAME = "helios"
_FILE = re.compile(r".+_\w{3}\d{2}_\d{2}-\d{2}-\d{2}\.log\Z")
"""`<run>_Nov21_03-40-24.log`; the name of the month is that of the locale."""
_LINES = LogForm(
    re.compile(r"\[(?P<time>\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2},\d{3})\] \[(?P<level>[A-Z]+)\]: (?P<text>.*)\Z"),
    "%Y-%m-%d %H:%M:%S,%f",
)
_RUN = "log"


def units(listing: SourceListing) -> Iterator[Unit]:
    """Yield the runs that have a text log; event files without one are TensorBoard's."""
    by_name: dict[str, list[Path]] = {}
    for folder in listing.folders:
        by_name.setdefault(folder.name, []).append(folder)
    logs: dict[Path, Message] = {}
    for path in list(listing.files()):
        is_named = path.suffix == ".log" and (path.stem in by_name or _FILE.match(path.name))
        first = _LINES.first(path) if is_named else None
        if first is not None:
            logs[path] = first
    listing.take(logs)
    by_stem: dict[str, list[Path]] = {}
    for path in logs:
        by_stem.setdefault(path.stem, []).append(path)
    by_log: dict[Path, list[Path]] = {}
    for stem, paths in by_stem.items():
        for folder in by_name.get(stem, ()):
            owner = _nearest(paths, folder)
            if owner is not None:
                by_log.setdefault(owner, []).append(folder)
    for path, first in logs.items():
        folders = by_log.get(path, [])
        events = [inner for folder in folders for inner in event_folders(listing, folder)]
        size_bytes = size_of([path]) + sum(each.size_bytes for each in events)
        yield Unit(NAME, path, size_bytes, _HeliosRun(path, first, folders, events, listing.place(path)[0]).open)


def _nearest(logs: Sequence[Path], folder: Path) -> Path | None:
    """Return the log of a folder's name that shares most folders around with it; None where there is none, or several do."""
    shared = {path: len(os.path.commonpath([path.parent, folder])) for path in logs}
    most = max(shared.values(), default=0)
    nearest = [path for path in logs if shared[path] == most]
    return nearest[0] if len(nearest) == 1 else None


class _HeliosRun:
    """A run: its log, and its event files."""

    def __init__(
        self, path: Path, first: Message, folders: list[Path], events: list[EventFolder], around: tuple[str, ...]
    ) -> None:
        self._path, self._first, self._folders, self._events, self._around = path, first, folders, events, around

    def open(self, reading: SourceReading) -> Opened:
        """Return the experiment, and its items."""
        for folder in (self._path.parent, *self._folders):
            own_files.refuse_beside(folder, self._path.stem, self._path)
        for events in self._events:
            refuse_own(events.files[0].path)
        identity = {"format": NAME, "name": self._path.stem, "begun": self._first.time.isoformat()}
        experiment = SourceExperiment(
            self._path.stem, self._first.time, identity, tags=["imported", NAME], folders=self._around
        )
        return Opened(experiment, lambda created: self._items(created, reading))

    def _items(self, created: datetime, reading: SourceReading) -> Iterator[Item]:
        reading.note("the log names no zone: its times are taken as UTC")
        yield RunBegins(_RUN, created)
        latest = created
        for message in _LINES.messages(self._path, reading):
            latest = max(latest, message.time)
            yield SourceEvent(_RUN, message.time, "message", {"level": message.level, "message": message.text})
        yield from end_of(_RUN, latest, None, lambda run: [], reading, length="", has_ends=False)
        for events in self._events:
            yield from events.items(created, reading)
