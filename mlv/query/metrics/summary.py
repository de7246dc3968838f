"""Summaries of metrics: the values of each, folded to a few numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from mlv import wire
from mlv.encoding import BadLine, Huge, event_from_line
from mlv.events import Event, metrics_of
from mlv.optional import package
from mlv.query.metrics.columns import Cut, MetricColumns, points_of, read_points
from mlv.query.metrics.lines import LineDecoder, metrics_line_of
from mlv.query.metrics.long_table import full_names
from mlv.query.metrics.parse_json import NotPlain
from mlv.query.metrics.parse_many_logs import block_of
from mlv.query.metrics.parse_template import numbers_of
from mlv.query.metrics.selection import plain_step, series_of
from mlv.query.rewinds import SURVIVING, is_superseded
from mlv.state import BEST, LAST, NONE, Rewind, State, statistic_of
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
    value: Any = None
    """The one value that stands for the metric in lists and tables; None where none does."""
    value_step: Any = None
    """The step of `value`; None for a mean, and for a value of `exp.summarize`."""
    statistic: str = LAST
    """What `value` is: `last min max mean best none`, as `log.describe(name, summary=...)` says, or `summary`, which is a value
    of `exp.summarize`. It is `last` where there is no number of the kind that was chosen."""

    @property
    def has_value(self) -> bool:
        """Whether a value stands for the metric in lists and tables."""
        return self.statistic != NONE

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what `pickle` writes: by itself it would ask for the fields of a record with slots, in ten times as long."""
        return Summary, (
            self.last, self.min, self.max, self.best, self.mean, self.count, self.nans, self.last_step, self.best_step,
            self.value, self.value_step, self.statistic,
        )  # fmt: skip

    def with_value(self, statistic: str, value: Any, step: Any = None) -> Summary:
        """Return the summary with another value to stand for the metric."""
        return replace(self, value=value, value_step=step, statistic=statistic)


At = tuple[float, int, Any]
"""Moment, `seq` and step of a value. The moment is the latest time of its run in its stream, up to the value's line."""


class Fold:
    """A metric while its values come in: all of them, or those that one run wrote into one stream."""

    __slots__ = ("count", "greatest", "greatest_at", "last", "last_at", "least", "least_at", "nans", "run", "total")

    def __init__(self, run: str = "") -> None:
        self.run = run
        self.count = self.nans = 0
        self.total, self.least, self.greatest = 0.0, math.inf, -math.inf
        self.last: Any = None
        self.last_at = self.least_at = self.greatest_at = _NOWHERE
        """`At` of the earliest of equal values."""

    def take(self, value: Any, at: At) -> None:
        """Fold a value."""
        self.last, self.last_at = value, at
        if type(value) is not float and type(value) is not int and type(value) is not Huge:
            return
        self.count += 1
        if value != value:
            self.nans += 1
            return
        try:
            self.total += value
        except OverflowError:  # an integer beyond all floats
            self.total += math.inf if value > 0 else -math.inf
        is_first = self.count - self.nans == 1
        if value < self.least or is_first:
            self.least, self.least_at = value, at
        if value > self.greatest or is_first:
            self.greatest, self.greatest_at = value, at


_NOWHERE: At = (-math.inf, 0, None)


SUMMARIZED = "summary"
"""The statistic of a value that was not computed: one of `exp.summarize`."""


