"""How far an output has come: a small file beside it, replaced whole once the output itself is on the disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from mlv.store import layout, opening
from mlv.store.blobs import replace_whole

_LOOK_BACK = 4096  # some lines with their times: no other log has the same


@dataclass(frozen=True, slots=True)
class Mark:
    """How far one stream was read, and a digest of the bytes before that offset."""

    offset: int
    before: str
    """SHA-256 of the last 4 KiB before the offset: a log that was edited, or is another one, has others."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far an output has come, and the state that it needs to go on."""

    exp: str
    """ID of the experiment."""
    made_by: str
    """The output's class and options: with others it is built again."""
    streams: Mapping[str, Mark] = field(default_factory=dict)
    resume: Any = None
    """The result of the output's last `commit`."""
    failed: str | None = None
    """Why the output stopped, where it did."""
    is_open: bool = True
    """Whether somebody keeps it; also after a kill."""
    rewinds: int = 0
    """Number of rewinds that it was made with; it holds no line that they superseded."""

    def offset(self, file: str) -> int:
        """Return the offset at which to go on in a stream."""
        return self.streams[file].offset if file in self.streams else 0

    def is_true_of(self, folder: Path) -> bool:
        """Return whether the streams still begin with the bytes that were read."""
        return all(mark_of(folder, file, mark.offset) == mark for file, mark in self.streams.items())

    def has_all_of(self, sizes: Mapping[str, int]) -> bool:
        """Return whether everything was read that the streams held when they had these sizes."""
        return all(self.offset(file) >= size for file, size in sizes.items())

    def opened(self) -> Position:
        """Return the same, about to grow, also after a failure."""
        return replace(self, failed=None, is_open=True)

    def closed(self) -> Position:
        """Return the same, with nothing left to be done."""
        return replace(self, is_open=False)


def mark_of(folder: Path, file: str, offset: int) -> Mark | None:
    """Return the mark at an offset of a stream; None where the stream is shorter, or gone."""
    try:
        with opening.reading(folder / layout.stream_file(file)) as stream:
            if os.fstat(stream.fileno()).st_size < offset:
                return None
            stream.seek(max(0, offset - _LOOK_BACK))
            before = stream.read(min(offset, _LOOK_BACK))
    except OSError:
        return None
    return Mark(offset, hashlib.sha256(before).hexdigest())


def read(path: Path) -> Position | None:
    """Return the position in a file; None if there is none that can be read."""
    try:
        content = opening.json_content(path)
        streams = {file: Mark(**mark) for file, mark in content.pop("streams").items()}
        is_whole = all(type(mark.offset) is int and mark.offset >= 0 for mark in streams.values())
        position = Position(**content, streams=streams)
        return position if is_whole and isinstance(position.exp, str) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write(path: Path, position: Position) -> None:
    """Replace the file, whole or not at all.

    Raises:
        OSError: It cannot be written; the old one stands.
    """
    replace_whole(path, orjson.dumps(asdict(position)))
