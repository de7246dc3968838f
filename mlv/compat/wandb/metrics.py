"""`define_metric`: the x axis and the summary of metrics, by name or by the beginning of names."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mlv import Logger
from mlv.compat.wandb.errors import Error

_OPERATIONS = ("min", "max", "mean", "last", "copy", "none", "first")
_DESCRIBED = {"min": "min", "max": "max", "mean": "mean", "last": "last", "copy": "last", "none": "none"}
"""Operations that `Logger.describe` takes as the statistic of a metric."""
_Path = tuple[str, ...]
"""The keys that lead to a value of nested mappings."""


@dataclass(frozen=True)
class Metric:
    """A definition, as `define_metric` returns it."""

    name: str
    step_metric: str | None = None
    step_sync: bool | None = None
    hidden: bool | None = None
    summary: tuple[str, ...] | None = None

    def with_more_of(self, other: Metric) -> Metric:
        """Return this definition, changed by all that a later one of the same name says."""
        operations = tuple(dict.fromkeys((*(self.summary or ()), *(other.summary or ()))))
        metric = replace(self, summary=operations or None, hidden=other.hidden if self.hidden is None else self.hidden)
        if other.step_metric is None:
            return metric
        return replace(metric, step_metric=other.step_metric, step_sync=other.step_sync)


class Definitions:
    """The definitions of a run: they describe metrics in the log, complete rows, and decide values of the summary.

    Nested names join with dots in a definition, as in wandb, and with `/` in the log.
    """

    def __init__(self, earlier: Callable[[], Iterable[Mapping[str, Any]]]) -> None:
        """Begin without definitions.

        Args:
            earlier: Yields the rows of the log: a metric may have values when it is defined.
        """
        self._earlier = earlier
        self._exact: dict[str, Metric] = {}
        self._beginnings: dict[str, Metric] = {}
        self._of_key: dict[str, Metric | None] = {}
        self._described: set[str] = set()
        """Names in the log of metrics that were described."""
        self._folds: dict[str, _Fold] = {}
        self._axes: dict[str, tuple[_Path, Any] | None] = {}
        """The paths and last values of metrics that are x axes."""

    def __bool__(self) -> bool:
        return bool(self._exact or self._beginnings)

    def define(
        self,
        log: Logger | None,
        name: Any,
        step_metric: Any,
        summary: Any,
        options: Mapping[str, Any],
        latest: Mapping[str, Any],
    ) -> Metric:
        """Add a definition to those of its name; a name that ends with `*` is one for all names with that beginning.

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
        of_name, key = (self._beginnings, name[:-1]) if name.endswith("*") else (self._exact, name)
        is_new = options.get("overwrite") or key not in of_name
        of_name[key] = metric if is_new else of_name[key].with_more_of(metric)
        self._of_key.clear()
        self._described.clear()
        if of_name is self._exact:
            self._describe(log, name, of_name[key], {})
        self._fold_earlier(latest)
        return metric

    def complete(self, log: Logger | None, row: dict[str, Any]) -> None:
        """Describe the metrics of a row that are new, and add the values of their x axes that it lacks."""
        leaves = {".".join(path): (path, value) for path, value in _leaves(row)}
        axes = []
        for key, (path, _) in leaves.items():
            metric = self._metric(key)
            if metric is None:
                continue
            self._describe(log, "/".join(path), metric, leaves)
            if metric.step_metric is not None and metric.step_sync:
                axes.append(metric.step_metric)
        for axis in axes:
            last = self._axes.get(axis)
            if axis not in leaves and last is not None:
                _put(row, *last)
        self._axes.update((axis, leaves[axis]) for axis in self._axes if axis in leaves)

    def summarized(self, row: Mapping[str, Any], latest: dict[str, Any]) -> None:
        """Bring the values of a row into those of the summary, as the definitions want it."""
        for path, value in _leaves(row):
            key = ".".join(path)
            metric = self._metric(key)
            if metric is None or metric.summary is None:
                _put(latest, path, value)
            elif "none" in metric.summary:
                _drop(latest, path)
            elif type(value) in (int, float) and {*metric.summary} - {"copy"}:
                fold = self._folds.setdefault(key, _Fold())
                fold.add(value)
                _put(latest, path, {word: fold.value(word) for word in metric.summary if word != "copy"})
            else:
                _put(latest, path, value)

    def _metric(self, key: str) -> Metric | None:
        """Return the definition of a metric: its own, or of its beginnings the one that was defined first."""
        if key not in self._of_key:
            metric = self._exact.get(key)
            if metric is None and not key.startswith("_"):
                metric = next((own for beginning, own in self._beginnings.items() if key.startswith(beginning)), None)
            if metric is not None and metric.step_metric == key:
                metric = replace(metric, step_metric=None)  # an axis is not drawn over itself
            self._of_key[key] = metric
        return self._of_key[key]

    def _describe(self, log: Logger | None, name: str, metric: Metric, row: Mapping[str, tuple[_Path, Any]]) -> None:
        """Describe a metric in the log once, where there is anything to say."""
        if log is None or name in self._described:
            return
        self._described.add(name)
        statistics = [_DESCRIBED[word] for word in metric.summary or () if word in _DESCRIBED]
        axis = metric.step_metric
        at = None if axis is None else row.get(axis) or self._axes.get(axis)
        x = None if axis in (None, name) else "/".join(at[0]) if at is not None else axis
        if x is not None or statistics:
            log.describe(name, x=x, summary=statistics[0] if statistics else None)

    def _fold_earlier(self, latest: Mapping[str, Any]) -> None:
        """Fold the values that metrics had before anything was said about their summary."""
        late = {}
        for path, _ in _leaves(latest):
            key = ".".join(path)
            metric = self._metric(key)
            if key not in self._folds and metric is not None and {*(metric.summary or ())} - {"copy", "none"}:
                late["/".join(path)] = self._folds[key] = _Fold()
        if late:
            for row in self._earlier():
                for name in late.keys() & row.keys():
                    if type(row[name]) in (int, float):
                        late[name].add(row[name])


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


def merge(latest: dict[str, Any], row: Mapping[str, Any]) -> None:
    """Bring the values of a row into those of the summary: what is nested joins what is there."""
    for key, value in row.items():
        if type(value) is dict:
            for path, leaf in _leaves(value):
                _put(latest, (key, *path), leaf)
        else:
            latest[key] = value


def _leaves(row: Mapping[str, Any], path: _Path = ()) -> Iterator[tuple[_Path, Any]]:
    """Yield the values of a row with their paths."""
    for key, value in row.items():
        if type(value) is dict:
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _put(values: dict[str, Any], path: _Path, value: Any) -> None:
    """Set the value of a path; what is no mapping in its way is replaced."""
    for key in path[:-1]:
        inner = values.get(key)
        if type(inner) is not dict:
            inner = values[key] = {}
        values = inner
    values[path[-1]] = value


def _drop(values: dict[str, Any], path: _Path) -> None:
    """Take the value of a path away, and mappings that are empty without it."""
    inner = values.get(path[0])
    if len(path) > 1 and type(inner) is dict:
        _drop(inner, path[1:])
    if len(path) == 1 or inner == {}:
        values.pop(path[0], None)
