"""The events of one experiment in order, and the refusal of streams and types that it has not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from mlv.errors import InvalidArgument
from mlv.events import Event
from mlv.media.kinds import TYPES
from mlv.order import in_order
from mlv.query.name_patterns import name_matcher
from mlv.query.rewinds import is_superseded_line
from mlv.query.unreadable import leaving_out
from mlv.state import Rewind
from mlv.store import layout
from mlv.store.reading import Lines, size_on_disk
from mlv.store.seals import run_and_seq
from mlv.store.streams import Skipped

_FOLLOW_POLL_S = 0.02
_FOLLOW_LOOK_S = 0.5
_BEGIN = re.compile(rb'\{"run":"([^"\\]*)","seq":(\d{1,18}),"time":"([^"\\]*)"')


class Events:
    """The events of an experiment; iterating reads the log, each time anew.

    A name is that of the event; events of type `metrics` are found by the full names of their metrics as well.

    Runs are interleaved by time; within a run `seq` decides, whatever the clock did. What is no whole event is passed over,
    and stands in `skipped` with its byte range.
    """

    def __init__(
        self,
        folder: Path,
        type: str | Iterable[str] | None = None,
        name: str | None = None,
        stream: str | None = None,
        before: Callable[[], object] = lambda: None,
        rewinds: Sequence[Rewind] = (),
    ) -> None:
        """Choose events by type or types, by a pattern over names (`*`, `**`, `{epoch:int}`), and by stream.

        Those that one of the `rewinds` supersedes are left out.

        Raises:
            InvalidArgument: A type is no text, or none of the format and of no event.
            InvalidPattern: The pattern cannot be read.
        """
        self._folder = folder
        self._types = _checked_types(type)
        refuse_unknown_types(folder, self._types or ())
        self._names = name_matcher(name, captures=True) if name is not None else None
        self._stream = stream
        self._before = before
        self._rewinds = rewinds
        self.skipped: list[Skipped] = []
        """What the last iteration passed over."""

    def __iter__(self) -> Iterator[Event]:
        """Read the events.

        Raises:
            InvalidArgument: There is no such stream.
        """
        self._before()
        refuse_unknown_stream([self._folder], self._stream)
        lines = self._lines()
        self.skipped = lines.skipped
        found = _as_they_stand(lines, self._rewinds) if _are_in_order(lines, self._rewinds) else _in_order(lines, self._rewinds)
        return (event for event in found if self._wants(event))

    def follow(self, is_over: Callable[[], bool]) -> Iterator[Event]:
        """The events that are there, then those to come, in the order in which they arrive, until the runs are over."""
        self._before()
        self.skipped = []
        offsets: dict[str, int] = {}
        next_look = 0.0
        found = False
        while True:
            over = False
            if not found and monotonic() >= next_look:
                over = is_over()
                next_look = monotonic() + _FOLLOW_LOOK_S
            for stream in self._lines().streams:
                offsets.setdefault(stream, 0)
            found = False
            for stream, offset in list(offsets.items()):
                for end, event in self._new(stream, offset):
                    offsets[stream] = end
                    found = True
                    if event is not None and self._wants(event):
                        yield event
            if over and not found:
                return
            if over:
                next_look = 0.0  # see at once whether these were the last ones
            elif not found:
                sleep(_FOLLOW_POLL_S)

    def _new(self, stream: str, offset: int) -> Iterator[tuple[int, Event | None]]:
        """Offset behind, and event, of the whole lines from an offset on."""
        if size_on_disk(self._folder / layout.stream_file(stream)) <= offset:
            return
        lines = Lines(self._folder, [stream], self._types, self.skipped)
        every = Lines(self._folder, [stream])
        for start, line in every.raw(stream, offset):
            if not line.endswith(b"\n"):
                return  # being written
            yield start + len(line), lines.event(stream, start, line)

    def _lines(self) -> Lines:
        streams = layout.streams_in(self._folder)
        wanted = [name for name in streams if self._stream is None or layout.logical_stream(name) == self._stream]
        return Lines(self._folder, wanted, self._types)

    def _wants(self, event: Event) -> bool:
        return self._names is None or is_named(event, self._names)


def is_named(event: Event, matches: Callable[[str], bool]) -> bool:
    """Whether an event's name matches, or the full name of one of its metrics."""
    if matches(event.name):
        return True
    if event.type != "metrics" or not isinstance(event.data, dict):
        return False
    prefix = f"{event.name}/" if event.name else ""
    return any(matches(prefix + key) for key in event.data)


