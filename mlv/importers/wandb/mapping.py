"""Offline runs of W&B as experiments: each record in the order of the file, at its own time.

A row of history becomes one line of metrics, and an event for each of its media. The step is the row's `_step`, the time its
`_timestamp`; `_runtime` follows from the times. Nested names join with `/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from mlv.encoding import dumps
from mlv.errors import FileUnusable
from mlv.experiment.console.tee import TerminalLines
from mlv.experiment.importing.source import Item, RunBegins, SourceEvent, SourceFile, SourceRows
from mlv.importers import log_lines, protobuf
from mlv.importers.endings import end_of
from mlv.importers.listing import SourceListing, size_of
from mlv.importers.protobuf import UNDECODABLE, text_of
from mlv.importers.reading import Opened, SourceReading, Unit
from mlv.importers.values import moment
from mlv.importers.wandb import records as r
from mlv.importers.wandb.artifacts import LoggedArtifacts
from mlv.importers.wandb.facts import FILE, NAME, RunFacts, config_items, set_at, tags_of
from mlv.importers.wandb.log import records
from mlv.importers.wandb.measurements import system_name
from mlv.importers.wandb.media import MediaFiles, media_of
from mlv.store import layout

_MOST_ROWS = 1000
"""Rows that are handed over together."""
_LATEST = 253_402_300_799.0
"""Seconds of the last moment that a date has."""
_LOGS = ("debug.log", "debug-internal.log")
"""Links to the latest logs of W&B itself, beside the folders of runs."""
_CONSOLE = "output.log"
_OWN_FILES = ("config.yaml", "wandb-metadata.json", "wandb-summary.json")
"""Files of W&B whose content stands in records, too: credentials in them are as they were."""
_GOALS = {1: "min", 2: "max"}
_SUMMARIES = ((1, "min"), (2, "max"), (3, "mean"), (4, "best"), (6, "none"), (5, "last"), (8, "first"))
_LEVELS = {"WARN": "warning", "ERROR": "error"}


def units(listing: SourceListing) -> Iterator[Unit]:
    """Yield the runs below a folder: folders of one ID are runs of one experiment, which was resumed."""
    by_identity: dict[bytes, list[tuple[Path, RunFacts]]] = {}
    for path in list(listing.files()):
        if FILE.match(path.name):
            listing.take([path] if listing.is_file else listing.below(path.parent))
            listing.take(path.parent.parent / name for name in _LOGS)
            facts = RunFacts.of(path)
            by_identity.setdefault(dumps([facts.entity, facts.project, facts.id]), []).append((path, facts))
    for runs in by_identity.values():
        runs.sort(key=lambda run: (run[1].started, str(run[0])))
        yield Unit(NAME, runs[0][0], size_of(path for path, _ in runs), partial(_opened, runs))


def _opened(runs: list[tuple[Path, RunFacts]], reading: SourceReading) -> Opened:
    path, facts = runs[0]
    if not facts.is_begun:
        raise FileUnusable(f"{path} holds no more than the beginning of a run: import it when that has logged", path=str(path))
    return Opened(facts.experiment(), lambda created: _items(runs, created, reading))


def _items(runs: list[tuple[Path, RunFacts]], created: datetime, reading: SourceReading) -> Iterator[Item]:
    params: dict[str, Any] = dict(runs[0][1].params)
    names: set[str] = set()
    for number, (path, facts) in enumerate(runs):
        name = path.parent.name if FILE.match(path.parent.name) is None else path.stem
        while name in names:
            name = f"{name}_{number}"
        names.add(name)
        yield from _RunReader(name, path, facts, params, created, reading).items()


class _RunReader:
    """The items of one file."""

    def __init__(
        self, name: str, path: Path, facts: RunFacts, params: dict[str, Any], created: datetime, reading: SourceReading
    ) -> None:
        self._name, self._path, self._facts, self._params, self._reading = name, path, facts, params, reading
        self._time = self._latest = self._begun = moment(facts.started) or created
        self._items = r.Items()
        self._seen: set[str] = set()
        """Names of metrics."""
        self._typed: set[str] = set()
        """Names of the field `_type` in media."""
        self._definitions: list[tuple[str, bool, dict[str, Any]]] = []
        self._times: list[int] = []
        self._steps: list[int] = []
        self._rows: list[dict[str, Any]] = []
        """Rows that were taken, and are yet to be yielded."""
        self._row: dict[str, Any] = {}
        """The latest values, by name, for files whose summaries do not say who made them."""
        self._console = {"stdout": TerminalLines(), "stderr": TerminalLines()}
        self._files = MediaFiles(path.parent / "files", reading)
        self._artifacts = LoggedArtifacts(reading)
        self._tags, self._notes = list(facts.tags), facts.notes
        self._exit: dict[int, list[Any]] | None = None
        self._has_console = False
        self._printed_file: log_lines.PrintedFile | None = None

    def items(self) -> Iterator[Item]:
        """Yield them."""
        own = {key: value for key, value in self._facts.params.items() if key not in self._params or self._params[key] != value}
        self._params.update(own)
        yield RunBegins(self._name, self._time, own or None)
        count = 0
        with open(self._path, "rb") as file:
            for message in records(file, self._reading):
                count += 1
                try:
                    kind, content, is_marked = r.record_of(message)
                    if kind == r.SUMMARY and not is_marked and self._facts.is_marked:
                        continue  # W&B made it from the rows
                    if kind == r.HISTORY and self._take_plain(content):
                        if len(self._rows) >= _MOST_ROWS:
                            yield self._batch()
                        continue
                    if self._rows:
                        yield self._batch()
                    if kind == r.HISTORY:
                        yield from self._history(content)
                    elif kind == r.SUMMARY:
                        yield from self._summary(content)
                    else:
                        yield from self._other(kind, content)
                except UNDECODABLE:
                    self._reading.leave("records that cannot be decoded")
        if self._rows:
            yield self._batch()
        yield from self._end(count)

    def _event(self, type_: str, data: Any, name: str = "", step: Any = None, stream: str = "log") -> SourceEvent:
        return SourceEvent(self._name, self._time, type_, data, name, step, stream=stream)

    def _at(self, seconds: float | None) -> None:
        """Set the time of the events that follow."""
        self._time = time = (moment(seconds) if seconds is not None else None) or self._latest
        if time > self._latest:
            self._latest = time

    def _take_plain(self, content: bytes) -> bool:
        """Take a row without media whose names have all occurred before, as nearly all are; return whether it is one."""
        names, texts = self._items.row(content)
        if not self._seen.issuperset(names):
            return False
        data = dict(zip(names, r.values_of(texts), strict=True))
        if len(data) < len(names):
            return False
        step, seconds = data.pop("_step", None), data.pop("_timestamp", None)
        data.pop("_runtime", None)
        if type(step) is not int or type(seconds) is not float or not data or dict in map(type, data.values()):
            return False
        if not 0 <= seconds < _LATEST or (self._typed and not self._typed.isdisjoint(data)):
            return False
        if not self._facts.is_marked:
            self._row.update(data)
        # W&B writes the names of a row in any order.
        self._rows.append(dict(sorted(data.items())))
        self._times.append(round(seconds * 1e6))
        self._steps.append(step)
        return True

    def _batch(self) -> SourceRows:
        """Return the rows that were taken, and go on from the time of the last one."""
        batch = SourceRows(self._name, self._times, self._steps, self._rows)
        self._at(max(self._times) / 1e6)
        self._at(self._times[-1] / 1e6)
        self._times, self._steps, self._rows = [], [], []
        return batch

    def _history(self, content: bytes) -> Iterator[Item]:
        names, texts = self._items.row(content)
        values, paths = r.values_of(texts), [self._items.paths[name] for name in names]
        for name, path in zip(names, paths, strict=True):
            if name not in self._seen:
                self._seen.add(name)
                if path[-1:] == ("_type",):
                    self._typed.add(name)
                else:
                    yield from self._described(path, name)
        data = dict(zip(names, values, strict=True))
        if len(data) < len(names):
            self._reading.leave("values of a row whose joined name another one has", len(names) - len(data))
        step, seconds = data.pop("_step", None), data.pop("_timestamp", None)
        data.pop("_runtime", None)
        self._at(seconds if isinstance(seconds, (int, float)) else None)
        if type(step) is not int:
            step = self._step_of(content)
        media: list[tuple[str, Any]] = []
        if not self._typed.isdisjoint(data):
            data, media = _without_media(paths, values, data)
        whole = [name for name, value in data.items() if type(value) is dict and "_type" in value]
        media += [(name, data.pop(name)) for name in whole]
        if data:
            self._row.update(data)
            yield self._event("metrics", dict(sorted(data.items())), step=step)
        for name, value in sorted(media, key=lambda pair: pair[0]):
            for medium in media_of(value, self._files):
                yield self._event(medium.type, medium.data, name, step)

    @staticmethod
    def _step_of(content: bytes) -> int | None:
        steps = protobuf.grouped(content).get(2)
        number = protobuf.grouped(steps[-1]).get(1, [0])[-1] if steps else None
        return protobuf.signed(number) if isinstance(number, int) else None

    def _described(self, path: r.Path, name: str) -> Iterator[Item]:
        """Yield the description of a metric that occurs for the first time, of definitions that do not name it exactly."""
        for pattern, is_glob, data in self._definitions:
            is_nested = len(path) > 1 and pattern == ".".join(path)
            if is_nested or (is_glob and name.startswith(pattern[:-1]) and not name.startswith("_")):
                yield self._event("metadata", data, name)

    def _summary(self, content: bytes) -> Iterator[Item]:
        values = protobuf.grouped(content)
        if values.get(2):
            self._reading.leave("removals of values of the summary", len(values[2]))
        data: dict[str, Any] = {}
        media: dict[str, dict[str, Any]] = {}
        for path, text in self._items.of(content):
            value, name = r.value_of(text), "/".join(path)
            if not path or path[0].startswith("_") or (not self._facts.is_marked and self._is_of_history(name, value)):
                continue
            if isinstance(value, dict) and "_type" in value:
                media[name] = value
            else:
                data[name] = value
        if data:
            yield self._event("summary", data)
        for name, value in media.items():
            for medium in media_of(value, self._files):
                yield self._event(medium.type, medium.data, name)

    def _is_of_history(self, name: str, value: Any) -> bool:
        if name in self._row:
            return bool(self._row[name] == value) or isinstance(value, dict)
        return any(other.startswith(f"{name}/") for other in self._row)

    def _other(self, kind: int, content: bytes) -> Iterator[Item]:
        convert = self._converters.get(kind)
        if convert is not None:
            yield from convert(self, protobuf.grouped(content))
        elif kind not in r.WITHOUT_CONTENT and kind:
            self._reading.leave(f"records of a type that mlv does not know (field {kind})")

    def _header(self, values: dict[int, list[Any]]) -> Iterator[Item]:
        yield from ()

    def _run(self, values: dict[int, list[Any]]) -> Iterator[Item]:
        tags = tags_of(values)
        added, removed = [tag for tag in tags if tag not in self._tags], [tag for tag in self._tags if tag not in tags]
        if added:
            yield self._event("tags", {"tags": added})
        if removed:
            yield self._event("tags_removed", {"tags": removed})
        notes = text_of(values, 9)
        if notes and notes != self._notes:
            yield self._event("note", {"text": notes})
        self._tags, self._notes = tags, notes or self._notes
        yield from self._changed_params(values.get(4, [b""])[-1])

    def _config_record(self, values: dict[int, list[Any]]) -> Iterator[Item]:
        if values.get(2):
            self._reading.leave("removals of params", len(values[2]))
        for content in [_message(1, item) for item in values.get(1, [])]:
            yield from self._changed_params(content)

    def _changed_params(self, content: bytes) -> Iterator[Item]:
        before = {key: dict(value) if isinstance(value, dict) else value for key, value in self._params.items()}
        for path, value in config_items(content):
            set_at(self._params, path, value)
        added = {key: value for key, value in self._params.items() if key not in before}
        changed = {key: value for key, value in self._params.items() if key in before and before[key] != value}
        if added:
            yield self._event("params", added)
        if changed:
            yield self._event("params_changed", changed)

    def _stats(self, values: dict[int, list[Any]]) -> Iterator[Item]:
        self._at(r.time_of(values[2][-1]) if 2 in values else None)
        data: dict[str, Any] = {}
        for item in values.get(3, []):
            fields = protobuf.grouped(item)
            value, name = r.value_of(fields.get(16, [b"null"])[-1]), text_of(fields, 1)
            for key, number in value.items() if isinstance(value, dict) else [("", value)]:
                if isinstance(number, (int, float)):
                    own, factor = system_name(f"{name}.{key}" if key else name)
                    data[own] = number * factor if factor != 1 else number
        if data:
            yield self._event("system", data, stream=layout.SYSTEM_STREAM)

    def _printed(self, values: dict[int, list[Any]]) -> Iterator[Item]:
        self._has_console = True
        self._at(r.time_of(values[2][-1]) if 2 in values else None)
        name = "stdout" if values.get(1, [0])[-1] == 1 else "stderr"
        for line in self._console[name].add(values.get(3, [b""])[-1], 0.0):
            yield self._line(name, line)

    def _line(self, name: str, line: str) -> SourceEvent:
        return self._event("message", {"level": "info", "message": line}, name, stream=layout.CONSOLE_STREAM)

    def _metric(self, values: dict[int, list[Any]]) -> Iterator[Item]:
        name, glob, x = text_of(values, 1), text_of(values, 2), text_of(values, 4)
        chosen = protobuf.grouped(values.get(7, [b""])[-1])
        summaries = [word for number, word in _SUMMARIES if chosen.get(number, [0])[-1]]
        if len(summaries) > 1:
            self._reading.note(f"metric {name or glob} has several summaries: {summaries[0]} stands for it")
        data = {
            **({"x": _plain(x)} if x and x != "_step" else {}),
            **({"summary": summaries[0]} if summaries else {}),
            **({"mode": mode} if (mode := _GOALS.get(values.get(8, [0])[-1])) else {}),
        }
        if data and (name or glob):
            self._definitions.append((_plain(glob or name), bool(glob), data))
            if name:
                yield self._event("metadata", data, _plain(name))

    def _alert(self, values: dict[int, list[Any]]) -> Iterator[Item]:
        level = _LEVELS.get(text_of(values, 3), "info")
        message = ": ".join(filter(None, [text_of(values, 1), text_of(values, 2)]))
        yield self._event("message", {"level": level, "message": message})

    def _artifact(self, values: dict[int, list[Any]]) -> Iterator[Item]:
        for type_, data, name in self._artifacts.events(values):
            yield self._event(type_, data, name)

    def _used_artifact(self, values: dict[int, list[Any]]) -> Iterator[Item]:
        fields = {"id": text_of(values, 1), "type": text_of(values, 2), "name": text_of(values, 3)}
        yield self._event("event", {key: value for key, value in fields.items() if value}, "used_artifact")

    def _exited(self, values: dict[int, list[Any]]) -> Iterator[Item]:
        self._exit = values
        yield from ()

    _converters: Mapping[int, Callable[[_RunReader, dict[int, list[Any]]], Iterable[Item]]] = {
        r.HEADER: _header,
        r.ENVIRONMENT: _header,
        r.FILES: _header,
        r.RUN: _run,
        r.CONFIG: _config_record,
        r.STATS: _stats,
        r.OUTPUT: _printed,
        r.OUTPUT_RAW: _printed,
        r.METRIC: _metric,
        r.ALERT: _alert,
        r.ARTIFACT: _artifact,
        r.USED_ARTIFACT: _used_artifact,
        r.EXIT: _exited,
    }

    def _end(self, count: int) -> Iterator[Item]:
        self._time = self._latest
        console = self._files.folder / _CONSOLE
        is_over = self._exit is not None or not self._reading.options.follows  # records with it may still come
        if is_over and not self._has_console and self._reading.takes_file(console, self._files.folder):
            # No record has what was printed: as a file, it would keep its credentials.
            self._printed_file = log_lines.PrintedFile(console)
            yield from self._printed_file.items(self._name, self._begun, self._reading)
        status = None if self._exit is None else "ok" if not self._exit.get(1, [0])[-1] else "failed"
        yield from end_of(self._name, self._latest, status, self._closing, self._reading, length=f"{count} records")

    def _closing(self, run: str) -> Iterator[SourceEvent]:
        """Yield the last words of a run, and its files."""
        for name, lines in self._console.items():
            for line in lines.last():
                yield self._line(name, line)._replace(run=run)
        if self._printed_file is not None:
            yield from self._printed_file.last(run, self._time)
        folder = self._files.folder
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            relative = path.relative_to(folder).as_posix()
            if relative in self._files.used or relative in (*_OWN_FILES, _CONSOLE):
                continue
            if not self._reading.takes_file(path, folder):
                continue
            yield self._event("file", SourceFile(path, path.suffix), relative)._replace(run=run)


def _message(number: int, content: bytes) -> bytes:
    """Return a message with one field."""
    size, length = len(content), b""
    while size >= 0x80:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def _plain(name: str) -> str:
    r"""Return the name of a metric without the escapes that W&B writes: a dot in a name is `\.` there."""
    return name.replace("\\.", ".")


def _without_media(
    paths: list[r.Path], values: list[Any], data: dict[str, Any]
) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """Return the metrics of a row, and its media: the fields of each stand in items of their own."""
    heads = [path[:-1] for path in paths if path[-1:] == ("_type",)]
    # The outermost: an image may hold masks, which are media themselves.
    heads = [head for head in heads if not any(head[: len(other)] == other for other in heads if len(other) < len(head))]
    media: dict[r.Path, dict[str, Any]] = {head: {} for head in heads}
    metrics = {}
    for path, value in zip(paths, values, strict=True):
        head = next((path[: len(head)] for head in heads if path[: len(head)] == head), None)
        if head is not None:
            set_at(media[head], path[len(head) :], value)
        elif (name := "/".join(path)) in data:
            metrics[name] = data[name]
    return metrics, [("/".join(head), value) for head, value in media.items()]
