"""Which lines of one copy of an experiment another one lacks, and bringing them there in an order that every seal survives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mlv.store import claims, ends, layout, opening
from mlv.store.claims import FOR_MERGES
from mlv.store.seals import Chain, chains_of, is_redacted, line_digest, run_and_seq
from mlv.store.streams import StreamFile, read_lines

_PIECE = 1 << 20
_MOST_TOLD = 5


@dataclass(frozen=True, slots=True)
class LineSpan:
    """Whole lines of a file that lie one behind the other."""

    path: Path
    start: int
    end: int


@dataclass
class Missing:
    """What one copy lacks of one stream of the other."""

    stream: str
    """The stream that the lines were written to: lines that a merge put beside it count as its own."""
    pieces: list[LineSpan] = field(default_factory=list)
    """In the order of their files."""
    lines: int = 0
    differences: list[str] = field(default_factory=list)
    """What should be equal in both copies, and is not."""
    notes: list[str] = field(default_factory=list)


def sources(folder: Path, sizes: dict[str, int]) -> dict[str, list[LineSpan]]:
    """What there is of each stream, up to the sizes given: its own file, then the one that a merge made beside it."""
    found: dict[str, list[LineSpan]] = {}
    for name in sorted(sizes, key=lambda name: (layout.followed_by(name) or name, name)):
        path = folder / layout.stream_file(name)
        found.setdefault(layout.followed_by(name) or name, []).append(LineSpan(path, 0, sizes[name]))
    return found


def missing(stream: str, theirs: list[LineSpan], ours: list[LineSpan]) -> Missing:
    """What our copy of a stream lacks of theirs; half a line at an end counts as not there.

    Raises:
        OSError: A file cannot be read.
    """
    if len(theirs) == 1 and len(ours) <= 1:
        rest = _rest_of_prefix(theirs[0], ours[0] if ours else None)
        are_events = [run_and_seq(line) is not None for _, line in _whole_lines(rest)] if rest is not None else [False]
        if rest is not None and all(are_events):
            return Missing(stream, [rest] if are_events else [], len(are_events))
    return _Comparison(stream, ours).with_theirs(theirs)


def _rest_of_prefix(theirs: LineSpan, ours: LineSpan | None) -> LineSpan | None:
    """Their bytes behind ours, empty if they have none; None where the one is not the beginning of the other."""
    end = _whole_end(theirs)
    common = min(end, _whole_end(ours)) if ours is not None else 0
    if ours is not None and not _begin_alike(theirs.path, ours.path, common):
        return None
    return LineSpan(theirs.path, common, end)


def _whole_end(piece: LineSpan) -> int:
    """Offset behind the last whole line of what is looked at."""
    with opening.reading(piece.path) as file:
        end = piece.end
        while end > piece.start:
            start = max(piece.start, end - _PIECE)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
    return piece.start


def _begin_alike(a: Path, b: Path, size: int) -> bool:
    with opening.reading(a) as one, opening.reading(b) as other:
        for start in range(0, size, _PIECE):
            length = min(_PIECE, size - start)
            if one.read(length) != other.read(length):
                return False
    return True


def _whole_lines(piece: LineSpan) -> Iterator[tuple[int, bytes]]:
    for start, line in read_lines(piece.path, piece.start):
        if start + len(line) > piece.end or not line.endswith(b"\n"):
            return
        yield start, line


class _Comparison:
    """Our lines of a stream by run and number, to which theirs are compared."""

    def __init__(self, stream: str, ours: list[LineSpan]) -> None:
        self._known: dict[str, dict[int, bytes | None]] = {}
        self._damaged: set[bytes] = set()
        self._redacted: set[tuple[str, int]] = set()
        self._taken: set[tuple[str, int]] = set()
        self._found = Missing(stream)
        self._untold = 0
        for piece in ours:
            for _, line in _whole_lines(piece):
                self._learn(line)

    def _learn(self, line: bytes) -> None:
        who = run_and_seq(line)
        if who is None:
            self._damaged.add(line)
            return
        self._known.setdefault(who[0], {})[who[1]] = line_digest(line)
        if is_redacted(line):
            self._redacted.add(who)

    def with_theirs(self, theirs: list[LineSpan]) -> Missing:
        """What their files hold and ours do not."""
        places: dict[str, LineSpan] = {}
        order: list[tuple[str, LineSpan]] = []
        torn: dict[str, int] = {}
        for piece in theirs:
            for start, line in _whole_lines(piece):
                who = run_and_seq(line)
                at = LineSpan(piece.path, start, start + len(line))
                if who is None:
                    if line not in self._damaged:
                        self._differ(f"{_shown(at)}: the line is no event, so it is not carried over")
                elif who in self._taken:
                    self._differ(f"{_shown(at)}: event {who[1]} of run {who[0]} stands there twice; it is carried over once")
                elif who[1] in self._known.get(who[0], {}):
                    self._compare(who, line, at)
                    if who[0] in places:  # a line that we lack stands before one that we have
                        torn.setdefault(who[0], who[1])
                else:
                    self._taken.add(who)
                    places.setdefault(who[0], at)
                    order.append((who[0], at))
        for run, seq in torn.items():
            text = f"{_shown(places[run])}: of run {run} lines are lacking before its event {seq}, which is there"
            self._differ(f"{text}; what is missing in the middle cannot be put back in order. Restore the file from a copy")
        for run, at in order:
            if run not in torn:
                self._add(at)
        self._tell_rest()
        return self._found

    def _compare(self, who: tuple[str, int], line: bytes, at: LineSpan) -> None:
        ours, theirs = self._known[who[0]][who[1]], line_digest(line)
        if ours is not None and theirs is not None and ours != theirs:
            self._differ(f"{_shown(at)}: event {who[1]} of run {who[0]} is another one than ours, which stays")
        elif is_redacted(line) and who not in self._redacted:
            self._differ(f"{_shown(at)}: event {who[1]} of run {who[0]} was redacted there, and ours was not: redact it too")
        elif who in self._redacted and not is_redacted(line):
            note = "some events were redacted here, and not in the copy that was merged: redact it too"
            if note not in self._found.notes:
                self._found.notes.append(note)

    def _add(self, at: LineSpan) -> None:
        pieces = self._found.pieces
        if pieces and (pieces[-1].path, pieces[-1].end) == (at.path, at.start):
            pieces[-1] = LineSpan(at.path, pieces[-1].start, at.end)
        else:
            pieces.append(at)
        self._found.lines += 1

    def _differ(self, text: str) -> None:
        if len(self._found.differences) < _MOST_TOLD:
            self._found.differences.append(text)
        else:
            self._untold += 1

    def _tell_rest(self) -> None:
        if self._untold:
            self._found.differences.append(f"{self._untold} more of the stream {self._found.stream!r}")


def _shown(piece: LineSpan) -> str:
    return f"{piece.path}, bytes {piece.start} to {piece.end}"


def bring(folder: Path, what: Missing) -> str:
    """Append the lines to the stream, or to one beside it where that belongs to somebody; gives the stream that took them.

    The caller is the one process that merges into the folder. What was appended is on the disk when this returns.

    Raises:
        OSError: Something could not be written; the lines before it are there, and the next merge brings the rest.
    """
    stream = place_for(folder, what.stream)
    if not claims.claim_exactly(folder, stream, FOR_MERGES):  # somebody began to write a moment ago
        stream = what.stream + layout.MERGED
        claims.claim_exactly(folder, stream, FOR_MERGES)
    file = StreamFile(folder, stream)
    try:
        for piece in what.pieces:
            _append(file, piece)
        file.sync()
    finally:
        file.close()
    return stream


def place_for(folder: Path, stream: str) -> str:
    """The stream that lines from elsewhere go to: runs that went on beside a stream stay there, so that they are in order."""
    beside = stream + layout.MERGED
    if (folder / layout.stream_file(beside)).exists():
        return beside
    return stream if claims.read(folder, stream) in (None, FOR_MERGES) else beside


def _append(file: StreamFile, piece: LineSpan) -> None:
    """Append lines, several at once: whole ones, whatever happens."""
    batch: list[bytes] = []
    size = 0
    for _, line in _whole_lines(piece):
        batch.append(line)
        size += len(line)
        if size >= _PIECE:
            file.append(b"".join(batch))
            batch, size = [], 0
    if batch:
        file.append(b"".join(batch))


def let_go(folder: Path) -> None:
    """Give streams that wait for more lines back, as soon as every line in them is sealed; remember how they end."""
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
