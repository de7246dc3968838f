"""Curves as columns of pixels: first, least, greatest and last value of each, so that no spike is hidden. Pure functions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from mlv.errors import InvalidArgument
from mlv.optional import package

MOST_COLUMNS = 8192
KINDS = ("nan", "inf", "ninf")
"""Values that are no point of a line, as marks of their columns."""


@dataclass(frozen=True)
class Grid:
    """Columns of equal width between two positions of the x axis; in the logarithm of x, if it is logarithmic."""

    begin: float
    end: float
    count: int
    is_log: bool = False

    def columns(self, x: Any) -> Any:
        """Return the column of each position, -1 for one outside; both ends are inside."""
        np = package("numpy")
        # By the positions themselves: a logarithm may be wrong in its last digit, which would drop the points at the ends.
        is_inside = (x >= self.begin) & (x <= self.end)
        return np.where(is_inside, self._columns(x), -1).astype(np.int64)

    def _columns(self, x: Any) -> Any:
        """Return the column of each position, all of which count as inside."""
        np = package("numpy")
        with np.errstate(all="ignore"):
            ends = np.array([self.begin, self.end], float)
            at, (begin, end) = (np.log10(x), np.log10(ends)) if self.is_log else (x, ends)
            share = np.nan_to_num((at - begin) / (end - begin), nan=0.0)  # a range wider than floats, or narrower
            return np.clip(np.floor(share * self.count), 0, self.count - 1)

    def bounds(self, x: Any) -> Any:
        """Return the index of the first point of each column, and behind the last one, of positions in order.

        As by `columns`, in a twentieth of the time where there are many points. None where only that can tell, as in a
        logarithm.
        """
        np = package("numpy")
        if self.is_log:
            return None
        first, last = np.searchsorted(x, self.begin, "left"), np.searchsorted(x, self.end, "right")
        inside, numbers = x[first:last], np.arange(1, self.count)
        with np.errstate(all="ignore"):
            bounds = np.searchsorted(inside, self.begin + (self.end - self.begin) * (numbers / self.count))
        # An edge rounds otherwise than the column of a position: the points at edges are looked at.
        for _ in range(_MOST_STEPS) if len(inside) else ():
            before, behind = np.maximum(bounds - 1, 0), np.minimum(bounds, len(inside) - 1)
            is_late = (bounds > 0) & (self._columns(inside[before]) >= numbers)
            is_early = (bounds < len(inside)) & (self._columns(inside[behind]) < numbers)
            if not (is_late.any() or is_early.any()):
                return np.concatenate(([first], first + bounds, [last]))
            # Points that share a position are in one column.
            earlier, later = (np.searchsorted(inside, inside[at], side) for at, side in ((before, "left"), (behind, "right")))
            bounds = np.where(is_late, earlier, np.where(is_early, later, bounds))
        return None


@dataclass(frozen=True)
class PixelColumns:
    """A curve in columns."""

    arrays: dict[str, Any]
    """Of each column `first`, `min`, `max` and `last` of the finite values; NaN where there is none."""
    points: int
    """Values in all columns, whether finite or not."""
    marks: list[tuple[int, str, int]]
    """Column, kind and number of values that are not finite."""
    totals: dict[str, int]
    """Number of values of each kind that are not finite."""


def grid(x: list[Any], begin: float | None, end: float | None, count: int, *, is_log: bool = False) -> Grid:
    """Return columns from the least to the greatest position of some curves, or from and to the requested ones.

    Raises:
        InvalidArgument: There are no columns, or too many, or their ends are no such range.
    """
    if not 1 <= count <= MOST_COLUMNS:
        raise InvalidArgument(f"px={count}: give a number of columns from 1 to {MOST_COLUMNS}", px=count)
    np = package("numpy")
    usable = [values[np.isfinite(values) & (values > 0 if is_log else True)] for values in x]
    usable = [values for values in usable if len(values)]
    least = min((float(values.min()) for values in usable), default=1.0 if is_log else 0.0)
    greatest = max((float(values.max()) for values in usable), default=least)
    first, last = least if begin is None else begin, greatest if end is None else end
    if not (math.isfinite(first) and math.isfinite(last)) or (is_log and first <= 0) or first > last:
        raise InvalidArgument(f"from={first} to={last}: give two numbers, the smaller one first", begin=first, end=last)
    if first == last:
        first, last = (first / 2, last * 2) if is_log else _around(first)
    return Grid(first, last, count, is_log)


def _around(x: float) -> tuple[float, float]:
    """Return a range around one position, wider than the distance of floats there."""
    half = max(0.5, abs(x) * 1e-9)
    return x - half, x + half


def ordered(x: Any, y: Any) -> tuple[Any, Any]:
    """Return points in the order of x; those of equal x stay in the order of logging."""
    np = package("numpy")
    if not len(x) or bool((x[1:] >= x[:-1]).all()):
        return x, y
    order = np.argsort(x, kind="stable")
    return x[order], y[order]


def pixels(x: Any, y: Any, columns: Grid, smooth: float = 0.0) -> PixelColumns:
    """Return a curve, whose points are in the order of x, in columns; with `smooth`, also its smoothed line's last values."""
    np = package("numpy")
    is_finite = np.isfinite(y)
    bounds = columns.bounds(x) if len(x) > _FEW * columns.count and is_finite.all() else None
    is_point: Any
    marks: list[tuple[int, str, int]]
    if bounds is not None:
        is_inside = is_point = slice(bounds[0], bounds[-1])
        filled = np.flatnonzero(bounds[1:] > bounds[:-1])
        starts = bounds[filled] - bounds[0]
        marks, totals, points = [], dict.fromkeys(KINDS, 0), int(bounds[-1] - bounds[0])
    else:
        column = columns.columns(x)
        is_inside = column >= 0
        is_point = is_inside & is_finite
        # Two neighbours may have logarithms in the wrong order, by their last digit.
        own = np.maximum.accumulate(column[is_point])
        starts = np.flatnonzero(np.concatenate(([True], own[1:] != own[:-1]))) if len(own) else np.array([], np.int64)
        filled = own[starts]
        marks, totals = _marks(column[is_inside], y[is_inside])
        points = int(is_inside.sum())
    values = y[is_point]
    ends = np.concatenate((starts[1:], [len(values)])) - 1 if len(values) else starts
    arrays = {name: np.full(columns.count, np.nan) for name in ("first", "min", "max", "last")}
    if len(values):
        arrays["first"][filled], arrays["last"][filled] = values[starts], values[ends]
        arrays["min"][filled] = np.minimum.reduceat(values, starts)
        arrays["max"][filled] = np.maximum.reduceat(values, starts)
    if smooth:
        arrays["smooth"] = np.full(columns.count, np.nan)
        if len(values):
            line, is_drawn = np.full(len(y), np.nan), is_finite & np.isfinite(x)
            line[is_drawn] = smoothed(x[is_drawn], y[is_drawn], smooth)
            arrays["smooth"][filled] = line[is_point][ends]
    return PixelColumns(arrays, points, marks, totals)


