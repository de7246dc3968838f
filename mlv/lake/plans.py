"""Plans of a lake: which bytes of which logs become rows, fixed before any row is written.

Plan `n` is an object that is created once, `.mlv/plans/<n>.json`. It names byte ranges of the logs with their SHA-256, and the
position behind them in each log, so that whoever carries it out, however often, makes the same rows. It holds the SHA-256 of
plan `n-1`. The positions of all logs are the fold of all plans.

A run's lines stand in the same order in every copy of an experiment. So positions count the lines of each run in each stream,
and lines that another copy brought before are passed over by their number, without reading a table.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import repeat
from typing import Any, Protocol, TypeVar

import orjson

from mlv.digests import sha256
from mlv.errors import LakeDamaged, LakeTooNew
from mlv.store import layout

FORMAT = 1
"""Of plans, and of the lake as a whole: a newer one may mean something else by a field of that name."""
PARSER = 1
"""Version of the code that makes rows of lines; another one would make other rows of the same lines."""
FOLDER = f"{layout.HOUSEKEEPING}/plans"
DONE = f"{layout.HOUSEKEEPING}/done"
POSITIONS = f"{layout.HOUSEKEEPING}/positions"
TASK_BYTES, TASK_EXPERIMENTS = 64 << 20, 200
"""Most of a task; a range that is longer is cut."""
_EVEN = 4
"""Of several tasks there is a multiple of this: so two or four workers have equally much to do."""
PLAN_BYTES, PLAN_EXPERIMENTS = 4 << 30, 20_000
"""Most of a plan: so much is done again after a kill, and so many summaries are in the memory of the builder."""

Mark = tuple[int, str]
"""The end of a stretch of a log and its SHA-256; a stretch begins where the one before ends."""
Stamp = tuple[int, ...]
"""Numbers that change when a file does; empty where there are none, as in a bucket."""


@dataclass(frozen=True)
class Range:
    """Whole lines of one log that become rows."""

    stream: str
    copy: str
    """Of a bucket, the name of the copy; empty in a tree."""
    start: int
    end: int
    sha256: str
    repeats: Mapping[str, int] = field(default_factory=dict)
    """Of each run the number of its first lines in the range that another copy brought before."""

    def to_data(self) -> list[Any]:
        """Return a list for JSON."""
        return [self.stream, self.copy, self.start, self.end, self.sha256, *([dict(self.repeats)] if self.repeats else [])]


@dataclass(frozen=True)
class LogPosition:
    """How far a log has been taken."""

    marks: tuple[Mark, ...] = ()
    tail: str = ""
    """SHA-256 of the last bytes before it."""
    lines: Mapping[str, int] = field(default_factory=dict)
    """Number of lines of each run."""
    stamp: Stamp = ()
    is_sealed: bool = False
    """Whether its last line is a seal: nothing happens to its runs any more."""

    @property
    def end(self) -> int:
        """The position in bytes."""
        return self.marks[-1][0] if self.marks else 0

    def to_data(self) -> list[Any]:
        """Return a list for JSON."""
        return [[list(mark) for mark in self.marks], self.tail, dict(self.lines), list(self.stamp), int(self.is_sealed)]


def log_position(data: Sequence[Any]) -> LogPosition:
    """Return the position that a list of `to_data` holds."""
    marks, tail, lines, stamp, is_sealed = data
    return LogPosition(
        tuple((int(end), str(digest)) for end, digest in marks), str(tail), dict(lines), tuple(stamp), bool(is_sealed)
    )


LogKey = tuple[str, str]
"""Stream and copy."""


@dataclass(frozen=True)
class PlanEntry:
    """What a plan takes of one folder with an experiment."""

    exp: str
    path: str
    """From the root to the experiment's folder, with `/`."""
    month: str
    """In which the experiment was made, as `2026-11`; the partition of its rows."""
    ranges: tuple[Range, ...] = ()
    logs: Mapping[LogKey, LogPosition] = field(default_factory=dict)
    """The positions after the plan of the logs that it changes."""
    is_summarized: bool = False
    """Whether the rows of the experiment as a whole are made anew, of this folder: of several copies the longest."""
    is_settled: bool = False
    """Whether its status is not looked at again before there are new lines."""

    @property
    def size(self) -> int:
        """Bytes of its ranges."""
        return sum(each.end - each.start for each in self.ranges)

    def to_data(self) -> dict[str, Any]:
        """Return a mapping for JSON."""
        return {
            "exp": self.exp, "path": self.path, "month": self.month, "ranges": [each.to_data() for each in self.ranges],
            "logs": [[stream, copy, *position.to_data()] for (stream, copy), position in self.logs.items()],
            "summarized": self.is_summarized, "settled": self.is_settled,
        }  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """A plan; its text names it for good."""

    number: int
    previous: str
    """SHA-256 of the text of the plan before; empty for the first."""
    created: str
    source: str
    """The root that it was made of."""
    tasks: tuple[tuple[PlanEntry, ...], ...]
    replaced: Mapping[str, str] = field(default_factory=dict)
    """Experiments whose rows are removed before those of this plan are added, each with its month."""
    parser: int = PARSER

    @property
    def entries(self) -> Iterator[PlanEntry]:
        """The entries of all tasks."""
        return (entry for task in self.tasks for entry in task)

    @cached_property
    def text(self) -> bytes:
        """The bytes of its object."""
        return orjson.dumps({
            "format": FORMAT, "number": self.number, "previous": self.previous, "created": self.created, "source": self.source,
            "parser": self.parser, "replaced": dict(self.replaced),
            "tasks": [[entry.to_data() for entry in task] for task in self.tasks],
        }) + b"\n"  # fmt: skip

    @cached_property
    def sha256(self) -> str:
        """The hash by which the next plan, and the note that it is done, name it."""
        return sha256(self.text).hexdigest()


