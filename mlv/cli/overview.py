"""An overview of one experiment, for a row or a page; nothing is written, and damage is reported, not raised."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
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
"""Number of metrics in a row."""
BROKEN = "broken"
"""The status of an experiment that cannot be read."""
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
    """The runs without a parent run, the latest last."""
    metrics: Mapping[str, Latest] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    """The reason why it cannot be read."""
    now: datetime | None = None
    damage: tuple[Skipped, ...] = ()
    """Damaged lines that were skipped, in the part of the log that was read."""

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
        """Start of the latest run; before the first run, the time when the experiment was made."""
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
        """Tags it was made with, and those added; without those taken away."""
        return self.state.tags_with(self.meta.get("tags"))

    @property
    def notes(self) -> tuple[str, ...]:
        """The note it was made with, and those added."""
        first = self.meta.get("notes")
        return (*((str(first),) if first else ()), *self.state.notes)

    @property
    def is_archived(self) -> bool:
        """Whether lists leave it out."""
        return self.state.is_archived

    @property
    def parent(self) -> Mapping[str, Any]:
        """The experiment and the checkpoint that it began from; empty if there are none."""
        parent = self.meta.get("parent")
        return parent if isinstance(parent, Mapping) else {}

    @property
    def params(self) -> dict[str, Any]:
        """Params it was made with, and those added."""
        return {**(self.meta.get("params") or {}), **self.state.params}

    def format_of(self, metric: str) -> str | None:
        """Return the format that `log.describe` gave to a metric."""
        form = self.state.descriptions.get(metric, {}).get("format")
        return form if isinstance(form, str) else None

    def first_metrics(self, count: int) -> dict[str, Latest]:
        """Return the latest values of so many metrics, the described ones first."""
        names = sorted(self.metrics, key=lambda name: name not in self.state.descriptions)
        return {name: self.metrics[name] for name in names[:count]}

    def metric_texts(self, count: int) -> list[list[str]]:
        """Return the names and the formatted latest values of so many metrics, the described ones first."""
        return [[name, words.number(latest.value, self.format_of(name))] for name, latest in self.first_metrics(count).items()]

    @property
    def folder(self) -> str:
        """The folder as a text."""
        return str(self.path)


def look_at(folder: Path, now: datetime, *, within_bytes: int | None = _NEAR_THE_END) -> Overview:
    """Read an experiment; the overview of an unreadable one has an `error`.

    Only metrics near the end of each stream are read, within so many bytes; with None, all.
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
        _meta_problem(meta, state), now, _in_order(skipped),
    )  # fmt: skip


def _in_order(holes: Iterable[Skipped]) -> tuple[Skipped, ...]:
    """Return the damaged lines in order, without duplicates: some are read twice."""
    by_start = {(hole.stream, hole.start): hole for hole in holes}
    return tuple(by_start[start] for start in sorted(by_start))


def _time(text: str) -> datetime | None:
    try:
        return parse_time(text)
    except BadLine:
        return None


def _meta_problem(meta: meta_.Meta, state: State) -> str | None:
    recorded = next((run.exp for run in state.runs.values() if run.exp not in (None, meta.id)), None)
    return f"{layout.META} was edited: its ID is {meta.id}, its runs recorded {recorded}" if recorded else None


def _kind(meta: Mapping[str, Any]) -> str | None:
    kind = meta.get("kind")
    return str(kind) if kind is not None else None


def run_duration_s(run: RunView, now: datetime | None) -> float | None:
    """Return the seconds that a run took, until now if it goes on."""
    if run.status == "running" and run.started is not None and now is not None:
        return (now - run.started).total_seconds()
    return run.duration_s


class Glance(NamedTuple):
    """A row of the list of experiments."""

    folder: str
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
    """A sentence on damaged lines that were skipped, empty if there are none."""
    is_archived: bool = False

    @property
    def now(self) -> datetime | None:
        """None: a row may be printed later than it was read."""
        return None

    def metric_texts(self, count: int) -> list[list[str]]:
        """Return the names and the formatted latest values of so many metrics."""
        return self.first[:count]


def glance_of(overview: Overview) -> Glance:
    """Return the row of an experiment from its overview."""
    return Glance(
        overview.folder, overview.id, overview.name, overview.kind, overview.status, overview.started, overview.duration_s,
        overview.error, overview.metric_texts(METRICS_SHOWN),
        passed_over(overview.path, overview.damage) if overview.damage else "", overview.is_archived,
    )  # fmt: skip


T = TypeVar("T", Overview, Glance)


def without_archived(overviews: Iterable[T]) -> Iterator[T]:
    """Yield the experiments that are not archived, nor below one that is; parents come before their sub-experiments."""
    archived = None
    for overview in overviews:
        if archived is not None and overview.folder.startswith(os.path.join(archived, "")):
            continue
        archived = overview.folder if overview.is_archived else None
        if archived is None:
            yield overview


@dataclass(frozen=True, slots=True)
class Branch(Generic[T]):
    """An experiment in the tree of experiments and sub-experiments."""

    overview: T
    depth: int
    guide: str
    """Lines that draw the tree, before the label."""
    label: str


def tree(overviews: Iterable[T], root: Path, unicode: bool = True) -> list[Branch[T]]:
    """Return the experiments as a tree by their folders; parents come before their sub-experiments."""
    children: dict[str | None, list[T]] = {}
    folders: set[str] = set()
    top = str(root)
    for overview in overviews:
        around = os.path.dirname(overview.folder) or "."
        while around not in folders and around != top and len(around) >= len(top):
            around = os.path.dirname(around) or "."
        children.setdefault(around if around in folders else None, []).append(overview)
        folders.add(overview.folder)
    return list(_branches(children, None, top, "", 0, ("├─ ", "└─ ", "│  ") if unicode else ("|- ", "`- ", "|  ")))


def _branches(
    children: Mapping[str | None, list[T]], around: str | None, root: str, guide: str, depth: int, lines: tuple[str, str, str]
) -> Iterable[Branch[T]]:
    inner = children.get(around, [])
    for position, overview in enumerate(inner):
        is_last = position == len(inner) - 1
        joint = "" if around is None else lines[1 if is_last else 0]
        yield Branch(overview, depth, guide + joint, _label(overview, around, root))
        if overview.folder in children:
            below = guide if around is None else guide + ("   " if is_last else lines[2])
            yield from _branches(children, overview.folder, root, below, depth + 1, lines)


def _label(overview: Overview | Glance, around: str | None, root: str) -> str:
    """Return an experiment's path below its parent, without the folder of its kind, which has a column of its own."""
    base = around or root
    if overview.folder == base:
        return overview.name
    below = overview.folder if base == "." else overview.folder[len(base) :].strip(os.sep)
    names = below.split(os.sep)
    return names[1] if around is not None and len(names) == 2 and names[0] == overview.kind else "/".join(names)
