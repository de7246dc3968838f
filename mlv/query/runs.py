"""The runs of one experiment as they stand when it is read, and its status."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from mlv.encoding import BadLine, parse_time
from mlv.frozen import FrozenRecord
from mlv.state import LOST_AFTER, Run, State
from mlv.store.owners import process_is_gone
from mlv.store.reading import read_state


class RunView(FrozenRecord):
    """A run as it stands at the moment of reading."""

    id: str
    status: str
    """running, ok, failed, interrupted, preempted, ended, killed or lost."""
    started: datetime | None
    ended: datetime | None
    duration_s: float | None
    """Seconds to the end, or to the last sign of life."""
    paused: bool
    params: Mapping[str, Any]
    """Params of this run that differ from the experiment's."""
    exception: Mapping[str, Any] | None
    """Type, message and traceback of the exception that ended a failed run."""
    process: Mapping[str, Any] | None
    parent_run: str | None
    children: tuple[RunView, ...] = ()
    """Runs of forked and spawned children."""
    is_copied: bool = False
    """Whether the folder is a copy that was made while the run went on: here it is lost, its end is recorded elsewhere."""


def views(state: State, now: datetime, is_gone: Callable[[Mapping[str, Any]], bool] = process_is_gone) -> list[RunView]:
    """Return the runs that no other run started, the latest last, each with its children."""
    children: dict[str, list[Run]] = {}
    for run in state.runs.values():
        if run.parent_run is not None:
            children.setdefault(run.parent_run, []).append(run)

    def view(run: Run) -> RunView:
        last = state.standing(run, now, is_gone)
        duration_s = (last if last is run else last.replace(started=run.started)).duration_s
        return RunView(
            run.id, last.status(now, is_gone), run.started, last.ended, duration_s, last.paused, run.params,
            last.exception, run.process, run.parent_run, tuple(view(child) for child in children.get(run.id, [])),
            last.is_copied,
        )  # fmt: skip

    return [view(run) for run in sorted(state.main_runs, key=_by_start)]


def total_s(state: State, now: datetime) -> float | None:
    """Return the seconds that all runs of main ranks took together, children apart; None where none is known."""
    deciding = {run.id for run in state.deciding_runs}
    durations = [run.duration_s for run in views(state, now) if run.id in deciding and run.duration_s is not None]
    return sum(durations) if durations else None


def latest_status(state: State, created: str, now: datetime) -> str:
    """Return the status of an experiment: that of its latest run.

    Before the first event it is `running` for some minutes after creation, then `lost`.
    """
    runs = sorted(state.deciding_runs, key=_by_start)
    if runs:
        return state.standing(runs[-1], now, process_is_gone).status(now, process_is_gone)
    try:
        age = now - parse_time(created)
    except (BadLine, TypeError, AttributeError):
        age = timedelta.max
    return "running" if age < LOST_AFTER else "lost"


def status_of(folder: Path, created: str) -> str:
    """Return the status of the experiment in a folder."""
    return latest_status(read_state(folder), created, datetime.now(timezone.utc))


def _by_start(run: Run) -> tuple[datetime, str]:
    return run.started or datetime.min.replace(tzinfo=timezone.utc), run.id
