"""Digests of experiments, made in one pass: the state, and each metric in a few numbers."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from itertools import pairwise
from pathlib import Path
from typing import Any

from mlv import wire
from mlv.encoding import Huge, loads, restored
from mlv.query.events import Events
from mlv.query.metrics.summary import Summary, summary
from mlv.query.rewinds import is_superseded, rewinds_of
from mlv.query.runs import RunView, latest_status, total_s, views
from mlv.state import Rewind, State
from mlv.store import layout
from mlv.store.reading import read_state
from mlv.store.streams import Skipped, lines_with

_METRICS = wire.quoted("metrics")
STATS = ("last", "min", "max", "mean", "best", "count", "nans")
"""The numbers that a metric is folded to."""


@dataclass(frozen=True)
class Digest:
    """An experiment as a whole, at the moment of reading."""

    path: Path
    id: str
    meta: Mapping[str, Any]
    state: State
    metrics: Mapping[str, Summary]

    @property
    def name(self) -> str:
        """Name of its folder."""
        return layout.name_of(self.path)

    @property
    def made_as(self) -> str | None:
        """Name that it was created with, where its folder was renamed since."""
        return layout.made_as(self.path, self.meta)

    @property
    def kind(self) -> str | None:
        """Kind of experiment."""
        kind = self.meta.get("kind")
        return None if kind is None else str(kind)

    @property
    def created(self) -> str:
        """Time of creation, as recorded."""
        return str(self.meta.get("created") or "")

    @property
    def params(self) -> dict[str, Any]:
        """Params that it was created with, and those that were added."""
        return {**self.meta["params"], **self.state.params}

    @property
    def tags(self) -> tuple[str, ...]:
        """Tags that it was created with, and those that were added."""
        recorded = self.meta.get("tags")
        tags = (*(recorded if isinstance(recorded, list) else ()), *self.state.tags)
        return tuple(dict.fromkeys(map(str, tags)))

    @property
    def notes(self) -> tuple[str, ...]:
        """The note that it was created with, and those that were added."""
        recorded = self.meta.get("notes")
        return (*((str(recorded),) if recorded else ()), *self.state.notes)

    @property
    def parent_id(self) -> str | None:
        """ID of the experiment that it started from."""
        identity = self.captured("parent").get("id")
        return identity if isinstance(identity, str) else None

    def captured(self, section: str) -> Mapping[str, Any]:
        """Return a mapping of meta.json, such as `git` or `machine`; empty where it was not recorded."""
        content = self.meta.get(section)
        return content if isinstance(content, Mapping) else {}

    def status(self, now: datetime) -> str:
        """Return the status of the latest run."""
        return latest_status(self.state, self.created, now)

    def total_s(self, now: datetime) -> float | None:
        """Return the seconds that all runs took together."""
        return total_s(self.state, now)

    def runs(self, now: datetime) -> list[RunView]:
        """Return the runs, the latest last, and those of children below them."""
        return views(self.state, now)


class Depth(IntEnum):
    """Sections of an experiment to read, each including those before it."""

    SETTINGS = 0
    """Its meta.json, and the params that were added."""
    STATE = 1
    """Its runs, tags, notes and descriptions as well."""
    METRICS = 2


def read_digest(
    folder: Path, id: str, meta: Mapping[str, Any], depth: Depth = Depth.METRICS, skipped: list[Skipped] | None = None
) -> Digest:
    """Read an experiment in one pass, down to a depth; add damaged lines to `skipped`."""
    if depth is Depth.SETTINGS and not _adds_params(folder):
        return Digest(folder, id, meta, State(), {})
    if depth < Depth.METRICS:
        return Digest(folder, id, meta, read_state(folder, skipped=skipped), {})
    rewinds = rewinds_of(folder)
    folding = _Folding(rewinds)
    state = read_state(folder, also=folding.take, skipped=skipped)
    modes = {name: described.get("mode") for name, described in state.descriptions.items()}
    try:
        metrics = folding.summaries(modes)
    except _Unclear:
        metrics = summary(Events(folder, "metrics", rewinds=rewinds), state.descriptions)
    return Digest(folder, id, meta, state, metrics)


def _adds_params(folder: Path) -> bool:
    """Return whether a log may hold an event of type `params`."""
    paths = [folder / layout.stream_file(stream) for stream in layout.streams_in(folder)]
    return any(next(lines_with(path, wire.quoted("params")), None) is not None for path in paths if path.exists())


def fingerprint(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Return size and time of change of each stream: while they stay, the digest stays."""
    stamps = []
    for stream in layout.streams_in(folder):
        try:
            status = os.stat(folder / layout.stream_file(stream))
        except OSError:
            continue
        stamps.append((stream, status.st_size, status.st_mtime_ns))
    return tuple(stamps)


_At = tuple[str, int, Any]
"""Moment, `seq` and step of a value. The moment is the latest time of its run in its stream, up to the value's line."""
_NOWHERE: _At = ("", 0, None)