def key_of(number: int, folder: str = FOLDER) -> str:
    """Return the key of the object of a plan, or of another object of its number."""
    return f"{folder}/{number:08d}.json"


def number_of(key: str, folder: str = FOLDER) -> int | None:
    """Return the number that a key of `key_of` holds; None for any other key."""
    digits = key.removeprefix(f"{folder}/").removesuffix(".json")
    return int(digits) if digits.isascii() and digits.isdigit() and key_of(int(digits), folder) == key else None


def plan_of(text: bytes, number: int, previous: str, url: str) -> Plan:
    """Return the plan of a text.

    Raises:
        LakeTooNew: A newer version of mlv wrote it.
        LakeDamaged: It is no plan, has another number, names a path outside its source, or does not follow on the plan before:
            one of both was edited.
    """
    try:
        data = orjson.loads(text)
        refuse_newer(data["format"], url)
        plan = Plan(
            int(data["number"]), str(data["previous"]), str(data["created"]), str(data["source"]),
            tuple(tuple(_entry(entry) for entry in task) for task in data["tasks"]), dict(data["replaced"]),
            int(data["parser"]),
        )  # fmt: skip
    except LakeTooNew:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LakeDamaged(f"{url}: plan {number} cannot be read ({error}): {ADVICE}", url=url) from None
    if plan.parser > PARSER:
        refuse_newer(FORMAT + 1, url)
    refuse_outside((entry.path for entry in plan.entries), url)
    vars(plan)["text"] = text  # to write it anew would take as long as reading it
    if plan.number != number or plan.previous != previous:
        what = f"plan {number} was edited, or plan {number - 1} was" if number > 1 else "plan 1 was edited"
        raise LakeDamaged(f"{url}: {what}: {ADVICE}", url=url)
    return plan


ADVICE = "its tables may be wrong. Make it anew with `mlv lake rebuild`"


_OUTSIDE = re.compile(r"(^|/)\.{0,2}(/|\Z)|\0" if os.sep == "/" else r"(^|[/\\])\.{0,2}([/\\]|\Z)|\0|^[A-Za-z]:")
"""Is in a path that is absolute, leads upwards, or is no path."""


