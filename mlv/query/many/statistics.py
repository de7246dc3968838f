"""Statistics over the members of families, at each position of the x axis."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mlv.errors import InvalidArgument
from mlv.optional import package
from mlv.query.many.families import Family, texts

if TYPE_CHECKING:
    from mlv.query.many.values import Values

STATS = ("mean", "std", "p10", "p25", "p50", "p75", "p90")
MOST_CELLS = 4
"""Most cells of a worthwhile matrix for each value."""


@dataclass(frozen=True)
class Samples:
    """Values of metrics, as arrays of equal length; of equal x of one member the later value wins."""

    group: Any
    """Number of the value's family and metric."""
    member: Any
    """Number of the experiment."""
    x: Any
    value: Any


def samples_of(values: Values, families: Sequence[Family], width: int) -> tuple[Samples, Any]:
    """Return values by family and metric, where each family has `width` groups, and the number of members of each group."""
    np = package("numpy")
    family_of = np.zeros(1 + max((max(family.members) for family in families), default=0), np.int64)
    for number, family in enumerate(families):
        family_of[family.members] = number
    group = family_of[values.member] * width + values.metric
    sizes = np.repeat([len(family.members) for family in families], width)
    return Samples(group, values.member, values.x, values.value), sizes


def aggregated(
    points: Samples, sizes: Any, stats: str | Iterable[str] = STATS, ci: float | None = 0.95, *, most_cells: int = MOST_CELLS
) -> dict[str, Any]:
    """Return the statistics of each group at each x.

    Args:
        points: Values in the order in which they were logged.
        sizes: How many members the family of each group has.
        stats: Of `mean std min max` and `p0` to `p100`; `std` is that of a sample (n - 1), percentiles are interpolated.
        ci: How sure the interval of the mean is, by Student's t; None leaves it out.
        most_cells: For each value so many cells a matrix may have; where it would have more, the values are sorted.

    Returns:
        Arrays, a row for each group and x: `group`, `x`, `count` (members with a finite value there), `diverged` (with NaN
        or an infinity), `missing` (without any), the stats over the finite values, and `ci_low` and `ci_high`.

    Raises:
        InvalidArgument: A stat is unknown, or ci is not between 0 and 1.
    """
    np = package("numpy")
    named = texts(stats)
    shares: dict[Any, float | None] = {stat: _share(stat) for stat in (named if named is not None else [stats])}
    if ci is not None and not (isinstance(ci, (int, float)) and 0 < ci < 1):
        raise InvalidArgument(f"ci={ci!r}: give a number between 0 and 1, such as 0.95", ci=ci)
    table = _grid(np, points, most_cells) or _Sorted(np, points)
    result = {
        "group": table.group, "x": table.x, "count": table.count, "diverged": table.present - table.count,
        "missing": np.asarray(sizes, np.int64)[table.group] - table.present,
    }  # fmt: skip
    result.update((stat, table.of(stat, share)) for stat, share in shares.items())
    if ci is not None:
        counts, index = np.unique(table.count, return_inverse=True)
        quantiles = np.array([t_quantile((1 + ci) / 2, int(n) - 1) for n in counts])[index]
        half = quantiles * table.of("std", None) / np.sqrt(table.count.clip(1))
        mean = table.of("mean", None)
        result.update(ci_low=mean - half, ci_high=mean + half)
    return result


def _share(stat: Any) -> float | None:
    """Return the share of a percentile, 0.1 for `p10`; None for other stats."""
    if stat in ("mean", "std", "min", "max"):
        return None
    percentile = re.fullmatch(r"p(\d+(?:\.\d+)?)", stat) if isinstance(stat, str) else None
    if percentile is None or float(percentile[1]) > 100:
        raise InvalidArgument(f"stats has {stat!r}: give some of mean, std, min, max and p0 to p100", stat=stat)
    return float(percentile[1]) / 100


def _last_of_each(np: Any, points: Samples) -> tuple[Any, Any, Any]:
    """Return group, x and value, sorted by group and x: one value for each member."""
    order = np.lexsort((points.member, points.x, points.group))  # stable: the later stays behind
    group, x, member = points.group[order], points.x[order], points.member[order]
    is_last = np.ones(len(order), bool)
    is_last[:-1] = (group[1:] != group[:-1]) | (x[1:] != x[:-1]) | (member[1:] != member[:-1])
    return group[is_last], x[is_last], points.value[order][is_last]


class _Sorted:
    """Finite values, sorted by rows, and their statistics, NaN for a row without any; for members at any positions."""

    def __init__(self, np: Any, points: Samples) -> None:
        group, x, value = _last_of_each(np, points)
        is_new = np.ones(len(group), bool)
        is_new[1:] = (group[1:] != group[:-1]) | (x[1:] != x[:-1])
        row = np.cumsum(is_new) - 1
        is_finite = np.isfinite(value)
        self.group, self.x = group[is_new], x[is_new]
        self.count = np.bincount(row[is_finite], minlength=len(self.x))
        self.present = np.bincount(row, minlength=len(self.x))
        row, value = row[is_finite], value[is_finite]
        order = np.lexsort((value, row))
        self._np, self._row, self._value = np, row[order], value[order]
        self._first = np.concatenate(([0], np.cumsum(self.count)[:-1])).astype(np.int64)

    def of(self, stat: str, share: float | None) -> Any:
        """Return one number for each row."""
        np = self._np
        if stat == "mean":
            return self._mean(self._value)
        if stat == "std":
            squares = (self._value - self._mean(self._value)[self._row]) ** 2
            with np.errstate(invalid="ignore", divide="ignore"):
                return np.where(self.count > 1, np.sqrt(self._sum(squares) / (self.count - 1)), math.nan)
        if len(self._value) == 0:
            return np.full(len(self.count), math.nan)
        last = len(self._value) - 1
        share = {"min": 0.0, "max": 1.0}.get(stat, share or 0.0)
        return _between(np, share, self.count, lambda rank: self._value[(self._first + rank).clip(0, last)])

    def _sum(self, values: Any) -> Any:
        return self._np.bincount(self._row, weights=values, minlength=len(self.count))

    def _mean(self, values: Any) -> Any:
        with self._np.errstate(invalid="ignore", divide="ignore"):
            return self._np.where(self.count > 0, self._sum(values) / self.count, math.nan)


