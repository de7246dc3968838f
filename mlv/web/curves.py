"""Curves of metrics for charts: read once, kept in memory up to a limit, and sent as columns of pixels."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from mlv.encoding import BadLine, event_from_line
from mlv.errors import InvalidArgument
from mlv.events import Event
from mlv.optional import package
from mlv.query.digest import Digest
from mlv.query.events import Events
from mlv.query.many import families, values
from mlv.query.many.axes import AT, METRICS, TIME, TIMES, times_of
from mlv.query.many.statistics import Samples, aggregated
from mlv.query.metrics.columns import numbered
from mlv.query.metrics.parse_many_logs import STEP
from mlv.store import layout
from mlv.store.layout import SYSTEM_STREAM
from mlv.store.reading import while_there
from mlv.store.streams import lines_from_end, whole_end
from mlv.web import series
from mlv.web.limits import LIMITS
from mlv.web.pixels import Grid, PixelColumns, grid, ordered, pixels
from mlv.web.plain import plain
from mlv.web.rows import IndexRow

MOST_BYTES = 256 << 20
"""Bytes of curves that stay in memory."""
MOST_CURVES = 500
"""Curves of one answer."""
SYSTEM = "system:"
"""What a metric of the machine begins with in a question."""
_BAND = ("mean", "p10", "p50", "p90", "min", "max")

_Points = tuple[Any, Any]
"""Positions, and values, in the order of the positions."""
_Key = tuple[str, str, str, Any]
"""ID, axis, metric, and the moment if there is one."""


@dataclass(frozen=True)
class Question:
    """A chart: one metric of some experiments."""

    metric: str
    x: str = "step"
    begin: float | None = None
    end: float | None = None
    columns: int = 700
    is_log: bool = False
    smooth: float = 0.0
    over: str = ""
    """Params, with commas between them, over which experiments are pooled to bands."""


def question(query: Mapping[str, str]) -> Question:
    """Read the question for a chart.

    Raises:
        InvalidArgument: A part of it is missing, or is no number.
    """
    if not query.get("m"):
        raise InvalidArgument("m= is missing: give the full name of a metric, such as m=train/loss")
    begin, end, smooth = (_number(query, name) for name in ("from", "to", "smooth"))
    columns = _number(query, "px")
    return Question(
        query["m"], query.get("x") or "step", begin, end, 700 if columns is None else int(columns), query.get("log") == "1",
        smooth or 0.0, query.get("over", ""),
    )  # fmt: skip


def _number(query: Mapping[str, str], name: str) -> float | None:
    text = query.get(name, "")
    try:
        number = float(text) if text else None
    except ValueError:
        number = math.nan
    if number is not None and not math.isfinite(number):
        raise InvalidArgument(f"{name}={text!r:.50} is no number", name=name)
    return number


class Curves:
    """The points of curves, the latest used ones in memory."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes, self._bytes = most_bytes, 0
        self._points: OrderedDict[_Key, tuple[Any, _Points]] = OrderedDict()
        """The stamp of the experiment's files, and the points."""
        self._lock = threading.Lock()

    def answer(self, rows: Sequence[IndexRow], asked: Question) -> bytes:
        """Return a chart in the form of `encoded`.

        Raises:
            InvalidArgument: There are too many experiments, or a part of the question is wrong.
            MissingExtra: numpy or pyarrow is not installed.
        """
        if len(rows) > MOST_CURVES:
            raise InvalidArgument(f"{len(rows)} experiments are too many for one answer: ask for {MOST_CURVES} at a time")
        points = self.points(rows, asked.metric, asked.x)
        columns = grid([x for x, _ in points], asked.begin, asked.end, asked.columns, is_log=asked.is_log)
        drawn = [pixels(x, y, columns, asked.smooth) for x, y in points]
        bands = _bands([row.digest for row in rows], points, columns, asked.over) if asked.over else []
        return encoded(asked, columns, rows, points, drawn, bands)

    def sparks(self, rows: Sequence[IndexRow], metric: str, count: int) -> dict[str, Any]:
        """Return the last value in each of some columns over the steps of each experiment, in a few digits."""
        result = {}
        for row, (x, y) in zip(rows, self.points(rows, metric, "step"), strict=True):
            last = pixels(x, y, grid([x], None, None, count)).arrays["last"]
            result[row.digest.id] = [float(f"{value:.4g}") if value == value else None for value in last]
        return result

    def points(self, rows: Sequence[IndexRow], metric: str, x: str) -> list[_Points]:
        """Return the points of a metric of each experiment, in the order of x; none where it was not logged."""
        if metric.startswith(SYSTEM):
            return [_system_points(row, metric.removeprefix(SYSTEM), x) for row in rows]
        result = {row.digest.id: self._kept(row, metric, x) for row in rows}
        missing = [row for row in rows if result[row.digest.id] is None]
        for row, name, points in _read(missing, metric, x):
            self._keep(row, name, x, points)
            if name == metric:
                result[row.digest.id] = points
        np = package("numpy")
        nothing = np.array([], float), np.array([], float)
        for row in missing:
            if result[row.digest.id] is None:
                self._keep(row, metric, x, nothing)
        return [result[row.digest.id] or nothing for row in rows]

    def _kept(self, row: IndexRow, metric: str, x: str) -> _Points | None:
        key = (row.digest.id, x, metric, row.moment and row.moment.time)
        with self._lock:
            stamp, points = self._points.get(key, (None, None))
            if points is None or stamp != row.stamp:
                return None
            self._points.move_to_end(key)
        return points

    def _keep(self, row: IndexRow, metric: str, x: str, points: _Points) -> None:
        key = (row.digest.id, x, metric, row.moment and row.moment.time)
        with self._lock:
            self._forget(key)
            self._points[key] = row.stamp, points
            self._bytes += _size(points)
            while self._bytes > self._most_bytes and len(self._points) > 1:
                self._forget(next(iter(self._points)))

    def _forget(self, key: _Key) -> None:
        _, points = self._points.pop(key, (None, None))
        self._bytes -= _size(points) if points is not None else 0


