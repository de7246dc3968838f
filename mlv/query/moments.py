"""An experiment as of a moment: the events that had been logged by then."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mlv.encoding import BadLine, parse_time, shown
from mlv.errors import InvalidArgument
from mlv.events import Event
from mlv.query.events import Events
from mlv.query.rewinds import is_superseded, rewinds_of
from mlv.state import State, fold


@dataclass(frozen=True, slots=True)
class Moment:
    """A position in the order of the events: those before it have been logged, those behind it have not."""

    last: Mapping[str, int]
    """The last logged `seq` of each run."""
    time: datetime | None
    """Time of the moment; None before the first event."""

    def has(self, event: Event) -> bool:
        """Return whether the event has been logged."""
        return event.seq <= self.last.get(event.run, 0)


def moment(folder: Path, *, step: Any = None, time: Any = None, seq: Any = None) -> Moment:
    """Return the moment before the first event with a greater step, or of a later time, or behind the event of a `seq`.

    Args:
        folder: Of the experiment.
        step: A number; events that a rewind superseded do not end it.
        time: An aware `datetime`, a naive one in local time, or ISO 8601 as in the log.
        seq: A number of the latest run that no other started, or a pair of a run's ID and a number.

    Raises:
        InvalidArgument: None or several are given, one is of a wrong type, or there is no such event.
    """
    named = [name for name, value in (("step", step), ("time", time), ("seq", seq)) if value is not None]
    if len(named) != 1:
        raise InvalidArgument(f"as_of needs one of step, time and seq, and got {', '.join(named) or 'none'}", given=named)
    if step is not None:
        most = _checked_step(step)
        rewinds = rewinds_of(folder)

        def is_later(event: Event) -> bool:
            is_gone = is_superseded(rewinds, event.run, event.seq, event.step)
            return isinstance(event.step, (int, float)) and event.step > most and not is_gone

        return _moment_before(folder, is_later, None)
    if time is not None:
        until = _checked_time(time)
        return _moment_before(folder, lambda event: event.time > until, until)
    return _moment_behind(folder, seq)


def state_at(folder: Path, moment: Moment) -> State:
    """Return the state after the events up to a moment."""
    return fold(until(Events(folder), moment))


def status_at(state: State, time: datetime | None) -> str:
    """Return the status of the latest run as of a moment; a process was never killed before its log says so."""
    runs = sorted(state.deciding_runs, key=lambda run: (run.started is not None, run.started, run.id))
    return runs[-1].status(time) if runs and time is not None else "running"


def until(events: Iterable[Event], moment: Moment) -> Iterator[Event]:
    """Yield the events that had been logged at a moment."""
    return (event for event in events if moment.has(event))


def surviving(folder: Path, types: str | Iterable[str], moment: Moment | None) -> Iterator[Event]:
    """Yield events of some types that no rewind had superseded at a moment; None is now."""
    rewinds = rewinds_of(folder, cut=None if moment is None else moment.last)
    return (event for event in Events(folder, types, rewinds=rewinds) if moment is None or moment.has(event))


def _moment_before(folder: Path, is_behind: Callable[[Event], bool], time: datetime | None) -> Moment:
    last: dict[str, int] = {}
    latest = None
    for event in Events(folder):
        if is_behind(event):
            break
        last[event.run] = max(event.seq, last.get(event.run, 0))
        latest = event.time
    return Moment(last, time or latest)


def _moment_behind(folder: Path, seq: Any) -> Moment:
    run, number = seq if isinstance(seq, tuple) and len(seq) == 2 else (None, seq)
    if type(number) is not int or not isinstance(run, (str, type(None))):
        raise InvalidArgument(f"seq={shown(seq)}: give the number of an event, or a pair of a run's ID and a number", seq=seq)
    if run is None:
        run = _latest_run(folder)
    last: dict[str, int] = {}
    for event in Events(folder):
        last[event.run] = max(event.seq, last.get(event.run, 0))
        if event.run == run and event.seq == number:
            return Moment(last, event.time)
    hint = f"its last one is {last[run]}" if run in last else f"the runs are {', '.join(last) or 'none'}"
    raise InvalidArgument(f"seq={shown(seq)}: run {run} has no such event; {hint}", seq=seq)


def _latest_run(folder: Path) -> str | None:
    runs = fold(Events(folder, "run_started")).deciding_runs
    latest = max(runs, key=lambda run: (run.started, run.id), default=None)
    return latest.id if latest is not None else None


def _checked_step(step: Any) -> float:
    if isinstance(step, bool) or not isinstance(step, (int, float)) or step != step:
        raise InvalidArgument(f"step={shown(step)} is no number", step=step)
    return step


def _checked_time(value: Any) -> datetime:
    try:
        parsed = parse_time(value) if isinstance(value, str) else value
    except BadLine:
        parsed = None
    if not isinstance(parsed, datetime):
        raise InvalidArgument(f"time={shown(value)} is no time: give a datetime, or '2026-11-21T03:03:00Z'", time=value)
    return parsed.astimezone(timezone.utc)
