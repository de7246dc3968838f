"""The state of an experiment after its events, from its runs and params to its moves and rewinds. A pure fold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from mlv.events import Event, full_name
from mlv.frozen import FrozenDict, FrozenRecord
from mlv.order import Key, keyed

LOST_AFTER = timedelta(minutes=5)
"""A run without an event for so long is lost, until the next one."""
_NOTICED_WITHIN = timedelta(seconds=5)
"""How long a writer may take to notice that a process is gone, on a busy machine."""
_NOT_YET = timedelta(days=1)
"""A run whose last event is so far in the future is lost as well: its clock is wrong, and it would be running till then."""

STRUCTURAL = (
    "run_started", "run_ended", "run_paused", "run_resumed", "heartbeat", "params", "tags", "tags_removed", "note",
    "archived", "moved", "metadata", "summary", "rewound",
)  # fmt: skip
"""The types of which this fold uses more than the time."""


LAST, BEST, NONE = "last", "best", "none"
STATISTICS = (LAST, "min", "max", "mean", BEST, NONE)
"""The numbers of which `log.describe(name, summary=)` chooses the one that stands for a metric."""


def statistic_of(description: Mapping[str, Any]) -> str:
    """Return the statistic that a description of a metric chooses; the last value where it chooses none that is known."""
    chosen = description.get("summary")
    return chosen if isinstance(chosen, str) and chosen in STATISTICS else LAST


class Summarized(FrozenRecord):
    """A value of `exp.summarize`, which stands for the metric of its name, if there is one."""

    value: Any
    time: datetime


class Run(FrozenRecord):
    """One run, as recorded in its events."""

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
    """The recorded folder in which the run began."""
    is_copied: bool = False
    """Whether this is a copy of that folder, made during the run: its end is recorded elsewhere."""
    rank: int = 0
    """Among the processes of its launch."""
    params: Mapping[str, Any] = FrozenDict()
    """Params of this run that differ from the experiment's."""
    is_fork: bool = False
    """Whether its process was forked from that of `parent_run`, and may go on in its place."""
    is_killed: bool = False
    """Whether the verdict is that of a writer that found the process gone."""
    annotated: int = 1
    """The `seq` up to which only tags and notes follow `run_started`; 0 where these need no run."""
    only_annotated: bool = False
    """Whether the run only added tags and notes, and ended well: early versions annotated so."""

    def status(self, now: datetime, is_gone: Callable[[Mapping[str, Any]], bool] = lambda process: False) -> str:
        """Return the run's status at a moment; `is_gone` says whether a process has provably ended."""
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
        """Seconds from the start to the end, or to the last event; None if no start is known.

        It is 0 where the clock was set back in between.
        """
        until = self.ended or self.last_heard
        return max(0.0, (until - self.started).total_seconds()) if self.started and until else None


class Rewind(FrozenRecord):
    """A `rewound` event, which supersedes other events."""

    run: str
    seq: int
    step: float
    last: Mapping[str, int]
    """The last `seq` that is superseded, of each run that has one."""

    def supersedes(self, run: str, seq: int, step: Any) -> bool:
        """Return whether an event is superseded; one without a step, or whose step is no number, never is."""
        return seq <= self.last.get(run, 0) and self.is_greater(step)

    def is_greater(self, step: Any) -> bool:
        """Return whether a step comes after the step of the rewind."""
        return type(step) in (int, float) and step > self.step