def _system_points(row: IndexRow, name: str, x: str) -> _Points:
    """Return the points of a system metric over the time; they are few, so that they are read each time.

    Raises:
        InvalidArgument: Another axis is asked for: the machine knows no steps.
    """
    if x != TIME:
        raise InvalidArgument(f"x={x}: system metrics are drawn over x={TIME}", x=x)
    np = package("numpy")
    points = [(event.time.timestamp(), value) for event, value in system_values(row, name)]
    moments, values_ = (np.array(column, float) for column in (zip(*points, strict=True) if points else ([], [])))
    return ordered(moments, values_)


def system_values(row: IndexRow, name: str) -> Iterator[tuple[Event, float]]:
    """Yield the values of a metric of the machine, each with its event; none where no machine was watched."""
    folder = row.digest.path
    if SYSTEM_STREAM not in map(layout.logical_stream, layout.streams_in(folder)):
        return
    for event in Events(folder, "system", stream=SYSTEM_STREAM):
        value = event.data.get(name) if isinstance(event.data, Mapping) else None
        if isinstance(value, (int, float)) and (row.moment is None or row.moment.has(event)):
            yield event, value


def _size(points: _Points) -> int:
    return int(points[0].nbytes + points[1].nbytes) + 500


def _pattern(metric: str) -> str:
    """Return a pattern that a metric's name matches; braces would be captures."""
    return metric.replace("{", "{{").replace("}", "}}")


def _read(rows: Sequence[IndexRow], metric: str, x: str) -> Iterator[tuple[IndexRow, str, _Points]]:
    """Read a metric of some experiments, and others with it where that costs nothing: charts ask for all of them."""
    others = []
    for row in rows:
        by_name = _by_columns(row, metric, x) if _bytes(row) > LIMITS.columns_bytes and x in (STEP, *TIMES) else None
        if by_name is None:
            others.append(row)
        else:
            yield from ((row, name, points) for name, points in by_name.items())
    small = [row for row in others if _bytes(row) <= LIMITS.whole_bytes]
    for group, requested in ((small, None), ([row for row in others if row not in small], _pattern(metric))):
        yield from _by_values(group, requested, x)


def _bytes(row: IndexRow) -> int:
    return sum(stream[1] for stream in row.stamp[3:])


def _by_columns(row: IndexRow, metric: str, x: str) -> dict[str, _Points] | None:
    """Read a long log from its cache, ten times as fast as by `values`; None where a value or a step is no plain number."""
    requested = None if _bytes(row) <= LIMITS.whole_bytes else metric
    if row.moment is None:
        by_name = series.read(row.digest.path, row.stamp, requested, needs_time=x != STEP)
    else:
        by_name = series.of_log(row.digest.path, requested, row.moment.last)
    return None if by_name is None else {name: _points_of(own, x, row.digest) for name, own in by_name.items()}


def _points_of(own: series.Series, x: str, digest: Digest) -> _Points:
    """Return the points of a series on an axis; those without a position are left out."""
    np = package("numpy")
    if x == STEP:
        position = numbered(own.step, np.zeros(len(own.step), np.int64))
    else:
        # The first line of any metric may be that from which an axis counts.
        position = times_of(np.concatenate(([own.began], own.time)) / 1e6, x, digest)[1:]
    is_there = ~np.isnan(position)
    return ordered(position, own.values) if is_there.all() else ordered(position[is_there], own.values[is_there])


def _by_values(rows: Sequence[IndexRow], requested: str | None, x: str) -> list[tuple[IndexRow, str, _Points]]:
    """Read the points of one metric, or of all, of some experiments."""
    np = package("numpy")
    if not rows:
        return []
    cuts = {row.digest.path: row.moment.last for row in rows if row.moment is not None}
    reading = values.Reading(requested, x, cuts)
    result = []
    for chunk in list(reading.values(enumerate(row.digest for row in rows))):
        names = list(reading.metrics)
        # Sorted once: an experiment may have thousands of metrics.
        order = np.lexsort((chunk.metric, chunk.member))
        member, metric = chunk.member[order], chunk.metric[order]
        starts = np.flatnonzero(np.concatenate(([True], (member[1:] != member[:-1]) | (metric[1:] != metric[:-1]))))
        for own in np.split(order, starts[1:]) if len(order) else ():
            number = int(chunk.metric[own[0]])
            if number >= 0:
                row = rows[int(chunk.member[own[0]])]
                result.append((row, names[number], ordered(chunk.x[own], chunk.value[own])))
    return result


