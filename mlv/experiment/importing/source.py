"""The form in which an importer hands over an experiment of another tool: its settings, and its events in order, with times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Union

from mlv.store import layout

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class SourceExperiment:
    """An experiment in its source: facts that stay what they are while the source grows.

    Whatever changes later, such as a tag or a param that was added, is an event.
    """

    name: str
    """Its name; what no folder can be called is replaced."""
    created: datetime
    identity: Mapping[str, Any]
    """Facts that tell it from all others in all sources, such as `{"format": "wandb", "id": "g9dvvkua"}`; kept in meta.json."""
    params: Any = None
    kind: str | None = None
    tags: Iterable[str] = ()
    notes: str | None = None
    captured: Mapping[str, Any] = field(default_factory=dict)
    """The fields `script git env machine` of meta.json, as far as the source recorded them."""
    redact: Iterable[str] = ()
    redact_except: Iterable[str] = ()
    folders: tuple[str, ...] = ()
    """Names of the folders that a new one lies in, below the root of the tree, such as that of its project."""


@dataclass(frozen=True, slots=True)
class RunBegins:
    """A process began to log."""

    run: str
    """A text that tells the run from others of the experiment; its ID follows from it."""
    time: datetime
    params: Mapping[str, Any] | None = None
    """Params that differ from the experiment's."""
    parent: str | None = None
    """The run that started it, which has begun before."""
    rank: int = 0


# A million of these are made: a frozen dataclass takes six times as long.
class SourceEvent(NamedTuple):
    """An event of a run that has begun."""

    run: str
    time: datetime
    type: str
    """A type of format 1: `metrics`, `message`, `metadata`, `summary`, `image` ..."""
    data: Any
    """As in the log; a `SourceFile` anywhere in it becomes a file of the experiment, and a reference to it.

    Measurements of the machine, and lines of the console, get the ID of their run from the import. `rewound` has the names of
    the runs whose events so far are superseded for its `last`.
    """
    name: str = ""
    step: Any = None
    at: Mapping[str, Any] = MappingProxyType({})
    stream: str = layout.DEFAULT_STREAM
    """Of no matter for summaries, and for descriptions that choose a statistic: they have a stream of their own."""


@dataclass(frozen=True, slots=True)
class RunEnds:
    """A run is over."""

    run: str
    time: datetime
    status: str = "ok"
    exception: Mapping[str, Any] | None = None
    """`type`, `message` and `traceback`."""


class SourcePoints(NamedTuple):
    """Metrics of a run, one number each: the same as an event of type `metrics` for each of them, in the same order.

    Sources with millions of them are read many at a time.
    """

    run: str
    times_us: Sequence[int]
    """Microseconds since 1970, in UTC."""
    names: Sequence[str]
    steps: Sequence[int]
    values: Sequence[float]

    def events(self) -> Iterator[SourceEvent]:
        """Yield the events."""
        for time_us, name, step, value in zip(self.times_us, self.names, self.steps, self.values, strict=True):
            yield SourceEvent(self.run, EPOCH + timedelta(microseconds=time_us), "metrics", {name: value}, "", step)


Item = Union[RunBegins, SourceEvent, SourcePoints, RunEnds]
"""Something in a source. The items of a source that has grown begin with those that it had before."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of the source, or bytes in it, that an event refers to."""

    content: Path | bytes
    suffix: str
    """Of its name, such as `.png`; empty for a folder, and for a file without one."""
    label: str = ""
    """Tells several files of one event apart."""
    is_linked: bool = False
    """Whether both trees may share the file, which has to stay as it is then; otherwise it is copied."""
