"""Reading of streams: a log that is running, crashed or half copied gives every event that is whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path

from mlv.encoding import BadLine, event_from_line
from mlv.errors import MlvWarning
from mlv.events import Event
from mlv.notices import warn
from mlv.state import STRUCTURAL, Run, State, fold, in_order
from mlv.store import layout, opening
from mlv.store.origins import with_copies
from mlv.store.streams import Overlong, Skipped, read_lines, size_of
from mlv.wire import beginning, looks_whole, run_of, type_filter, type_pattern


@dataclass
class Lines:
    """The lines of some streams, and those that had to be passed over."""

    folder: Path
    streams: list[str]
    types: tuple[str, ...] | None = None
    skipped: list[Skipped] = field(default_factory=list)
    """The lines that were passed over so far."""

    def __iter__(self) -> Iterator[Event]:
        for stream in self.streams:
            yield from self.of_stream(stream)

    def of_stream(self, stream: str, offset: int = 0) -> Iterator[Event]:
        """Yield the events of one stream, in file order, from an offset on."""
        for start, line in self.raw(stream, offset):
            event = self.event(stream, start, line)
            if event is not None:
                yield event

    def raw(self, stream: str, offset: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield offset and bytes of the lines that may be of the requested types."""
        may_match = type_filter(self.types) if self.types is not None else None
        with while_there(self.folder, stream):
            for start, line in read_lines(self.folder / layout.stream_file(stream), offset):
                # Damaged lines as well: what type they were is not known, and somebody counts them.
                if may_match is None or may_match(line) or not looks_whole(line):
                    yield start, line

    def event(self, stream: str, start: int, line: bytes) -> Event | None:
        """Return the event of a line, None if it is of no requested type; an unreadable one is noted in `skipped`."""
        try:
            event = event_from_line(line, layout.logical_stream(stream))
        except BadLine as error:
            self.skipped.append(passed_over(stream, start, line, error))
            return None
        return event if self.types is None or event.type in self.types else None


@contextmanager
def while_there(folder: Path, stream: str) -> Iterator[None]:
    """Go on behind the block, with a warning, where a stream went away since the streams were listed.

    That of a second writer is merged into another then.
    """
    try:
        yield
    except FileNotFoundError:
        if layout.logical_stream(stream) == stream:
            warn(f"{folder / layout.stream_file(stream)} was removed while it was read: it counts as empty", MlvWarning)


def passed_over(stream: str, start: int, line: bytes, error: BadLine) -> Skipped:
    """Describe a line that is no event."""
    if isinstance(line, Overlong):
        reason = f"longer than {opening.LONGEST_LINE} bytes, or long and no JSON"
    elif line.endswith(b"\n"):
        reason = str(error)
    else:
        reason = "half a line: it is being written, or was cut off"
    return Skipped(stream, start, start + size_of(line), reason)


def read_state(
    folder: Path,
    streams: Iterable[str] | None = None,
    also: Callable[[str, bytes], object] | None = None,
    skipped: list[Skipped] | None = None,
) -> State:
    """Return the state of an experiment after all events of its streams.

    Args:
        folder: Of the experiment.
        streams: Some of its streams.
        also: Called with each stream and line, to share the pass.
        skipped: Receives each line that seems to matter and cannot be read.
    """
    names = layout.streams_in(folder) if streams is None else list(streams)
    if also is None and sum(map(size_on_disk, (folder / layout.stream_file(name) for name in names))) < _IN_MEMORY:
        state = _state_at_once(folder, names, skipped)
    else:
        state = read_state_by_lines(folder, names, also or (lambda stream, line: None), skipped)
    return with_copies(state, folder)


def watched_state(folder: Path) -> Callable[[], State]:
    """Return a function that gives the state of an experiment, and reads the log again only if it has grown."""
    cached: list[tuple[dict[str, int], State]] = []

    def state() -> State:
        sizes = {name: size_on_disk(folder / layout.stream_file(name)) for name in layout.streams_in(folder)}
        if not cached or cached[0][0] != sizes:
            # Sizes from before the reading: lines that come meanwhile are read with the next call.
            cached[:] = [(sizes, read_state(folder))]
        return cached[0][1]

    return state