@dataclass(frozen=True)
class _Band:
    """A family of experiments, pooled in columns."""

    family: families.Family
    arrays: dict[str, Any]


def _bands(digests: Sequence[Digest], points: Sequence[_Points], columns: Grid, over: str) -> list[_Band]:
    """Join the curves of each family: of each member the mean of its values in a column, none beside one that is not finite."""
    np = package("numpy")
    result = []
    for family in families.families(digests, over.split(","), lambda digest: None):
        samples = [_column_means(*points[number], columns) for number in family.members]
        column, value = (np.concatenate([sample[at] for sample in samples]) for at in (0, 1))
        member = np.repeat(np.arange(len(samples)), [len(sample[0]) for sample in samples])
        pooled = aggregated(
            Samples(np.zeros(len(column), np.int64), member, column.astype(float), value), [len(samples)], _BAND, None
        )
        at = pooled["x"].astype(np.int64)
        arrays = {}
        for name in ("count", "diverged", *_BAND):
            arrays[name] = np.full(columns.count, 0.0 if name in ("count", "diverged") else np.nan)
            arrays[name][at] = pooled[name]
        result.append(_Band(family, arrays))
    return result


def _column_means(x: Any, y: Any, columns: Grid) -> tuple[Any, Any]:
    np = package("numpy")
    column = columns.columns(x)
    column, y = column[column >= 0], y[column >= 0]
    filled, own = np.unique(column, return_inverse=True)
    with np.errstate(invalid="ignore"):
        return filled, np.bincount(own, weights=y, minlength=len(filled)) / np.bincount(own, minlength=len(filled))


def encoded(
    asked: Question,
    columns: Grid,
    rows: Sequence[IndexRow],
    points: Sequence[_Points],
    drawn: Sequence[PixelColumns],
    bands: Sequence[_Band] = (),
) -> bytes:
    """Return a chart as bytes: the length of a header, the header, then columns of 64-bit floats, all little-endian.

    The header is JSON, with blanks at its end, so that the floats begin at a multiple of eight. Its `curves`, then its
    `bands`, list the `arrays` that follow one another, each of `n` floats.
    """
    curves: list[dict[str, Any]] = []
    blocks: list[Any] = []
    for row, (x, _), own in zip(rows, points, drawn, strict=True):
        curves.append({
            "id": row.digest.id, "points": own.points, "of": len(x), **own.totals, "x0": float(x[0]) if len(x) else None,
            "x1": float(x[-1]) if len(x) else None, "arrays": list(own.arrays), "marks": own.marks,
        })  # fmt: skip
        blocks += own.arrays.values()
    families_ = []
    for band in bands:
        members = [rows[number].digest.id for number in band.family.members]
        families_.append({"members": members, "settings": plain(dict(band.family.settings)), "arrays": list(band.arrays)})
        blocks += band.arrays.values()
    header = orjson.dumps({
        "m": asked.metric, "x": asked.x, "from": columns.begin, "to": columns.end, "n": columns.count, "log": columns.is_log,
        "curves": curves, "bands": families_,
    })  # fmt: skip
    header += b" " * (-(len(header) + 4) % 8)
    return b"".join([len(header).to_bytes(4, "little"), header, *(block.astype("<f8").tobytes() for block in blocks)])


def names(rows: Sequence[IndexRow]) -> dict[str, Any]:
    """Return the metrics of some experiments, each with its number of points and of experiments, and the axes.

    Coordinates are those of the latest lines: to see all of them each log had to be read.
    """
    points: dict[str, int] = {}
    experiments: dict[str, int] = {}
    for row in rows:
        for name, summary in row.digest.metrics.items():
            points[name] = points.get(name, 0) + summary.count
            experiments[name] = experiments.get(name, 0) + 1
    metrics = [{"name": name, "points": points[name], "ids": experiments[name]} for name in points]
    coordinates = dict.fromkeys(name for row in rows[:_MOST_SEARCHED] for name in _latest_coordinates(row.digest.path))
    axes = ["step", *TIMES, *(f"{AT}{name}" for name in coordinates), *(f"{METRICS}{name}" for name in points)]
    return {"metrics": metrics, "axes": axes[:2000]}


def _latest_coordinates(folder: Path) -> dict[str, None]:
    """Return the names of the coordinates in the latest lines of an experiment."""
    result: dict[str, None] = {}
    for stream in layout.streams_in(folder):
        path = folder / layout.stream_file(stream)
        with while_there(folder, stream):
            for _, line in islice(lines_from_end(path, whole_end(path)), _LINES_SEARCHED):
                with suppress(BadLine):
                    result.update(dict.fromkeys(event_from_line(line, stream).at))
    return result


_MOST_SEARCHED, _LINES_SEARCHED = 50, 100
"""Experiments, and lines of each stream, that are searched for coordinates."""
