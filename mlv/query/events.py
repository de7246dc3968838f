"""The events of one experiment in order, and the refusal of unknown streams and types."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from mlv import wire, words
from mlv.errors import InvalidArgument
from mlv.events import Event, metrics_of
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

_FOLLOW_POLL_S = 0.02  # as often as a writer appends
_FOLLOW_LOOK_S = 0.5  # reads the folder for new streams


class Events:
    """The events of an experiment; iterating reads the log, each time anew.

    A name is that of the event; events of type `metrics` are found by the full names of their metrics as well.

    Runs are interleaved by time; within a run `seq` decides, whatever the clock did. A line that is no whole event is passed
    over, and its byte range is added to `skipped`.
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

        Events that one of the `rewinds` supersedes are left out.

        Raises:
            InvalidArgument: A type is no text, or neither of the format nor of any event.
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
        """The lines that the last iteration passed over."""

    def __iter__(self) -> Iterator[Event]:
        """Read the events.

        Raises:
            InvalidArgument: There is no such stream.
        """
        self._before()
        refuse_unknown_stream([self._folder], self._stream)
        lines = self._lines()
        self.skipped = lines.skipped
        events_of = _in_file_order if _are_in_order(lines, self._rewinds) else _in_order
        return (event for event in events_of(lines, self._rewinds) if self._matches(event))

    def follow(self, is_over: Callable[[], bool]) -> Iterator[Event]:
        """Yield the present events, then new ones in the order in which they arrive, until the runs are over."""
        self._before()
        self.skipped = []
        offsets: dict[str, int] = {}
        next_look = 0.0
        has_news = False
        while True:
            over = False
            if not has_news and monotonic() >= next_look:
                over = is_over()
                next_look = monotonic() + _FOLLOW_LOOK_S
            for stream in self._lines().streams:
                offsets.setdefault(stream, 0)
            has_news = False
            for stream, offset in list(offsets.items()):
                for end, event in self._new(stream, offset):
                    offsets[stream] = end
                    has_news = True
                    if event is not None and self._matches(event):
                        yield event
            if over and not has_news:
                return
            if over:
                next_look = 0.0  # ask again at once whether these were the last events
            elif not has_news:
                sleep(_FOLLOW_POLL_S)

    def _new(self, stream: str, offset: int) -> Iterator[tuple[int, Event | None]]:
        """Yield end offset and event of the whole lines from an offset on."""
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
        requested = [name for name in streams if self._stream is None or layout.logical_stream(name) == self._stream]
        return Lines(self._folder, requested, self._types)

    def _matches(self, event: Event) -> bool:
        return self._names is None or is_named(event, self._names)


def is_named(event: Event, matches: Callable[[str], bool]) -> bool:
    """Return whether an event's name matches, or the full name of one of its metrics."""
    return matches(event.name) or any(matches(name) for name, _ in metrics_of(event))


def _are_in_order(lines: Lines, rewinds: Sequence[Rewind]) -> bool:
    """Return whether there is at most one stream, with its events in order: then none has to be held in memory."""
    if len(lines.streams) > 1:
        return False
    runs: dict[bytes, tuple[bytes, int]] = {}
    before = (b"", b"", 0)
    for _, _, line in _surviving(lines, rewinds):
        key = _run_seq_time(line)
        if key is None:
            continue
        run, seq, time = key
        latest, last = runs.get(run, (b"", 0))
        time = max(latest, time)
        if seq < last or (time, run, seq) < before:
            return False
        runs[run], before = (time, seq), (time, run, seq)
    return True


def _surviving(lines: Lines, rewinds: Sequence[Rewind]) -> Iterator[tuple[str, int, bytes]]:
    """Yield stream, offset and bytes of the lines that no rewind supersedes."""
    for stream in lines.streams:
        for start, line in lines.raw(stream):
            if not (rewinds and is_superseded_line(rewinds, line)):
                yield stream, start, line


def _in_file_order(lines: Lines, rewinds: Sequence[Rewind]) -> Iterator[Event]:
    for stream, start, line in _surviving(lines, rewinds):
        event = lines.event(stream, start, line)
        if event is not None:
            yield event


def _in_order(lines: Lines, rewinds: Sequence[Rewind]) -> Iterator[Event]:
    """Yield events in order: light keys are sorted, and each line is parsed once, when its turn comes."""
    rows: list[tuple[tuple[bytes, int, bytes], str, int, bytes]] = []
    for stream, start, line in _surviving(lines, rewinds):
        key = _run_seq_time(line)
        if key is None:
            lines.event(stream, start, line)  # notes it as skipped
            continue
        rows.append((key, stream, start, line))
    for _, stream, start, line in in_order(rows, itemgetter(0)):
        event = lines.event(stream, start, line)
        if event is not None:
            yield event


def _run_seq_time(line: bytes) -> tuple[bytes, int, bytes] | None:
    """Return run, seq and time of a line, without parsing all of it where mlv wrote it; None if it is no event."""
    beginning = wire.run_seq_time(line)
    if beginning is not None:
        return beginning
    who = run_and_seq(line)
    return None if who is None else (who[0].encode("utf-8", "surrogatepass"), who[1], wire.time_in(line))


def _checked_types(types: Any) -> tuple[str, ...] | None:
    if types is None:
        return None
    names = (types,) if not isinstance(types, Iterable) or isinstance(types, str) else tuple(types)
    for name in names:
        if not isinstance(name, str):
            raise InvalidArgument(f"type={name!r:.100} is no text: give types of events, such as 'metrics'", type=name)
    return names


def refuse_unknown_types(folder: Path, types: Iterable[str]) -> None:
    """Accept types of the format, and those of a later one that the log holds.

    Raises:
        InvalidArgument: A type is neither; the message suggests close names.
    """
    for name in types:
        if name not in TYPES and not any(True for _ in Lines(folder, layout.streams_in(folder), (name,))):
            raise InvalidArgument(f"type={name!r} is no type of event: {_hint(name, TYPES)}", type=name)


def refuse_unknown_stream(folders: Iterable[Path], stream: str | None) -> None:
    """Accept the default stream, one that an experiment has, and None.

    Raises:
        InvalidArgument: No experiment has it, or it is no text; the message suggests close names.
    """
    if stream is None or stream == layout.DEFAULT_STREAM:
        return
    if not isinstance(stream, str):
        raise InvalidArgument(f"stream={stream!r} is no text: give the name of a stream, such as 'val'", stream=stream)
    streams = {layout.DEFAULT_STREAM}
    for folder in folders:
        with leaving_out(folder):
            streams.update(map(layout.logical_stream, layout.streams_in(folder)))
        if stream in streams:
            return
    raise InvalidArgument(f"stream={stream!r}: nobody logged into such a stream; {_hint(stream, streams)}", stream=stream)


def _hint(name: str, names: Iterable[str]) -> str:
    close = _close(name, sorted(names))
    return words.did_you_mean(map(repr, close)) if close else f"there are {', '.join(sorted(names))}"


def _close(word: str, words: Iterable[str]) -> list[str]:
    from difflib import get_close_matches  # for errors only: `import mlv` does without

    return get_close_matches(word, list(words))
