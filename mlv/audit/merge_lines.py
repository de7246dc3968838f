"""Find the lines that one copy of an experiment lacks of another, and append them in an order that keeps every seal valid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from mlv.store import claims, ends, layout, opening
from mlv.store.claims import FOR_MERGES
from mlv.store.files import replace_file
from mlv.store.seals import Chain, chains_of, is_redacted, line_digest, run_and_seq
from mlv.store.streams import StreamFile, read_lines

_CHUNK_BYTES = 1 << 20  # a log may be larger than memory
_MOST_DIFFERENCES = 5  # enough to see what happened; all would fill the terminal


@dataclass(frozen=True, slots=True)
class LineSpan:
    """Consecutive whole lines of a file."""

    path: Path
    start: int
    end: int


@dataclass
class Missing:
    """The lines of one stream that a copy lacks."""

    stream: str
    """The stream that the lines were written to: lines of `STREAM@merged` count as its own."""
    spans: list[LineSpan] = field(default_factory=list)
    """In the order of their files."""
    lines: int = 0
    differences: list[str] = field(default_factory=list)
    """Lines that should be equal in both copies, and are not."""
    notes: list[str] = field(default_factory=list)
    is_redacted: bool = False
    """Whether an event was redacted there that was not in ours."""


def sources(folder: Path, sizes: dict[str, int]) -> dict[str, list[LineSpan]]:
    """Return the files of each stream, up to these sizes: its own file, then the one that a merge made beside it."""
    by_stream: dict[str, list[LineSpan]] = {}
    for name in sorted(sizes, key=lambda name: (layout.followed_by(name) or name, name)):
        path = folder / layout.stream_file(name)
        by_stream.setdefault(layout.followed_by(name) or name, []).append(LineSpan(path, 0, sizes[name]))
    return by_stream


def missing(stream: str, theirs: list[LineSpan], ours: list[LineSpan]) -> Missing:
    """Return the lines of their stream that our copy lacks; half a line at an end does not count.

    Raises:
        OSError: A file cannot be read.
    """
    if len(theirs) == 1 and len(ours) <= 1:
        suffix = _suffix_behind(theirs[0], ours[0] if ours else None)
        are_events = [run_and_seq(line) is not None for _, line in _whole_lines(suffix)] if suffix is not None else [False]
        if suffix is not None and all(are_events):
            return Missing(stream, [suffix] if are_events else [], len(are_events))
    return _Comparison(stream, ours).with_theirs(theirs)


def _suffix_behind(theirs: LineSpan, ours: LineSpan | None) -> LineSpan | None:
    """Return their bytes behind ours, perhaps none; None where neither file is the beginning of the other."""
    end = _whole_end(theirs)
    common = min(end, _whole_end(ours)) if ours is not None else 0
    if ours is not None and not _begin_alike(theirs.path, ours.path, common):
        return None
    return LineSpan(theirs.path, common, end)


def _whole_end(span: LineSpan) -> int:
    """Return the offset behind the last whole line of a span."""
    with opening.reading(span.path) as file:
        end = span.end
        while end > span.start:
            start = max(span.start, end - _CHUNK_BYTES)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
    return span.start


def _begin_alike(a: Path, b: Path, size: int) -> bool:
    with opening.reading(a) as file_a, opening.reading(b) as file_b:
        for start in range(0, size, _CHUNK_BYTES):
            length = min(_CHUNK_BYTES, size - start)
            if file_a.read(length) != file_b.read(length):
                return False
    return True


def _whole_lines(span: LineSpan) -> Iterator[tuple[int, bytes]]:
    for start, line in read_lines(span.path, span.start):
        if start + len(line) > span.end or not line.endswith(b"\n"):
            return
        yield start, line


class _Comparison:
    """A comparison of their lines of a stream with ours, by run and number."""

    def __init__(self, stream: str, ours: list[LineSpan]) -> None:
        self._digests: dict[str, dict[int, bytes | None]] = {}
        self._damaged: set[bytes] = set()
        self._redacted: set[tuple[str, int]] = set()
        self._added: set[tuple[str, int]] = set()
        self._missing = Missing(stream)
        self._unreported = 0
        for span in ours:
            for _, line in _whole_lines(span):
                self._learn(line)

    def _learn(self, line: bytes) -> None:
        key = run_and_seq(line)
        if key is None:
            self._damaged.add(line)
            return
        self._digests.setdefault(key[0], {})[key[1]] = line_digest(line)
        if is_redacted(line):
            self._redacted.add(key)

    def with_theirs(self, theirs: list[LineSpan]) -> Missing:
        """Compare their lines, and return those that ours lack."""
        first_spans: dict[str, LineSpan] = {}
        order: list[tuple[str, LineSpan]] = []
        torn: dict[str, int] = {}
        for source in theirs:
            for start, line in _whole_lines(source):
                key = run_and_seq(line)
                span = LineSpan(source.path, start, start + len(line))
                if key is None:
                    if line not in self._damaged:
                        self._differ(f"{_location(span)}: the line is no event, so it is not carried over")
                elif key in self._added:
                    self._differ(
                        f"{_location(span)}: event {key[1]} of run {key[0]} stands there twice; it is carried over once"
                    )
                elif key[1] in self._digests.get(key[0], {}):
                    self._compare(key, line, span)
                    if key[0] in first_spans:  # a line that we lack stands before one that we have
                        torn.setdefault(key[0], key[1])
                else:
                    self._added.add(key)
                    first_spans.setdefault(key[0], span)
                    order.append((key[0], span))
        for run, seq in torn.items():
            text = f"{_location(first_spans[run])}: of run {run} lines are lacking before its event {seq}, which is there"
            self._differ(f"{text}; what is missing in the middle cannot be put back in order. Restore the file from a copy")
        for run, span in order:
            if run not in torn:
                self._add(span)
        self._report_more()
        return self._missing

    def _compare(self, key: tuple[str, int], line: bytes, span: LineSpan) -> None:
        if not _are_one(self._digests[key[0]][key[1]], line_digest(line)):
            self._differ(f"{_location(span)}: event {key[1]} of run {key[0]} is another one than ours, which stays")
        elif is_redacted(line) and key not in self._redacted:
            self._missing.is_redacted = True
            self._differ(
                f"{_location(span)}: event {key[1]} of run {key[0]} was redacted there, and ours was not: redact it too"
            )
        elif key in self._redacted and not is_redacted(line):
            note = "some events were redacted here, and not in the copy that was merged: redact it too"
            if note not in self._missing.notes:
                self._missing.notes.append(note)

    def _add(self, span: LineSpan) -> None:
        spans = self._missing.spans
        if spans and (spans[-1].path, spans[-1].end) == (span.path, span.start):
            spans[-1] = LineSpan(span.path, spans[-1].start, span.end)
        else:
            spans.append(span)
        self._missing.lines += 1

    def _differ(self, text: str) -> None:
        if len(self._missing.differences) < _MOST_DIFFERENCES:
            self._missing.differences.append(text)
        else:
            self._unreported += 1

    def _report_more(self) -> None:
        if self._unreported:
            self._missing.differences.append(f"{self._unreported} more of the stream {self._missing.stream!r}")


def _are_one(digest: bytes | None, other: bytes | None) -> bool:
    """Return whether two lines may be the same one, as it was written; None is the digest of one that was forgotten."""
    return digest is None or other is None or digest == other


def _location(span: LineSpan) -> str:
    return f"{span.path}, bytes {span.start} to {span.end}"


def redact_alike(theirs: Iterable[LineSpan], ours: Iterable[LineSpan]) -> None:
    """Put the redacted lines of their files in the place of the same lines, as they were, in ours.

    Raises:
        OSError: A file cannot be read or replaced.
    """
    redacted = {
        key: line
        for span in theirs
        for _, line in _whole_lines(span)
        if is_redacted(line) and (key := run_and_seq(line)) is not None
    }
    for span in ours:
        lines = ((start, line, redacted.get(run_and_seq(line) or ("", 0))) for start, line in _whole_lines(span))
        changes = [
            (start, start + len(line), new)
            for start, line, new in lines
            if new is not None and not is_redacted(line) and _are_one(line_digest(line), line_digest(new))
        ]
        if changes:
            replace_file(span.path, _changed(span.path, changes))


def _changed(path: Path, changes: Iterable[tuple[int, int, bytes]]) -> Iterator[bytes]:
    """Yield the bytes of a file, with others in place of some ranges."""
    with opening.reading(path) as file:
        for start, end, content in changes:
            yield from _chunks(file, start)
            yield content
            file.seek(end)
        yield from _chunks(file, path.stat().st_size)


def _chunks(file: BinaryIO, end: int) -> Iterator[bytes]:
    """Yield the bytes of a file up to a position."""
    while chunk := file.read(min(_CHUNK_BYTES, end - file.tell())):
        yield chunk


def bring(folder: Path, lacking: Missing) -> str:
    """Append the lines to the stream, or to one beside it where another process has claimed it; return the stream written to.

    The caller is the one process that merges into the folder. The lines are synced to the disk when this returns.

    Raises:
        OSError: Something could not be written; the lines before it are there, and the next merge brings the rest.
    """
    stream = stream_for(folder, lacking.stream)
    if not claims.claim_exactly(folder, stream, FOR_MERGES):  # somebody began to write a moment ago
        stream = lacking.stream + layout.MERGED
        claims.claim_exactly(folder, stream, FOR_MERGES)
    file = StreamFile(folder, stream)
    try:
        for span in lacking.spans:
            _append(file, span)
        file.sync()
    finally:
        file.close()
    return stream


def stream_for(folder: Path, stream: str) -> str:
    """Return the stream that merged lines go to: runs that continued beside a stream stay there, to keep their order."""
    beside = stream + layout.MERGED
    if (folder / layout.stream_file(beside)).exists():
        return beside
    return stream if claims.read(folder, stream) in (None, FOR_MERGES) else beside


def _append(file: StreamFile, span: LineSpan) -> None:
    """Append whole lines, several in one write."""
    batch: list[bytes] = []
    size = 0
    for _, line in _whole_lines(span):
        batch.append(line)
        size += len(line)
        if size >= _CHUNK_BYTES:
            file.append(b"".join(batch))
            batch, size = [], 0
    if batch:
        file.append(b"".join(batch))


def let_go(folder: Path) -> None:
    """Release the streams that a merge claimed, once every line in them is sealed, and record their ends."""
    if (folder / layout.HOUSEKEEPING).is_dir():
        ends.remember(folder, ends.ends_of(folder))
    for stream in layout.streams_in(folder):
        own = layout.followed_by(stream) or stream
        if claims.read(folder, stream) == FOR_MERGES:
            paths = [folder / layout.stream_file(name) for name in dict.fromkeys((own, own + layout.MERGED))]
            if not any(map(_is_open, chains_of(*paths).values())):
                claims.release(folder, stream, FOR_MERGES)


def _is_open(chain: Chain) -> bool:
    return chain.lines > 0
