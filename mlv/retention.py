"""The checkpoints that a portfolio keeps: its policy, the decision at each save, and the fold over events; all pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from operator import index
from typing import Any

from mlv.errors import InvalidArgument
from mlv.events import Event
from mlv.store.attached import is_attachable
from mlv.store.layout import EVERY, LATEST, SECTIONS, TOP

PORTFOLIO_TYPES = ("checkpoint", "rewound")
"""Types of events that change a portfolio."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A rule for keeping checkpoints: the latest ones, every k-th save for good, and the best ones by a metric."""

    every: int | None = None
    """Saves number k, 2k, 3k ... of all runs stay for ever."""
    top: int | None = None
    """Number of the best that stay; of two that are equal, the earlier one."""
    metric: str | None = None
    mode: str | None = None
    """Whether the best is the `min` or the `max`."""
    latest: int = 1

    def to_data(self) -> dict[str, Any]:
        """Return the policy in the form of an event."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def __str__(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.to_data().items())

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Policy:
        """Read a policy back; missing fields have their defaults.

        Raises:
            InvalidArgument: It is no policy.
        """
        return checked_policy(*(data.get(name) for name in ("every", "top", "metric", "mode", "latest")))

    def rank(self, saved: Saved) -> tuple[float, int] | None:
        """Return a sort key by which the best come first, and the earlier of equals; None for one that never counts as best."""
        value = saved.metrics.get(self.metric) if self.metric is not None else None
        if not isinstance(value, (int, float)) or value != value:
            return None
        return (value if self.mode == "min" else -value), saved.save

    def ranked(self, saves: Iterable[Saved]) -> list[Saved]:
        """Return the checkpoints that may be among the best, the best first."""
        keyed = [(rank, saved) for saved in saves if (rank := self.rank(saved)) is not None]
        return [saved for _, saved in sorted(keyed, key=lambda pair: pair[0])]


def checked_policy(every: Any = None, top: Any = None, metric: Any = None, mode: Any = None, latest: Any = None) -> Policy:
    """Check the options of a policy; None is the default.

    Raises:
        InvalidArgument: A number is none or too small, or `top`, `metric` and `mode` do not fit together.
    """
    if metric is not None and (not isinstance(metric, str) or not metric):
        raise InvalidArgument(f"metric={metric!r:.100} is no name: give that of a metric, such as 'test_loss'", metric=metric)
    if top is not None and metric is None:
        raise InvalidArgument(f"top={top!r:.100} of what? Give the metric, such as metric='test_loss', mode='min'", top=top)
    if metric is not None and top is None:
        raise InvalidArgument(
            f"metric={metric!r} ranks nothing: say how many of the best to keep, such as top=1", metric=metric
        )
    if metric is not None and mode is None:
        raise InvalidArgument(
            f"metric={metric!r} has no mode: give mode='min' or mode='max', here or in log.describe({metric!r}, mode=...)",
            metric=metric,
        )
    if mode is not None and (metric is None or mode not in ("min", "max")):
        hint = "give 'min' or 'max'" if metric is not None else "it belongs to a metric"
        raise InvalidArgument(f"mode={mode!r:.100}: {hint}", mode=mode)
    return Policy(
        _count("every", every, 1),
        _count("top", top, 1),
        metric,
        mode,
        1 if latest is None else _count("latest", latest, 0) or 0,
    )


def _count(name: str, value: Any, least: int) -> int | None:
    if value is None:
        return None
    try:
        number = index(value)
    except TypeError:
        number = least - 1
    if number < least or isinstance(value, bool):
        raise InvalidArgument(f"{name}={value!r:.100}: give a whole number from {least} on", **{name: value})
    return number


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint as it was saved."""

    save: int
    """Its number among the saves of all runs, from 1."""
    step: Any = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    """Name of its file, in every folder that has it; no two existing files have the same."""
    file: Mapping[str, Any] = field(default_factory=dict)
    """The reference to its file in the first of its folders."""


@dataclass(frozen=True, slots=True)
class LetGo:
    """A checkpoint that is removed from some of its folders."""

    saved: Saved
    sections: tuple[str, ...]
    is_gone: bool
    """Whether no folder has it any more."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The folders of a new checkpoint, and the removals of earlier ones."""

    sections: tuple[str, ...]
    """The folders where it is kept; none if the policy keeps it nowhere."""
    let_go: tuple[LetGo, ...] = ()