def _summary(folds: Sequence[Fold], described: Mapping[str, Any], until: Mapping[str, float]) -> Summary:
    """Return the summary of a metric with a description; of several runs and streams, where no line of another stream decides.

    Raises:
        _Unclear: Some line may.
    """
    last = _outermost(folds, lambda fold: fold.last_at, until, max)
    statistic = statistic_of(described)
    count, nans = sum(fold.count for fold in folds), sum(fold.nans for fold in folds)
    if count == nans:
        plain = Summary(last=last.last, count=count, nans=nans, last_step=last.last_at[2])
        return plain.with_value(NONE, None) if statistic == NONE else plain.with_value(LAST, last.last, last.last_at[2])
    numeric = [fold for fold in folds if fold.count > fold.nans]
    lowest, highest = min(fold.least for fold in numeric), max(fold.greatest for fold in numeric)
    least = _outermost([fold for fold in numeric if fold.least == lowest], lambda fold: fold.least_at, until, min)
    greatest = _outermost([fold for fold in numeric if fold.greatest == highest], lambda fold: fold.greatest_at, until, min)
    best, best_step = {
        "min": (least.least, least.least_at[2]), "max": (greatest.greatest, greatest.greatest_at[2]),
    }.get(str(described.get("mode")), (None, None))  # fmt: skip
    mean = sum(fold.total for fold in numeric) / (count - nans)
    if statistic == BEST and best is None:
        statistic = LAST
    value, step = {
        LAST: (last.last, last.last_at[2]), "min": (least.least, least.least_at[2]), "mean": (mean, None),
        "max": (greatest.greatest, greatest.greatest_at[2]), BEST: (best, best_step), NONE: (None, None),
    }[statistic]  # fmt: skip
    return Summary(
        last.last, least.least, greatest.greatest, best, mean, count, nans, last.last_at[2], best_step, value, step, statistic
    )


def _outermost(folds: Sequence[Fold], at: Callable[[Fold], At], until: Mapping[str, float], end: Callable[..., Any]) -> Fold:
    """Return the fold with the last value, or the first, in the order of the events: `end` is `max` or `min`."""
    if len(folds) == 1:
        return folds[0]
    runs: dict[str, Fold] = {}
    for fold in folds:
        previous = runs.get(fold.run)
        runs[fold.run] = fold if previous is None else end(previous, fold, key=lambda fold: at(fold)[1])
    if len(runs) > 1 and until.keys() & runs:
        spans = sorted((at(fold)[0], until.get(run, at(fold)[0])) for run, fold in runs.items())
        if any(second[0] <= first[1] for first, second in pairwise(spans)):
            raise _Unclear
    chosen: Fold = end(runs.values(), key=lambda fold: (at(fold)[0], fold.run))
    return chosen


class _Unclear(Exception):
    """The streams one by one do not show which value is first, or last."""


def summary(events: Iterable[Event], state: State) -> dict[str, Summary]:
    """Fold events, which come in order, to a summary of each metric by its full name, in the order of their first lines.

    The state of the experiment tells which value stands for each. Values of `exp.summarize` come last.
    """
    folds: dict[str, Fold] = {}
    for event in events:
        at = (0, event.seq, event.step)
        for name, value in metrics_of(event):
            fold = folds.get(name)
            if fold is None:
                fold = folds[name] = Fold()
            fold.take(value, at)
    return _with_summarized({name: _summary([fold], _described(state, name), {}) for name, fold in folds.items()}, state)


def _described(state: State, name: str) -> Mapping[str, Any]:
    return state.descriptions.get(name, {})


def _with_summarized(metrics: dict[str, Summary], state: State) -> dict[str, Summary]:
    """Return the summaries with those of `exp.summarize`: such a value stands for the metric of its name."""
    values = {name: summarized.value for name, summarized in state.summaries.items()}
    summarized = {name: metrics.get(name, Summary()).with_value(SUMMARIZED, value) for name, value in values.items()}
    return {**metrics, **summarized}


class Summaries(dict[str, Summary]):
    """The summary of each metric, by full name."""

    skipped: list[Skipped]
    """Damaged lines that were passed over."""


def fast_summary(
    folder: Path, state: State, cut: Cut | None = None, branches: str = SURVIVING, skipped: list[Skipped] | None = None
) -> dict[str, Summary] | None:
    """Summarize as `summary` does, by columns of floats; return None where a value or a step is no plain number.

    Damaged lines are added to `skipped`.

    Raises:
        MissingExtra: pyarrow is not installed.
    """
    folds = _folds_alike(folder) if cut is None else None
    if folds is None:
        return summary_of_points(read_points(folder, None, cut, skipped, branches), state)
    return _with_summarized({name: _summary(fold, _described(state, name), {}) for name, fold in folds.items()}, state)


