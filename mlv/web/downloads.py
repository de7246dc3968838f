"""All points of a metric as CSV, for a download."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any

from mlv.optional import package
from mlv.query.many.axes import TIME
from mlv.query.many.values import in_order, positions
from mlv.query.metrics.long_table import metrics_of_many
from mlv.web.curves import SYSTEM, Curves
from mlv.web.plain import as_text
from mlv.web.rows import IndexRow

_ROWS_AT_ONCE = 5000
_OWN = ("step", TIME)
"""Axes that have a column in any case."""


def points(rows: Sequence[IndexRow], metric: str, x: str) -> Iterator[bytes]:
    """Yield CSV of every value of a metric, also NaN and those that are no number, in the order of logging.

    Times are ISO 8601 in UTC. An axis that is neither the step nor the time has a column of its own.
    """
    axis = [] if x in _OWN else [x]
    yield _encoded([["experiment", "id", "step", "time", *axis, "value"]])
    for row in rows:
        yield from _points_of_one(row, metric, x, axis)


def _points_of_one(row: IndexRow, metric: str, x: str, axis: Sequence[str]) -> Iterator[bytes]:
    if metric.startswith(SYSTEM):
        [(moments, values)] = Curves().points([row], metric, TIME)
        own = [as_text(row.digest.name), row.digest.id]
        for moment, value in zip(moments.tolist(), values.tolist(), strict=True):
            yield _encoded(
                [[*own, *_cells(None, datetime.fromtimestamp(moment, timezone.utc), *(moment for _ in axis), value, None)]]
            )
        return
    pc = package("pyarrow.compute")
    table = metrics_of_many(row.digest.path, cut=row.moment.last if row.moment is not None else None)
    order = in_order(table)
    if axis:
        table = table.append_column("x", [positions(table, x, order, row.digest)])
    table = table.take(package("pyarrow").array(order))
    table = table.filter(pc.equal(table.column("name"), metric))
    names = ("step", "time", *(["x"] if axis else []), "value", "text")
    for batch in table.select(names).to_batches(_ROWS_AT_ONCE):
        cells = zip(*(batch.column(name).to_pylist() for name in names), strict=True)
        yield _encoded([as_text(row.digest.name), row.digest.id, *_cells(*each)] for each in cells)


def _cells(step: Any, time: Any, *more: Any) -> list[Any]:
    *axis, value, text = more
    moment = time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    shown_axis = ["" if number != number else number for number in axis]
    return ["" if step is None else step, moment, *shown_axis, text if value is None else value]


def _encoded(rows: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def file_name(metric: str) -> str:
    """Return the name of the file that a metric is saved in."""
    return re.sub(r"[^\w.-]", "_", metric, flags=re.ASCII)[:100] + ".csv"
