"""Digests of experiments, made in one pass: the state, and each metric in a few numbers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import Any

from mlv import wire
from mlv.query.events import Events
from mlv.query.metrics.summary import Folding, Summary, summary
from mlv.query.rewinds import rewinds_of
from mlv.query.runs import RunView, latest_status, total_s, views
from mlv.state import State
from mlv.store import layout
from mlv.store.reading import read_state
from mlv.store.streams import Skipped, lines_with

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
        """Tags that it was created with, and those that were added; without those taken away."""
        return self.state.tags_with(self.meta.get("tags"))

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
    folding = Folding(rewinds)
    state = read_state(folder, also=folding.take, skipped=skipped)
    metrics = folding.summaries(state.descriptions)
    if metrics is None:
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