_FEW = 4
"""Points for each column, up to which it takes as long to look at each of them."""
_MOST_STEPS = 4
"""Positions by which the bound of a column may be wrong at first."""


def _marks(column: Any, y: Any) -> tuple[list[tuple[int, str, int]], dict[str, int]]:
    """Return the columns, kinds and numbers of values that are not finite, and the numbers of each kind."""
    np = package("numpy")
    marks, totals = [], {}
    for kind, is_kind in zip(KINDS, (np.isnan(y), y == np.inf, y == -np.inf), strict=True):
        marked, numbers = np.unique(column[is_kind], return_counts=True)
        totals[kind] = int(numbers.sum())
        marks += [(int(at), kind, int(number)) for at, number in zip(marked, numbers, strict=True)]
    return sorted(marks), totals


def kept(y: Any, stretches: int) -> Any:
    """Return the indices of the points that stand for a curve: all, or of each of some equal stretches a few.

    Those are the first, least, greatest and last finite value, and the first of each kind of the others.
    """
    np = package("numpy")
    if len(y) <= 4 * stretches:
        return np.arange(len(y))
    at = np.arange(len(y), dtype=np.int64)
    stretch = at * stretches // len(y)
    is_finite = np.isfinite(y)
    finite, own = at[is_finite], stretch[is_finite]
    chosen = [np.array([], np.int64)]
    if len(finite):
        starts = np.flatnonzero(np.concatenate(([True], own[1:] != own[:-1])))
        ends = np.concatenate((starts[1:], [len(own)])) - 1
        by_value = finite[np.lexsort((finite, y[is_finite], own))]
        chosen += [finite[starts], finite[ends], by_value[starts], by_value[ends]]
    for is_kind in (np.isnan(y), y == np.inf, y == -np.inf):
        chosen.append(at[is_kind][np.unique(stretch[is_kind], return_index=True)[1]])
    return np.unique(np.concatenate(chosen))


def smoothed(x: Any, y: Any, weight: float) -> Any:
    """Return the exponential moving average of finite values, without the bias of its beginning.

    A value keeps `weight` of its influence over the mean distance of two points, so that evenly spaced points are smoothed
    one by one, and others by their distance; points at the same position count one by one as well.

    Raises:
        InvalidArgument: The weight is not from 0 to below 1.
    """
    if not 0 <= weight < 1:
        raise InvalidArgument(f"smooth={weight}: give a number from 0 to below 1, such as 0.6", smooth=weight)
    np = package("numpy")
    if len(y) < 2 or not weight:
        return y.astype(float)
    with np.errstate(over="ignore"):  # a range wider than floats: its points count one by one
        gaps = np.diff(x)
        mean = float(x[-1] - x[0]) / (len(x) - 1)
    distances = np.where(gaps > 0, gaps / mean, 1.0) if 0 < mean < math.inf else np.ones(len(gaps))
    kept = np.concatenate(([weight], weight**distances))
    # Each point is the map `s -> kept * s + fresh`; maps are joined two, four, eight ... at a time, until nothing older counts.
    total, share = (1 - kept) * y, 1 - kept
    kept, distance = kept.copy(), 1
    while distance < len(y) and float(kept[distance:].max(initial=0.0)) > _NOTHING:
        total[distance:] += kept[distance:] * total[:-distance].copy()
        share[distance:] += kept[distance:] * share[:-distance].copy()
        kept[distance:] *= kept[:-distance].copy()
        distance *= 2
    with np.errstate(invalid="ignore", divide="ignore"):  # a point so close to the first that it has no share
        return np.where(share > 0, total / share, y)


_NOTHING = 1e-18
