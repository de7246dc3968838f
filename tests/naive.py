"""Experiments as `schemas/format.md` and `docs/reference/counted.md` describe them, folded by nothing but json and datetime.

Each reader of mlv has to agree with these few loops: they have no cache, no fast path, and no import of mlv.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

EXACT = 2**53


# The tree.


def folders(root: Path) -> list[Path]:
    """Return the experiments below a folder, by name, parents first; behind links each real folder once."""
    return list(_walk(root, os.path.realpath(root) + os.sep, set()))


def _walk(folder: Path, root: str, visited: set[str]) -> Iterator[Path]:
    is_exp = (folder / "meta.json").is_file()
    if is_exp:
        yield folder
    for name in sorted(os.listdir(folder)):
        real = os.path.realpath(folder / name)
        is_elsewhere = not (folder / name).is_symlink() or (
            not (real + os.sep).startswith(root) and not root.startswith(real + os.sep)
        )
        is_passed_over = name in (".mlv", *(("files", "models") if is_exp else ())) or name.startswith(".tmp-")
        if os.path.isdir(real) and is_elsewhere and real not in visited and not is_passed_over:
            visited.add(real)
            yield from _walk(folder / name, root, visited)


@dataclass(frozen=True)
class Value:
    """A value of a metric that no rewind superseded."""

    name: str
    value: Any
    step: Any
    at: str
    run: str
    seq: int
    line: int
    """Number of its line, in the order of the events."""
    moved: int | None = None
    """Its step in an output, where a description names another x axis."""

    @property
    def position(self) -> float | None:
        """The step, if it is a number."""
        return self.step if type(self.step) in (int, float) else None


class Experiment:
    """An experiment: its meta.json, and its lines."""

    def __init__(self, path: Path) -> None:
        content = (path / "meta.json").read_bytes()
        self.path, self.name, self.id = path, path.name, hashlib.sha256(content).hexdigest()
        self.meta = json.loads(content)
        self.streams, self.damaged = {}, 0
        for file in sorted(path.glob("*log.jsonl")):
            *whole, _half = file.read_bytes().split(b"\n")
            lines = [_event(line) for line in whole]
            self.damaged += lines.count(None)
            self.streams[file.name.removesuffix("log.jsonl").rstrip(".") or "log"] = [
                line for line in lines if line is not None
            ]
        self.size = sum(file.stat().st_size for file in path.glob("*log.jsonl"))
        self.rewinds = [event["data"] for event in self.events if event["type"] == "rewound"]
        self.values = list(self._values(in_order(filter(self.survives, self.of_type("metrics")))))

    @property
    def events(self) -> list[dict[str, Any]]:
        """All events, stream by stream."""
        return [event for events in self.streams.values() for event in events]

    def of_type(self, type: str) -> list[dict[str, Any]]:
        """Return the events of a type."""
        return [event for event in self.events if event["type"] == type]

    def survives(self, event: dict[str, Any]) -> bool:
        """Return whether no rewind superseded an event."""
        step = event.get("step")
        is_number = type(step) in (int, float)
        return not any(
            is_number and event["seq"] <= at["last"].get(event["run"], 0) and step > at["step"] for at in self.rewinds
        )

    def _values(self, events: Iterable[dict[str, Any]]) -> Iterator[Value]:
        for number, event in enumerate(events):
            prefix = f"{event['name']}/" if event.get("name") else ""
            at = _text({key: _whole(value) for key, value in event.get("at", {}).items()})
            for key, value in data_of(event).items():
                yield Value(prefix + key, value, event.get("step"), at, event["run"], event["seq"], number)

    def points(self, stream: str) -> list[Value]:
        """Return the values of a stream in the order of its file, as the outputs write them."""
        return list(
            self._values(filter(self.survives, (event for event in self.streams[stream] if event["type"] == "metrics")))
        )

    def scalars(self, stream: str) -> list[Value]:
        """Return the values of a stream in the order of its file, with summaries, and with steps from described x axes."""
        axes: dict[str, str] = {}
        latest: dict[str, int] = {}
        result = []
        for number, event in enumerate(filter(self.survives, self.streams[stream])):
            if event["type"] == "metadata" and "x" in event["data"]:
                axes.pop(event["name"], None)
                axes |= {event["name"]: event["data"]["x"]} if event["data"]["x"] != "step" else {}
            if event["type"] not in ("metrics", "summary"):
                continue
            values = list(self._values([event]))
            latest |= {value.name: place for value in values if (place := whole(value.value)) is not None}
            for value in values:
                x = axes.get(value.name)
                at = whole(event.get("at", {}).get(x))
                moved = None if x is None else at if at is not None else latest.get(x)
                result.append(replace(value, line=number, moved=moved))
        return result

    @property
    def descriptions(self) -> dict[str, dict[str, Any]]:
        """The descriptions of metrics: a later one adds to an earlier one."""
        result: dict[str, dict[str, Any]] = {}
        for event in in_order(self.of_type("run_started") + self.of_type("metadata")):
            if event["type"] == "metadata":
                result[event["name"]] = {**result.get(event["name"], {}), **event["data"]}
        return result

    @property
    def given(self) -> dict[str, Any]:
        """The values of summaries, the last of each name."""
        events = in_order(self.of_type("run_started") + self.of_type("metadata") + self.of_type("summary"))
        return {value.name: value.value for value in self._values(event for event in events if event["type"] == "summary")}

    @property
    def summaries(self) -> dict[str, dict[str, Any]]:
        """The few numbers of each metric, and what stands for it."""
        described, given = self.descriptions, self.given
        result = {name: summary(own, described.get(name, {})) for name, own in by_name(self.values).items()}
        for name, value in given.items():
            standing = {"value": value, "value_step": None, "statistic": "summary"}
            result[name] = {**result.get(name, summary([], {})), **standing}
        return result

    @property
    def standing(self) -> dict[str, Any]:
        """The value that stands for each metric, of those that have one."""
        return {name: summary["value"] for name, summary in self.summaries.items() if summary["statistic"] != "none"}

    @property
    def status(self) -> str:
        """The status of the run that began last: all are over for long, and one that did not say how is lost."""
        starts = [(event["time"], event["run"]) for event in self.of_type("run_started")]
        ends = {event["run"]: event["data"]["status"] for event in self.of_type("run_ended")}
        return ends.get(max(starts)[1], "lost") if starts else "lost"

    @property
    def params(self) -> list[tuple[tuple[str, ...], Any]]:
        """The params, each with its keys."""
        return list(_leaves(self.meta["params"]))


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and {"run", "seq", "time", "type", "data"} <= event.keys() else None


def data_of(event: dict[str, Any]) -> Any:
    """Return the data of an event as it was logged."""
    return restored(event["data"], event.get("nonfinite", {}))


def restored(value: Any, nonfinite: dict[str, str], pointer: str = "") -> Any:
    """Return a value with its NaN, infinities and long integers."""
    if value is None and pointer in nonfinite:
        return float(nonfinite[pointer])
    if isinstance(value, list):
        return [restored(item, nonfinite, f"{pointer}/{number}") for number, item in enumerate(value)]
    if isinstance(value, dict) and value.get("_mlv") == "int":
        return int(value["value"], 0)
    if isinstance(value, dict):
        keys = {key: key.replace("~", "~0").replace("/", "~1") for key in value}
        return {key: restored(item, nonfinite, f"{pointer}/{keys[key]}") for key, item in value.items()}
    return value


def in_order(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return events in their order: within a run by `seq`, between runs by time, the latest of the run until then."""
    events = list(events)

    def moment(event: dict[str, Any]) -> datetime:
        own = (each for each in events if each["run"] == event["run"] and each["seq"] <= event["seq"])
        return max(datetime.fromisoformat(each["time"].replace("Z", "+00:00")) for each in own)

    return sorted(events, key=lambda event: (moment(event), event["run"], event["seq"]))


