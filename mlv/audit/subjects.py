"""Subjects of an examination: where the lines, files and surroundings of an experiment come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from mlv.audit.activity import Surroundings, surroundings
from mlv.audit.file_history import History
from mlv.audit.file_judge import FileJudge
from mlv.audit.findings import Finding
from mlv.events import RunStarted
from mlv.store import ends, layout, opening
from mlv.store.origins import is_copy
from mlv.store.streams import read_lines, stream_sizes


class Subject(Protocol):
    """An experiment that is examined; nothing is changed."""

    path: Path | str
    """Its folder, or its URL."""

    def sizes(self) -> dict[str, int]:
        """Return the bytes of each stream at one moment; a stream comes before the one that follows it."""
        ...

    def lines(self, stream: str) -> Iterator[tuple[int, bytes]]:
        """Yield offset and bytes of each line of a stream."""
        ...

    def meta(self) -> bytes:
        """Return the content of meta.json; OSError where it cannot be read."""
        ...

    def odd_streams(self) -> list[str]:
        """Return the names of entries that should be streams, and are none."""
        ...

    def surroundings(self) -> Surroundings:
        """Return who is at work."""
        ...

    def remembered_ends(self) -> dict[str, str]:
        """Return the digests of ends of streams that are kept elsewhere."""
        ...

    def digest(self) -> str | None:
        """Return the digest of the end of the default stream, None while it is written; asked for when all was read."""
        ...

    def is_copied(self, started: RunStarted) -> bool:
        """Return whether a run provably went on elsewhere."""
        ...

    def own_findings(self) -> Iterator[Finding]:
        """Yield what is to be said of the subject itself; asked for when all was read."""
        ...

    def file_findings(self, path: str, history: History, *, may_change: bool) -> Iterator[Finding]:
        """Yield what is to be said of one file that the log names."""
        ...


def folder_subject(folder: Path, stream: str | None = None) -> Subject:
    """Return the experiment in a folder as a subject; with a stream, the log file of a folder that belongs to none."""
    return _FolderSubject(folder, stream)


class _FolderSubject:
    """An experiment on a disk, or one log file of a folder that belongs to none."""

    def __init__(self, folder: Path, stream: str | None) -> None:
        self._folder, self._stream = folder, stream
        self.path: Path | str = folder if stream is None else folder / layout.stream_file(stream)
        self._judges: dict[bool, FileJudge] = {}

    def sizes(self) -> dict[str, int]:
        return {name: size for name, size in stream_sizes(self._folder).items() if self._is_mine(name)}

    def lines(self, stream: str) -> Iterator[tuple[int, bytes]]:
        return read_lines(self._folder / layout.stream_file(stream))

    def meta(self) -> bytes:
        return opening.content(self._folder / layout.META)

    def odd_streams(self) -> list[str]:
        return layout.odd_streams(self._folder)

    def surroundings(self) -> Surroundings:
        around = surroundings(self._folder)
        mine = {stream: claim for stream, claim in around.claims.items() if self._is_mine(stream)}
        return replace(around, claims=mine, stale=[stream for stream in around.stale if stream in mine])

    def remembered_ends(self) -> dict[str, str]:
        return ends.remembered(self._folder)

    def digest(self) -> str | None:
        return ends.digest_of(self._folder)

    def is_copied(self, started: RunStarted) -> bool:
        return is_copy(self._folder, started.folder, started.process)

    def own_findings(self) -> Iterator[Finding]:
        torn = self._folder / layout.HOUSEKEEPING / "torn"
        for path in sorted(torn.iterdir()) if torn.is_dir() else []:
            text = f"{path.relative_to(self._folder)} keeps half a line that a crash left, no part of the log"
            yield Finding("intact", text)

    def file_findings(self, path: str, history: History, *, may_change: bool) -> Iterator[Finding]:
        if may_change not in self._judges:
            self._judges[may_change] = FileJudge(self._folder, may_change)
        return self._judges[may_change].findings(path, history)

    def _is_mine(self, stream: str) -> bool:
        return self._stream is None or layout.logical_stream(stream) == self._stream
