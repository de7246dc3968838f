"""Reading one experiment: its events in order, its runs, its status."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from operator import itemgetter
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from mlv.encoding import BadLine, parse_time
from mlv.errors import InvalidArgument
from mlv.events import Event
from mlv.frozen import FrozenRecord
from mlv.order import in_order
from mlv.query.known import refuse_unknown_stream, refuse_unknown_types
from mlv.query.patterns import name_matcher
from mlv.query.rewinds import is_superseded_line
from mlv.state import LOST_AFTER, Rewind, Run, State
from mlv.store import layout
from mlv.store.owners import process_is_gone
from mlv.store.reading import Lines, read_state, size_on_disk
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


class RunView(FrozenRecord):
    """A run as it stands at the moment of reading."""

    id: str
    status: str
    """running, ok, failed, interrupted, preempted, ended, killed or lost."""
    started: datetime | None
    ended: datetime | None
    duration_s: float | None
    """Seconds to the end, or to what was last heard."""
    paused: bool
    params: Mapping[str, Any]
    """Params of this run that differ from the experiment's."""
    exception: Mapping[str, Any] | None
    """Type, message and traceback of what ended a failed run."""
    process: Mapping[str, Any] | None
    parent_run: str | None
    children: tuple[RunView, ...] = ()
    """Runs of forked and spawned children."""
    is_copied: bool = False
    """Whether the folder is a copy that was made while the run went on: it is lost here, how it ended stands elsewhere."""


def views(state: State, now: datetime) -> list[RunView]:
    """The runs that no other run started, the latest last, each with its children."""
    children: dict[str, list[Run]] = {}
    for run in state.runs.values():
        if run.parent_run is not None:
            children.setdefault(run.parent_run, []).append(run)

    def view(run: Run) -> RunView:
        last = state.standing(run, now, process_is_gone)
        duration_s = last.replace(started=run.started).duration_s
        return RunView(
            run.id, last.status(now, process_is_gone), run.started, last.ended, duration_s, last.paused, run.params,
            last.exception, run.process, run.parent_run, tuple(view(child) for child in children.get(run.id, [])),
            last.is_copied,
        )  # fmt: skip

    return [view(run) for run in sorted(state.main_runs, key=_by_start)]


def total_s(state: State, now: datetime) -> float | None:
    """Seconds that all runs of main ranks took together, children apart; None where none is known."""
    deciding = {run.id for run in state.deciding_runs}
    durations = [run.duration_s for run in views(state, now) if run.id in deciding and run.duration_s is not None]
    return sum(durations) if durations else None


def latest_status(state: State, created: str, now: datetime) -> str:
    """Status of an experiment: that of its latest run; before the first event, that of one about to begin."""
    runs = sorted(state.deciding_runs, key=_by_start)
    if runs:
        return state.standing(runs[-1], now, process_is_gone).status(now, process_is_gone)
    try:
        age = now - parse_time(created)
    except (BadLine, TypeError, AttributeError):
        age = timedelta.max
    return "running" if age < LOST_AFTER else "lost"


def status_of(folder: Path, created: str) -> str:
    """Status of the experiment in a folder."""
    return latest_status(read_state(folder), created, datetime.now(timezone.utc))


def _checked_types(given: Any) -> tuple[str, ...] | None:
    if given is None:
        return None
    found = (given,) if not isinstance(given, Iterable) or isinstance(given, str) else tuple(given)
    for one in found:
        if not isinstance(one, str):
            raise InvalidArgument(f"type={one!r:.100} is no text: give types of events, such as 'metrics'", type=one)
    return found


def _by_start(run: Run) -> tuple[datetime, str]:
    return run.started or datetime.min.replace(tzinfo=timezone.utc), run.id
