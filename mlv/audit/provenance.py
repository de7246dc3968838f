"""Provenance of a file: the experiments, runs and events that name its content, found by its hash alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from mlv.audit.file_history import SAVED, is_attaching, located_references, outside
from mlv.encoding import BadLine, event_from_line, loads, utc_text
from mlv.errors import FileUnusable, InvalidArgument
from mlv.events import Event
from mlv.query.unreadable import leaving_out
from mlv.store import layout, opening
from mlv.store.attached import is_inside
from mlv.store.contents import Content, content_of
from mlv.store.identities import known_ids
from mlv.store.references import absolute_path
from mlv.store.streams import lines_with

PRODUCED, USED = "produced", "used"


@dataclass(frozen=True, slots=True)
class Parent:
    """An experiment that another one started from, and the checkpoint that it started with."""

    id: str | None
    """None where the checkpoint lay outside any experiment, and no experiment below the root names it."""
    path: Path | None
    """The folder of the experiment, None where it is not below the root."""
    checkpoint: Mapping[str, Any]
    """The reference to the checkpoint in the later experiment's meta.json."""
    event: Event | None
    """The event that produced the checkpoint, where one names it."""

    def to_data(self) -> dict[str, Any]:
        """Return a mapping for JSON, without unknown fields."""
        fields = {"id": self.id, "path": self.path, "checkpoint": dict(self.checkpoint)}
        return {**{name: value for name, value in fields.items() if value}, **_event_data(self.event)}


@dataclass(frozen=True, slots=True)
class Origin:
    """A record that names the content of a file: an event, or the meta.json of an experiment."""

    role: str
    """`produced`: the experiment made the file. `used`: it refers to a file from elsewhere."""
    exp: Path
    """Folder of the experiment."""
    exp_id: str
    reference: Mapping[str, Any]
    """The reference as it is recorded; its `path` is the name that the file had."""
    where: str
    """The location of the reference: `data.file`, or `params.data` in meta.json."""
    time: str
    """The time of the event, or of the experiment's creation: UTC in ISO 8601."""
    event: Event | None
    """None where meta.json names the content."""
    parents: tuple[Parent, ...] = ()
    """The ancestors of the experiment, the nearest first."""

    def to_data(self) -> dict[str, Any]:
        """Return a mapping for JSON, without the fields that do not apply."""
        return {
            "role": self.role, "exp": {"id": self.exp_id, "path": self.exp}, "file": self.reference.get("path"),
            "where": self.where, "time": self.time, **_event_data(self.event),
            "parents": [parent.to_data() for parent in self.parents],
        }  # fmt: skip


def _event_data(event: Event | None) -> dict[str, Any]:
    if event is None:
        return {}
    fields = {
        "run": event.run, "seq": event.seq, "time": utc_text(event.time), "type": event.type, "name": event.name,
        "step": event.step, "at": dict(event.at), "stream": event.stream,
    }  # fmt: skip
    return {"event": {name: value for name, value in fields.items() if value not in (None, "", {})}}


