"""File histories from a log: which files were published, superseded, and let go. A pure fold."""

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
"""The type of events that record the new content of redacted files."""

SAVED, REMOVED = "saved", "removed"
"""The actions of a `checkpoint` event that are treated on their own; with any other action its `places` are new ones."""


def is_attaching(type: str) -> bool:
    """Return whether the files that events of a type refer to must exist: also those of media and of later versions."""
    return type not in _NOT_ATTACHING


@dataclass(frozen=True, slots=True)
class FileVersion:
    """The state of one file after one event: it has this content, or is let go."""

    path: str
    """As recorded: relative to the experiment, where the file is a part of it."""
    reference: Mapping[str, Any] | None
    """None where the file was let go."""
    time: str = ""
    run: str = ""
    seq: int = 0
    is_redaction: bool = False
    """Whether a redaction brought the file into this state."""

    @property
    def sha256(self) -> Any:
        """The hash of the file's content, None if it was not recorded."""
        return self.reference.get("sha256") if self.reference is not None else None

    def __str__(self) -> str:
        return f"at {self.time} (event {self.seq} of run {self.run})" if self.run else "when the experiment was made"


@dataclass
class History:
    """The successive contents of one file."""

    published: list[FileVersion] = field(default_factory=list)
    """Published versions; the same content twice in a row counts once, as its latest version."""
    is_let_go: bool = False
    is_redacted: bool = False
    """Whether the latest version comes from a redaction."""

    def take(self, claim: FileVersion) -> None:
        """Add the next version."""
        self.is_let_go = claim.reference is None
        self.is_redacted = claim.is_redaction
        if claim.reference is not None:
            if self.published and self.published[-1].sha256 == claim.sha256:
                self.published.pop()
            self.published.append(claim)

    @property
    def latest(self) -> FileVersion:
        """The version that was published last."""
        return self.published[-1]

    def superseded(self, sha256: str) -> FileVersion | None:
        """Return the latest of the earlier versions that had this content, None if there is none."""
        return next((claim for claim in reversed(self.published[:-1]) if claim.sha256 == sha256), None)


def versions_of(type: str, data: Any, time: str, run: str, seq: int, saved: dict[Any, Mapping[str, Any]]) -> list[FileVersion]:
    """Return the versions of files that an event's data, in its JSON form, records.

    Args:
        type: The event's type.
        data: Its data.
        time: The event's time.
        run: The event's run.
        seq: The event's number.
        saved: The files of checkpoints by folder and number. This call adds to it: later events name only these two.
    """
    if type == REDACTING:
        return list(_redactions(data, time, run, seq))
    if type != "checkpoint" or not isinstance(data, dict):
        return [FileVersion(reference["path"], reference, time, run, seq) for reference in references(data)]
    listed = data.get("places")
    paths = [path for path in listed if isinstance(path, str)] if isinstance(listed, list) else []
    if data.get("action") == REMOVED:
        return [FileVersion(path, None, time, run, seq) for path in paths]
    checkpoint = str(data.get("folder")), str(data.get("save"))
    file = next(references(data.get("file")), saved.get(checkpoint))
    if file is None:
        return []
    saved[checkpoint] = file
    # Without a list of paths the file's own is the only one; with an empty list, no copy of it is kept.
    return [FileVersion(path, file, time, run, seq) for path in (paths if isinstance(listed, list) else [file["path"]])]


def _redactions(data: Any, time: str, run: str, seq: int) -> Iterator[FileVersion]:
    files = data.get("files") if isinstance(data, dict) else None
    for file in files if isinstance(files, list) else ():
        if isinstance(file, dict) and isinstance(file.get("path"), str):
            now = next(references(file.get("now")), None)
            yield FileVersion(file["path"], now, time, run, seq, is_redaction=True)


def histories(claims: Iterable[FileVersion]) -> dict[str, History]:
    """Return the history of each file that was ever published, by its path."""
    by_path: dict[str, History] = {}
    for claim in in_order(claims, lambda claim: (claim.run, claim.seq, claim.time)):
        by_path.setdefault(claim.path, History()).take(claim)
    return {path: history for path, history in by_path.items() if history.published}


def references(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every reference to a file in a JSON value, at any depth."""
    return (reference for _, reference in located_references(value))


def located_references(value: Any, where: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each reference after its location: `data.files[0]` where the value itself is at `data`."""
    if isinstance(value, dict):
        if value.get(TAG) == "file" and isinstance(value.get("path"), str):
            yield where, value
        for key, item in value.items():
            yield from located_references(item, f"{where}.{key}" if where else key)
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from located_references(item, f"{where}[{position}]")


def outside(reference: Mapping[str, Any], exp_id: str | None = None) -> bool:
    """Return whether a reference points outside the experiment that holds it, which has this ID.

    A file at an absolute path is inside where the reference names the same experiment.
    """
    path, within = str(reference.get("path", "")), reference.get("within")
    if posixpath.isabs(path) or "host" in reference:
        return exp_id is None or not (isinstance(within, dict) and within.get("id") == exp_id)
    return posixpath.normpath(path).split("/")[0] == ".."
