"""The events of an experiment: the event as readers see it, and a frozen record for the data of each structural type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, TypeVar

from mlv.frozen import FrozenDict, FrozenRecord

CORE_TYPES = frozenset({
    "run_started", "run_ended", "run_paused", "run_resumed", "heartbeat", "params", "params_changed", "tags", "tags_removed",
    "note", "archived", "moved", "metrics", "metadata", "summary", "message", "event", "file", "checkpoint", "system",
    "rejected", "dropped", "rewound", "redacted", "seal",
})  # fmt: skip
"""The types of format 1 but those of media: `media.kinds.TYPES` has all."""

STATUSES = ("running", "ok", "failed", "interrupted", "preempted", "ended", "killed", "lost")
"""The statuses of a run: `ended` is over with an unknown outcome; the process of `killed` is gone without a `run_ended`;
`lost` has no event for five minutes."""


@dataclass(frozen=True, slots=True)
class Event:
    """One immutable line of a log: who, when, what kind, which name, and its data."""

    run: str
    """The run that made the event; begins with `r`."""
    seq: int
    """Number of the event within its run, from 1, over all streams."""
    time: datetime
    """When `log()` was called, in UTC."""
    type: str
    name: str = ""
    """A path with `/`; the root's name is empty."""
    step: int | float | str | list[Any] | None = None
    at: Mapping[str, Any] = field(default_factory=dict)
    """Coordinates other than the step."""
    data: Any = None
    """The logged data, NaN and infinities restored."""
    stream: str = "log"
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the line that this version does not know."""
    verbosity: int = 0
    """Level of detail: outputs leave out events above their own."""

    @property
    def subject(self) -> str:
        """The run that the event is about: its own, or the one that a writer names in `data.of`."""
        return subject_of(self.run, self.data)

    def __hash__(self) -> int:
        return hash((self.run, self.seq))

    def __repr__(self) -> str:
        where = f" step={self.step!r}" if self.step is not None else ""
        return f"<Event {self.run}:{self.seq} {self.type} {self.name!r}{where} {self.data!r}>"


def subject_of(run: str, data: Any) -> str:
    """Return the run that an event is about: the one that a writer names in `data.of`, or the event's own."""
    of = data.get("of") if isinstance(data, dict) else None
    return of if isinstance(of, str) else run


def prefix_of(name: str) -> str:
    """Return the text before a key in the full name of a metric: the event's name and a slash, empty for that of the root."""
    return f"{name}/" if name else ""


def full_name(name: str, key: str) -> str:
    """Return the name of a metric, or of an event, below a name."""
    return f"{name}/{key}" if name else key


def metrics_of(event: Event) -> Iterator[tuple[str, Any]]:
    """Yield full name and value of each metric of an event; nothing for an event of another type."""
    if event.type == "metrics" and isinstance(event.data, dict):
        prefix = prefix_of(event.name)
        for key, value in event.data.items():
            yield prefix + key, value


R = TypeVar("R", bound="Record")


class Record(FrozenRecord):
    """The data of one structural type; what is absent is left out on disk, unknown fields are passed over."""

    TYPE: ClassVar[str]

    def to_data(self) -> dict[str, Any]:
        """Return the mapping for the event's `data`."""
        return {name: value for name, value in self.to_dict().items() if value is not None}

    @classmethod
    def from_data(cls: type[R], data: Mapping[str, Any]) -> R:
        """Read the mapping back; a field that is missing gets its default."""
        return cls(**{name: value for name, value in data.items() if name in cls.FIELDS})


