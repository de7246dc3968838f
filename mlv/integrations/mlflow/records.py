"""The content of an experiment as MLflow has it: metrics, params and tags, inputs and outputs, the times of its run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from time import time
from typing import Any

from mlflow.entities import Metric, Param

import mlv
from mlv.integrations.mlflow.folders import milliseconds, without_none

EVENT = "mlflow"
"""The name of the events that hold what only MLflow knows: its own tags, the times that it gives, inputs and outputs."""
NOTE = "mlflow.note.content"
"""MLflow's tag for the description of a run, which is a note of the experiment."""
_TIMESTAMP = "timestamp"
"""The coordinate of metrics whose timestamp is not the time of their line."""
_NEAR_MS = 1000
_INTEGER = re.compile(r"-?\d{1,18}")
_WORDS = {"True": True, "False": False, "None": None}


def parsed(text: str) -> Any:
    """Return the value of a param that MLflow has as text, where the text is just how Python writes the value.

    So `str` gives the same text again: `0.1` is a number, and `0.10` and `1e-1` stay as they are.
    """
    if text in _WORDS:
        return _WORDS[text]
    try:
        value = int(text) if _INTEGER.fullmatch(text) else float(text)
    except ValueError:
        return text
    is_exact = str(value) == text and value - value == 0
    return value if is_exact else text


def flat(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield names and texts of params; those of nested mappings are joined with `/`."""
    for name, value in params.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", str(value)


def add_metrics(log: mlv.Logger, metrics: list[Any]) -> None:
    """Log metrics: one line for those of equal step and timestamp."""
    now = int(time() * 1000)
    for (step, timestamp), batch in groupby(metrics, key=lambda metric: (metric.step, metric.timestamp)):
        at = log if abs(timestamp - now) <= _NEAR_MS else log.at(timestamp=timestamp)
        line: dict[str, float] = {}
        for metric in batch:
            if metric.key in line:
                at(line, step=step)
                line = {}
            line[metric.key] = metric.value
        at(line, step=step)


def add_tags(exp: mlv.Exp, tags: Mapping[str, str | None]) -> None:
    """Set tags, and delete those that are None.

    The user's are words of the experiment, `key=value`; MLflow's description is a note, and its other own tags are an event.
    """
    own = {key: value for key, value in tags.items() if key.startswith("mlflow.") and key != NOTE}
    if own:
        exp.log(EVENT, {"tags": own})
    if tags.get(NOTE):
        exp.add_note(str(tags[NOTE]))
    words = {key: value for key, value in tags.items() if not key.startswith("mlflow.")}
    if not words:
        return
    new = [f"{key}={value}" for key, value in words.items() if value is not None]
    old = [word for word in exp.tags if word.partition("=")[0] in words and word not in new]
    if old:
        exp.remove_tags(*old)
    if new:
        exp.add_tags(*new)


@dataclass
class MlflowRecord:
    """What MLflow asks of an experiment."""

    exp: mlv.Exp
    points: dict[str, list[Any]] = field(default_factory=dict)
    """The metrics by name, as they were logged."""
    own_tags: dict[str, Any] = field(default_factory=dict)
    start_time: int | None = None
    end_time: int | None = None
    ended_by: str = ""
    """The run of mlv whose end MLflow said last."""
    fields: dict[str, Any] = field(default_factory=dict)
    """Other fields of MLflow's events; of those that are lists all that were logged."""

    @classmethod
    def of(cls, exp: mlv.Exp) -> MlflowRecord:
        """Read an experiment."""
        record = cls(exp)
        for event in exp.events(["metrics", "event", "rewound"]):
            if event.type == "metrics":
                record._take_metrics(event)
            elif event.type == "rewound":
                record._rewind(event.data["step"])
            elif event.name == EVENT:
                record._take(event)
        return record

    @property
    def metrics(self) -> list[Any]:
        """The latest of each metric: of the greatest step, and of equal ones the last in time."""
        return [max(points, key=_order) for points in self.points.values() if points]

    @property
    def params(self) -> list[Any]:
        """The params, as texts."""
        return [Param(name, text) for name, text in flat(self.exp.params)]

    @property
    def tags(self) -> dict[str, str]:
        """The tags: those of MLflow, the words of the experiment, and its last note."""
        words = {key: value for key, _, value in (word.partition("=") for word in self.exp.tags)}
        notes = {NOTE: self.exp.notes[-1]} if self.exp.notes else {}
        return {**words, **without_none(self.own_tags), **notes}

    def _take_metrics(self, event: mlv.Event) -> None:
        timestamp = event.at.get(_TIMESTAMP)
        if not isinstance(timestamp, int):
            timestamp = milliseconds(event.time)
        for key, value in event.data.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                name = f"{event.name}/{key}" if event.name else key
                points = self.points.setdefault(name, [])
                step = int(event.step) if isinstance(event.step, (int, float)) else len(points)
                points.append(Metric(name, float(value), timestamp, step, run_id=self.exp.id))

    def _rewind(self, step: float) -> None:
        for name, points in self.points.items():
            self.points[name] = [point for point in points if point.step <= step]

    @property
    def status(self) -> str:
        """The status, that of the run which MLflow has ended, where others only took part in it and go on."""
        status = self.exp.status
        if status != "running" or self.end_time is None:
            return status
        return next((run.status for run in self.exp.runs if run.id == self.ended_by), status)

    def _take(self, event: mlv.Event) -> None:
        for name, value in event.data.items():
            if name == "tags" and isinstance(value, Mapping):
                self.own_tags.update(value)
            elif name == "start_time":
                self.start_time = value
            elif name == "end_time":
                self.end_time, self.ended_by = value, event.run
            elif isinstance(value, (list, tuple)):
                self.fields[name] = [*self.fields.get(name, ()), *value]
            else:
                self.fields[name] = value


def _order(metric: Any) -> tuple[int, int, float]:
    return metric.step, metric.timestamp, metric.value if metric.value == metric.value else float("-inf")