def summary_of_points(points: MetricColumns, state: State) -> dict[str, Summary] | None:
    """Summarize lines as `summary` does; return None where a value or a step is no plain number."""
    if points.texts is not None or points.step_texts is not None:
        return None
    folds = {name: [_fold_of_columns(points, *own)] for name, own in series_of(points).items()}
    return _with_summarized({name: _summary(fold, _described(state, name), {}) for name, fold in folds.items()}, state)


def summary_of_tables(tables: Sequence[Any], state: State) -> dict[str, Summary] | None:
    """Summarize the lines of tables of `mlv.query.metrics.schema` as `summary` does, or return None as `summary_of_points`."""
    folds = _folds_of_one(tables[0]) if len(tables) == 1 else None
    if folds is None:
        return summary_of_points(points_of(tables), state)
    return _with_summarized({name: _summary([fold], _described(state, name), {}) for name, fold in folds.items()}, state)


def _folds_of_one(table: Any) -> dict[str, Fold] | None:
    """Return the folds of lines of one run with the same names, in their order, in a third of the time; None of others."""
    np = package("numpy")
    batches = table.to_batches()
    if len(batches) != 1 or not len(table) or any(batches[0][name].null_count < len(table) for name in ("texts", "step_text")):
        return None
    batch = batches[0]
    texts = {name: batch[name].dictionary.to_pylist() for name in ("run", "name", "keys")}
    seq, offsets = batch["seq"].to_numpy(), np.asarray(batch["values"].offsets)
    widths = np.diff(offsets)
    if any(len(own) != 1 for own in texts.values()) or (seq[1:] <= seq[:-1]).any() or (widths != widths[0]).any():
        return None
    names = full_names(texts["name"][0], texts["keys"][0])
    values = batch["values"].flatten()
    if values.null_count or len(set(names)) < len(names):
        return None
    columns = np.ascontiguousarray(values.to_numpy().reshape(len(table), len(names)).T)
    step = batch["step"].to_numpy(zero_copy_only=False)
    if np.isnan(columns).any():
        return {name: _fold_of_values(own, step) for name, own in zip(names, columns, strict=True)}
    with np.errstate(invalid="ignore"):  # of two infinities
        ends = zip(columns.argmin(axis=1), columns.argmax(axis=1), columns.sum(axis=1), strict=True)
    folds = {}
    for name, own, (lowest, highest, total) in zip(names, columns, ends, strict=True):
        fold = folds[name] = Fold()
        fold.count, fold.total = len(own), float(total)
        fold.last, fold.last_at = float(own[-1]), (0, 0, plain_step(float(step[-1])))
        fold.least, fold.least_at = float(own[lowest]), (0, 0, plain_step(float(step[lowest])))
        fold.greatest, fold.greatest_at = float(own[highest]), (0, 0, plain_step(float(step[highest])))
    return folds


def _folds_alike(folder: Path) -> dict[str, list[Fold]] | None:
    """Return the folds of a short log whose lines are alike, in a third of the time; None where one is not.

    That is what a script with one loop writes: one run, one stream, the same names again and again.
    """
    np = package("numpy")
    try:
        block = block_of(folder, sifted=False)
    except NotPlain:
        return None
    numbers = numbers_of([block]) if block else None
    if numbers is None or (numbers.seq[1:] <= numbers.seq[:-1]).any():
        return None
    names = full_names(numbers.name, numbers.keys)
    step = np.full(len(numbers.seq), np.nan) if numbers.step is None else numbers.step
    columns = np.ascontiguousarray(numbers.values.T)
    folds = {name: [_fold_of_values(values, step)] for name, values in zip(names, columns, strict=True)}
    return folds if len(folds) == len(names) else None