def refuse_outside(paths: Iterable[str | None], url: str) -> None:
    """Refuse paths from a lake that do not stay below the folder they count from, as files there are read.

    Raises:
        LakeDamaged: There is one.
    """
    for path in paths:
        if path is None or (path != "." and _OUTSIDE.search(path)):
            text = f"{url} names {path!r:.200} as a path, which leads out of its folder, or nowhere: {ADVICE}"
            raise LakeDamaged(text, url=url, path=path)


def refuse_newer(format: Any, url: str) -> None:
    """Accept a format of this version.

    Raises:
        LakeTooNew: It is a newer one.
    """
    if not isinstance(format, int) or format > FORMAT:
        raise LakeTooNew(f"{url} was built by a newer version of mlv (its format is {format!r}): upgrade mlv here", url=url)


def _entry(data: Mapping[str, Any]) -> PlanEntry:
    ranges = tuple(
        Range(str(stream), str(copy), int(start), int(end), str(digest), dict(*repeats))
        for stream, copy, start, end, digest, *repeats in data["ranges"]
    )
    logs = {(str(stream), str(copy)): log_position(position) for stream, copy, *position in data["logs"]}
    return PlanEntry(
        str(data["exp"]), str(data["path"]), str(data["month"]), ranges, logs, bool(data["summarized"]), bool(data["settled"])
    )


# What all plans together have taken.


@dataclass
class ExpPosition:
    """How far the logs of one experiment have been taken, in all folders that hold a copy of it."""

    month: str
    folders: dict[str, dict[LogKey, LogPosition]] = field(default_factory=dict)
    is_settled: bool = False

    def taken(self, stream: str) -> dict[str, int]:
        """Return of each run the number of its lines that became rows: the most that any copy has."""
        most: dict[str, int] = {}
        for path in self.folders:
            for copy in {copy for _, copy in self.folders[path]}:
                for run, count in self.lines_in(path, copy, stream).items():
                    most[run] = max(count, most.get(run, 0))
        return most

    def lines_in(self, path: str, copy: str, stream: str) -> dict[str, int]:
        """Return of each run the number of its lines in one copy; a merge may have put some beside the stream."""
        total: dict[str, int] = {}
        for (name, own), position in self.folders.get(path, {}).items():
            if own == copy and base_of(name) == stream:
                for run, count in position.lines.items():
                    total[run] = total.get(run, 0) + count
        return total


def base_of(stream: str) -> str:
    """Return the stream that lines were written to, of one that a merge made beside it."""
    return layout.followed_by(stream) or stream


class Positions:
    """The positions of all logs after some plans."""

    def __init__(self) -> None:
        self.number, self.sha256, self.source = 0, "", ""
        """Number, hash and root of the latest plan."""
        self.experiments: dict[str, ExpPosition] = {}
        self.exp_at: dict[str, str] = {}
        """The experiment in each folder."""
        self.gone: set[str] = set()
        """Experiments of which the latest plan made no rows, as their bytes were gone by then: the next plan replaces them."""

    def add(self, plan: Plan, gone: Iterable[str] = ()) -> None:
        """Fold a plan, of which the bytes in some folders were gone."""
        paths = set(gone)
        self.gone = {entry.exp for entry in plan.entries if entry.path in paths}
        self.number, self.sha256, self.source = plan.number, plan.sha256, plan.source
        for exp in plan.replaced:
            self._forget(exp)
        for entry in plan.entries:
            self.advance(entry)

    def _forget(self, exp: str) -> None:
        position = self.experiments.pop(exp, None)
        for path in position.folders if position is not None else ():
            if self.exp_at.get(path) == exp:
                del self.exp_at[path]

    def advance(self, entry: PlanEntry) -> None:
        """Fold an entry."""
        position = self.experiments.setdefault(entry.exp, ExpPosition(entry.month))
        position.folders.setdefault(entry.path, {}).update(entry.logs)
        if entry.is_summarized:
            position.is_settled = entry.is_settled
        self.exp_at[entry.path] = entry.exp

    def logs_at(self, exp: str, path: str) -> dict[LogKey, LogPosition]:
        """Return the positions of an experiment's logs in one folder."""
        position = self.experiments.get(exp)
        return position.folders.get(path, {}) if position is not None else {}

    def to_bytes(self) -> bytes:
        """Return all positions as JSON; `positions_of` reads them."""
        return orjson.dumps({
            "format": FORMAT, "number": self.number, "sha256": self.sha256, "source": self.source,
            "gone": sorted(self.gone), "experiments": [
                [exp, each.month, each.is_settled, [
                    [path, [[*key, *position.to_data()] for key, position in logs.items()]]
                    for path, logs in each.folders.items()
                ]]
                for exp, each in self.experiments.items()
            ],
        })  # fmt: skip