class RunStarted(Record):
    """A process begins to write into the experiment."""

    TYPE: ClassVar[str] = "run_started"
    exp: str | None = ""
    """ID of the experiment: SHA-256 of the bytes of meta.json; None in a log that belongs to none."""
    parent_run: str | None = None
    process: Mapping[str, Any] | None = None
    """Host, boot, process namespace, pid and start time: enough to say later whether the process is gone."""
    params: Mapping[str, Any] | None = None
    """Params of this run that differ from the experiment's, as `may_change` allows."""
    rank: int | None = None
    """Rank of the process in its launch, where it is not the main one."""
    forked: bool | None = None
    """Whether the process was forked from that of `parent_run`: it goes on in its place, should that end first."""
    after: Mapping[str, str] | None = None
    """The ends of streams that were there before: SHA-256 of the final seal that each ended with, by stream."""
    folder: Mapping[str, Any] | None = None
    """`inode` and `path_sha256` of the experiment's folder: a copy has others; None in a log that belongs to none."""
    script: Mapping[str, Any] | None = None
    git: Mapping[str, Any] | None = None
    env: Mapping[str, Any] | None = None
    machine: Mapping[str, Any] | None = None


class RunEnded(Record):
    """A run is over; recorded by the run itself, or by the writer for a process that is gone."""

    TYPE: ClassVar[str] = "run_ended"
    status: str = "ok"
    of: str | None = None
    exception: Mapping[str, Any] | None = None
    """`type`, `message` and `traceback` of the uncaught exception."""
    filtered: int | None = None
    """Number of metric values and events that the filters of loggers kept from the log."""


class RunPaused(Record):
    """Work stops for a while, for a stated reason."""

    TYPE: ClassVar[str] = "run_paused"
    reason: str | None = None


class RunResumed(Record):
    """Work goes on after a pause."""

    TYPE: ClassVar[str] = "run_resumed"
    paused_s: float | None = None


class Rewound(Record):
    """Work goes on from an earlier step: later events are superseded, and stay in the log.

    It stands in a stream of its own, `rewound.log.jsonl`.
    """

    TYPE: ClassVar[str] = "rewound"
    step: float = 0
    """Events with a greater step are superseded ..."""
    last: Mapping[str, int] | None = None
    """... of these runs, up to this `seq` of each."""


class Heartbeat(Record):
    """The writer sees the run's process alive though it logs nothing."""

    TYPE: ClassVar[str] = "heartbeat"
    of: str = ""


class System(Record):
    """Measurements of the machine and of the processes of a run, by its writer."""

    TYPE: ClassVar[str] = "system"
    of: str = ""
    values: Mapping[str, float] = FrozenDict()
    """By name; on the disk they stand beside `of`."""

    def to_data(self) -> dict[str, Any]:
        """Return the mapping for the event's `data`."""
        return {"of": self.of, **self.values}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> System:
        """Read the mapping back."""
        return cls(str(data.get("of", "")), {name: value for name, value in data.items() if name != "of"})


class Rejected(Record):
    """An event that could not be stored: the reason, and the readable values."""

    TYPE: ClassVar[str] = "rejected"
    type: str = ""
    reason: str = ""
    rest: Any = None


class Dropped(Record):
    """Events that were not accepted: a range of `seq` of the subject, both ends included."""

    TYPE: ClassVar[str] = "dropped"
    first: int = 0
    last: int = 0
    count: int = 0
    reason: str = ""
    of: str | None = None


class Redacted(Record):
    """Content was removed from the experiment after it was written: which, by whom and why."""

    TYPE: ClassVar[str] = "redacted"
    who: str = ""
    """User and host."""
    reason: str = ""
    lines: Sequence[Mapping[str, Any]] | None = None
    """For each replaced line: `run` and `seq`, and the `sha256` of the line that replaces it."""
    files: Sequence[Mapping[str, Any]] | None = None
    """For each file: its `path`, and as `now` the reference to its new content; without that it was removed."""
    meta: Mapping[str, Any] | None = None
    """IDs of the experiment, `old` and `new`, where meta.json was replaced."""


class Seal(Record):
    """Proof of the lines of one run in one stream since the run's previous seal there, if there is one."""

    TYPE: ClassVar[str] = "seal"
    of: str = ""
    stream: str = ""
    lines: int = 0
    sha256: str = ""
    """SHA-256 over the previous seal's digest, if any, and the SHA-256 of each line (newline included), in file order."""
    previous: str | None = None
    after: Mapping[str, str] | None = None
    """In a final seal: the ends of the writer's other streams, and the end before this one, as in `run_started`."""
