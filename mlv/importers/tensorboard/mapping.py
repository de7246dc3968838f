"""Event files as the items of an experiment: each file is a run, each record an event at its own time.

Scalars of one record are one line of metrics; tags are names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from mlv.experiment.importing.source import Item, RunBegins, RunEnds, SourceEvent, SourceFile, SourcePoints
from mlv.importers import protobuf
from mlv.importers.protobuf import UNDECODABLE
from mlv.importers.reading import SourceReading
from mlv.importers.tensorboard import records as r
from mlv.importers.tensorboard.plugins import converted
from mlv.importers.values import moment, params_added

_OF_HPARAMS = re.compile(r"\d{9,}\.\d+\Z")
PROJECTOR = "projector_config.pbtxt"
"""Settings of an embedding projector; its run is named as they are."""
_START = 1
"""Of a session log: a writer goes on from a step, and what was written from there on is purged."""
_LEVELS = {10: "debug", 30: "warning", 40: "error", 50: "error"}
_TEXT_END = "/text_summary"


class MappedEventFile(NamedTuple):
    """A file of events, in the folder of an experiment or in one of its own there."""

    path: Path
    part: str
    """Name of its folder in the one of the experiment; empty in that itself."""
    name: str
    begun: float
    """Time of its first record."""


def is_of_hparams(part: str) -> bool:
    """Return whether a folder is one that `add_hparams` makes, named by its time."""
    return _OF_HPARAMS.match(part) is not None


def curve_of(part: str, tag: str) -> str:
    """Return the curve that a folder of `add_scalars` is named for: torch joins tag and curve by `_`, tensorboardX by `/`."""
    for beginning in (f"{tag}/", f"{tag.replace('/', '_')}_"):
        if part.startswith(beginning) and "/" not in part.removeprefix(beginning):
            return part.removeprefix(beginning)
    return ""


def items_of(
    files: Sequence[MappedEventFile], projected: Sequence[Path], created: datetime, reading: SourceReading
) -> Iterator[Item]:
    """Yield the items: all runs begin before the first event, since files that are written side by side grow in any order."""
    main = next((file.name for file in files if not file.part), None)
    for file in files:
        parent = main if file.part and main is not None else None
        yield RunBegins(file.name, moment(file.begun) or created, parent=parent)
    ends, before = [], dict[str, list[str]]()
    params: dict[str, Any] = {}
    for file in files:
        reader = _FileReader(file, before.setdefault(file.part, []), params, moment(file.begun) or created, reading)
        yield from reader.items()
        before[file.part].append(file.name)
        ends.append(RunEnds(file.name, reader.latest, reader.status))
    if reading.options.follows:
        return
    yield from ends
    if projected:
        latest = max(end.time for end in ends)
        yield RunBegins(PROJECTOR, latest, parent=files[0].name)
        for path in projected:
            is_below = ".." not in path.parts and path.is_relative_to(projected[0].parent)
            if not is_below or not reading.takes_file(path, projected[0].parent):
                reading.leave("files of a projector that are gone, or lie elsewhere")
                continue
            name = f"projector/{path.relative_to(projected[0].parent).as_posix()}"
            yield SourceEvent(PROJECTOR, latest, "file", SourceFile(path, path.suffix), name)
        yield RunEnds(PROJECTOR, latest, "ended")


class _FileReader:
    """The items of one file."""

    def __init__(
        self, file: MappedEventFile, before: Sequence[str], params: dict[str, Any], begun: datetime, reading: SourceReading
    ) -> None:
        self._file, self._before, self._params, self._reading = file, before, params, reading
        self._time = self.latest = begun
        self.status = "ended"
        """How the run ended, as far as the file says."""
        self._plugins: dict[str, str] = {}
        """By tag: only its first value names the plugin."""
        self._names: dict[str, str] = {}

    def items(self) -> Iterator[Item]:
        """Yield them."""
        for record in r.records(self._file.path, self._reading):
            if isinstance(record, r.Points):
                yield self._points(record)
                continue
            try:
                yield from list(self._event(r.event_of(record)))
            except UNDECODABLE:
                self._reading.leave("records that cannot be decoded")

    def _points(self, points: r.Points) -> SourcePoints:
        names = {tag: self._names.get(tag) or self._name(tag) for tag in set(points.tags)}
        self._at(max(points.times))
        times = [round(time * 1e6) for time in points.times]
        return SourcePoints(self._file.name, times, [names[tag] for tag in points.tags], points.steps, points.values)

    def _at(self, seconds: float) -> None:
        self._time = time = (moment(seconds) if 0 <= seconds < r.LATEST else None) or self.latest
        if time > self.latest:
            self.latest = time

    def _name(self, tag: str) -> str:
        """Return the name of a tag in the experiment."""
        part = self._file.part
        curve = curve_of(part, tag)
        name = f"{tag}/{curve}" if curve else tag if not part or is_of_hparams(part) else f"{part}/{tag}"
        self._names[tag] = name = name or "value"
        return name

    def _item(self, type_: str, data: Any, name: str = "", step: Any = None) -> SourceEvent:
        return SourceEvent(self._file.name, self._time, type_, data, name, step)

    def _event(self, event: r.EventRecord) -> Iterator[Item]:
        self._at(event.time)
        step, content = event.step, event.fields
        for summary in content.get(r.SUMMARY, []):
            yield from self._summary(summary, step)
        for number, name in ((r.GRAPH, "graph"), (r.META_GRAPH, "meta_graph")):
            for graph in content.get(number, []):
                yield self._item("file", SourceFile(protobuf.octets(graph), ".pb"), self._file_name(f"{name}.pb"), step)
        for message in content.get(r.LOG_MESSAGE, []):
            fields = protobuf.grouped(message)
            level = _LEVELS.get(fields.get(1, [0])[-1], "info")
            yield self._item("message", {"level": level, "message": protobuf.text(fields.get(2, [b""])[-1])}, "", step)
        for session in content.get(r.SESSION, []):
            yield from self._session(session, step)
        for metadata in content.get(r.RUN_METADATA, []):
            fields = protobuf.grouped(metadata)
            name = f"run_metadata/{protobuf.text(fields.get(1, [b'run'])[-1])}.pb"
            content_ = protobuf.octets(fields.get(2, [b""])[-1])
            yield self._item("file", SourceFile(content_, ".pb"), self._file_name(name), step)

    def _file_name(self, name: str) -> str:
        return f"{self._file.part}/{name}" if self._file.part else name

    def _session(self, session: bytes, step: int) -> Iterator[Item]:
        fields = protobuf.grouped(session)
        if fields.get(1, [0])[-1] == _START and step > 0:
            yield self._item("rewound", {"step": step - 1, "last": [*self._before, self._file.name]})
        elif fields.get(2):
            path = protobuf.text(fields[2][-1])
            yield self._item("event", {"path": path}, "checkpoint", step)

    def _summary(self, summary: bytes, step: int) -> Iterator[Item]:
        metrics: dict[str, float] = {}
        for value in r.values_of(summary):
            tag = value.tag
            plugin = value.plugin or self._plugins.get(tag, "")
            if value.plugin:
                self._plugins[tag] = value.plugin
            if plugin == "hparams":
                yield from self._hparams(value)
                continue
            name = self._names.get(tag) or self._name(tag)
            number = _scalar(value, plugin)
            if number is not None:
                if value.description:
                    yield self._item("metadata", {"description": value.description}, name)
                if name in metrics:
                    yield self._item("metrics", metrics, "", step)
                    metrics = {}
                metrics[name] = number
                continue
            for type_, data, ending in converted(value, plugin):
                yield self._item(type_, data, f"{name.removesuffix(_TEXT_END)}{ending}", step)
        if metrics:
            yield self._item("metrics", metrics, "", step)

    def _hparams(self, value: r.Value) -> Iterator[Item]:
        content = protobuf.grouped(value.content)
        for start in content.get(3, []):
            params: dict[str, Any] = {}
            for entry in protobuf.grouped(start).get(1, []):
                fields = protobuf.grouped(entry)
                params[protobuf.text(fields.get(1, [b""])[-1])] = _plain(fields.get(2, [b""])[-1])
            for type_, data in params_added(self._params, params):
                yield self._item(type_, data)
        for end in content.get(4, []):
            self.status = {1: "ok", 2: "failed"}.get(protobuf.grouped(end).get(1, [0])[-1], self.status)
        # The experiment of the plugin lists which params and metrics its page shows: nothing that was measured.


def _plain(message: bytes) -> Any:
    """Return a `google.protobuf.Value`."""
    for number, value in protobuf.fields(message):
        if number == 2:
            number_ = protobuf.double(value)
            return int(number_) if number_.is_integer() and abs(number_) < 1 << 53 else number_
        if number == 3:
            return protobuf.text(value)
        if number == 4:
            return bool(value)
        if number == 6:
            return [_plain(item) for item in protobuf.grouped(value).get(1, [])]
        if number == 5:
            entries = [protobuf.grouped(entry) for entry in protobuf.grouped(value).get(1, [])]
            return {protobuf.text(entry[1][-1]): _plain(entry.get(2, [b""])[-1]) for entry in entries if 1 in entry}
    return None


def _scalar(value: r.Value, plugin: str) -> float | None:
    """Return the number of a scalar, None where the value is another one."""
    if 2 in value.fields:
        return protobuf.single(value.fields[2][-1])
    if plugin != "scalars" or 8 not in value.fields:
        return None
    tensor = r.tensor_of(value.fields[8][-1])
    if isinstance(tensor, (bytes, list)) or tensor.size != 1:
        return None
    number: float = tensor.reshape(-1)[0].item()
    return number