def positions_of(text: bytes) -> Positions:
    """Return the positions in a text of `Positions.to_bytes`.

    Raises:
        ValueError, KeyError, TypeError: It is none.
    """
    data = orjson.loads(text)
    if data["format"] != FORMAT:
        raise ValueError(f"format {data['format']!r}")
    positions = Positions()
    positions.number, positions.sha256 = int(data["number"]), str(data["sha256"])
    positions.source, positions.gone = str(data["source"]), set(data.get("gone", ()))
    for exp, month, is_settled, folders in data["experiments"]:
        each = positions.experiments[exp] = ExpPosition(month, {}, bool(is_settled))
        refuse_outside((path for path, _ in folders), POSITIONS)
        for path, logs in folders:
            each.folders[path] = {(stream, copy): log_position(position) for stream, copy, *position in logs}
            positions.exp_at[path] = exp
    return positions


# Making plans.


def repeated(lines: Mapping[str, int], before: Mapping[str, int], taken: Mapping[str, int]) -> dict[str, int]:
    """Return of each run how many of the next lines of a copy are there already.

    Args:
        lines: Number of the next lines of each run.
        before: Number of those before them in this copy.
        taken: Number of those that became rows, of any copy.
    """
    repeats = {run: min(count, taken.get(run, 0) - before.get(run, 0)) for run, count in lines.items()}
    return {run: count for run, count in repeats.items() if count > 0}


class Sized(Protocol):
    """A share of a task."""

    @property
    def size(self) -> int:
        """Bytes to read."""
        ...


S = TypeVar("S", bound=Sized)


def tasks_of(
    shares: Iterable[S], most_bytes: int = TASK_BYTES, most_experiments: int = TASK_EXPERIMENTS
) -> tuple[tuple[S, ...], ...]:
    """Return tasks of shares, each with at most so many bytes and experiments; a share that is larger alone is a task.

    Several tasks take equally long, so that no worker waits for the last one of another. They do not depend on workers: who
    carries out a plan elsewhere makes the same files.
    """
    shares = list(shares)
    tasks = _cut_by(shares, most_bytes, most_experiments)
    if len(tasks) < 2:
        return tasks
    costs = [share.size / most_bytes + 1 / most_experiments for share in shares]
    count = -(-len(tasks) // _EVEN) * _EVEN
    return _cut_by(shares, most_bytes, most_experiments, costs, sum(costs) / count)


def _cut_by(
    shares: Sequence[S], most_bytes: int, most_experiments: int, costs: Sequence[float] = (), cost: float = 1.0
) -> tuple[tuple[S, ...], ...]:
    """Return tasks of shares, cut where one gets too large, and with `costs` at each multiple of a cost as well."""
    tasks: list[list[S]] = []
    size, spent, number = 0, 0.0, 0
    for share, own in zip(shares, costs or repeat(0.0)):  # noqa: B905 - `repeat` has no end
        middle = int((spent + own / 2) / cost)
        if not tasks or middle > number or size + share.size > most_bytes or len(tasks[-1]) >= most_experiments:
            tasks.append([])
            size, number = 0, max(number, middle)
        tasks[-1].append(share)
        size += share.size
        spent += own
    return tuple(map(tuple, tasks))
