"""What is true after a list of events: the runs of an experiment and what was added to it. A pure fold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from mlv.events import Event
from mlv.frozen import FrozenDict, FrozenRecord
from mlv.order import Key, keyed

LOST_AFTER = timedelta(minutes=5)
"""A run that nobody has heard of for so long is lost, until it speaks again."""
_NOTICED_WITHIN = timedelta(seconds=5)
"""How long after a process went a writer may notice, on a busy machine."""
_NOT_YET = timedelta(days=1)
"""A run that was last heard of so far in the future is lost as well: its clock is wrong, and it would be running till then."""

STRUCTURAL = (
    "run_started", "run_ended", "run_paused", "run_resumed", "heartbeat", "params", "tags", "note", "metadata", "rewound",
)  # fmt: skip
"""The types of which this fold takes more than the time."""


class Run(FrozenRecord):
    """One run, as far as its events tell."""

    id: str
    parent_run: str | None = None
    started: datetime | None = None
    ended: datetime | None = None
    last_heard: datetime | None = None
    verdict: str | None = None
    """The status that `run_ended` gave, None while there is none."""
    exception: Mapping[str, Any] | None = None
    """Type, message and traceback of the exception that ended the run."""
    paused: bool = False
    exp: str | None = None
    """The experiment's ID as the run saw it."""
    process: Mapping[str, Any] | None = None
    folder: Mapping[str, Any] | None = None
    """The folder that it began in, as it was recorded."""
    is_copied: bool = False
    """Whether this is a copy of that folder, made while the run went on: how it ended stands elsewhere."""
    rank: int = 0
    """Among the processes of its launch."""
    params: Mapping[str, Any] = FrozenDict()
    """Params of this run that differ from the experiment's."""
    is_fork: bool = False
    """Whether its process was forked from that of `parent_run`, and may go on in its place."""
    is_killed: bool = False
    """Whether the verdict is that of a writer, who found the process gone."""
    annotated: int = 1
    """Number of the last event up to which there are, after `run_started`, only tags and notes; 0 where they need no run."""
    only_annotated: bool = False
    """Whether the run added tags and notes, did nothing else, and ended well: as early versions annotated."""

    def status(self, now: datetime, is_gone: Callable[[Mapping[str, Any]], bool] = lambda process: False) -> str:
        """The run's status at a moment; `is_gone` says whether a process has provably ended."""
        if self.verdict is not None:
            return self.verdict
        if self.is_copied:
            return "lost"
        if self.process is not None and is_gone(self.process):
            return "killed"
        silent_for = now - self.last_heard if self.last_heard is not None else timedelta(0)
        return "lost" if silent_for > LOST_AFTER or silent_for < -_NOT_YET else "running"

    @property
    def duration_s(self) -> float | None:
        """Seconds from the start to the end, or to what was last heard; None if no start is known.

        It is 0 where the clock was set back in between.
        """
        until = self.ended or self.last_heard
        return max(0.0, (until - self.started).total_seconds()) if self.started and until else None


class Rewind(FrozenRecord):
    """A `rewound` event: which events it supersedes."""

    run: str
    seq: int
    step: float
    last: Mapping[str, int]
    """The last `seq` that is superseded, of each run that has one."""

    def supersedes(self, run: str, seq: int, step: Any) -> bool:
        """Whether an event is superseded; one without a step, or whose step is no number, never is."""
        return seq <= self.last.get(run, 0) and self.is_greater(step)

    def is_greater(self, step: Any) -> bool:
        """Whether a step comes after the one that was gone back to."""
        return type(step) in (int, float) and step > self.step


class State(FrozenRecord):
    """An experiment after some of its events."""

    runs: Mapping[str, Run] = FrozenDict()
    """Every run that a `run_started` names, in the order of their start, also those of children."""
    params: Mapping[str, Any] = FrozenDict()
    """What `params` events added."""
    tags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    descriptions: Mapping[str, Mapping[str, Any]] = FrozenDict()
    """What `log.describe` said about each metric, by full name."""
    rewinds: tuple[Rewind, ...] = ()

    @property
    def main_runs(self) -> list[Run]:
        """The runs that no other run started; later ones that only annotated are none."""
        runs = [run for run in self.runs.values() if run.parent_run is None]
        return [run for run in runs if run is runs[0] or not run.only_annotated]

    def standing(self, run: Run, now: datetime, is_gone: Callable[[Mapping[str, Any]], bool]) -> Run:
        """The run, or the fork that went on when the process that began it had ended, as a daemon does.

        A fork that went without a word stands for none that said how it ended.
        """
        status = run.status(now, is_gone)
        if status == "running":
            return run
        until = run.ended - _NOTICED_WITHIN if run.ended and run.is_killed else run.ended or run.last_heard
        forks = [fork for fork in self.runs.values() if fork.is_fork and fork.parent_run == run.id]
        for fork in reversed(forks):
            if until is not None and fork.last_heard is not None and fork.last_heard > until:
                last = self.standing(fork, now, is_gone)
                if status in ("killed", "lost") or last.status(now, is_gone) not in ("killed", "lost"):
                    return last
        return run

    @property
    def deciding_runs(self) -> list[Run]:
        """The main runs that decide the experiment's status: those of main ranks, if there are any."""
        return [run for run in self.main_runs if not run.rank] or self.main_runs