def _are_in_order(lines: Lines, rewinds: Sequence[Rewind]) -> bool:
    """Whether there is one stream at most, and it has its events in order already: then none has to be held in memory."""
    if len(lines.streams) > 1:
        return False
    runs: dict[bytes, tuple[bytes, int]] = {}
    before = (b"", b"", 0)
    for _, _, line in _surviving(lines, rewinds):
        found = _who_and_when(line)
        if found is None:
            continue
        run, seq, time = found
        latest, last = runs.get(run, (b"", 0))
        time = max(latest, time)
        if seq < last or (time, run, seq) < before:
            return False
        runs[run], before = (time, seq), (time, run, seq)
    return True


def _surviving(lines: Lines, rewinds: Sequence[Rewind]) -> Iterator[tuple[str, int, bytes]]:
    """Stream, offset and bytes of the lines that no rewind supersedes."""
    for stream in lines.streams:
        for start, line in lines.raw(stream):
            if not (rewinds and is_superseded_line(rewinds, line)):
                yield stream, start, line


def _as_they_stand(lines: Lines, rewinds: Sequence[Rewind]) -> Iterator[Event]:
    for stream, start, line in _surviving(lines, rewinds):
        event = lines.event(stream, start, line)
        if event is not None:
            yield event


def _in_order(lines: Lines, rewinds: Sequence[Rewind]) -> Iterator[Event]:
    """Sort light keys, and parse each line once, when its turn comes."""
    rows: list[tuple[tuple[bytes, int, bytes], str, int, bytes]] = []
    for stream, start, line in _surviving(lines, rewinds):
        found = _who_and_when(line)
        if found is None:
            lines.event(stream, start, line)  # notes it as skipped
            continue
        rows.append((found, stream, start, line))
    for _, stream, start, line in in_order(rows, itemgetter(0)):
        event = lines.event(stream, start, line)
        if event is not None:
            yield event


def _who_and_when(line: bytes) -> tuple[bytes, int, bytes] | None:
    """Run, seq and time of a line, without reading it whole where mlv wrote it; None if it is no event."""
    found = _BEGIN.match(line)
    if found is not None:
        return found[1], int(found[2]), found[3]
    who = run_and_seq(line)
    time = re.search(rb'"time"\s*:\s*"([^"]*)"', line)
    return None if who is None else (who[0].encode("utf-8", "surrogatepass"), who[1], time[1] if time else b"")


def _checked_types(given: Any) -> tuple[str, ...] | None:
    if given is None:
        return None
    found = (given,) if not isinstance(given, Iterable) or isinstance(given, str) else tuple(given)
    for one in found:
        if not isinstance(one, str):
            raise InvalidArgument(f"type={one!r:.100} is no text: give types of events, such as 'metrics'", type=one)
    return found


def refuse_unknown_types(folder: Path, types: Iterable[str]) -> None:
    """Accept types of the format, and those of a later one that the log holds.

    Raises:
        InvalidArgument: A type is neither; names that are close are told.
    """
    for wanted in types:
        if wanted not in TYPES and not any(True for _ in Lines(folder, layout.streams_in(folder), (wanted,))):
            raise InvalidArgument(f"type={wanted!r} is no type of event: {_hint(wanted, TYPES)}", type=wanted)


def refuse_unknown_stream(folders: Iterable[Path], stream: str | None) -> None:
    """Accept the default stream, one that an experiment has, and None.

    Raises:
        InvalidArgument: No experiment has it, or it is no text; names that are close are told.
    """
    if stream is None or stream == layout.DEFAULT_STREAM:
        return
    if not isinstance(stream, str):
        raise InvalidArgument(f"stream={stream!r} is no text: give the name of a stream, such as 'val'", stream=stream)
    there = {layout.DEFAULT_STREAM}
    for folder in folders:
        with leaving_out(folder):
            there.update(map(layout.logical_stream, layout.streams_in(folder)))
        if stream in there:
            return
    raise InvalidArgument(f"stream={stream!r}: nobody logged into such a stream; {_hint(stream, there)}", stream=stream)


def _hint(wanted: str, names: Iterable[str]) -> str:
    close = _close(wanted, sorted(names))
    return f"did you mean {' or '.join(map(repr, close))}?" if close else f"there are {', '.join(sorted(names))}"


def _close(word: str, words: Iterable[str]) -> list[str]:
    from difflib import get_close_matches  # for errors only: `import mlv` does without

    return get_close_matches(word, list(words))