_IN_MEMORY = 64 << 20
"""Logs up to this size in bytes are read in one piece."""


@cache
def _of_structural_types() -> re.Pattern[bytes]:
    return type_pattern(STRUCTURAL)


def _state_at_once(folder: Path, names: Sequence[str], skipped: list[Skipped] | None) -> State:
    """Read the state as `read_state_by_lines` does, in a fourth of the time: lines of other types are passed over."""
    lines = Lines(folder, list(names), STRUCTURAL, [] if skipped is None else skipped)
    contents = {name: _content(folder, name) for name in names}
    events = []
    for stream, content in contents.items():
        for start, line in _lines_with(_of_structural_types(), content):
            if (event := lines.event(stream, start, line)) is not None:
                events.append(event)
    state = fold(in_order(events))
    last_lines = ((stream, _last_line_of(run, content)) for run in state.runs for stream, content in contents.items())
    return _heard(state, _times(lines, (pair for pair in last_lines if pair[1])))


def _lines_with(pattern: re.Pattern[bytes], content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield offset and bytes of the lines that hold a match of a pattern."""
    end = 0
    for match in pattern.finditer(content):
        if match.start() < end:
            continue  # twice in one line
        start = content.rfind(b"\n", 0, match.start()) + 1
        # `find` and `rfind` run in C over the whole content: no line that matters not becomes an object.
        end = content.find(b"\n", match.end()) + 1 or len(content)
        yield start, content[start:end]


def _last_line_of(run: str, content: bytes) -> bytes:
    """Return the last line that begins with a run; empty if there is none."""
    begin = beginning(run)
    start = len(content)
    while (start := content.rfind(begin, 0, start)) > 0 and content[start - 1 : start] != b"\n":
        pass
    return b"" if start < 0 else content[start : content.find(b"\n", start) + 1 or len(content)]


def _content(folder: Path, stream: str) -> bytes:
    with while_there(folder, stream):
        return opening.content(folder / layout.stream_file(stream))
    return b""


def size_on_disk(path: Path) -> int:
    """Return the size of a file in bytes, 0 where it is not there."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def read_state_by_lines(
    folder: Path, names: Sequence[str], also: Callable[[str, bytes], object], skipped: list[Skipped] | None = None
) -> State:
    """Read the state as `read_state` does, line by line. Where `also` answers False, the line is checked for damage."""
    lines = Lines(folder, list(names), STRUCTURAL, [] if skipped is None else skipped)
    may_match = type_filter(STRUCTURAL)
    last: dict[tuple[str, bytes], tuple[str, bytes]] = {}
    events = []
    for stream in names:
        for start, line in Lines(folder, [stream]).raw(stream):
            # Not parsed before the end: only the last line of each run tells when it was heard of.
            last[stream, run_of(line)] = (stream, line)
            # Most lines are no structural events: they are passed by one search, and never parsed here.
            is_odd = also(stream, line) is False or (skipped is not None and not looks_whole(line))
            if (is_odd or may_match(line)) and (event := lines.event(stream, start, line)) is not None:
                events.append(event)
    state = fold(in_order(events))
    return _heard(state, _times(lines, last.values()))


def _times(lines: Lines, last: Iterable[tuple[str, bytes]]) -> dict[str, datetime]:
    """Return the time of the last line of each run."""
    reader = Lines(lines.folder, [])
    result: dict[str, datetime] = {}
    for stream, line in last:
        if (event := reader.event(stream, 0, line)) is not None:
            result[event.run] = max(event.time, result.get(event.run, event.time))
    return result


def _heard(state: State, times: Mapping[str, datetime]) -> State:
    """Return the state with each run last heard at the time of its last line, whatever the line's type."""

    def updated(run: Run) -> Run:
        moments = [moment for moment in (run.last_heard, times.get(run.id)) if moment is not None]
        return run.replace(last_heard=max(moments, default=None))

    return state.replace(runs={name: updated(run) for name, run in state.runs.items()})
