"""Files of a run that were fetched from W&B's server, or that early versions left: `wandb-summary.json`, `config.yaml` ..."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from mlv.experiment.importing.source import Item, RunBegins, SourceEvent, SourceExperiment, SourceFile
from mlv.importers import json_files, jsonl, log_lines, tables, yaml_files
from mlv.importers.endings import end_of
from mlv.importers.listing import SourceListing, size_of
from mlv.importers.reading import Opened, SourceReading, Unit
from mlv.importers.values import moment, time_of
from mlv.importers.wandb.exports.charts import NAME
from mlv.importers.wandb.exports.histories import events_of
from mlv.importers.wandb.exports.run_lists import params_of, summarized
from mlv.importers.wandb.measurements import system_name
from mlv.importers.wandb.media import MediaFiles
from mlv.store import layout

_HISTORY, _SYSTEM, _SUMMARY = "wandb-history.jsonl", "wandb-events.jsonl", "wandb-summary.json"
_METADATA, _CONFIG, _CONSOLE = "wandb-metadata.json", "config.yaml", "output.log"
_OWN = (_HISTORY, _SYSTEM, _SUMMARY, _METADATA, _CONFIG, _CONSOLE)
_FILES = "files"
_RUN = "run"


def units(listing: SourceListing) -> Iterator[Unit]:
    """Yield the folders with such files that belong to no offline run."""
    for folder in list(listing.folders):
        names = {path.name for path in listing.within(folder)}
        if not names.isdisjoint((_HISTORY, _SUMMARY, _METADATA)):
            paths = [path for path in listing.below(folder) if path not in listing.taken]
            listing.take(paths)
            place = listing.place(folder.parent if folder.name == _FILES else folder)
            yield Unit(NAME, folder, size_of(folder / name for name in _OWN), _RunFolder(folder, place, paths).open)


class _RunFolder:
    """The files of a run."""

    def __init__(self, folder: Path, place: tuple[tuple[str, ...], str], paths: list[Path]) -> None:
        self._folder, self._place, self._paths = folder, place, paths

    def open(self, reading: SourceReading) -> Opened:
        """Return the experiment, and its items."""
        folders, name = self._place
        metadata = json_files.mapping_of(self._folder / _METADATA, reading)
        begun = time_of(metadata.get("startedAt"))
        experiment = SourceExperiment(
            name,
            begun or min(tables.modified(path) for path in self._paths if path.name in _OWN),
            {"format": NAME, "path": str(self._folder.resolve())},
            params_of(yaml_files.mapping_of(self._folder / _CONFIG, reading)),
            tags=["imported", NAME],
            captured=_captured(metadata),
            folders=folders,
        )
        return Opened(experiment, lambda created: self._items(created, reading))

    def _items(self, created: datetime, reading: SourceReading) -> Iterator[Item]:
        files = MediaFiles(self._folder, reading)
        latest, count = created, 0
        yield RunBegins(_RUN, created)
        if self._folder / _HISTORY in self._paths:
            names, rows = jsonl.rows_of(self._folder / _HISTORY, reading)
            for event in events_of(_RUN, names, rows, created, files, reading):
                latest, count = max(latest, event.time), count + 1
                yield event

        if self._folder / _SYSTEM in self._paths:
            yield from self._measured(created, reading)
        console = log_lines.PrintedFile(self._folder / _CONSOLE) if self._folder / _CONSOLE in self._paths else None
        if console is not None:
            yield from console.items(_RUN, created, reading)

        def last(run: str) -> Iterator[SourceEvent]:
            summary = json_files.mapping_of(self._folder / _SUMMARY, reading)
            yield from summarized(run, summary, latest, files)
            if console is not None:
                yield from console.last(run, latest)
            for path in self._paths:
                relative = path.relative_to(self._folder).as_posix()
                if relative not in _OWN and relative not in files.used:
                    yield SourceEvent(run, latest, "file", SourceFile(path, path.suffix), relative)

        length = f"{count} events and {len(self._paths)} files"
        yield from end_of(_RUN, latest, None, last, reading, length=length, has_ends=False)

    def _measured(self, time: datetime, reading: SourceReading) -> Iterator[Item]:
        """Yield the measurements of the machine, as a run of their own: its file grows beside that of the history."""
        run = f"{_RUN} machine"
        yield RunBegins(run, time, parent=_RUN)
        for row in jsonl.rows(self._folder / _SYSTEM, reading):
            data: dict[str, Any] = {}
            for key, value in row.items():
                if key.startswith("system.") and isinstance(value, (int, float)):
                    name, factor = system_name(key.removeprefix("system."))
                    data[name] = value * factor if factor != 1 else value
            stamp = row.get("_timestamp")
            time = (moment(stamp) if isinstance(stamp, (int, float)) else None) or time
            if data:
                yield SourceEvent(run, time, "system", data, stream=layout.SYSTEM_STREAM)
        yield from end_of(run, time, None, lambda _: [], reading, length="", has_ends=False)


def _captured(metadata: Mapping[str, Any]) -> dict[str, Any]:
    captured: dict[str, Any] = {}
    program, git = metadata.get("program"), metadata.get("git")
    if isinstance(program, str) and program:
        arguments = [str(word) for word in metadata.get("args") or []]
        captured["script"] = {"kind": "script", "path": program, "argv": [program, *arguments], "cwd": metadata.get("root")}
    if isinstance(git, dict):
        remote = git.get("remote")
        captured["git"] = {"commit": git.get("commit"), "remotes": {"origin": str(remote)} if remote else {}}
    if metadata.get("host") or metadata.get("os"):
        machine = {"host": metadata.get("host"), "user": metadata.get("username"), "platform": metadata.get("os")}
        captured["machine"] = machine
    return captured
