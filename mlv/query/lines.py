"""What a plot of metrics shows: a line per family and metric, with a band over its members, whichever library draws it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mlv.errors import InvalidArgument
from mlv.optional import package
from mlv.query import families, grids, series
from mlv.query.digest import Digest
from mlv.query.families import Family, ParentOf, Points, aggregated
from mlv.query.grids import Grid

_TOKENS = re.compile(r"([^\s=]*=?)(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)?\s?")
CENTERS = ("median", "mean")
BANDS = ("p10-p90", "p25-p75", "min-max", "std", "ci", "none")
"""Between two percentiles, the extremes, a standard deviation on each side, the interval of the mean, or nothing."""


@dataclass(frozen=True)
class Style:
    """How the members of a family become a line and a band."""

    center: str = "median"
    band: str = "p10-p90"
    grid: Grid | None = None
    """As `grids.on_grid`; None pools at equal x where members have them, and interpolates where they do not."""
    smooth: float = 0.0
    """Weight of the past in the moving average of each member, from 0 (none) to below 1."""

    def __post_init__(self) -> None:
        if self.center not in CENTERS:
            raise InvalidArgument(f"center={self.center!r}: give {' or '.join(CENTERS)}", center=self.center)
        if self.band not in BANDS:
            raise InvalidArgument(f"band={self.band!r}: give one of {', '.join(BANDS)}", band=self.band)
        if self.grid is not None:
            grids.checked_grid(self.grid)
        if not isinstance(self.smooth, (int, float)) or not 0 <= self.smooth < 1:
            raise InvalidArgument(f"smooth={self.smooth!r}: give a number from 0 to below 1, such as 0.9", smooth=self.smooth)

    @property
    def stats(self) -> tuple[str, ...]:
        """What is aggregated: the center, and the edges of the band."""
        center = {"median": "p50", "mean": "mean"}[self.center]
        edges = {"std": ("std",), "ci": (), "none": (), "min-max": ("min", "max")}.get(self.band, tuple(self.band.split("-")))
        return tuple(dict.fromkeys((center, *edges)))

    def drawn(self, numbers: dict[str, Any]) -> tuple[Any, Any, Any]:
        """The line and the edges of its band, of numbers that `aggregated` gave."""
        middle = numbers[self.stats[0]]
        if self.band == "std":
            return middle, middle - numbers["std"], middle + numbers["std"]
        low, high = {"ci": ("ci_low", "ci_high"), "none": (self.stats[0],) * 2, "min-max": ("min", "max")}.get(
            self.band, self.band.split("-")
        )
        return middle, numbers[low], numbers[high]


@dataclass(frozen=True)
class Line:
    """One family and metric: the center of its members at each x, and a band around it."""

    label: str
    group: str
    """What the colour tells: the value of `by`, or the label."""
    members: int
    """How many members of the family logged the metric."""
    absent: int
    """How many did not."""
    diverged: int
    """The most members that had NaN or an infinity at one x."""
    x: Any
    middle: Any
    low: Any
    high: Any
    notes: tuple[str, ...] = ()
    """How values were brought together, where that is more than pooling them at equal x."""

    @property
    def title(self) -> str:
        """The label, and how many members there are; nothing is pooled in silence."""
        diverged = f", {self.diverged} diverged" if self.diverged else ""
        members = f"{self.members} of {self.members + self.absent}" if self.absent else f"{self.members}"
        count = f" ({members}{diverged})" if self.members > 1 or self.absent or self.diverged else ""
        return (self.label + count).strip()


def x_label(lines: Sequence[Line], x: str) -> str:
    """The name of the x axis, with how values were brought together."""
    notes = dict.fromkeys(note for line in lines for note in line.notes)
    return f"{x} ({', '.join(notes)})" if notes else x


def lines(
    digests: Sequence[Digest],
    parent_of: ParentOf,
    metrics: str | Sequence[str],
    x: str,
    by: str | None,
    over: str | Iterable[str],
    style: Style = Style(),
) -> list[Line]:
    """The lines of a plot, families without a value left out; of several metrics each has lines of its own.

    Raises:
        InvalidArgument: A param or coordinate is unknown.
        UnknownMetric: Nobody logged the metric.
        InvalidPattern: A pattern over names cannot be read.
    """
    wanted = families.texts(metrics)
    if wanted is None or not all(isinstance(metric, str) for metric in wanted) or not isinstance(x, str):
        raise InvalidArgument(f"metric={metrics!r} and x={x!r}: give a name each", metric=metrics, x=x)
    np = package("numpy")
    every = families.families(digests, over, parent_of)
    if by is not None:
        families.check_setting(by, list(dict.fromkeys(name for family in every for name in family.settings)), "by")
    values = series.read(digests, [metric.replace("{", "{{").replace("}", "}}") for metric in wanted], x)
    family_of = np.zeros(len(digests), np.int64)
    for number, family in enumerate(every):
        family_of[family.members] = number
    width = max(1, len(values.metrics))
    sizes = np.repeat([len(family.members) for family in every], width)
    points = Points(family_of[values.member] * width + values.metric, values.member, values.x, values.value)
    repeated = _repeated(np, points)
    points = _smoothed(points, style.smooth)
    logged = {int(group): len(np.unique(points.member[points.group == group])) for group in np.unique(points.group)}
    grid = style.grid or (grids.INTERPOLATE if grids.is_uneven(points) else grids.EXACT)
    numbers = aggregated(grids.on_grid(points, grid), sizes, style.stats, 0.95 if style.band == "ci" else None)
    names = families.varying([every[number] for number in np.unique(numbers["group"] // width)])
    notes = _notes(grid, repeated, style.smooth)
    result = []
    for group in np.unique(numbers["group"]):
        number, metric = divmod(int(group), width)
        rows = {key: column[numbers["group"] == group] for key, column in numbers.items()}
        label = " ".join(filter(None, [values.metrics[metric] if width > 1 else "", _label(every[number], names)]))
        colour = label if by is None else f"{by}={_text(every[number].settings.get(by))}"
        count = logged[int(group)]
        absent, diverged = int(sizes[group]) - count, int(rows["diverged"].max())
        result.append(Line(label, colour, count, absent, diverged, rows["x"], *style.drawn(rows), notes))
    return sorted(result, key=lambda line: _by_number(line.label))


def _notes(grid: Grid, repeated: bool, smooth: float) -> tuple[str, ...]:
    """How values were brought together, for the label of the x axis."""
    notes = []
    if type(grid) is int:
        notes.append(f"in {grid} bins")
    elif grid == grids.INTERPOLATE:
        notes.append("interpolated")
    elif repeated:
        notes.append("the last value of each")
    if smooth:
        notes.append(f"smoothed {smooth:g}")
    return tuple(notes)


def _repeated(np: Any, points: Points) -> bool:
    """Whether a member has several values at one x, of which one is drawn."""
    order = np.lexsort((points.x, points.member, points.group))
    group, member, x = points.group[order], points.member[order], points.x[order]
    return bool(((group[1:] == group[:-1]) & (member[1:] == member[:-1]) & (x[1:] == x[:-1])).any())


def _smoothed(points: Points, weight: float) -> Points:
    """The exponential moving average of each member, corrected for its beginning (Kingma and Ba, 2014, section 3)."""
    if not weight or not len(points.x):
        return points
    np, pandas = package("numpy"), package("pandas")
    order = np.lexsort((points.x, points.member, points.group))
    group, member, x, value = (getattr(points, name)[order] for name in ("group", "member", "x", "value"))
    finite = pandas.Series(np.where(np.isfinite(value), value, np.nan))
    average = finite.groupby([group, member]).ewm(alpha=1 - weight, adjust=True).mean().to_numpy()
    return Points(group, member, x, np.where(np.isfinite(value), average, value))


def _label(family: Family, names: Iterable[str]) -> str:
    texts = [f"{name}={_text(family.settings[name])}" for name in names if name in family.settings]
    return " ".join([*([family.kind] if family.kind else []), *texts])


def _by_number(label: str) -> list[tuple[float, str]]:
    """Labels in the order of the numbers in them."""
    return [(float(number) if number else math.inf, text) for text, number in _TOKENS.findall(label)]


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
