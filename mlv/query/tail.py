"""The latest events, status and metrics of an experiment, read from the ends of its streams, however long they are."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import chain, islice
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from mlv import wire
from mlv.encoding import BadLine, event_from_line
from mlv.events import Event, metrics_of
from mlv.order import in_order
from mlv.query.events import Events, is_named
from mlv.query.name_patterns import name_matcher
from mlv.query.rewinds import is_superseded, rewinds_of
from mlv.query.runs import latest_status
from mlv.state import State, fold
from mlv.store import layout
from mlv.store.reading import read_state, while_there
from mlv.store.streams import Skipped, lines_from_end, read_lines, stream_size, whole_end

_POLL_S = 0.02  # as often as a writer appends
_LOOK_EVERY_S = 0.5  # reads the folder for new streams, and the state of the runs


@dataclass(frozen=True, slots=True)
class EventLine:
    """An event and its line."""

    event: Event
    line: bytes


class Tail:
    """The last events of an experiment, and the new ones after them."""

    def __init__(
        self,
        folder: Path,
        *,
        types: Collection[str] = (),
        without: Collection[str] = (),
        name: str | None = None,
        stream: str | None = None,
    ) -> None:
        """Choose events by type (without `types` all but those in `without`), by a pattern over names, and by stream.

        Raises:
            InvalidPattern: The pattern cannot be read.
        """
        self._folder, self._types, self._without, self._stream = folder, types, without, stream
        self._marks = list(map(wire.quoted, types))
        self._matches = name_matcher(name, captures=True) if name is not None else lambda name: True
        self._offsets: dict[str, int] = {}
        self.skipped: list[Skipped] = []
        """The lines that were passed over so far."""

    def last(self, count: int) -> list[EventLine]:
        """Return the last events, in the order of logging."""
        self._offsets = {}
        for stream in self.streams():
            with while_there(self._folder, stream):
                self._offsets[stream] = whole_end(self._folder / layout.stream_file(stream))
        newest = chain.from_iterable(islice(self._from_end(stream), count) for stream in self._offsets)
        event_lines = in_order(newest, lambda line: (line.event.run, line.event.seq, line.event.time))
        return event_lines[len(event_lines) - count :] if count < len(event_lines) else event_lines

    def follow(self, is_over: Callable[[], bool]) -> Iterator[EventLine]:
        """Yield the events after the last ones, as they arrive; `is_over` is called while none does."""
        next_look = monotonic()
        while True:
            ending = monotonic() >= next_look and is_over()
            if monotonic() >= next_look:
                next_look = monotonic() + _LOOK_EVERY_S
            news = False
            for event_line in self.news():
                news = True
                yield event_line
            if ending and not news:
                return
            sleep(_POLL_S)

    def news(self) -> Iterator[EventLine]:
        """Yield the events that have arrived by now."""
        for stream in self.streams():
            yield from self._since(stream)

    def streams(self) -> list[str]:
        """Return the streams that are followed."""
        streams = layout.streams_in(self._folder)
        return [name for name in streams if self._stream is None or layout.logical_stream(name) == self._stream]

    def _from_end(self, stream: str) -> Iterator[EventLine]:
        """Yield the events of one stream, the last one first."""
        with while_there(self._folder, stream):
            for start, line in lines_from_end(self._folder / layout.stream_file(stream), self._offsets[stream]):
                if (event_line := self._event_line(stream, start, line)) is not None:
                    yield event_line

    def _since(self, stream: str) -> Iterator[EventLine]:
        """Yield the new events of one stream."""
        offset = self._offsets.setdefault(stream, 0)
        if stream_size(self._folder, stream) <= offset:
            return
        with while_there(self._folder, stream):
            for start, line in read_lines(self._folder / layout.stream_file(stream), offset):
                if not line.endswith(b"\n"):
                    return  # being written
                self._offsets[stream] = start + len(line)
                if (event_line := self._event_line(stream, start, line)) is not None:
                    yield event_line

    def _event_line(self, stream: str, start: int, line: bytes) -> EventLine | None:
        if self._marks and not any(mark in line for mark in self._marks) and wire.looks_whole(line):
            return None
        try:
            event = event_from_line(line, layout.logical_stream(stream))
        except BadLine as error:
            self.skipped.append(Skipped(stream, start, start + len(line), str(error)))
            return None
        is_requested = event.type in self._types if self._types else event.type not in self._without
        return EventLine(event, line) if is_requested and is_named(event, self._matches) else None


class Status:
    """The status of an experiment, or of one stream, again and again: each call reads only new lines of the log."""

    def __init__(self, folder: Path, created: str, stream: str | None = None) -> None:
        self._folder, self._created = folder, created
        self._tail = Tail(folder, stream=stream)
        self._state: State | None = None

    def __call__(self) -> str:
        """Return the present status."""
        if self._state is None:
            self._tail.last(0)  # first: an event that arrives meanwhile may be folded twice, but not be missed
            self._state = read_state(self._folder, self._tail.streams())
        self._state = fold((event_line.event for event_line in self._tail.news()), self._state)
        return latest_status(self._state, self._created, datetime.now(timezone.utc))


@dataclass(frozen=True, slots=True)
class Latest:
    """The latest value of a metric, or another one that stands for it."""

    value: Any
    step: Any
    time: datetime


def latest_metrics(
    folder: Path,
    within_bytes: int | None = None,
    skipped: list[Skipped] | None = None,
    heard: Mapping[str, datetime | None] | None = None,
) -> dict[str, Latest]:
    """Return the latest value of each metric, by full name; with `within_bytes`, of those near the end of each stream.

    Damaged lines are added to `skipped`. `heard` holds the time of each run's last sign of life: where the end of a log does
    not show which of several runs logged last, all of it is read.
    """
    latest: dict[str, tuple[Event, Any]] = {}
    begun: set[str] = set()
    is_clear, rewinds, streams = True, rewinds_of(folder), layout.streams_in(folder)
    for stream in streams:
        with while_there(folder, stream):
            for event in _metrics_from_end(folder, stream, within_bytes, skipped if skipped is not None else [], begun):
                is_gone = is_superseded(rewinds, event.run, event.seq, event.step)
                for name, value in metrics_of(event) if not is_gone else ():
                    before = latest.get(name)
                    is_clear &= before is None or before[0].run == event.run
                    if before is None or event.seq > before[0].seq:
                        latest[name] = event, value
    is_whole = within_bytes is None or all(stream_size(folder, stream) <= within_bytes for stream in streams)
    if not is_whole and is_clear:
        # Of a run whose first line was read no line is missing.
        moments = [(run, moment) for run, moment in (heard or {}).items() if moment is not None and run not in begun]
        is_clear = all(run == event.run or moment < event.time for event, _ in latest.values() for run, moment in moments)
    if not is_clear:
        latest = {
            name: (event, value)
            for event in Events(folder, "metrics", rewinds=rewinds)
            for name, value in metrics_of(event)
            if name in latest
        }
    return {name: Latest(value, event.step, event.time) for name, (event, value) in latest.items()}


def _metrics_from_end(
    folder: Path, stream: str, within_bytes: int | None, skipped: list[Skipped], begun: set[str]
) -> Iterator[Event]:
    """Yield the events of type `metrics`, the last one first; add the runs whose first lines are read to `begun`."""
    path = folder / layout.stream_file(stream)
    first = 0 if within_bytes is None else os.path.getsize(path) - within_bytes
    for start, line in lines_from_end(path):
        if start < first:
            return
        if (who := wire.run_and_seq(line)) is not None and who[1] == 1:
            begun.add(who[0].decode("utf-8", "replace"))
        if wire.quoted("metrics") in line or not wire.looks_whole(line):
            try:
                event = event_from_line(line, "")
            except BadLine as error:
                skipped.append(Skipped(stream, start, start + len(line), str(error)))
                continue
            if event.type == "metrics":
                yield event