# One metric, or all of an experiment.


def by_name(values: Iterable[Value]) -> dict[str, list[Value]]:
    """Return the values of each metric."""
    result: dict[str, list[Value]] = {}
    for value in values:
        result.setdefault(value.name, []).append(value)
    return result


def summary(values: list[Value], described: dict[str, Any]) -> dict[str, Any]:
    """Return the few numbers of one metric; truth values are none, NaN is counted only."""
    numbers = [value for value in values if type(value.value) in (int, float)]
    finite = [value for value in numbers if value.value == value.value]
    least = min(finite, key=lambda value: value.value, default=None)
    greatest = max(finite, key=lambda value: value.value, default=None)
    best = {"min": least, "max": greatest}.get(described.get("mode", ""))
    mean = sum(nearest(value.value) for value in finite) / len(finite) if finite else None
    chosen = {"min": least, "max": greatest, "best": best}.get(described.get("summary", "last"))
    standing = (values[-1].value, values[-1].step, "last") if values else (None, None, "last")
    if described.get("summary") == "none":
        standing = None, None, "none"
    elif described.get("summary") == "mean" and finite:
        standing = mean, None, "mean"
    elif chosen is not None:
        standing = chosen.value, chosen.step, described["summary"]
    return {
        "last": values[-1].value if values else None,
        "last_step": values[-1].step if values else None,
        "min": least and least.value,
        "max": greatest and greatest.value,
        "best": best and best.value,
        "best_step": best and best.step,
        "mean": mean,
        "count": len(numbers),
        "nans": len(numbers) - len(finite),
        **dict(zip(("value", "value_step", "statistic"), standing, strict=True)),
    }


