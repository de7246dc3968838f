"""What a line or a page about an experiment is made of; reading only, and whatever is broken is said, not raised."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from mlv import words
from mlv.cli.screen import passed_over
from mlv.encoding import BadLine, parse_time
from mlv.query.runs import RunView, latest_status, total_s, views
from mlv.query.tail import Latest, latest_metrics
from mlv.state import State
from mlv.store import layout
from mlv.store import meta as meta_
from mlv.store.reading import read_state
from mlv.store.streams import Skipped

METRICS_SHOWN = 4
"""In a row."""
BROKEN = "broken"
"""Stands for the status where an experiment cannot be read."""
_NEAR_THE_END = 1 << 18


@dataclass(frozen=True)
class Overview:
    """An experiment at a glance."""

    path: Path
    id: str = ""
    kind: str | None = None
    status: str = BROKEN
    created: datetime | None = None
    state: State = field(default_factory=State)
    runs: tuple[RunView, ...] = ()
    """The runs that no other run started, the latest last."""
    metrics: Mapping[str, Latest] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    """Why it cannot be read."""
    now: datetime | None = None
    damage: tuple[Skipped, ...] = ()
    """What was passed over, as far as the log was read."""

    @property
    def name(self) -> str:
        """Name of the folder."""
        return layout.name_of(self.path)

    @property
    def made_as(self) -> str | None:
        """Name it was made with, where its folder was renamed since."""
        return layout.made_as(self.path, self.meta)

    @property
    def started(self) -> datetime | None:
        """When the latest run began; before there is one, when the experiment was made."""
        return self.runs[-1].started if self.runs else self.created

    @property
    def duration_s(self) -> float | None:
        """Seconds that the latest run took, until now if it goes on."""
        return run_duration_s(self.runs[-1], self.now) if self.runs else None

    @property
    def total_s(self) -> float | None:
        """Seconds that all runs took together."""
        return total_s(self.state, self.now or datetime.now(timezone.utc))

    @property
    def tags(self) -> tuple[str, ...]:
        """Tags it was made with, and those added."""
        first = self.meta.get("tags")
        given = (*(first if isinstance(first, list) else ()), *self.state.tags)
        return tuple(dict.fromkeys(str(tag) for tag in given))

    @property
    def notes(self) -> tuple[str, ...]:
        """The note it was made with, and those added."""
        first = self.meta.get("notes")
        return (*((str(first),) if first else ()), *self.state.notes)

    @property
    def parent(self) -> Mapping[str, Any]:
        """The experiment and the checkpoint that it began from; empty if there are none."""
        found = self.meta.get("parent")
        return found if isinstance(found, Mapping) else {}

    @property
    def params(self) -> dict[str, Any]:
        """Params it was made with, and those added."""
        return {**(self.meta.get("params") or {}), **self.state.params}

    def format_of(self, metric: str) -> str | None:
        """The format that `log.describe` gave to a metric."""
        found = self.state.descriptions.get(metric, {}).get("format")
        return found if isinstance(found, str) else None

    def first_metrics(self, count: int) -> dict[str, Latest]:
        """The latest values worth showing where there is room for a few: the described ones first."""
        names = sorted(self.metrics, key=lambda name: name not in self.state.descriptions)
        return {name: self.metrics[name] for name in names[:count]}

    def shown(self, count: int) -> list[list[str]]:
        """The same in words."""
        return [[name, words.number(found.value, self.format_of(name))] for name, found in self.first_metrics(count).items()]

    @property
    def place(self) -> str:
        """The folder as a text."""
        return str(self.path)


def look_at(folder: Path, now: datetime, *, within_bytes: int | None = _NEAR_THE_END) -> Overview:
    """Read what there is to say about an experiment; one that cannot be read has an `error`.

    Metrics are those near the end of each stream; None takes all.
    """
    try:
        meta = meta_.read_meta(folder)
    except Exception as error:  # one broken experiment must not hide the others
        return Overview(folder, error=str(error), now=now)
    content, created = meta.content, str(meta.content.get("created"))
    try:
        skipped: list[Skipped] = []
        state = read_state(folder, skipped=skipped)
        heard = {run.id: run.last_heard for run in state.runs.values()}
        metrics = latest_metrics(folder, within_bytes, skipped, heard)
        status = latest_status(state, created, now)
    except Exception as error:
        return Overview(folder, meta.id, _kind(content), meta=content, error=str(error) or repr(error), now=now)
    return Overview(
        folder, meta.id, _kind(content), status, _time(created), state, tuple(views(state, now)), metrics, content,
        _edited(meta, state), now, _in_order(skipped),
    )  # fmt: skip


def _in_order(holes: Iterable[Skipped]) -> tuple[Skipped, ...]:
    """Each place once, though it was passed over twice."""
    places = {(hole.stream, hole.start): hole for hole in holes}
    return tuple(places[place] for place in sorted(places))


def _time(text: str) -> datetime | None:
    try:
        return parse_time(text)
    except BadLine:
        return None


def _edited(meta: meta_.Meta, state: State) -> str | None:
    recorded = next((run.exp for run in state.runs.values() if run.exp not in (None, meta.id)), None)
    return f"{layout.META} was edited: its ID is {meta.id}, its runs recorded {recorded}" if recorded else None


def _kind(meta: Mapping[str, Any]) -> str | None:
    kind = meta.get("kind")
    return str(kind) if kind is not None else None


def run_duration_s(run: RunView, now: datetime | None) -> float | None:
    """Seconds that a run took, until now if it goes on."""
    if run.status == "running" and run.started is not None and now is not None:
        return (now - run.started).total_seconds()
    return run.duration_s


class Glance(NamedTuple):
    """What a row tells."""

    place: str
    """The folder."""
    id: str
    name: str
    kind: str | None
    status: str
    started: datetime | None
    duration_s: float | None
    error: str | None
    first: list[list[str]]
    """The first metrics, each with its latest value in words."""
    damage: str = ""
    """What had to be passed over; empty where that is nothing."""

    @property
    def now(self) -> datetime | None:
        """Not kept: a row is told at another moment than it was read."""
        return None

    def shown(self, count: int) -> list[list[str]]:
        """So many metrics, each with its latest value in words."""
        return self.first[:count]


def glance_of(found: Overview) -> Glance:
    """What a row tells of an experiment that was looked at."""
    return Glance(
        found.place, found.id, found.name, found.kind, found.status, found.started, found.duration_s, found.error,
        found.shown(METRICS_SHOWN), passed_over(found.path, found.damage) if found.damage else "",
    )  # fmt: skip


T = TypeVar("T", Overview, Glance)


@dataclass(frozen=True, slots=True)
class Branch(Generic[T]):
    """An experiment in the tree of those that lie within one another."""

    overview: T
    depth: int
    guide: str
    """Lines that draw the tree, before the label."""
    label: str


def tree(overviews: Iterable[T], root: Path, unicode: bool = True) -> list[Branch[T]]:
    """The experiments as a tree by their folders; parents come before their sub-experiments."""
    children: dict[str | None, list[T]] = {}
    folders: set[str] = set()
    top = str(root)
    for overview in overviews:
        around = os.path.dirname(overview.place) or "."
        while around not in folders and around != top and len(around) >= len(top):
            around = os.path.dirname(around) or "."
        children.setdefault(around if around in folders else None, []).append(overview)
        folders.add(overview.place)
    return list(_branches(children, None, top, "", 0, ("├─ ", "└─ ", "│  ") if unicode else ("|- ", "`- ", "|  ")))


def _branches(
    children: Mapping[str | None, list[T]], around: str | None, root: str, guide: str, depth: int, lines: tuple[str, str, str]
) -> Iterable[Branch[T]]:
    inner = children.get(around, [])
    for position, overview in enumerate(inner):
        is_last = position == len(inner) - 1
        joint = "" if around is None else lines[1 if is_last else 0]
        yield Branch(overview, depth, guide + joint, _label(overview, around, root))
        if overview.place in children:
            below = guide if around is None else guide + ("   " if is_last else lines[2])
            yield from _branches(children, overview.place, root, below, depth + 1, lines)


def _label(overview: Overview | Glance, around: str | None, root: str) -> str:
    """Where an experiment lies below the one around it; the folder of its kind is left out, as the kind is said beside it."""
    base = around or root
    if overview.place == base:
        return overview.name
    below = overview.place if base == "." else overview.place[len(base) :].strip(os.sep)
    parts = below.split(os.sep)
    return parts[1] if around is not None and len(parts) == 2 and parts[0] == overview.kind else "/".join(parts)