def fold(events: Iterable[Event], state: State | None = None) -> State:
    """The state after the events, which come in their order."""
    result = state or State()
    for event in events:
        result = _after(result, event)
    return result


def in_order(events: Iterable[Event]) -> list[Event]:
    """The events by time; within a run `seq` decides, and what is about a run follows its start, whatever the clocks did."""
    by_run = keyed(events, lambda event: (event.run, event.seq, event.time))
    starts = {event.run: moment for (moment, _, _), event in by_run if event.type == "run_started"}

    def place(pair: tuple[Key, Event]) -> tuple[datetime, bool, str, int]:
        (moment, run, seq), event = pair
        return max(moment, starts.get(event.subject, moment)), event.type != "run_started", run, seq

    return [event for _, event in sorted(by_run, key=place)]


def _after(state: State, event: Event) -> State:
    data = event.data if isinstance(event.data, Mapping) else {}
    state = _with_run(state, event, data)
    if event.type == "params":
        return state.replace(params={**state.params, **data})
    if event.type == "tags":
        given = data.get("tags")
        new = [tag for tag in given if isinstance(tag, str)] if isinstance(given, list) else []
        return state.replace(tags=tuple(dict.fromkeys((*state.tags, *new))))
    if event.type == "rewound":
        return state.replace(rewinds=(*state.rewinds, *_rewinds(event, data)))
    if event.type == "note":
        return state.replace(notes=(*state.notes, str(data.get("text", ""))))
    if event.type == "metadata":
        known = state.descriptions.get(event.name, {})
        return state.replace(descriptions={**state.descriptions, event.name: {**known, **data}})
    return state


def _rewinds(event: Event, data: Mapping[str, Any]) -> list[Rewind]:
    """What an event tells, nothing where it cannot be read."""
    step, last = data.get("step"), data.get("last")
    if type(step) not in (int, float):
        return []
    known = {run: seq for run, seq in last.items() if type(seq) is int} if isinstance(last, Mapping) else {}
    return [Rewind(event.run, event.seq, step, known)]  # type: ignore[arg-type]


def _with_run(state: State, event: Event, data: Mapping[str, Any]) -> State:
    subject = event.subject
    run = state.runs.get(subject)
    if run is None and event.type != "run_started":
        return state  # a writer's own run, or one whose beginning was lost
    changed = _run_after(run or Run(subject), event, data)
    return state.replace(runs={**state.runs, subject: changed})


def _run_after(run: Run, event: Event, data: Mapping[str, Any]) -> Run:
    heard = max(run.last_heard, event.time) if run.last_heard else event.time
    run = run.replace(last_heard=heard)
    if event.type == "run_started":
        return run.replace(
            started=event.time, parent_run=_text(data.get("parent_run")), exp=_text(data.get("exp")),
            process=_mapping(data.get("process")), folder=_mapping(data.get("folder")),
            params=_mapping(data.get("params")) or {},
            rank=rank if type(rank := data.get("rank")) is int else 0, is_fork=data.get("forked") is True,
            # Versions that say what came before a run annotate without one: theirs was begun in earnest.
            annotated=0 if "after" in data else run.annotated,
        )  # fmt: skip
    if event.type in ("tags", "note") and event.seq == run.annotated + 1:
        return run.replace(annotated=event.seq)
    if event.type == "run_ended":
        if run.verdict is not None and event.run != run.id:
            return run  # the run's own word counts, not that of a writer who found it gone
        exception, verdict, is_own = _mapping(data.get("exception")), str(data.get("status", "ok")), event.run == run.id
        return run.replace(
            ended=event.time, verdict=verdict, exception=exception, is_killed=not is_own,
            only_annotated=is_own and verdict == "ok" and event.seq == run.annotated + 1 > 2,
        )  # fmt: skip
    if event.type in ("run_paused", "run_resumed"):
        return run.replace(paused=event.type == "run_paused")
    return run


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _mapping(value: Any) -> Mapping[str, Any] | None:
    return value if isinstance(value, Mapping) else None