class _Grid:
    """Values as a matrix, a row for each group and x, a column for each member, where nearly all have a value.

    50 families of 20 members and 200 steps take 16 ms, sorted 54.
    """

    def __init__(self, np: Any, group: Any, x: Any, values: Any, present: Any) -> None:
        self._np, self.group, self.x, self.present = np, group, x, present
        is_finite = np.isfinite(values)
        self.count = is_finite.sum(axis=1)
        self._values = np.where(is_finite, values, math.inf)
        self._values.sort(axis=1)  # the finite ones come first
        self._is_finite = np.arange(values.shape[1]) < self.count[:, None]

    def of(self, stat: str, share: float | None) -> Any:
        """Return one number for each row."""
        np = self._np
        if stat in ("mean", "std"):
            with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
                mean = np.where(self.count > 0, self._values.sum(axis=1, where=self._is_finite) / self.count, math.nan)
                if stat == "mean":
                    return mean
                squares = ((self._values - mean[:, None]) ** 2).sum(axis=1, where=self._is_finite)
                return np.where(self.count > 1, np.sqrt(squares / (self.count - 1)), math.nan)
        rows = np.arange(len(self.count))
        share = {"min": 0.0, "max": 1.0}.get(stat, share or 0.0)
        return _between(np, share, self.count, lambda rank: self._values[rows, rank])


def _grid(np: Any, points: Samples, most_cells: int) -> _Grid | None:
    """Return the values as a matrix; None where it would be large, or there are none."""
    if not len(points.x):
        return None
    most = most_cells * len(points.x)
    groups, group = _codes(np, points.group, most)
    members, member = _codes(np, points.member, most)
    positions, position = _codes(np, points.x, most)
    if max(len(groups) * len(members), len(groups) * len(positions)) > most:
        return None
    has = np.zeros((len(groups), len(members)), bool)
    has[group, member] = True
    width = int(has.sum(axis=1).max())
    key = group * len(positions) + position
    is_there = np.zeros(len(groups) * len(positions), bool)
    is_there[key] = True
    keys = np.flatnonzero(is_there)
    if len(keys) * width > most:
        return None
    cell = (np.cumsum(is_there) - 1)[key] * width + (np.cumsum(has, axis=1) - 1)[group, member]
    values, present = np.full(len(keys) * width, math.nan), np.zeros(len(keys) * width, bool)
    values[cell], present[cell] = points.value, True  # of repeated positions the last value stays
    row_group, row_position = np.divmod(keys, len(positions))
    counts = present.reshape(-1, width).sum(axis=1)
    return _Grid(np, groups[row_group], positions[row_position], values.reshape(-1, width), counts)


def _codes(np: Any, values: Any, most: int) -> tuple[Any, Any]:
    """Return the distinct values, sorted, and the index of each value among them; `most` is the widest range to mark."""
    low = values.min()
    # Whole numbers of a narrow range, as groups, members and most steps are: to mark them is faster than to sort.
    if low == low and abs(low) < 2**53 and values.max() - low <= most and bool((values == np.floor(values)).all()):
        numbers = (values - low).astype(np.int64)
        is_there = np.zeros(int(numbers.max()) + 1, bool)
        is_there[numbers] = True
        return np.flatnonzero(is_there).astype(values.dtype) + low, (np.cumsum(is_there) - 1)[numbers]
    distinct, codes = np.unique(values, return_inverse=True)
    return distinct, codes.reshape(-1)


def _between(np: Any, share: float, count: Any, at: Callable[[Any], Any]) -> Any:
    """Return the value below which a share of each row lies, interpolated between its two neighbours."""
    rank = share * (count - 1).clip(0)
    below = np.floor(rank).astype(np.int64)
    low, high = at(below), at(np.ceil(rank).astype(np.int64))
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, low + (high - low) * (rank - below), math.nan)


@lru_cache(maxsize=10_000)  # found by bisection, and asked for the same few numbers of members again and again
def t_quantile(probability: float, freedom: int) -> float:
    """Return the quantile of Student's t distribution; NaN without a degree of freedom."""
    if freedom < 1:
        return math.nan
    low, high = 0.0, 1.0
    while _t_share(high, freedom) < probability:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _t_share(middle, freedom) < probability else (low, middle)
    return (low + high) / 2


def _t_share(t: float, freedom: int) -> float:
    """Return the share of the distribution below t, for whole degrees of freedom (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    term = cosine if freedom % 2 else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(3 if freedom % 2 else 2, freedom - 1, 2):
        term *= cosine**2 * (k - 1) / k
        total += term
    inside = 2 / math.pi * (angle + sine * total) if freedom % 2 else sine * total
    return (1 + inside) / 2
