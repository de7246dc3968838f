"""What a log says about the files of its experiment: which were published, superseded, and let go. A pure fold."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlv.encoding import TAG
from mlv.events import CORE_TYPES
from mlv.order import in_order

_NOT_ATTACHING = CORE_TYPES - {"run_started", "file", "checkpoint"}
"""Types whose events may refer to files that need not exist."""

REDACTING = "redacted"
"""The type of the events that say what files hold since something was taken out of them."""

SAVED, REMOVED = "saved", "removed"
"""What a `checkpoint` event can say of a checkpoint's places; with any other action they are new ones."""


def is_attaching(type: str) -> bool:
    """Return whether the files that events of a type refer to must exist: also those of media and of later versions."""
    return type not in _NOT_ATTACHING


@dataclass(frozen=True, slots=True)
class FileVersion:
    """What one event says about one file: it has this content now, or is let go."""

    path: str
    """As recorded: relative to the experiment, where the file is a part of it."""
    reference: Mapping[str, Any] | None
    """None where the file was let go."""
    time: str = ""
    run: str = ""
    seq: int = 0
    is_redaction: bool = False
    """Whether the file is so because something was taken out of it."""

    @property
    def sha256(self) -> Any:
        """The content that the file has, None if that is not known."""
        return self.reference.get("sha256") if self.reference is not None else None

    def __str__(self) -> str:
        return f"at {self.time} (event {self.seq} of run {self.run})" if self.run else "when the experiment was made"


@dataclass
class History:
    """The contents that one file had, one after the other."""

    published: list[FileVersion] = field(default_factory=list)
    """The same content twice in a row counts once, with the latest that was said of it."""
    is_let_go: bool = False
    is_redacted: bool = False
    """Whether what was said last was said by a redaction."""

    def take(self, claim: FileVersion) -> None:
        """Add what came next."""
        self.is_let_go = claim.reference is None
        self.is_redacted = claim.is_redaction
        if claim.reference is not None:
            if self.published and self.published[-1].sha256 == claim.sha256:
                self.published.pop()
            self.published.append(claim)

    @property
    def latest(self) -> FileVersion:
        """What was published last."""
        return self.published[-1]

    def superseded(self, sha256: str) -> FileVersion | None:
        """The latest of the earlier publications that had this content."""
        return next((claim for claim in reversed(self.published[:-1]) if claim.sha256 == sha256), None)


def versions_of(type: str, data: Any, time: str, run: str, seq: int, saved: dict[Any, Mapping[str, Any]]) -> list[FileVersion]:
    """What the data of an event, in its JSON form, says about files.

    Args:
        type: The event's type.
        data: Its data.
        time: When it was.
        run: Who said it.
        seq: The number of the event.
        saved: The files of checkpoints by folder and number, which this adds to: later events name only these.
    """
    if type == REDACTING:
        return list(_redactions(data, time, run, seq))
    if type != "checkpoint" or not isinstance(data, dict):
        return [FileVersion(found["path"], found, time, run, seq) for found in references(data)]
    said = data.get("places")
    places = [place for place in said if isinstance(place, str)] if isinstance(said, list) else []
    if data.get("action") == REMOVED:
        return [FileVersion(place, None, time, run, seq) for place in places]
    checkpoint = str(data.get("folder")), str(data.get("save"))
    file = next(references(data.get("file")), saved.get(checkpoint))
    if file is None:
        return []
    saved[checkpoint] = file
    # Without a list of places the file itself is one; with an empty list, it is kept nowhere.
    return [FileVersion(place, file, time, run, seq) for place in (places if isinstance(said, list) else [file["path"]])]


def _redactions(data: Any, time: str, run: str, seq: int) -> Iterator[FileVersion]:
    files = data.get("files") if isinstance(data, dict) else None
    for file in files if isinstance(files, list) else ():
        if isinstance(file, dict) and isinstance(file.get("path"), str):
            now = next(references(file.get("now")), None)
            yield FileVersion(file["path"], now, time, run, seq, is_redaction=True)


def histories(claims: Iterable[FileVersion]) -> dict[str, History]:
    """The history of each file that was ever published, by its path."""
    found: dict[str, History] = {}
    for claim in in_order(claims, lambda claim: (claim.run, claim.seq, claim.time)):
        found.setdefault(claim.path, History()).take(claim)
    return {path: history for path, history in found.items() if history.published}


def references(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every reference to a file that a value in its JSON form holds, at any depth."""
    return (reference for _, reference in placed_references(value))


def placed_references(value: Any, where: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The same, each after its place: `data.files[0]` where the value is at `data`."""
    if isinstance(value, dict):
        if value.get(TAG) == "file" and isinstance(value.get("path"), str):
            yield where, value
        for key, item in value.items():
            yield from placed_references(item, f"{where}.{key}" if where else key)
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from placed_references(item, f"{where}[{position}]")


def outside(reference: Mapping[str, Any], exp_id: str | None = None) -> bool:
    """Whether a reference points to a file that is no part of the experiment that holds it, the one of this ID.

    A file at an absolute path is a part of it where the reference names the same experiment.
    """
    path, within = str(reference.get("path", "")), reference.get("within")
    if posixpath.isabs(path) or "host" in reference:
        return exp_id is None or not (isinstance(within, dict) and within.get("id") == exp_id)
    return posixpath.normpath(path).split("/")[0] == ".."
