"""Where a file comes from: which experiments, runs and events name its content, found by its hash alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from mlv.audit.file_history import SAVED, is_attaching, outside, placed_references
from mlv.encoding import BadLine, event_from_line, loads, utc_text
from mlv.errors import FileUnusable, InvalidArgument
from mlv.events import Event
from mlv.query.unreadable import leaving_out
from mlv.store import layout, opening
from mlv.store.attached import is_inside
from mlv.store.blobs import Content, content_of
from mlv.store.identities import known_ids
from mlv.store.references import absolute_path
from mlv.store.streams import lines_with

PRODUCED, USED = "produced", "used"


@dataclass(frozen=True, slots=True)
class Parent:
    """An experiment that another one began from, and the checkpoint that it gave."""

    id: str | None
    """None where the checkpoint lay outside any experiment, and nothing found names it."""
    path: Path | None
    """Its folder, None where it is not below the root."""
    checkpoint: Mapping[str, Any]
    """The reference to the checkpoint, as the later experiment has it."""
    event: Event | None
    """The event that produced the checkpoint, where one names it."""

    def to_data(self) -> dict[str, Any]:
        """A mapping for JSON; what is not known is left out."""
        fields = {"id": self.id, "path": self.path, "checkpoint": dict(self.checkpoint)}
        return {**{name: value for name, value in fields.items() if value}, **_event_data(self.event)}


@dataclass(frozen=True, slots=True)
class Origin:
    """A place that names the content of a file: an event, or the meta.json of an experiment."""

    role: str
    """`produced`: the experiment made the file. `used`: it refers to a file from elsewhere."""
    exp: Path
    """Folder of the experiment."""
    exp_id: str
    reference: Mapping[str, Any]
    """The reference as it stands there; its `path` is the name that the file had."""
    where: str
    """The place of the reference: `data.file`, or `params.data` in meta.json."""
    time: str
    """When the event was logged, or the experiment was made: UTC in ISO 8601."""
    event: Event | None
    """None where it is meta.json that names it."""
    parents: tuple[Parent, ...] = ()
    """The experiments through which this one came to be, the nearest first."""

    def to_data(self) -> dict[str, Any]:
        """A mapping for JSON; what does not apply is left out."""
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
    """Where a file or folder comes from, by its content alone: those who produced it first, the earliest before the others.

    Args:
        path: The file; it may have been renamed, copied or moved.
        root: Folder with experiments, at any depth; as `default_root` if it is None.

    Raises:
        FileUnusable: The file cannot be read.
        InvalidArgument: The root is no folder.
    """
    place = absolute_path(path, "path")
    return origins(content_at(place).sha256, default_root(place) if root is None else absolute_path(root, "root"))


def content_at(path: Path) -> Content:
    """The content of a file or folder.

    Raises:
        FileUnusable: It cannot be read.
    """
    try:
        return content_of(path)
    except OSError as error:
        raise FileUnusable(f"{path} cannot be read: {error.strerror}. Give a file or a folder", path=str(path)) from None


def default_root(path: Path) -> Path:
    """Where to look: beside the outermost experiment around a file, else in the current folder's `runs`, else there."""
    around = [folder for folder in layout.absolute(path).parents if layout.is_experiment(folder)]
    if around:
        return around[-1].parent
    return Path("runs") if Path("runs").is_dir() else Path()


def origins(sha256: str, root: Path) -> list[Origin]:
    """Who names a content, of the experiments at and below a folder; those who produced it first, the earliest first.

    Raises:
        InvalidArgument: The root is no folder.
    """
    if not root.is_dir():
        raise InvalidArgument(f"root={str(root)!r} is no folder: give one that holds experiments", root=str(root))
    return _Search(root).origins(sha256)