class State(FrozenRecord):
    """An experiment after some of its events."""

    runs: Mapping[str, Run] = FrozenDict()
    """Every run that a `run_started` names, in the order of their start, also those of children."""
    params: Mapping[str, Any] = FrozenDict()
    """The params that `params` events added."""
    tags: tuple[str, ...] = ()
    """The tags that `tags` events added, without those taken away again."""
    removed_tags: tuple[str, ...] = ()
    """Tags that were taken away, also those of meta.json, and not added again."""
    notes: tuple[str, ...] = ()
    is_archived: bool = False
    """Whether lists leave it out."""
    former_folders: tuple[str, ...] = ()
    """Its folders before it was moved, the latest last."""
    descriptions: Mapping[str, Mapping[str, Any]] = FrozenDict()
    """The descriptions of metrics by `log.describe`, by full name."""
    summaries: Mapping[str, Summarized] = FrozenDict()
    """The values of `exp.summarize`, by full name."""
    rewinds: tuple[Rewind, ...] = ()

    def tags_with(self, recorded: Any) -> tuple[str, ...]:
        """Return all tags: those recorded in meta.json and those added, without those taken away."""
        tags = (*(map(str, recorded) if isinstance(recorded, Sequence) and not isinstance(recorded, str) else ()), *self.tags)
        return tuple(tag for tag in dict.fromkeys(tags) if tag not in self.removed_tags)

    @property
    def is_summarized(self) -> bool:
        """Whether anything but its last value stands for some metric."""
        return bool(self.summaries) or any(statistic_of(each) != LAST for each in self.descriptions.values())

    @property
    def main_runs(self) -> list[Run]:
        """The runs that no other run started; later ones that only annotated are none."""
        runs = [run for run in self.runs.values() if run.parent_run is None]
        return [run for run in runs if run is runs[0] or not run.only_annotated]

    def standing(self, run: Run, now: datetime, is_gone: Callable[[Mapping[str, Any]], bool]) -> Run:
        """Return the run, or the fork that went on after its process had ended, as a daemon does.

        A killed or lost fork does not replace a run whose end is recorded.
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
    """Return the state after the events, which come in their order."""
    result = state or State()
    for event in events:
        result = _after(result, event)
    return result


def in_order(events: Iterable[Event]) -> list[Event]:
    """Sort the events by time; within a run `seq` decides, and events about a run follow its start, whatever the clocks did."""
    by_run = keyed(events, lambda event: (event.run, event.seq, event.time))
    starts = {event.run: moment for (moment, _, _), event in by_run if event.type == "run_started"}

    def sort_key(pair: tuple[Key, Event]) -> tuple[datetime, bool, str, int]:
        (moment, run, seq), event = pair
        return max(moment, starts.get(event.subject, moment)), event.type != "run_started", run, seq

    return [event for _, event in sorted(by_run, key=sort_key)]


def _after(state: State, event: Event) -> State:
    data = event.data if isinstance(event.data, Mapping) else {}
    # Whatever the event says besides: each is a sign of life of its run.
    state = _with_run(state, event, data)
    if event.type == "params":
        return state.replace(params={**state.params, **data})
    if event.type == "tags":
        new = _tags(data)
        removed = tuple(tag for tag in state.removed_tags if tag not in new)
        return state.replace(tags=tuple(dict.fromkeys((*state.tags, *new))), removed_tags=removed)
    if event.type == "tags_removed":
        gone = _tags(data)
        tags = tuple(tag for tag in state.tags if tag not in gone)
        return state.replace(tags=tags, removed_tags=tuple(dict.fromkeys((*state.removed_tags, *gone))))
    if event.type == "archived":
        return state.replace(is_archived=data.get("archived") is True)
    if event.type == "moved":
        former = data.get("from")
        return state.replace(former_folders=(*state.former_folders, former)) if isinstance(former, str) else state
    if event.type == "rewound":
        return state.replace(rewinds=(*state.rewinds, *_rewinds(event, data)))
    if event.type == "note":
        return state.replace(notes=(*state.notes, str(data.get("text", ""))))
    if event.type == "metadata":
        return state.replace(descriptions=with_description(state.descriptions, event.name, data))
    if event.type == "summary":
        values = {full_name(event.name, key): Summarized(value, event.time) for key, value in data.items()}
        return state.replace(summaries={**state.summaries, **values})
    return state


def verdict_in(data: Any) -> str:
    """Return the status in the data of a `run_ended`."""
    return str(data.get("status", "ok")) if isinstance(data, Mapping) else "ok"


def with_description(
    descriptions: Mapping[str, Mapping[str, Any]], name: str, data: Mapping[str, Any]
) -> dict[str, Mapping[str, Any]]:
    """Return the descriptions of metrics after a `metadata` of one: each field that it has replaces the earlier one."""
    return {**descriptions, name: {**descriptions.get(name, {}), **data}}


def _tags(data: Mapping[str, Any]) -> list[str]:
    tags = data.get("tags")
    return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []


def _rewinds(event: Event, data: Mapping[str, Any]) -> list[Rewind]:
    """Return the rewind of an event; none if it cannot be read."""
    step, last = data.get("step"), data.get("last")
    if type(step) not in (int, float):
        return []
    last_seqs = {run: seq for run, seq in last.items() if type(seq) is int} if isinstance(last, Mapping) else {}
    return [Rewind(event.run, event.seq, step, last_seqs)]  # type: ignore[arg-type]


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
            # Versions that record `after` annotate without a run, so that their runs were begun for more than that.
            annotated=0 if "after" in data else run.annotated,
        )  # fmt: skip
    if event.type in ("tags", "note") and event.seq == run.annotated + 1:
        return run.replace(annotated=event.seq)
    if event.type == "run_ended":
        if run.verdict is not None and event.run != run.id:
            return run  # the run's own verdict counts, not that of a writer that found it gone
        exception, verdict, is_own = _mapping(data.get("exception")), verdict_in(data), event.run == run.id
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
