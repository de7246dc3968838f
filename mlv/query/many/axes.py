"""Axes that values of metrics are drawn over, beside steps and coordinates: times, and other metrics."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mlv.events import Event
from mlv.optional import package
from mlv.query.digest import Digest
from mlv.query.events import Events
from mlv.query.runs import RunView
from mlv.query.unreadable import leaving_out

TIME, ELAPSED, ACTIVE = "time", "elapsed", "active"
"""Seconds since 1970; seconds since the first run began; the same without the times between runs, and pauses."""
TIMES = (TIME, ELAPSED, ACTIVE)
METRICS, AT = "metrics.", "at."
"""Prefixes of an axis that is a metric, and of one that is a coordinate, whatever its name."""


def is_special(x: str | None) -> bool:
    """Return whether an axis is neither the step nor a coordinate by its bare name."""
    return x is not None and (x in TIMES or x.startswith((METRICS, AT)))


def times(table: Any, x: str, digest: Digest) -> Any:
    """Return the positions of a metrics table's rows on an axis of time, as floats."""
    return times_of(package("numpy").asarray(table.column("time").cast("int64")) / 1e6, x, digest)


def times_of(moments: Any, x: str, digest: Digest) -> Any:
    """Return the positions of moments, in seconds since 1970, on an axis of time."""
    np = package("numpy")
    if x == TIME:
        return moments
    now = datetime.now(timezone.utc)
    runs = [run for run in digest.runs(now) if run.started is not None]
    begin = min((_seconds(run.started) for run in runs), default=moments.min() if len(moments) else 0.0)
    if x == ELAPSED:
        return moments - begin
    gaps = [*_between(runs), *_pauses(digest)]
    idle = sum((np.clip(moments, first, last) - first for first, last in gaps), np.zeros(len(moments)))
    return moments - begin - idle


def of_metric(table: Any, name: str, order: Any) -> Any:
    """Return for each row the value that another metric had when the row was logged.

    That is the value at the row's own step, or at the last step before it; where one of both has no step, the latest value
    that was logged before, or in the same line. NaN where there is none.
    """
    np, pc = package("numpy"), package("pyarrow.compute")
    is_axis = np.asarray(pc.equal(table.column("name"), name))[order]
    steps = np.asarray(table.column("step").cast("float64").to_numpy())[order]
    values = np.asarray(table.column("value").cast("float64").to_numpy())[order]
    result = np.full(len(order), np.nan)
    own_steps, own_values = steps[is_axis], values[is_axis]
    if not len(own_values):
        return result
    if not np.isnan(own_steps).any():
        by_step = np.argsort(own_steps, kind="stable")
        index = np.searchsorted(own_steps[by_step], steps, side="right") - 1  # NaN sorts behind all: the last index
        has_value = (index >= 0) & ~np.isnan(steps)
        result[has_value] = own_values[by_step][index[has_value]]
        pending = np.isnan(steps)
    else:
        pending = np.ones(len(order), bool)
    line = _lines(np, table, order)
    index = np.searchsorted(line[is_axis], line, side="right") - 1
    pending &= index >= 0
    result[pending] = own_values[index[pending]]
    back = np.empty(len(order))
    back[order] = result
    return back


def _lines(np: Any, table: Any, order: Any) -> Any:
    """Return the line number of each row, counted in the order of logging."""
    runs = table.column("run").combine_chunks().dictionary_encode()
    runs = np.asarray((runs.combine_chunks() if hasattr(runs, "combine_chunks") else runs).indices)[order]
    seq = np.asarray(table.column("seq"))[order]
    return np.cumsum(np.concatenate(([0], (runs[1:] != runs[:-1]) | (seq[1:] != seq[:-1]))))[: len(order)]


def _seconds(moment: datetime | None) -> float:
    return moment.timestamp() if moment is not None else 0.0


def _between(runs: list[RunView]) -> list[tuple[float, float]]:
    """Return the times between runs, which may overlap."""
    gaps = []
    end = None
    for run in sorted(runs, key=lambda run: _seconds(run.started)):
        start = _seconds(run.started)
        if end is not None and start > end:
            gaps.append((end, start))
        end = max(end or start, start + (run.duration_s or 0.0))
    return gaps


def _pauses(digest: Digest) -> list[tuple[float, float]]:
    """Return the recorded pauses of runs; one that was not resumed ends with its run."""
    ends = {run.id: _seconds(run.ended) for run in digest.runs(datetime.now(timezone.utc)) if run.ended is not None}
    began: dict[str, float] = {}
    pauses = []
    for event in _pause_events(digest.path):
        if event.type == "run_paused":
            began.setdefault(event.run, _seconds(event.time))
        elif event.run in began:
            pauses.append((began.pop(event.run), _seconds(event.time)))
    return [*pauses, *((start, ends[run]) for run, start in began.items() if run in ends)]


def _pause_events(folder: Path) -> Iterator[Event]:
    with leaving_out(folder):
        yield from Events(folder, ["run_paused", "run_resumed"])