def whole(value: Any) -> int | None:
    """Return a number as a step in outputs: an integer of 64 bits; a list of one number counts as that number."""
    if isinstance(value, list):
        return whole(value[0]) if len(value) == 1 and not isinstance(value[0], list) else None
    if type(value) not in (int, float) or (type(value) is float and not math.isfinite(value)):
        return None
    return math.floor(value) if -(2**63) <= math.floor(value) < 2**63 else None


def nearest(number: float) -> float:
    """Return the nearest float, an infinity where there is none."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def numbered(values: list[Value]) -> list[float | None]:
    """Return the positions of the values of one metric: their steps; without any step, 0, 1, 2 ..."""
    has_steps = any(value.position is not None for value in values)
    return [value.position if has_steps else number for number, value in enumerate(values)]


def numbered_in_outputs(values: list[Value]) -> list[float]:
    """Return the positions of the values of one metric in outputs: a step, or the number of values before."""
    return [number if value.position is None else value.position for number, value in enumerate(values)]


def rows(values: list[Value]) -> list[list[Value]]:
    """Return the rows of a wide table, in the order of their first lines: one for equal steps and coordinates."""
    result: dict[Any, list[Value]] = {}
    for value in values:
        key = ("line", value.line) if value.step is None else ("step", _hashable(value.step), value.at)
        result.setdefault(key, []).append(value)
    return list(result.values())


def history(values: list[Value]) -> list[tuple[Value, Any]]:
    """Return the rows of a long table with their positions: of several values at one step and coordinates the last."""
    latest = {(value.name, number): value for number, row in enumerate(rows(values)) for value in row}
    kept = {(value.line, value.name) for value in latest.values()}
    result = []
    for own in by_name(value for value in values if (value.line, value.name) in kept).values():
        for value, position in zip(own, numbered(own), strict=True):
            result.append((value, position if value.step is None else value.step))
    return sorted(result, key=lambda row: (row[0].line, values.index(row[0])))


# Many experiments.


def counted(experiments: list[Experiment]) -> list[Experiment]:
    """Leave out copies: of equal IDs the longest log counts, of equally long ones the first."""
    chosen: dict[str, Experiment] = {}
    for exp in experiments:
        if exp.id not in chosen or exp.size > chosen[exp.id].size:
            chosen[exp.id] = exp
    return [exp for exp in experiments if chosen[exp.id] is exp]


def families(experiments: list[Experiment]) -> list[list[Experiment]]:
    """Group experiments that are equal but for their seeds; of those with equal seeds the one made last counts."""
    by_id = {exp.id: exp for exp in experiments}

    def lineage(exp: Experiment | None, keep: Callable[[str], bool]) -> Any:
        if exp is None:
            return None
        params = {name: value for name, value in ((".".join(keys), value) for keys, value in exp.params) if keep(name)}
        parent = (exp.meta.get("parent") or {}).get("id")
        return [exp.meta.get("kind"), _whole(params), parent and (lineage(by_id.get(parent), lambda name: True) or parent)]

    runs: dict[str, Experiment] = {}
    for number, exp in enumerate(experiments):
        has_seed = any(keys[0] == "seed" for keys, _ in exp.params)
        key = _text([lineage(exp, lambda name: True), None if has_seed else number])
        if key not in runs or exp.meta["created"] >= runs[key].meta["created"]:
            runs[key] = exp
    result: dict[str, list[Experiment]] = {}
    for exp in experiments:
        if exp in runs.values():
            key = _text(lineage(exp, lambda name: name != "seed" and not name.startswith("seed.")))
            result.setdefault(key, []).append(exp)
    return list(result.values())


def pooled(family: list[Experiment], x: str | None) -> dict[tuple[str, float], list[float]]:
    """Return by metric and x the values of the members of a family: of each its latest there, truth values as 1 and 0."""
    result: dict[tuple[str, float], list[float]] = {}
    for exp in family:
        own: dict[tuple[str, float], float] = {}
        stated = {name: each["value"] for name, each in exp.summaries.items() if each["statistic"] != "last" and not x}
        for name, value in stated.items():
            if type(value) in (int, float, bool):
                own[name, 0] = nearest(value)
        for name, values in by_name(value for value in exp.values if value.name not in stated).items():
            for value, position in zip(values, numbered(values) if x else [0] * len(values), strict=True):
                if type(value.value) in (int, float, bool) and position is not None:
                    own[name, nearest(position)] = nearest(value.value)
        for key, number in own.items():
            result.setdefault(key, []).append(number)
    return result


# Values.


def _leaves(params: dict[str, Any], keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in params.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*keys, key))
        else:
            yield (*keys, key), value


def _whole(value: Any) -> Any:
    """Return a value with 3 for 3.0."""
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if type(value) is float and value.is_integer() and abs(value) <= EXACT else value


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _hashable(value: Any) -> Any:
    return value if type(value) in (int, float) else _text(value)
