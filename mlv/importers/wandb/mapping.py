"""Offline runs of W&B as experiments: each record in the order of the file, at its own time.

A row of history becomes one line of metrics, and an event for each of its media. The step is the row's `_step`, the time its
`_timestamp`; `_runtime` follows from the times. Nested names join with `/`.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from hashlib import md5
from pathlib import Path
from typing import Any

from mlv.encoding import dumps
from mlv.errors import FileUnusable
from mlv.experiment.console.tee import TerminalLines
from mlv.experiment.importing.source import Item, RunBegins, SourceEvent, SourceExperiment, SourceFile, SourceRows
from mlv.importers import protobuf
from mlv.importers.endings import end_of
from mlv.importers.listing import SourceListing, size_of
from mlv.importers.protobuf import UNDECODABLE
from mlv.importers.reading import Opened, SourceReading, Unit
from mlv.importers.values import moment
from mlv.importers.wandb import records as r
from mlv.importers.wandb.log import records
from mlv.importers.wandb.media import MediaFiles, media_of
from mlv.optional import is_installed, package
from mlv.store import layout
from mlv.store.contents import CHUNK_BYTES, opened

NAME = "wandb"
_FILE = re.compile(r"run-(.+)\.wandb\Z")
_MOST_ROWS = 1000
"""Rows that are handed over together."""
_LATEST = 253_402_300_799.0
"""Seconds of the last moment that a date has."""
_FIRST_RECORDS = 64
"""Records in which the facts about a run stand: they are sent when it begins."""
_LOGS = ("debug.log", "debug-internal.log")
"""Links to the latest logs of W&B itself, beside the folders of runs."""
_CONSOLE = "output.log"
_OWN_FILES = ("config.yaml", "wandb-metadata.json", "wandb-summary.json")
"""Files of W&B whose content stands in records, too: credentials in them are as they were."""
_HAPPENED = frozenset({r.HISTORY, r.SUMMARY, r.CONFIG, r.STATS, r.ARTIFACT, r.ALERT, r.METRIC, r.OUTPUT, r.OUTPUT_RAW, r.EXIT})
"""Records that follow those with the facts about a run."""
_GOALS = {1: "min", 2: "max"}
_SUMMARIES = ((1, "min"), (2, "max"), (3, "mean"), (4, "best"), (6, "none"), (5, "last"), (8, "first"))
_LEVELS = {"WARN": "warning", "ERROR": "error"}


def units(listing: SourceListing) -> Iterator[Unit]:
    """Yield the runs below a folder: folders of one ID are runs of one experiment, which was resumed."""
    by_identity: dict[bytes, list[tuple[Path, _Facts]]] = {}
    for path in list(listing.files()):
        if _FILE.match(path.name):
            listing.take([path] if listing.is_file else listing.below(path.parent))
            listing.take(path.parent.parent / name for name in _LOGS)
            facts = _Facts.of(path)
            by_identity.setdefault(dumps([facts.entity, facts.project, facts.id]), []).append((path, facts))
    for runs in by_identity.values():
        runs.sort(key=lambda run: (run[1].started, str(run[0])))
        yield Unit(NAME, runs[0][0], size_of(path for path, _ in runs), _opener(runs))


def _opener(runs: list[tuple[Path, _Facts]]) -> Callable[[SourceReading], Opened]:
    def opened(reading: SourceReading) -> Opened:
        path, facts = runs[0]
        if not facts.is_begun:
            raise FileUnusable(
                f"{path} holds no more than the beginning of a run: import it when that has logged", path=str(path)
            )
        return Opened(facts.experiment(), lambda created: _items(runs, created, reading))

    return opened


def _items(runs: list[tuple[Path, _Facts]], created: datetime, reading: SourceReading) -> Iterator[Item]:
    params: dict[str, Any] = dict(runs[0][1].params)
    names: set[str] = set()
    for number, (path, facts) in enumerate(runs):
        name = path.parent.name if _FILE.match(path.parent.name) is None else path.stem
        while name in names:
            name = f"{name}_{number}"
        names.add(name)
        yield from _RunReader(name, path, facts, params, created, reading).items()


class _Facts:
    """The first records of a run: what it is, and where it ran."""

    def __init__(self, path: Path) -> None:
        match = _FILE.match(path.name)
        self.id = match[1] if match else path.stem
        self.entity = self.project = self.name = self.notes = ""
        self.started = 0.0
        self.tags: list[str] = []
        self.params: dict[str, Any] = {}
        self.more: dict[str, Any] = {}
        """Facts for which mlv has no field."""
        self.environment: dict[int, Any] = {}
        self.commit = self.remote = ""
        self.is_marked = False
        self.is_begun = False
        """Whether these facts are complete: something has happened since, or damage hides what they are."""

    @classmethod
    def of(cls, path: Path) -> _Facts:
        """Read them; of a damaged file as much as there is."""
        facts, reading = cls(path), SourceReading()
        with open(path, "rb") as file:
            for number, message in enumerate(records(file, reading)):
                if number >= _FIRST_RECORDS:
                    break
                try:
                    facts._take(r.record_of(message))
                except UNDECODABLE:
                    reading.leave("records")
        facts.is_begun = facts.is_begun or bool(reading.left)
        return facts

    def _take(self, record: r.Record) -> None:
        kind, content, is_marked = record
        self.is_begun = self.is_begun or kind in _HAPPENED
        if kind == r.RUN and not self.started:
            values = protobuf.grouped(content)
            self.id = _text(values, 1) or self.id
            self.entity, self.project, self.name, self.notes = (_text(values, number) for number in (2, 3, 8, 9))
            self.tags = _tags(values)
            self.started = r.time_of(values[17][-1]) if 17 in values else 0.0
            self.more = {
                field: _text(values, number)
                for field, number in (("group", 6), ("job_type", 7), ("sweep", 12))
                if _text(values, number)
            }
            self.environment.setdefault(12, values.get(13, [b""])[-1])
            self._take_git(values.get(21))
            self.is_marked = is_marked
            for path, value in _config(values.get(4, [b""])[-1]):
                _put(self.params, path, value)
        elif kind == r.ENVIRONMENT:
            values = protobuf.grouped(content)
            self._take_git(values.get(9))
            self.environment.update({number: found if number == 5 else found[-1] for number, found in values.items()})

    def _take_git(self, git: list[bytes] | None) -> None:
        if git:
            values = protobuf.grouped(git[-1])
            self.remote, self.commit = _text(values, 1), _text(values, 2)

    def experiment(self) -> SourceExperiment:
        """Return the experiment that the run is the first of."""
        identity = {"format": NAME, "project": self.project, "id": self.id, **self.more}
        return SourceExperiment(
            self.name or self.id,
            moment(self.started) or moment(0.0),  # type: ignore[arg-type]
            {**identity, **({"entity": self.entity} if self.entity else {})},
            params=self.params,
            tags=[*self.tags, "imported", NAME],
            notes=self.notes or None,
            captured=self._captured(),
            folders=(self.project,) if self.project else (),
        )

    def _captured(self) -> dict[str, Any]:
        texts = {number: protobuf.text(value) for number, value in self.environment.items() if isinstance(value, bytes)}
        captured: dict[str, Any] = {}
        if texts.get(6):
            arguments = [protobuf.text(word) for word in self.environment.get(5, [])]
            script = {"kind": "script", "path": texts[6], "argv": [texts[6], *arguments], "cwd": texts.get(11)}
            implementation, _, version = texts.get(2, "").rpartition(" ")
            python = {"version": version, "implementation": implementation.lower(), "executable": texts.get(14, "")}
            captured["script"] = {**script, "python": {key: value for key, value in python.items() if value}}
        if self.commit or self.remote:
            captured["git"] = {"commit": self.commit or None, "remotes": {"origin": self.remote} if self.remote else {}}
        if texts.get(12) or texts.get(1):
            cores = {"physical": self.environment.get(16), "logical": self.environment.get(17)}
            machine = {"host": texts.get(12), "user": texts.get(13), "platform": texts.get(1)}
            captured["machine"] = {**machine, "cores": {key: value for key, value in cores.items() if value}}
        return captured


class _RunReader:
    """The items of one file."""

    def __init__(
        self, name: str, path: Path, facts: _Facts, params: dict[str, Any], created: datetime, reading: SourceReading
    ) -> None:
        self._name, self._path, self._facts, self._params, self._reading = name, path, facts, params, reading
        self._time = self._latest = moment(facts.started) or created
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
        self._versions: dict[str, int] = {}
        self._tags, self._notes = list(facts.tags), facts.notes
        self._exit: dict[int, list[Any]] | None = None
        self._has_console = False

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
        tags = _tags(values)
        added, removed = [tag for tag in tags if tag not in self._tags], [tag for tag in self._tags if tag not in tags]
        if added:
            yield self._event("tags", {"tags": added})
        if removed:
            yield self._event("tags_removed", {"tags": removed})
        notes = _text(values, 9)
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
        for path, value in _config(content):
            _put(self._params, path, value)
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
            value, name = r.value_of(fields.get(16, [b"null"])[-1]), _text(fields, 1)
            for key, number in value.items() if isinstance(value, dict) else [("", value)]:
                if isinstance(number, (int, float)):
                    own, factor = _system_name(f"{name}.{key}" if key else name)
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
        name, glob, x = _text(values, 1), _text(values, 2), _text(values, 4)
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
        level = _LEVELS.get(_text(values, 3), "info")
        message = ": ".join(filter(None, [_text(values, 1), _text(values, 2)]))
        yield self._event("message", {"level": level, "message": message})

    def _artifact(self, values: dict[int, list[Any]]) -> Iterator[Item]:
        """Yield the files of an artifact, as far as they are on this machine, and an event that lists all of it."""
        name, kind = _text(values, 5), _text(values, 4)
        version = self._versions[name] = self._versions.get(name, -1) + 1
        entries = []
        manifest = protobuf.grouped(values.get(12, [b""])[-1])
        if 5 in manifest:
            self._reading.leave("lists of the files of an artifact, too long for its record")
        for content in manifest.get(4, []):
            entry = protobuf.grouped(content)
            path, digest, local = _text(entry, 1), _text(entry, 2), _text(entry, 6)
            facts = {"path": path, "digest": digest, "size": entry.get(4, [0])[-1], "ref": _text(entry, 3)}
            entries.append({key: value for key, value in facts.items() if value})
            if kind == "run_table" or not local:  # such a table is a medium of history, too; others are references
                continue
            if not Path(local).is_file():
                self._reading.leave("files of artifacts that are not on this machine")
            elif not _has_digest(Path(local), digest):
                self._reading.leave("files of artifacts that are others now than those that were logged")
            else:
                yield self._event("file", _linked(Path(local)), f"artifacts/{name}/v{version}/{path}")
        yield self._event(
            "event",
            {
                "name": name,
                "type": kind,
                "version": f"v{version}",
                "digest": _text(values, 6),
                "aliases": sorted(protobuf.text(alias) for alias in values.get(11, [])),
                "description": _text(values, 7),
                "metadata": r.value_of(values[8][-1]) if values.get(8) else {},
                "files": entries,
            },
            "artifact",
        )

    def _used_artifact(self, values: dict[int, list[Any]]) -> Iterator[Item]:
        fields = {"id": _text(values, 1), "type": _text(values, 2), "name": _text(values, 3)}
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
        status = None if self._exit is None else "ok" if not self._exit.get(1, [0])[-1] else "failed"
        yield from end_of(self._name, self._latest, status, self._closing, self._reading, length=f"{count} records")

    def _output(self, run: str, path: Path) -> Iterator[SourceEvent]:
        """Yield the lines of a console that no record has: as a file, they would keep their credentials."""
        lines = TerminalLines()
        for line in (*lines.add(path.read_bytes(), 0.0), *lines.last()):
            yield self._line("stdout", line)._replace(run=run)

    def _closing(self, run: str) -> Iterator[SourceEvent]:
        """Yield the last words of a run, and its files."""
        for name, lines in self._console.items():
            for line in lines.last():
                yield self._line(name, line)._replace(run=run)
        folder = self._files.folder
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            relative = path.relative_to(folder).as_posix()
            if not path.is_file() or relative in self._files.used or relative in _OWN_FILES:
                continue
            if relative == _CONSOLE:
                yield from () if self._has_console else self._output(run, path)
                continue
            yield self._event("file", SourceFile(path, path.suffix), relative)._replace(run=run)


def _has_digest(path: Path, digest: str) -> bool:
    """Return whether a file is the one that W&B logged: it may have changed since, and a record names any path."""
    hashes = [md5(usedforsecurity=False)]
    if is_installed("xxhash"):  # which W&B needs for artifacts that asked for this digest
        hashes.append(package("xxhash", None).xxh128())
    try:
        with opened(path) as file:
            while chunk := file.read(CHUNK_BYTES):
                for each in hashes:
                    each.update(chunk)
    except OSError:
        return False
    return digest in [b64encode(each.digest()).decode() for each in hashes]


def _linked(path: Path) -> SourceFile:
    return SourceFile(path, path.suffix, is_linked=True)


def _text(values: Mapping[int, list[Any]], number: int) -> str:
    return protobuf.text(values[number][-1]) if number in values else ""


def _tags(values: Mapping[int, list[Any]]) -> list[str]:
    """Return the tags of a run, without empty ones."""
    return [text for tag in values.get(10, []) if (text := protobuf.text(tag)).strip()]


def _message(number: int, content: bytes) -> bytes:
    """Return a message with one field."""
    size, length = len(content), b""
    while size >= 0x80:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def _config(content: bytes) -> list[tuple[r.Path, Any]]:
    """Return path and value of the params in a `ConfigRecord`, without those of W&B itself."""
    return [(path, r.value_of(text)) for path, text in r.Items().of(content) if path and path[0] != "_wandb"]


def _put(params: dict[str, Any], path: r.Path, value: Any) -> None:
    """Set a param, also one within another."""
    *around, last = path
    for key in around:
        inner = params.get(key)
        params[key] = inner = dict(inner) if isinstance(inner, dict) else {}
        params = inner
    params[last] = value


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
            _put(media[head], path[len(head) :], value)
        elif (name := "/".join(path)) in data:
            metrics[name] = data[name]
    return metrics, [("/".join(head), value) for head, value in media.items()]


_GPU = re.compile(r"gpu\.(\d+)\.(\w+)\Z")
_OF_GPU = {
    "gpu": ("percent", 1),
    "memoryAllocated": ("memory_percent", 1),
    "memoryAllocatedBytes": ("memory_used_bytes", 1),
    "temp": ("temperature_c", 1),
    "powerWatts": ("power_w", 1),
}
_SYSTEM = {
    "proc.memory.rssMB": ("process_memory_bytes", 1 << 20),
    "proc.cpu.threads": ("process_threads", 1),
    "memory": ("memory_percent", 1),
}


def _system_name(name: str) -> tuple[str, int]:
    """Return the name by which mlv knows a measurement of the machine, and a factor for its unit; others keep theirs."""
    match = _GPU.match(name)
    if match and match[2] in _OF_GPU:
        own, factor = _OF_GPU[match[2]]
        return f"gpu{match[1]}_{own}", factor
    return _SYSTEM.get(name, (name, 1))