def _fold_of_columns(points: MetricColumns, lines: Any, indices: Any) -> Fold:
    """Return the fold of all values of one metric."""
    return _fold_of_values(points.values[indices], points.step, lines)


def _fold_of_values(values: Any, step: Any, lines: Any = None) -> Fold:
    """Return the fold of values, whose steps are those of their lines, or one for each."""
    np = package("numpy")
    is_nan = np.isnan(values)

    def at(number: int) -> At:
        return 0, 0, plain_step(float(step[number if lines is None else lines[number]]))

    fold = Fold()
    fold.last, fold.last_at = float(values[-1]), at(-1)
    fold.count, fold.nans = len(values), int(is_nan.sum())
    if fold.nans < fold.count:
        lowest, highest = int(np.nanargmin(values)), int(np.nanargmax(values))
        fold.least, fold.least_at = float(values[lowest]), at(lowest)
        fold.greatest, fold.greatest_at = float(values[highest]), at(highest)
        with np.errstate(invalid="ignore"):  # of two infinities
            fold.total = float(np.sum(values, where=~is_nan))
    return fold


class Folding:
    """Metrics folded line by line, while something else reads the lines.

    For many short experiments: 100 of 300 lines each take 0.14 s, and with an event for each line 0.26. From there on
    `fast_summary` takes less, but it has to import pyarrow.
    """

    def __init__(self, rewinds: Sequence[Rewind] = ()) -> None:
        self._rewinds = rewinds
        self._writers: dict[tuple[str, str], _Writer] = {}
        self._is_unclear = False
        self._decoder = LineDecoder()

    def take(self, stream: str, line: bytes) -> bool:
        """Fold a line, if it holds metrics; return False where it cannot be read, and is passed over."""
        if _METRICS not in line:
            return True
        metrics = self._decoder.metrics(line)
        if metrics is None:
            try:
                metrics = metrics_line_of(event_from_line(line, stream))
            except BadLine:
                return False
        if metrics is None:
            return True
        run, seq, moment, step, prefix, data, _ = metrics
        if self._rewinds and is_superseded(self._rewinds, run, seq, step):
            return True
        writer = self._writers.get((stream, run))
        if writer is None:
            writer = self._writers[stream, run] = _Writer()
        if seq < writer.seq:
            self._is_unclear = True
        if moment > writer.moment:
            writer.moment = moment
        writer.seq, folds, at = seq, writer.folds, (writer.moment, seq, step)
        for key, value in data.items():
            name = prefix + key
            fold = folds.get(name)
            if fold is None:
                fold = folds[name] = Fold(run)
            fold.take(value, at)
        return True

    def summaries(self, state: State) -> dict[str, Summary] | None:
        """Return the summary of each metric by full name, in the order of their first lines, as `summary` does.

        None where a line of another stream may decide which value is the last one, or the first of equals.
        """
        if self._is_unclear:
            return None
        ends: dict[str, list[float]] = {}
        by_metric: dict[str, list[Fold]] = {}
        for (_, run), writer in self._writers.items():
            ends.setdefault(run, []).append(writer.moment)
            for name, fold in writer.folds.items():
                by_metric.setdefault(name, []).append(fold)
        # In several streams the clock of a run may have been ahead: its moment is at most the latest of its times.
        until = {run: max(moments) for run, moments in ends.items() if len(moments) > 1}
        with suppress(_Unclear):
            return _with_summarized(
                {name: _summary(folds, _described(state, name), until) for name, folds in by_metric.items()}, state
            )
        return None


_METRICS = wire.quoted("metrics")


class _Writer:
    """The lines of type `metrics` that one run wrote into one stream."""

    __slots__ = ("folds", "moment", "seq")

    def __init__(self) -> None:
        self.moment, self.seq = -math.inf, 0
        self.folds: dict[str, Fold] = {}
