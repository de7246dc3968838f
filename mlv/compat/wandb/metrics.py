"""`define_metric`: the x axis and the summary of metrics, by name or by the beginning of names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlv import Logger
from mlv.compat.wandb.errors import Error

_OPERATIONS = ("min", "max", "mean", "last", "copy", "none", "first")
_DESCRIBED = {"min": "min", "max": "max", "mean": "mean", "last": "last", "copy": "last", "none": "none"}
"""Operations that `Logger.describe` takes as the statistic of a metric."""


@dataclass(frozen=True)
class Metric:
    """A definition, as `define_metric` returns it."""

    name: str
    step_metric: str | None = None
    step_sync: bool | None = None
    hidden: bool | None = None
    summary: tuple[str, ...] | None = None


class Definitions:
    """The definitions of a run: they describe metrics in the log, complete rows, and decide values of the summary."""

    def __init__(self) -> None:
        self._exact: dict[str, Metric] = {}
        self._beginnings: dict[str, Metric] = {}
        self._of_key: dict[str, Metric | None] = {}
        self._folds: dict[str, _Fold] = {}
        self._axes: dict[str, Any] = {}
        """The last values of metrics that are x axes."""

    def __bool__(self) -> bool:
        return bool(self._exact or self._beginnings)

    def define(self, log: Logger | None, name: Any, step_metric: Any, summary: Any, options: Mapping[str, Any]) -> Metric:
        """Add a definition; a name that ends with `*` is one for all names with that beginning.

        Raises:
            Error: An argument cannot be used.
        """
        step_metric = step_metric.name if isinstance(step_metric, Metric) else step_metric
        if not name:
            raise Error("define_metric() requires non-empty name argument")
        for argument, value, kind in (
            ("name", name, str),
            ("step_metric", step_metric, str),
            ("summary", summary, str),
            *((key, value, bool) for key, value in options.items()),
        ):
            if value is not None and not isinstance(value, kind):
                raise Error(f"Unhandled define_metric() arg: {argument} type: {type(value).__name__}")
        if "*" in name.removesuffix("*"):
            raise Error(f"Unhandled define_metric() arg: name (glob suffixes only): {name}")
        operations = tuple(word.strip().lower() for word in summary.split(",")) if summary else None
        if unknown := [word for word in operations or () if word not in _OPERATIONS]:
            raise Error(f"Unhandled define_metric() arg: summary op: {unknown[0]}")
        step_sync = options.get("step_sync")
        synced = step_sync if step_sync is not None else step_metric is not None
        metric = Metric(name, step_metric, synced, options.get("hidden"), operations)
        if step_metric is not None:
            self._axes.setdefault(step_metric, None)
        if name.endswith("*"):
            self._beginnings[name[:-1]] = metric
            self._of_key = {key: own for key, own in self._of_key.items() if key in self._exact}
        else:
            self._exact[name] = self._of_key[name] = metric
            _describe(log, name, metric)
        return metric

    def complete(self, log: Logger | None, row: dict[str, Any]) -> None:
        """Describe the metrics of a row that are new, and add the values of their x axes that it lacks."""
        for key in list(row):
            metric = self._metric(log, key)
            axis = metric.step_metric if metric is not None and metric.step_sync else None
            if axis is not None and axis not in row and self._axes.get(axis) is not None:
                row[axis] = self._axes[axis]
        self._axes.update((axis, row[axis]) for axis in self._axes if axis in row)

    def summarized(self, row: Mapping[str, Any], latest: dict[str, Any]) -> None:
        """Bring the values of a row into those of the summary, as the definitions want it."""
        for key, value in row.items():
            metric = self._of_key.get(key)
            if metric is None or metric.summary is None:
                latest[key] = value
            elif "none" in metric.summary:
                latest.pop(key, None)
            elif type(value) in (int, float) and {*metric.summary} - {"copy"}:
                fold = self._folds.setdefault(key, _Fold())
                fold.add(value)
                latest[key] = {word: fold.value(word) for word in metric.summary if word != "copy"}
            else:
                latest[key] = value

    def _metric(self, log: Logger | None, key: str) -> Metric | None:
        if key not in self._of_key:
            beginnings = [beginning for beginning in self._beginnings if key.startswith(beginning)]
            metric = self._beginnings[max(beginnings, key=len)] if beginnings else None
            if metric is not None and metric.step_metric == key:
                metric = None  # an axis is not drawn over itself
            self._of_key[key] = metric
            if metric is not None:
                _describe(log, key, metric)
        return self._of_key[key]


class _Fold:
    """The numbers of a metric, folded to what its summary may be."""

    def __init__(self) -> None:
        self.count, self.total = 0, 0.0
        self.first = self.last = self.min = self.max = None

    def add(self, value: Any) -> None:
        try:
            number = float(value)
        except OverflowError:
            number = math.inf if value > 0 else -math.inf
        self.count, self.total, self.last = self.count + 1, self.total + number, value
        self.first = value if self.first is None else self.first
        self.min = value if self.min is None or value < self.min else self.min
        self.max = value if self.max is None or value > self.max else self.max

    def value(self, operation: str) -> Any:
        return self.total / self.count if operation == "mean" else getattr(self, operation)


def _describe(log: Logger | None, name: str, metric: Metric) -> None:
    """Describe a metric in the log, where there is anything to say."""
    statistics = [_DESCRIBED[word] for word in metric.summary or () if word in _DESCRIBED]
    axis = metric.step_metric if metric.step_metric != name else None
    if log is not None and (axis is not None or statistics):
        log.describe(name, x=axis, summary=statistics[0] if statistics else None)