class _Series:
    """The values of one metric that one run wrote into one stream."""

    __slots__ = ("count", "greatest", "greatest_at", "last", "last_at", "least", "least_at", "nans", "run", "total")

    def __init__(self, run: str) -> None:
        self.count = self.nans = 0
        self.total, self.least, self.greatest = 0.0, math.inf, -math.inf
        self.last: Any = None
        self.run = run
        self.last_at = self.least_at = self.greatest_at = _NOWHERE
        """`_At` of the earliest of equal values."""

    def take(self, value: Any, at: _At) -> None:
        """Fold a value, as `summary` does."""
        self.last, self.last_at = value, at
        if type(value) is not float and type(value) is not int and type(value) is not Huge:
            return
        self.count += 1
        if value != value:
            self.nans += 1
            return
        try:
            self.total += value
        except OverflowError:  # an integer beyond all floats
            self.total += math.inf if value > 0 else -math.inf
        is_first = self.count - self.nans == 1
        if value < self.least or is_first:
            self.least, self.least_at = value, at
        if value > self.greatest or is_first:
            self.greatest, self.greatest_at = value, at


class _Unclear(Exception):
    """The streams one by one do not show which value is first, or last."""


class _Writer:
    """The lines of type `metrics` that one run wrote into one stream."""

    __slots__ = ("moment", "seq", "series")

    def __init__(self) -> None:
        self.moment, self.seq = "", 0
        self.series: dict[str, _Series] = {}


class _Folding:
    """Metrics folded line by line."""

    def __init__(self, rewinds: Sequence[Rewind] = ()) -> None:
        self._rewinds = rewinds
        self._writers: dict[tuple[str, str], _Writer] = {}
        self._is_unclear = False

    def take(self, stream: str, line: bytes) -> bool:
        """Fold a line, if it holds metrics; return False where it cannot be read, and is passed over."""
        if _METRICS not in line:
            return True
        try:
            event = loads(line)
            prefix, time, seq = event.get("name"), event["time"], event["seq"]
            if event["type"] != "metrics" or type(event["data"]) is not dict or type(time) is not str or type(seq) is not int:
                return True
            run = event["run"]
        except (ValueError, KeyError, TypeError):
            return False
        if type(run) is not str:
            return False
        data, step = event["data"], event.get("step")
        if self._rewinds and is_superseded(self._rewinds, run, seq, step):
            return True
        writer = self._writers.get((stream, run))
        if writer is None:
            writer = self._writers[stream, run] = _Writer()
        if seq < writer.seq:
            self._is_unclear = True
        if time > writer.moment:
            writer.moment = time
        writer.seq, series, at = seq, writer.series, (writer.moment, seq, step)
        if wire.may_need_restoring(line):
            nonfinite = event.get("nonfinite")
            data = restored(data, nonfinite if isinstance(nonfinite, dict) else {})
        for key, value in data.items():
            name = f"{prefix}/{key}" if prefix else key
            metric = series.get(name)
            if metric is None:
                metric = series[name] = _Series(run)
            metric.take(value, at)
        return True

    def summaries(self, modes: Mapping[str, Any]) -> dict[str, Summary]:
        """Return the summary of each metric by full name, in the order of their first lines.

        Raises:
            _Unclear: A line of another stream may decide which value is the last one, or the first of equals.
        """
        if self._is_unclear:
            raise _Unclear
        ends: dict[str, list[str]] = {}
        by_metric: dict[str, list[_Series]] = {}
        for (_, run), writer in self._writers.items():
            ends.setdefault(run, []).append(writer.moment)
            for name, metric_series in writer.series.items():
                by_metric.setdefault(name, []).append(metric_series)
        # In several streams the clock of a run may have been ahead: its moment is at most the latest of its times.
        until = {run: max(moments) for run, moments in ends.items() if len(moments) > 1}
        return {name: _summary(metric_series, modes.get(name), until) for name, metric_series in by_metric.items()}


def _summary(all_series: list[_Series], mode: Any, until: Mapping[str, str]) -> Summary:
    last = _outermost(all_series, lambda series: series.last_at, until, max)
    count, nans = sum(series.count for series in all_series), sum(series.nans for series in all_series)
    if count == nans:
        return Summary(last=last.last, count=count, nans=nans, last_step=last.last_at[2])
    numeric = [series for series in all_series if series.count > series.nans]
    lowest, highest = min(series.least for series in numeric), max(series.greatest for series in numeric)
    least = _outermost([series for series in numeric if series.least == lowest], lambda series: series.least_at, until, min)
    greatest = _outermost(
        [series for series in numeric if series.greatest == highest], lambda series: series.greatest_at, until, min
    )
    best, best_step = {
        "min": (least.least, least.least_at[2]), "max": (greatest.greatest, greatest.greatest_at[2]),
    }.get(str(mode), (None, None))  # fmt: skip
    mean = sum(series.total for series in numeric) / (count - nans)
    return Summary(last.last, least.least, greatest.greatest, best, mean, count, nans, last.last_at[2], best_step)


def _outermost(
    all_series: Sequence[_Series], at: Callable[[_Series], _At], until: Mapping[str, str], end: Callable[..., Any]
) -> _Series:
    """Return the series with the last value, or the first, in the order of the events: `end` is `max` or `min`."""
    if len(all_series) == 1:
        return all_series[0]
    runs: dict[str, _Series] = {}
    for series in all_series:
        previous = runs.get(series.run)
        runs[series.run] = series if previous is None else end(previous, series, key=lambda series: at(series)[1])
    if len(runs) > 1 and until.keys() & runs:
        spans = sorted((at(series)[0], until.get(run, at(series)[0])) for run, series in runs.items())
        if any(second[0] <= first[1] for first, second in pairwise(spans)):
            raise _Unclear
    chosen: _Series = end(runs.values(), key=lambda series: (at(series)[0], series.run))
    return chosen