def whence(path: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> list[Origin]:
    """Find the experiments that name a file or folder, by its content alone: producers first, then by time.

    Args:
        path: The file; it may have been renamed, copied or moved.
        root: Folder with experiments, at any depth. By default the folder around the outermost experiment that the file is
            in, else `runs`, else the current folder.

    Raises:
        FileUnusable: The file cannot be read.
        InvalidArgument: The root is no folder.
    """
    file = absolute_path(path, "path")
    return origins(content_at(file).sha256, default_root(file) if root is None else absolute_path(root, "root"))


def content_at(path: Path) -> Content:
    """Return the content of a file or folder.

    Raises:
        FileUnusable: It cannot be read.
    """
    try:
        return content_of(path)
    except OSError as error:
        raise FileUnusable(f"{path} cannot be read: {error.strerror}. Give a file or a folder", path=str(path)) from None


def default_root(path: Path) -> Path:
    """Return the folder to search: that around the outermost experiment of the file, else `runs`, else the current one."""
    around = [folder for folder in layout.absolute(path).parents if layout.is_experiment(folder)]
    if around:
        return around[-1].parent
    return Path("runs") if Path("runs").is_dir() else Path()


def origins(sha256: str, root: Path) -> list[Origin]:
    """Return all records of a content in the experiments at and below a folder: producers first, then by time.

    Raises:
        InvalidArgument: The root is no folder.
    """
    if not root.is_dir():
        raise InvalidArgument(f"root={str(root)!r} is no folder: give one that holds experiments", root=str(root))
    return _Search(root).origins(sha256)


@dataclass(frozen=True, slots=True)
class _Experiment:
    """An experiment below the root."""

    folder: Path
    id: str
    meta: bytes

    def content(self) -> dict[str, Any]:
        """Return meta.json as a mapping, empty where it cannot be read."""
        try:
            content = loads(self.meta)
        except orjson.JSONDecodeError:
            return {}
        return content if isinstance(content, dict) else {}

    def origins(self, sha256: str) -> Iterator[Origin]:
        """Yield the records of a content here; only lines whose bytes hold its digits are parsed."""
        if sha256.encode() in self.meta:
            yield from self._in_meta(sha256)
        for event, data in self._events(sha256):
            located = located_references(data, "data")
            matches = [(where, reference) for where, reference in located if reference.get("sha256") == sha256]
            if matches and not _is_moving(event):
                where, reference = min(matches, key=lambda pair: outside(pair[1], self.id))
                yield self._origin(is_attaching(event.type), reference, where, utc_text(event.time), event)

    def _events(self, sha256: str) -> Iterator[tuple[Event, Any]]:
        with leaving_out(self.folder):
            yield from events_naming(self.folder, sha256)

    def _in_meta(self, sha256: str) -> Iterator[Origin]:
        content = self.content()
        for where, reference in located_references(content):
            if reference.get("sha256") == sha256:
                yield self._origin(where.startswith("git."), reference, where, str(content.get("created", "")), None)

    def _origin(self, attaches: bool, reference: Mapping[str, Any], where: str, time: str, event: Event | None) -> Origin:
        # A path inside the experiment can be one of the store's own files, which the experiment did not produce.
        is_own = "within" in reference or (attaches and is_inside(reference.get("path")))
        role = PRODUCED if is_own and not outside(reference, self.id) else USED
        return Origin(role, self.folder, self.id, reference, where, time, event)


def _is_moving(event: Event) -> bool:
    """Return whether an event moves or removes a checkpoint that exists, and does not record a new one."""
    action = event.data.get("action", SAVED) if isinstance(event.data, dict) else SAVED
    return event.type == "checkpoint" and action != SAVED


class _Search:
    """The experiments below a root, each meta.json read once."""

    def __init__(self, root: Path) -> None:
        self._experiments = [_read_experiment(folder) for folder in layout.walk(root)]
        self._by_id = {experiment.id: experiment for experiment in self._experiments}

    def origins(self, sha256: str) -> list[Origin]:
        """Return all records of a content, each with the ancestors of its experiment."""
        return [self._with_parents(origin) for origin in self._sorted_origins(sha256)]

    def _sorted_origins(self, sha256: str) -> list[Origin]:
        origins = [origin for experiment in self._experiments for origin in experiment.origins(sha256)]
        return sorted(origins, key=lambda origin: (origin.role != PRODUCED, origin.time))

    def _with_parents(self, origin: Origin) -> Origin:
        parents = tuple(self._parents(self._by_id[origin.exp_id]))
        return Origin(
            origin.role, origin.exp, origin.exp_id, origin.reference, origin.where, origin.time, origin.event, parents
        )

    def _parents(self, experiment: _Experiment) -> Iterator[Parent]:
        """Yield the chain of parents, by their IDs, wherever their folders are now."""
        visited = {experiment.id}
        current: _Experiment | None = experiment
        while current is not None:
            parent = current.content().get("parent")
            if not isinstance(parent, dict):
                return
            checkpoint = parent.get("checkpoint")
            checkpoint = checkpoint if isinstance(checkpoint, dict) else {}
            identity = parent.get("id") if isinstance(parent.get("id"), str) else None
            source, event = self._source_of(identity, checkpoint)
            if source is None:
                yield Parent(identity, None, checkpoint, event)
                return
            yield Parent(source.id, source.folder, checkpoint, event)
            current = source if source.id not in visited else None
            visited.add(source.id)

    def _source_of(self, identity: str | None, checkpoint: Mapping[str, Any]) -> tuple[_Experiment | None, Event | None]:
        """Return the experiment that a checkpoint came from, by its ID, else by the checkpoint's hash; and the event there."""
        sha256 = checkpoint.get("sha256")
        experiment = self._of_id(identity) if identity is not None else None
        if not isinstance(sha256, str) or (identity is not None and experiment is None):
            return experiment, None
        origins = list(experiment.origins(sha256)) if experiment is not None else self._sorted_origins(sha256)
        makers = sorted((origin for origin in origins if origin.role == PRODUCED), key=lambda origin: origin.time)
        if not makers:
            return experiment, None
        return self._by_id[makers[0].exp_id], makers[0].event

    def _of_id(self, identity: str) -> _Experiment | None:
        """Return the experiment that has this ID, or had it before its meta.json was redacted."""
        if (experiment := self._by_id.get(identity)) is not None:
            return experiment
        return next((experiment for experiment in self._experiments if identity in known_ids(experiment.folder)), None)


def _read_experiment(folder: Path) -> _Experiment:
    try:
        text = opening.content(folder / layout.META)
    except OSError:
        text = b""
    return _Experiment(folder, layout.exp_id(folder), text)


def events_naming(folder: Path, sha256: str) -> Iterator[tuple[Event, Any]]:
    """Yield the events of an experiment whose lines hold the digits of a hash, and their data in JSON form.

    The digits are searched in the bytes, so that no other line is parsed.
    """
    for stream in layout.streams_in(folder):
        for line in lines_with(folder / layout.stream_file(stream), sha256.encode()):
            try:
                yield event_from_line(line, layout.logical_stream(stream)), loads(line).get("data")
            except BadLine:
                continue