@dataclass(frozen=True, slots=True)
class _Known:
    """An experiment below the root."""

    folder: Path
    id: str
    meta: bytes

    def content(self) -> dict[str, Any]:
        """What meta.json says, nothing where it cannot be read."""
        try:
            found = loads(self.meta)
        except orjson.JSONDecodeError:
            return {}
        return found if isinstance(found, dict) else {}

    def origins(self, sha256: str) -> Iterator[Origin]:
        """Who names a content here: a search for its digits in the bytes finds the few lines worth reading."""
        if sha256.encode() in self.meta:
            yield from self._in_meta(sha256)
        for event, data in self._events(sha256):
            found = [(where, one) for where, one in placed_references(data, "data") if one.get("sha256") == sha256]
            if found and not _is_moving(event):
                where, reference = min(found, key=lambda pair: outside(pair[1], self.id))
                yield self._origin(is_attaching(event.type), reference, where, utc_text(event.time), event)

    def _events(self, sha256: str) -> Iterator[tuple[Event, Any]]:
        with leaving_out(self.folder):
            yield from events_naming(self.folder, sha256)

    def _in_meta(self, sha256: str) -> Iterator[Origin]:
        content = self.content()
        for where, reference in placed_references(content):
            if reference.get("sha256") == sha256:
                yield self._origin(where.startswith("git."), reference, where, str(content.get("created", "")), None)

    def _origin(self, attaches: bool, reference: Mapping[str, Any], where: str, time: str, event: Event | None) -> Origin:
        # What a path in the experiment names is none of its files where that is the store's own.
        is_own = "within" in reference or (attaches and is_inside(reference.get("path")))
        role = PRODUCED if is_own and not outside(reference, self.id) else USED
        return Origin(role, self.folder, self.id, reference, where, time, event)


def _is_moving(event: Event) -> bool:
    """Whether an event tells where a checkpoint is kept, not that it was made."""
    action = event.data.get("action", SAVED) if isinstance(event.data, dict) else SAVED
    return event.type == "checkpoint" and action != SAVED


class _Search:
    """The experiments below a root, each meta.json read once."""

    def __init__(self, root: Path) -> None:
        self._experiments = [_known(folder) for folder in layout.walk(root)]
        self._by_id = {known.id: known for known in self._experiments}

    def origins(self, sha256: str) -> list[Origin]:
        """Who names a content."""
        return [self._with_parents(origin) for origin in self._found(sha256)]

    def _found(self, sha256: str) -> list[Origin]:
        found = [origin for known in self._experiments for origin in known.origins(sha256)]
        return sorted(found, key=lambda origin: (origin.role != PRODUCED, origin.time))

    def _with_parents(self, origin: Origin) -> Origin:
        parents = tuple(self._parents(self._by_id[origin.exp_id]))
        return Origin(
            origin.role, origin.exp, origin.exp_id, origin.reference, origin.where, origin.time, origin.event, parents
        )

    def _parents(self, known: _Known) -> Iterator[Parent]:
        """The chain of parents, by their IDs, wherever their folders are now."""
        seen = {known.id}
        current: _Known | None = known
        while current is not None:
            parent = current.content().get("parent")
            if not isinstance(parent, dict):
                return
            checkpoint = parent.get("checkpoint")
            checkpoint = checkpoint if isinstance(checkpoint, dict) else {}
            wanted = parent.get("id") if isinstance(parent.get("id"), str) else None
            above, event = self._above(wanted, checkpoint)
            if above is None:
                yield Parent(wanted, None, checkpoint, event)
                return
            yield Parent(above.id, above.folder, checkpoint, event)
            current = above if above.id not in seen else None
            seen.add(above.id)

    def _above(self, wanted: str | None, checkpoint: Mapping[str, Any]) -> tuple[_Known | None, Event | None]:
        """The experiment that a checkpoint came from, by its ID, else by the checkpoint's hash; and the event there."""
        sha256 = checkpoint.get("sha256")
        known = self._of_id(wanted) if wanted is not None else None
        if not isinstance(sha256, str) or (wanted is not None and known is None):
            return known, None
        found = list(known.origins(sha256)) if known is not None else self._found(sha256)
        makers = sorted((one for one in found if one.role == PRODUCED), key=lambda one: one.time)
        if not makers:
            return known, None
        return self._by_id[makers[0].exp_id], makers[0].event

    def _of_id(self, wanted: str) -> _Known | None:
        """The experiment that has this ID, or had it before its meta.json was redacted."""
        if (found := self._by_id.get(wanted)) is not None:
            return found
        return next((known for known in self._experiments if wanted in known_ids(known.folder)), None)


def _known(folder: Path) -> _Known:
    try:
        text = opening.content(folder / layout.META)
    except OSError:
        text = b""
    return _Known(folder, layout.exp_id(folder), text)


def events_naming(folder: Path, sha256: str) -> Iterator[tuple[Event, Any]]:
    """The events of an experiment in whose lines the digits of a hash stand, and their data as it stands there.

    The digits are looked for in the bytes: no other line is parsed.
    """
    for stream in layout.streams_in(folder):
        for line in lines_with(folder / layout.stream_file(stream), sha256.encode()):
            try:
                yield event_from_line(line, layout.logical_stream(stream)), loads(line).get("data")
            except BadLine:
                continue
