"""Logs of DLLogger: a line `DLLL {...}` for each record, or what was printed of it."""

from __future__ import annotations

import json
import math
import re
from ast import literal_eval
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from mlv.encoding import ForeignStep
from mlv.experiment.importing.source import Item, RunBegins, SourceEvent, SourceExperiment
from mlv.importers import own_files, tables
from mlv.importers.csv_files import value_of
from mlv.importers.endings import end_of
from mlv.importers.jsonl import object_of
from mlv.importers.listing import SourceListing, size_of
from mlv.importers.reading import Opened, SourceReading, Unit
from mlv.importers.values import moment, params_added, time_of
from mlv.store import layout

NAME = "dllogger"
_SUFFIXES = (".json", ".jsonl", ".log", ".txt", ".out", "")
_LOOKED_AT = 1 << 16
_RECORD = b"DLLL {"
_PRINTED = re.compile(rb"DLLL? (\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}(?:\.\d+)?) - (.*)\Z", re.DOTALL)
_STEP = re.compile(r"(\([^()]*\)|\[[^\[\]]*\]|[^ ]+) (.*)\Z", re.DOTALL)
_METRIC = re.compile(r"(?:\A| )([^ ]+) : ")
_PARAMETER = "PARAMETER"
_LEVELS = ("epoch", "iteration", "validation_iteration")
"""What the numbers of a step count, by DLLogger's convention."""
_DESCRIBED = ("unit", "format", "description")
_SAME_START_S = 0.001


def units(listing: SourceListing) -> Iterator[Unit]:
    """Yield the files with records near their beginning."""
    for path in list(listing.files()):
        if path.suffix.lower() in _SUFFIXES and _is_log(path):
            listing.take([path])
            yield Unit(NAME, path, size_of([path]), _RecordFile(path, listing.place(path)).open)


