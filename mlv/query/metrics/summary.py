"""Summaries of metrics: the values of each, folded to a few numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlv.encoding import Huge
from mlv.events import Event
from mlv.optional import package
from mlv.query.metrics.columns import Cut, MetricColumns, read_points
from mlv.query.metrics.selection import Choice, Entry, entries_of, plain_step
from mlv.query.rewinds import SURVIVING
from mlv.store.streams import Skipped


@dataclass(frozen=True, slots=True)
class Summary:
    """A metric after all of its values, including those of equal steps.

    NaN counts in `count` and may be `last`, but is neither the least nor the greatest, and takes no part in the mean;
    infinities do. A value that is no number may be `last`, and is not counted. Truth values are no numbers.
    """

    last: Any = None
    """The value that was logged last, number or not."""
    min: float | None = None
    max: float | None = None
    best: float | None = None
    """`min` or `max`, as `log.describe(name, mode=...)` says; None without such a mode."""
    mean: float | None = None
    count: int = 0
    """Number of numbers that were logged, including NaN."""
    nans: int = 0
    """Number of these that are NaN."""
    last_step: Any = None
    """The step of `last`."""
    best_step: Any = None
    """The step of `best`; the earliest of equals."""


class _Fold:
    """The summary of one metric while its values come in."""

    __slots__ = ("count", "last", "last_step", "max", "max_step", "min", "min_step", "nans", "total")

    def __init__(self) -> None:
        self.last: Any = None
        self.last_step: Any = None
        self.min: float | None = None
        self.max: float | None = None
        self.min_step: Any = None
        self.max_step: Any = None
        self.total, self.count, self.nans = 0.0, 0, 0

    def take(self, value: Any, step: Any) -> None:
        self.last, self.last_step = value, step
        if type(value) not in (float, int, Huge):
            return
        self.count += 1
        if value != value:
            self.nans += 1
            return
        self.total += _as_float(value)
        if self.min is None or value < self.min:
            self.min, self.min_step = value, step
        if self.max is None or value > self.max:
            self.max, self.max_step = value, step

    def summary(self, mode: Any) -> Summary:
        best, step = {"min": (self.min, self.min_step), "max": (self.max, self.max_step)}.get(str(mode), (None, None))
        numbers = self.count - self.nans
        mean = self.total / numbers if numbers else None
        return Summary(self.last, self.min, self.max, best, mean, self.count, self.nans, self.last_step, step)


def summary(events: Iterable[Event], descriptions: Mapping[str, Mapping[str, Any]]) -> dict[str, Summary]:
    """Fold events, which come in order, to a summary of each metric by its full name, in the order of their first lines."""
    folds: dict[str, _Fold] = {}
    for event in events:
        for name, value in metrics_of(event):
            fold = folds.get(name)
            if fold is None:
                fold = folds[name] = _Fold()
            fold.take(value, event.step)
    return {name: fold.summary(descriptions.get(name, {}).get("mode")) for name, fold in folds.items()}


class Summaries(dict[str, Summary]):
    """The summary of each metric, by full name."""

    skipped: list[Skipped]
    """Damaged lines that were passed over."""


def fast_summary(
    folder: Path,
    descriptions: Mapping[str, Mapping[str, Any]],
    cut: Cut | None = None,
    branches: str = SURVIVING,
    skipped: list[Skipped] | None = None,
) -> dict[str, Summary] | None:
    """Summarize as `summary` does, by columns of floats; return None where a value or a step is no plain number.

    Damaged lines are added to `skipped`.

    Raises:
        MissingExtra: pyarrow is not installed.
    """
    points = read_points(folder, None, cut, skipped, branches)
    if points.texts is not None or points.step_texts is not None:
        return None
    by_name: dict[str, list[Entry]] = {}
    for entry in entries_of(points, Choice(None, None), {}):
        by_name.setdefault(entry.name, []).append(entry)
    in_order = sorted(by_name, key=lambda name: min(int(entry.lines[0]) for entry in by_name[name]))
    return {name: _summary_of_columns(points, by_name[name], descriptions.get(name, {}).get("mode")) for name in in_order}


def _summary_of_columns(points: MetricColumns, entries: list[Entry], mode: Any) -> Summary:
    """Return the summary of one metric."""
    np = package("numpy")
    lines = np.concatenate([entry.lines for entry in entries])
    indices = np.concatenate([np.asarray(entry.indices) for entry in entries])
    if len(entries) > 1:
        order = np.lexsort((indices, lines))
        lines, indices = lines[order], indices[order]
    values, steps = points.values[indices], points.step
    is_nan = np.isnan(values)
    nans = int(is_nan.sum())

    def step(number: Any) -> Any:
        return plain_step(float(steps[lines[number]]))

    last = float(values[-1])
    if nans == len(values):
        return Summary(last, count=nans, nans=nans, last_step=step(-1))
    at = {"min": int(np.nanargmin(values)), "max": int(np.nanargmax(values))}
    with np.errstate(invalid="ignore"):  # of two infinities
        mean = float(np.sum(values, where=~is_nan) / (len(values) - nans))
    best = at.get(str(mode))
    return Summary(
        last, float(values[at["min"]]), float(values[at["max"]]), None if best is None else float(values[best]), mean,
        len(values), nans, step(-1), None if best is None else step(best),
    )  # fmt: skip


def metrics_of(event: Event) -> Iterator[tuple[str, Any]]:
    """Yield full name and value of each metric of an event; nothing for an event of another type."""
    if event.type == "metrics" and isinstance(event.data, dict):
        prefix = f"{event.name}/" if event.name else ""
        for key, value in event.data.items():
            yield prefix + key, value


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
