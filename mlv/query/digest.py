"""What one pass over an experiment tells about it as a whole: its state, and each of its metrics in a few numbers."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import Any

from mlv.encoding import Huge, loads, restored
from mlv.query.one import RunView, latest_status, views
from mlv.query.rewinds import is_superseded, rewinds_of
from mlv.query.summary import Summary
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
        return layout.absolute(self.path).name

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
    folding = _Folding(rewinds_of(folder))
    state = read_state(folder, also=folding.take, skipped=skipped)
    modes = {name: described.get("mode") for name, described in state.descriptions.items()}
    return Digest(folder, id, meta, state, folding.summaries(modes))


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


class _Series:
    """The values of one metric that one run wrote into one stream."""

    __slots__ = (
        "count", "greatest", "greatest_at", "last", "last_step", "least", "least_at", "nans", "run", "seq", "time",
        "total",
    )  # fmt: skip

    def __init__(self, run: str) -> None:
        self.count = self.nans = self.seq = 0
        self.total, self.least, self.greatest = 0.0, math.inf, -math.inf
        self.last = self.last_step = None
        self.run, self.time = run, ""
        """The latest time, whatever the clock did since."""
        self.least_at: tuple[str, Any] = ("", None)
        """Time and step; the earliest of equals counts."""
        self.greatest_at = self.least_at

    def take(self, value: Any, step: Any, time: str, seq: int) -> None:
        """As `summary` folds."""
        self.last, self.last_step, self.time, self.seq = value, step, max(self.time, time), seq
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
            self.least, self.least_at = value, (time, step)
        if value > self.greatest or is_first:
            self.greatest, self.greatest_at = value, (time, step)


class _Folding:
    """Metrics folded line by line."""

    def __init__(self, rewinds: Sequence[Rewind] = ()) -> None:
        self._rewinds = rewinds
        self._writers: dict[tuple[str, str], dict[str, _Series]] = {}

    def take(self, stream: str, line: bytes) -> bool:
        """Fold a line, if it holds metrics; False where it cannot be read, and is passed over."""
        if b'"metrics"' not in line:
            return True
        try:
            event = loads(line)
            prefix, time, seq = event.get("name"), event["time"], event["seq"]
            if event["type"] != "metrics" or type(event["data"]) is not dict or type(time) is not str or type(seq) is not int:
                return True
            series = self._writers.setdefault((stream, event["run"]), {})
        except (ValueError, KeyError, TypeError):
            return False
        data, step = event["data"], event.get("step")
        if self._rewinds and is_superseded(self._rewinds, event["run"], seq, step):
            return True
        if "nonfinite" in event or b'"_mlv' in line:
            nonfinite = event.get("nonfinite")
            data = restored(data, nonfinite if isinstance(nonfinite, dict) else {})
        for key, value in data.items():
            name = f"{prefix}/{key}" if prefix else key
            found = series.get(name)
            if found is None:
                found = series[name] = _Series(event["run"])
            found.take(value, step, time, seq)
        return True

    def summaries(self, modes: Mapping[str, Any]) -> dict[str, Summary]:
        """Each metric, by full name, in the order in which they were first seen."""
        parts: dict[str, list[_Series]] = {}
        for series in self._writers.values():
            for name, found in series.items():
                parts.setdefault(name, []).append(found)
        return {name: _summary(found, modes.get(name)) for name, found in parts.items()}


def _summary(parts: list[_Series], mode: Any) -> Summary:
    last = _latest(parts)
    count, nans = sum(part.count for part in parts), sum(part.nans for part in parts)
    if count == nans:
        return Summary(last=last.last, count=count, nans=nans, last_step=last.last_step)
    numeric = [part for part in parts if part.count > part.nans]
    least = min(numeric, key=lambda part: (part.least, part.least_at[0]))
    greatest = min(numeric, key=lambda part: (-part.greatest, part.greatest_at[0]))
    best, (_, best_step) = {
        "min": (least.least, least.least_at), "max": (greatest.greatest, greatest.greatest_at),
    }.get(str(mode), (None, ("", None)))  # fmt: skip
    mean = sum(part.total for part in numeric) / (count - nans)
    return Summary(last.last, least.least, greatest.greatest, best, mean, count, nans, last.last_step, best_step)


def _latest(parts: list[_Series]) -> _Series:
    """What holds the last value: within a run `seq` decides, whatever the clock did."""
    ends: dict[str, str] = {}
    for part in parts:
        ends[part.run] = max(part.time, ends.get(part.run, ""))
    return max(parts, key=lambda part: (ends[part.run], part.run, part.seq))