def _is_log(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            lines = file.read(_LOOKED_AT).split(b"\n")
    except OSError:
        return False
    return any(_record(line) is not None or _PRINTED.match(line) for line in lines)


def _record(line: bytes) -> dict[str, Any] | None:
    """Return the fields of a record, None where a line is none."""
    if not line.startswith(_RECORD):
        return None
    record = object_of(line[len(_RECORD) - 1 :])
    return record if record is not None and record.get("type") in ("LOG", "METADATA") else None


class _RecordFile:
    """A file of records; each Logger that appended to it is a run."""

    def __init__(self, path: Path, place: tuple[tuple[str, ...], str]) -> None:
        self._path, self._place = path, place
        self._runs: dict[str, datetime] = {}
        """Time of the latest record, by name."""
        self._starts: list[float] = []
        """When the Loggers began, in seconds since 1970."""
        self._params: dict[str, Any] = {}

    def open(self, reading: SourceReading) -> Opened:
        """Return the experiment, and its items."""
        own_files.refuse_beside(self._path.parent, self._path.name, self._path)
        folders, name = self._place
        identity = {"format": NAME, "path": str(self._path.resolve())}
        with open(self._path, "rb") as file:
            first = next(filter(None, map(_time_of_line, file.read(_LOOKED_AT).split(b"\n"))), None)
        created = first or tables.modified(self._path)
        stem = name.rpartition(".")[0] or name
        experiment = SourceExperiment(stem, created, identity, tags=["imported", NAME], folders=folders)
        return Opened(experiment, lambda created: self._items(created, reading))

    def _items(self, created: datetime, reading: SourceReading) -> Iterator[Item]:
        latest, run = created, ""
        with open(self._path, "rb") as file:
            for line in file:
                reading.advance(len(line))
                record = _record(line)
                printed = _PRINTED.match(line.rstrip(b"\r\n")) if record is None else None
                if record is None and not line.endswith(b"\n"):  # a record is whole when its bracket is closed
                    is_torn = line.startswith(_RECORD) or (printed is None and not reading.options.is_whole)
                    if not reading.takes_open_line(is_torn=is_torn):
                        break
                begun = _start_of(record)
                name = self._run_of(begun) if record is not None else run or self._run_of(None)
                if name not in self._runs:
                    self._runs[name] = created
                    yield RunBegins(name, (moment(begun) if begun is not None else None) or latest)
                run = name
                latest = (_time(record) if record is not None else _printed_time(printed)) or latest
                self._runs[run] = max(self._runs[run], latest)
                if record is not None:
                    yield from self._logged(run, latest, record, reading)
                elif printed is not None:
                    yield from self._printed(run, latest, printed[2].decode("utf-8", "backslashreplace"), reading)
                elif line.startswith(b"DLLL"):
                    reading.leave("records that are damaged")
                elif text := line.decode("utf-8", "backslashreplace").strip():
                    data = {"level": "info", "message": text}
                    yield SourceEvent(run, latest, "message", data, "stdout", stream=layout.CONSOLE_STREAM)
        for name, time in self._runs.items():
            yield from end_of(name, time, None, lambda run: [], reading, length="", has_ends=False)

    def _run_of(self, start_s: float | None) -> str:
        """Return the name of the run of a Logger, which is known by its beginning: each record has the time since."""
        if start_s is None:
            return "log"
        number = next((index for index, other in enumerate(self._starts) if abs(other - start_s) <= _SAME_START_S), None)
        if number is None:
            number = len(self._starts)
            self._starts.append(start_s)
        return f"log {number + 1}" if number else "log"

    def _logged(self, run: str, time: datetime, record: Mapping[str, Any], reading: SourceReading) -> Iterator[Item]:
        if record["type"] == "METADATA":
            yield from _described(run, time, record.get("metric"), record.get("metadata"))
        elif isinstance(record.get("data"), dict):
            yield from self._data(run, time, record.get("step"), record["data"])
        else:
            yield SourceEvent(
                run, time, "event", {"data": record.get("data")}, "dllogger/record", *_step_and_coordinates(record.get("step"))
            )

    def _printed(self, run: str, time: datetime, text: str, reading: SourceReading) -> Iterator[Item]:
        match = _STEP.match(text)
        names = list(_METRIC.finditer(match[2])) if match else []
        if match is None or not names or names[0].start():
            reading.leave("printed records that cannot be told apart")
            return
        step: Any = match[1]
        with suppress(ValueError, SyntaxError):
            step = literal_eval(step)
        data = {}
        for metric, following in zip(names, [*names[1:], None], strict=True):
            text = match[2][metric.end() : following.start() if following else None].rstrip(" ")
            value, _, unit = text.partition(" ")
            number = value_of(value)  # behind it stands its unit
            data[metric[1]] = number if not isinstance(number, str) or not unit else text
        yield from self._data(run, time, list(step) if isinstance(step, tuple) else step, data)

    def _data(self, run: str, time: datetime, step: Any, data: dict[str, Any]) -> Iterator[Item]:
        if step == _PARAMETER:
            for type_, params in params_added(self._params, data):
                yield SourceEvent(run, time, type_, params)
        elif not data:
            return
        elif step == []:  # what stands for the whole training
            yield SourceEvent(run, time, "summary", data)
        else:
            yield SourceEvent(run, time, "metrics", data, "", *_step_and_coordinates(step))


def _step_and_coordinates(step: Any) -> tuple[Any, dict[str, Any]]:
    """Return step and coordinates of a record: one number is a step, several count epochs, and iterations in them."""
    if isinstance(step, list) and step and all(type(number) is int for number in step):
        at = dict(zip(_LEVELS, step, strict=False))
        return (step[0], at) if len(step) == 1 else (ForeignStep(tuple(step)), at)
    if step is None or (isinstance(step, (int, float)) and not isinstance(step, bool)):
        return step, {}
    return ForeignStep(step if isinstance(step, str) else json.dumps(step)), {}


def _described(run: str, time: datetime, metric: Any, metadata: Any) -> Iterator[Item]:
    if isinstance(metric, str) and metric and isinstance(metadata, dict):
        texts = {key: value for key in _DESCRIBED if isinstance(value := metadata.get(key), str)}
        if "format" in texts:
            texts["format"] = texts["format"].strip("{}:")
        if texts:
            yield SourceEvent(run, time, "metadata", texts, metric)
        if len(texts) == len(metadata):
            return
    yield SourceEvent(run, time, "event", {"metric": metric, "metadata": metadata}, "dllogger/metadata")


def _seconds(value: Any) -> float | None:
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) else None


def _time(record: Mapping[str, Any] | None) -> datetime | None:
    seconds = _seconds(record.get("timestamp")) if record is not None else None
    return moment(seconds) if seconds is not None else None


def _start_of(record: Mapping[str, Any] | None) -> float | None:
    seconds, elapsed = (_seconds(record.get(key)) if record is not None else None for key in ("timestamp", "elapsedtime"))
    return seconds - elapsed if seconds is not None and elapsed is not None else None


def _printed_time(match: re.Match[bytes] | None) -> datetime | None:
    """Return the time of a printed record, which names no zone: it is taken as UTC."""
    return time_of(match[1].decode()) if match is not None else None


def _time_of_line(line: bytes) -> datetime | None:
    return _time(_record(line)) or _printed_time(_PRINTED.match(line))