class PortfolioState:
    """The contents of a portfolio after some of its events; another event takes constant time."""

    def __init__(self) -> None:
        self.policy: Policy | None = None
        self.saves = 0
        """Number of the latest save."""
        self.sections: dict[str, dict[str, Saved]] = {section: {} for section in SECTIONS}
        """The checkpoints of each folder by the names of their files."""
        self.superseded: set[str] = set()
        """Files of checkpoints after whose step work went on from an earlier one: none of these is the best or the latest."""

    def take(self, data: Mapping[str, Any], step: Any = None) -> None:
        """Apply an event, of which the data and the step are passed; an event that cannot be read is passed over."""
        action, save = data.get("action"), data.get("save")
        if action == "policy":
            try:
                self.policy = Policy.from_data(data)
            except InvalidArgument:
                return  # of a version to come
        elif action == "saved" and isinstance(save, int):
            self.saves = max(self.saves, save)
            for section, name in section_files(data):
                saved = Saved(save, step, _mapping(data.get("metrics")), name, _mapping(data.get("file")))
                self.sections[section][name] = saved
        elif action == "removed":
            for section, name in section_files(data):
                self.sections[section].pop(name, None)

    def rewind(self, step: Any) -> None:
        """Go back to a step: later checkpoints stay in their folders until the next save, which decides without them."""
        if isinstance(step, (int, float)):
            later = (saved for saved in self if isinstance(saved.step, (int, float)) and saved.step > step)
            self.superseded.update(saved.name for saved in later)

    def surviving(self, section: str) -> Iterator[Saved]:
        """Return the checkpoints of a folder that are not superseded, the latest first."""
        return (saved for name, saved in reversed(self.sections[section].items()) if name not in self.superseded)

    def __iter__(self) -> Iterator[Saved]:
        """Yield each checkpoint that is kept, in the order of the saves."""
        saves = {name: saved for section in self.sections.values() for name, saved in section.items()}
        return iter(sorted(saves.values(), key=lambda saved: (saved.save, saved.name)))

    def sections_of(self, saved: Saved) -> tuple[str, ...]:
        """Return the folders that have a checkpoint."""
        return tuple(section for section in SECTIONS if saved.name in self.sections[section])

    @property
    def latest(self) -> Saved | None:
        """The latest that is kept anywhere."""
        # Checkpoints kept for good are in the order of the saves; their number grows, so only the last is looked at.
        of_every = islice(self.surviving(EVERY), 1)
        candidates = [*self.surviving(LATEST), *self.surviving(TOP), *of_every]
        return max(candidates, key=lambda saved: saved.save, default=None)

    @property
    def best(self) -> Saved | None:
        """The best by the policy's metric."""
        ranked = self.policy.ranked(self.surviving(TOP)) if self.policy is not None else []
        return ranked[0] if ranked else None


def choose(contents: PortfolioState, new: Saved, policy: Policy) -> Decision:
    """Decide where a new checkpoint is kept, and which ones are removed; in constant time, however many are kept for good.

    All checkpoints but those kept for good are decided anew, so that a changed policy holds from the next save on.
    """
    recent = sorted(contents.surviving(LATEST), key=lambda saved: saved.save)
    recent = [*recent, new][-policy.latest :] if policy.latest else []
    best = policy.ranked([*contents.surviving(TOP), new])[: policy.top or 0]
    is_kept = {
        EVERY: policy.every is not None and new.save % policy.every == 0,
        TOP: any(saved is new for saved in best),
        LATEST: any(saved is new for saved in recent),
    }
    leaving: dict[str, list[str]] = {}
    for section, staying in ((TOP, best), (LATEST, recent)):
        # By name: after a resume the same checkpoint is another object, read from the log.
        names = {saved.name for saved in staying if saved is not new}
        for name in contents.sections[section]:
            if name not in names:
                leaving.setdefault(name, []).append(section)
    return Decision(
        tuple(section for section in SECTIONS if is_kept[section]),
        tuple(_let_go(contents, name, tuple(sections)) for name, sections in leaving.items()),
    )


def _let_go(contents: PortfolioState, name: str, sections: tuple[str, ...]) -> LetGo:
    saved = contents.sections[sections[0]][name]
    return LetGo(saved, sections, is_gone=contents.sections_of(saved) == sections)


def events_of(folder: str, new: Saved, decision: Decision) -> list[dict[str, Any]]:
    """Return the data of the events of a decision: the saved checkpoint, then the removals."""
    saved: dict[str, Any] = {"action": "saved", "folder": folder, "save": new.save}
    if decision.sections:
        saved.update(file=new.file, places=[f"{folder}/{section}/{new.name}" for section in decision.sections])
    if new.metrics:
        saved["metrics"] = dict(new.metrics)
    return [saved, *(_removal(folder, gone) for gone in decision.let_go)]


def _removal(folder: str, gone: LetGo) -> dict[str, Any]:
    paths = [f"{folder}/{section}/{gone.saved.name}" for section in gone.sections]
    data = {"action": "removed", "folder": folder, "save": gone.saved.save, "places": paths}
    return {**data, "is_gone": True} if gone.is_gone else data


def fold(events: Iterable[Event]) -> dict[str, PortfolioState]:
    """Return the contents of each portfolio, by the name of its folder, after the events in their order."""
    result: dict[str, PortfolioState] = {}
    for event in events:
        data = _mapping(event.data)
        if event.type == "rewound":
            for contents in result.values():
                contents.rewind(data.get("step"))
        elif event.type == "checkpoint" and isinstance(data.get("folder"), str):
            result.setdefault(data["folder"], PortfolioState()).take(data, event.step)
    return result


def section_files(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return section and file name of each path that an event names; paths outside its portfolio are passed over."""
    texts = data.get("places")
    paths = [text.split("/") for text in texts if is_attachable(text)] if isinstance(texts, list) else []
    return [
        (segments[1], segments[2])
        for segments in paths
        if len(segments) == 3 and segments[1] in SECTIONS and segments[0] == data.get("folder")
    ]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
