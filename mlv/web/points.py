"""The line of a log that logged a point of a chart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from mlv.errors import InvalidArgument
from mlv.optional import package
from mlv.query.many.axes import TIME
from mlv.query.many.values import coded, in_order, numbers, positions
from mlv.query.metrics.columns import numbered
from mlv.query.metrics.long_table import metrics_of_many
from mlv.query.metrics.parse_many_logs import STEP
from mlv.web import curves, lines
from mlv.web.rows import IndexRow

_Point = tuple[float, float, str, int]
"""Position, value, and the run and the number of the line."""


def line(row: IndexRow, query: Mapping[str, str]) -> dict[str, Any]:
    """Return the line of the point whose value is nearest to `y`, among those of a metric `m` between `from` and `to` of `x`.

    A `y` of NaN, or an infinity, is nearest to its like only.

    Raises:
        InvalidArgument: A part of the question is wrong, or there is no such point.
    """
    asked, y = curves.question(query), _value(query.get("y", ""))
    begin = -math.inf if asked.begin is None else asked.begin
    end = math.inf if asked.end is None else asked.end
    every = _system_points(row, asked) if asked.metric.startswith(curves.SYSTEM) else _points(row, asked)
    inside = (point for point in every if begin <= point[0] <= end and _distance(point[1], y) < math.inf)
    nearest = min(inside, key=lambda point: _distance(point[1], y), default=None)
    if nearest is None:
        raise InvalidArgument(f"no value of {asked.metric} lies there", metric=asked.metric)
    _, _, run, seq = nearest
    return lines.line(row.digest.path, {"run": run, "seq": str(seq)})


def _value(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidArgument(f"y={text!r:.50} is no number", y=text) from None


def _distance(value: float, y: float) -> float:
    if math.isfinite(value) and math.isfinite(y):
        return abs(value - y)
    return 0.0 if value == y or (value != value and y != y) else math.inf


def _points(row: IndexRow, asked: curves.Question) -> Iterable[_Point]:
    """Return the points of a metric that survive, in the order of logging, at the positions that its curve has."""
    np = package("numpy")
    table = metrics_of_many(row.digest.path, cut=row.moment.last if row.moment is not None else None)
    order = in_order(table)
    codes, names = coded(table.column("name"))
    at = positions(table, asked.x, order, row.digest)[order]
    if asked.x == STEP:
        at = numbered(at, codes[order])
    value, is_number = numbers(table)
    is_asked = np.array([name == asked.metric for name in names] or [False])[codes[order]] & is_number[order]
    own = order[is_asked]
    runs, run_names = coded(table.column("run"))
    logged_by = [run_names[run] for run in runs[own]]
    seq = np.asarray(table.column("seq"))[own]
    return zip(at[is_asked].tolist(), value[own].tolist(), logged_by, seq.tolist(), strict=True)


def _system_points(row: IndexRow, asked: curves.Question) -> Iterable[_Point]:
    """Return the points of a metric of the machine, which knows the time only."""
    if asked.x != TIME:
        raise InvalidArgument(f"x={asked.x}: system metrics are drawn over x={TIME}", x=asked.x)
    for event, value in curves.system_values(row, asked.metric.removeprefix(curves.SYSTEM)):
        yield event.time.timestamp(), float(value), event.run, event.seq
