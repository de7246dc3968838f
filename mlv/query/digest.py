"""What one pass over an experiment tells about it as a whole: its state, and each of its metrics in a few numbers."""

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

from mlv.encoding import Huge, loads, restored
from mlv.query.events import Events
from mlv.query.metrics.summary import Summary, summary
from mlv.query.rewinds import is_superseded, rewinds_of
from mlv.query.runs import RunView, latest_status, total_s, views
from mlv.state import Rewind, State
from mlv.store import layout
from mlv.store.reading import read_state
from mlv.store.streams import Skipped, lines_with

STATS = ("last", "min", "max", "mean", "best", "count", "nans")
"""What a metric is folded to."""


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
        """Name it was made with, where its folder was renamed since."""
        return layout.made_as(self.path, self.meta)

    @property
    def kind(self) -> str | None:
        """What sort of experiment it is."""
        kind = self.meta.get("kind")
        return None if kind is None else str(kind)

    @property
    def created(self) -> str:
        """When it was made, as recorded."""
        return str(self.meta.get("created") or "")

    @property
    def params(self) -> dict[str, Any]:
        """Params it was made with, and those added."""
        return {**self.meta["params"], **self.state.params}

    @property
    def tags(self) -> tuple[str, ...]:
        """Tags it was made with, and those added."""
        made = self.meta.get("tags")
        given = (*(made if isinstance(made, list) else ()), *self.state.tags)
        return tuple(dict.fromkeys(map(str, given)))

    @property
    def notes(self) -> tuple[str, ...]:
        """The note it was made with, and those added."""
        made = self.meta.get("notes")
        return (*((str(made),) if made else ()), *self.state.notes)

    @property
    def parent_id(self) -> str | None:
        """ID of the experiment that it began from."""
        found = self.captured("parent").get("id")
        return found if isinstance(found, str) else None

    def captured(self, what: str) -> Mapping[str, Any]:
        """A mapping of meta.json, such as `git` or `machine`; empty where it was not recorded."""
        found = self.meta.get(what)
        return found if isinstance(found, Mapping) else {}

    def status(self, now: datetime) -> str:
        """Status of the latest run."""
        return latest_status(self.state, self.created, now)

    def total_s(self, now: datetime) -> float | None:
        """Seconds that all runs took together."""
        return total_s(self.state, now)

    def runs(self, now: datetime) -> list[RunView]:
        """The runs, the latest last, and those of children below them."""
        return views(self.state, now)


class Depth(IntEnum):
    """How much of an experiment is read."""

    SETTINGS = 0
    """What it was made with, and the params that were added."""
    STATE = 1
    """Its runs, tags, notes and descriptions as well."""
    METRICS = 2


def read_digest(
    folder: Path, id: str, meta: Mapping[str, Any], depth: Depth = Depth.METRICS, skipped: list[Skipped] | None = None
) -> Digest:
    """Read an experiment once; what is not asked for takes no time. Damaged lines that are met are added to `skipped`."""
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
    """Whether a log may hold an event of type `params`."""
    paths = [folder / layout.stream_file(stream) for stream in layout.streams_in(folder)]
    return any(next(lines_with(path, b'"params"'), None) is not None for path in paths if path.exists())


def fingerprint(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Size and time of change of each stream: while they stay, so does what a reading tells."""
    found = []
    for stream in layout.streams_in(folder):
        try:
            status = os.stat(folder / layout.stream_file(stream))
        except OSError:
            continue
        found.append((stream, status.st_size, status.st_mtime_ns))
    return tuple(found)


_At = tuple[str, int, Any]
"""Moment, `seq` and step of a value. The moment is the latest time of the lines of its run up to it in its stream."""
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
        """The earliest of equals counts."""

    def take(self, value: Any, at: _At) -> None:
        """As `summary` folds."""
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
    """What comes first, or last, cannot be told from the streams one by one."""


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
        """Fold a line, if it holds metrics; False where it cannot be read, and is passed over."""
        if b'"metrics"' not in line:
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
        if "nonfinite" in event or b'"_mlv' in line:
            nonfinite = event.get("nonfinite")
            data = restored(data, nonfinite if isinstance(nonfinite, dict) else {})
        for key, value in data.items():
            name = f"{prefix}/{key}" if prefix else key
            found = series.get(name)
            if found is None:
                found = series[name] = _Series(run)
            found.take(value, at)
        return True

    def summaries(self, modes: Mapping[str, Any]) -> dict[str, Summary]:
        """Each metric, by full name, in the order in which they were first seen.

        Raises:
            _Unclear: A line of another stream may decide which value is the last one, or the first of equals.
        """
        if self._is_unclear:
            raise _Unclear
        ends: dict[str, list[str]] = {}
        parts: dict[str, list[_Series]] = {}
        for (_, run), writer in self._writers.items():
            ends.setdefault(run, []).append(writer.moment)
            for name, found in writer.series.items():
                parts.setdefault(name, []).append(found)
        # In several streams the clock of a run may have been ahead: its moment is at most the latest of its times.
        until = {run: max(moments) for run, moments in ends.items() if len(moments) > 1}
        return {name: _summary(found, modes.get(name), until) for name, found in parts.items()}


def _summary(parts: list[_Series], mode: Any, until: Mapping[str, str]) -> Summary:
    last = _of_run(parts, lambda part: part.last_at, until, max)
    count, nans = sum(part.count for part in parts), sum(part.nans for part in parts)
    if count == nans:
        return Summary(last=last.last, count=count, nans=nans, last_step=last.last_at[2])
    numeric = [part for part in parts if part.count > part.nans]
    lowest, highest = min(part.least for part in numeric), max(part.greatest for part in numeric)
    least = _of_run([part for part in numeric if part.least == lowest], lambda part: part.least_at, until, min)
    greatest = _of_run([part for part in numeric if part.greatest == highest], lambda part: part.greatest_at, until, min)
    best, best_step = {
        "min": (least.least, least.least_at[2]), "max": (greatest.greatest, greatest.greatest_at[2]),
    }.get(str(mode), (None, None))  # fmt: skip
    mean = sum(part.total for part in numeric) / (count - nans)
    return Summary(last.last, least.least, greatest.greatest, best, mean, count, nans, last.last_at[2], best_step)


def _of_run(
    parts: Sequence[_Series], at: Callable[[_Series], _At], until: Mapping[str, str], end: Callable[..., Any]
) -> _Series:
    """The last of some values, or the first, in the order of the events: `end` is `max` or `min`."""
    if len(parts) == 1:
        return parts[0]
    runs: dict[str, _Series] = {}
    for part in parts:
        one = runs.get(part.run)
        runs[part.run] = part if one is None else end(one, part, key=lambda part: at(part)[1])
    if len(runs) > 1 and until.keys() & runs:
        spans = sorted((at(part)[0], until.get(run, at(part)[0])) for run, part in runs.items())
        if any(second[0] <= first[1] for first, second in pairwise(spans)):
            raise _Unclear
    found: _Series = end(runs.values(), key=lambda part: (at(part)[0], part.run))
    return found
