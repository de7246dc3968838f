"""Plots of metrics: a line per family and metric with a band over its members, and how matplotlib draws them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlv import words
from mlv.errors import InvalidArgument, UnknownMetric
from mlv.optional import package
from mlv.query.digest import Depth, Digest, read_digest
from mlv.query.many import axes as axes_
from mlv.query.many import families, grids
from mlv.query.many import values as values_
from mlv.query.many.families import Family, ParentOf
from mlv.query.many.grids import Grid
from mlv.query.many.statistics import Samples, aggregated, samples_of
from mlv.query.many.values import Values
from mlv.query.metrics.parse_many_logs import STEP
from mlv.query.name_patterns import name_matcher
from mlv.query.unreadable import leaving_out

_TOKENS = re.compile(r"([^\s=]*=?)(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)?\s?")
CENTERS = ("median", "mean")
BANDS = ("p10-p90", "p25-p75", "min-max", "std", "ci", "none")
"""Between two percentiles, the extremes, a standard deviation on each side, the interval of the mean, or nothing."""


@dataclass(frozen=True)
class Style:
    """The way in which the members of a family become a line and a band."""

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
        """The stats to aggregate: the center, and the edges of the band."""
        center = {"median": "p50", "mean": "mean"}[self.center]
        edges = {"std": ("std",), "ci": (), "none": (), "min-max": ("min", "max")}.get(self.band, tuple(self.band.split("-")))
        return tuple(dict.fromkeys((center, *edges)))

    def drawn(self, numbers: dict[str, Any]) -> tuple[Any, Any, Any]:
        """Return the line and the edges of its band, from the numbers of `aggregated`."""
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
    """The group of lines of one colour: the value of `by`, or the label."""
    members: int
    """Number of members of the family that logged the metric."""
    absent: int
    """Number of members that did not."""
    diverged: int
    """The most members that had NaN or an infinity at one x."""
    x: Any
    middle: Any
    low: Any
    high: Any
    notes: tuple[str, ...] = ()
    """The ways in which values were brought together, where they were not only pooled at equal x."""
    axis: str = STEP
    """The x axis."""

    @property
    def title(self) -> str:
        """The label, and the number of members: nothing is pooled in silence."""
        diverged = f", {self.diverged} diverged" if self.diverged else ""
        members = f"{self.members} of {self.members + self.absent}" if self.absent else f"{self.members}"
        count = f" ({members}{diverged})" if self.members > 1 or self.absent or self.diverged else ""
        return (self.label + count).strip()


def axis_of(lines: Sequence[Line], x: str | None) -> str:
    """Return the x axis that was asked for, or else that of the lines."""
    return x or next((line.axis for line in lines), STEP)


def x_label(lines: Sequence[Line], x: str) -> str:
    """Return the name of the x axis, with the notes of its lines."""
    notes = dict.fromkeys(note for line in lines for note in line.notes)
    return f"{x} ({', '.join(notes)})" if notes else x


def lines(
    digests: Sequence[Digest],
    parent_of: ParentOf,
    metrics: str | Sequence[str],
    x: str | None,
    by: str | None,
    over: str | Iterable[str],
    style: Style = Style(),
) -> list[Line]:
    """Return the lines of a plot without families that have no value; each of several metrics has lines of its own.

    Without an x, it is the one that `log.describe(metric, x=)` says of all these metrics, if every experiment that logged them
    has it, or else the step.

    Raises:
        InvalidArgument: A param or coordinate is unknown.
        UnknownMetric: Nobody logged the metric.
        InvalidPattern: A pattern over names cannot be read.
    """
    requested = families.texts(metrics)
    if requested is None or not all(isinstance(metric, str) for metric in requested) or not isinstance(x, (str, type(None))):
        raise InvalidArgument(f"metric={metrics!r} and x={x!r}: give a name each", metric=metrics, x=x)
    np = package("numpy")
    every = families.families(digests, over, parent_of)
    if by is not None:
        families.check_setting(by, list(dict.fromkeys(name for family in every for name in family.settings)), "by")
    values, x = _read(digests, [metric.replace("{", "{{").replace("}", "}}") for metric in requested], x)
    if not values.metrics:
        patterns = " or ".join(map(repr, requested))
        text = f"nobody logged a metric like {patterns}: `mlv summary EXP` lists those of an experiment"
        raise UnknownMetric(text, name=patterns)
    width = max(1, len(values.metrics))
    points, sizes = samples_of(values, every, width)
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
        result.append(Line(label, colour, count, absent, diverged, rows["x"], *style.drawn(rows), notes, x))
    return sorted(result, key=lambda line: _by_number(line.label))


def _read(digests: Sequence[Digest], requested: Sequence[str], x: str | None) -> tuple[Values, str]:
    """Read values, and return them with their x axis."""
    described = _described_axes(digests, requested) if x is None else {}
    axes = set(described.values())
    if len(axes) == 1:
        [axis] = axes
        if axis in (axes_.ELAPSED, axes_.ACTIVE):  # these count from when the runs began, which nobody knew to be asked for
            digests = list(map(_with_runs, digests))
        # A coordinate of the line itself says more than a metric beside it.
        for candidate in (axis,) if axes_.is_special(axis) else (axis, f"{axes_.METRICS}{axis}"):
            with suppress(InvalidArgument):  # no value has such a coordinate
                values = values_.read(digests, requested, candidate)
                if described.keys() >= set(values.metrics) and not _are_logged(_absent(digests, values), requested):
                    return values, candidate
    return values_.read(digests, requested, x or STEP), x or STEP


def _with_runs(digest: Digest) -> Digest:
    """Return an experiment read down to its runs; as it is, where it is gone."""
    with leaving_out(digest.path):
        return read_digest(digest.path, digest.id, digest.meta, Depth.STATE)
    return digest


def _absent(digests: Sequence[Digest], values: Values) -> list[Digest]:
    """Return the experiments without a value."""
    present = set(values.member.tolist())
    return [digest for member, digest in enumerate(digests) if member not in present]


def _are_logged(digests: Sequence[Digest], requested: Sequence[str]) -> bool:
    """Return whether any of the experiments logged a requested metric: over an x axis that it lacks it would not be drawn."""
    with suppress(UnknownMetric, InvalidArgument):  # nobody logged it, or no number of it
        return bool(digests) and len(values_.read(digests, requested, STEP).member) > 0
    return False


def _described_axes(digests: Sequence[Digest], requested: Sequence[str]) -> dict[str, str]:
    """Return the x axes that requested metrics are described with; of several the last experiment's."""
    matchers = [name_matcher(pattern) for pattern in requested]
    return {
        name: described["x"]
        for digest in digests
        for name, described in digest.state.descriptions.items()
        if isinstance(described.get("x"), str) and any(matches(name) for matches in matchers)
    }


def _notes(grid: Grid, repeated: bool, smooth: float) -> tuple[str, ...]:
    """Return the ways in which values were brought together, for the label of the x axis."""
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


def _repeated(np: Any, points: Samples) -> bool:
    """Return whether a member has several values at one x, of which one is drawn."""
    order = np.lexsort((points.x, points.member, points.group))
    group, member, x = points.group[order], points.member[order], points.x[order]
    return bool(((group[1:] == group[:-1]) & (member[1:] == member[:-1]) & (x[1:] == x[:-1])).any())


def _smoothed(points: Samples, weight: float) -> Samples:
    """Return the exponential moving average of each member, corrected for its beginning (Kingma and Ba, 2014, section 3)."""
    if not weight or not len(points.x):
        return points
    np, pandas = package("numpy"), package("pandas")
    order = np.lexsort((points.x, points.member, points.group))
    group, member, x, value = (getattr(points, name)[order] for name in ("group", "member", "x", "value"))
    finite = pandas.Series(np.where(np.isfinite(value), value, np.nan))
    average = finite.groupby([group, member]).ewm(alpha=1 - weight, adjust=True).mean().to_numpy()
    return Samples(group, member, x, np.where(np.isfinite(value), average, value))


def _label(family: Family, names: Iterable[str]) -> str:
    texts = [f"{name}={_text(family.settings[name])}" for name in names if name in family.settings]
    return " ".join([*([family.kind] if family.kind else []), *texts])


def _by_number(label: str) -> list[tuple[float, str]]:
    """Return a key that sorts labels by the numbers in them."""
    return [(float(number) if number else math.inf, text) for text, number in _TOKENS.findall(label)]


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


AS_IT_IS = {"parse_math": False, "usetex": False}
"""Properties of a text in a figure that shows its characters."""
_FEW = 10  # matplotlib has ten colours that all can tell apart
_BESIDE = 8  # from more lines on, the legend would hide some of them
_DASHES = ("-", "--", ":", "-.")
LOGS = ("", "x", "y", "xy")
Limits = tuple["float | None", "float | None"]


@dataclass(frozen=True)
class View:
    """The view of a plot: its logarithmic axes, and their limits."""

    log: str = ""
    xlim: Limits | None = None
    ylim: Limits | None = None

    def __post_init__(self) -> None:
        if self.log not in LOGS:
            raise InvalidArgument(f"log={self.log!r}: give 'x', 'y' or 'xy'", log=self.log)
        for name, limits in (("xlim", self.xlim), ("ylim", self.ylim)):
            if limits is not None and not _are_limits(limits):
                text = f"{name}={limits!r}: give two numbers, such as (0, 1), or None for an end that is open"
                raise InvalidArgument(text, limits=limits)


def _are_limits(limits: Any) -> bool:
    if not isinstance(limits, (tuple, list)) or len(limits) != 2:
        return False
    return all(end is None or (isinstance(end, (int, float)) and math.isfinite(end)) for end in limits)


def draw(axes: Any, lines: Sequence[Line], metric: str, x: str | None, view: View = View()) -> Any:
    """Draw lines and their bands into matplotlib's Axes, and return them.

    Each group has a colour; lines of one colour differ in their dashes.
    """
    refuse_huge(lines, metric, view)
    x = axis_of(lines, x)
    groups = list(dict.fromkeys(line.group for line in lines))
    colours = dict(zip(groups, _colours(len(groups)), strict=True))
    counts = dict.fromkeys(groups, 0)
    for line in lines:
        colour, dashes = colours[line.group], _DASHES[counts[line.group] % len(_DASHES)]
        counts[line.group] += 1
        mark = "o" if len(line.x) == 1 else None
        positions = _moments(line.x) if x == axes_.TIME else line.x
        axes.plot(positions, line.middle, color=colour, label=line.title, marker=mark, linestyle=dashes, linewidth=1.6)
        if line.members > 1 and len(line.x) == 1:  # a band of no width would not be seen
            axes.vlines(positions, line.low, line.high, color=colour, alpha=0.4, linewidth=4)
        elif line.members > 1:
            axes.fill_between(positions, line.low, line.high, color=colour, alpha=0.2, linewidth=0)
    if x == axes_.TIME:
        dates = package("matplotlib.dates", "plot")
        axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(dates.AutoDateLocator()))
    # Names come from data: a dollar sign is a character and begins no formula, and LaTeX must not run any of them.
    axes.set_xlabel(x_label(lines, shown_x(x)), **AS_IT_IS)
    axes.set_ylabel(metric, **AS_IT_IS)
    _set_view(axes, lines, view)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if any(line.title for line in lines):
        beside = {"loc": "upper left", "bbox_to_anchor": (1.01, 1)} if len(lines) > _BESIDE else {}
        legend = axes.legend(frameon=False, fontsize="small", ncols=math.ceil(len(lines) / 30), **beside)
        for text in legend.get_texts():
            text.update(AS_IT_IS)
    return axes


_GREATEST = 1e300
"""Greatest number on an axis: the ends and ticks around larger ones would be beyond all floats."""


def refuse_huge(lines: Sequence[Line], metric: str, view: View) -> None:
    """Accept lines whose numbers have room on their axes.

    Raises:
        InvalidArgument: One is too large.
    """
    np = package("numpy")
    for axis, columns in (("x", ("x",)), ("y", ("middle", "low", "high"))):
        sizes = np.abs(np.concatenate([[], *(getattr(line, column) for line in lines for column in columns)]))
        largest = sizes[np.isfinite(sizes)].max(initial=0.0)
        if largest > _GREATEST and axis not in view.log:
            text = f"{metric!r} has {largest:g} on its {axis} axis, and {_GREATEST:g} is the most that can be drawn"
            raise InvalidArgument(f"{text}: give log={axis!r}, on the command line --log {axis}", metric=metric)


def shown_x(x: str) -> str:
    """Return the name of an x axis, with its unit or time zone."""
    if x == axes_.TIME:
        return f"time in {words.zone()}"
    return {axes_.ELAPSED: "seconds since the start", axes_.ACTIVE: "seconds of running since the start"}.get(x, x)


def _moments(seconds: Any) -> list[datetime]:
    """Return naive moments in local time, which matplotlib draws as they are."""
    return [datetime.fromtimestamp(second) for second in seconds]


def _set_view(axes: Any, lines: Sequence[Line], view: View) -> None:
    for name, columns in (("x", ("x",)), ("y", ("middle", "low", "high"))):
        if name in view.log:
            _set_logarithmic(axes, name, [getattr(line, column) for line in lines for column in columns])
    if view.xlim is not None:
        axes.set_xlim(*view.xlim)
    if view.ylim is not None:
        axes.set_ylim(*view.ylim)


def _set_logarithmic(axes: Any, name: str, columns: Sequence[Any]) -> None:
    """Make an axis logarithmic; around zero it is linear, where there are zeros or negative numbers, and says so."""
    np = package("numpy")
    sizes = np.abs(np.concatenate([[], *columns]))
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    set_scale, label = getattr(axes, f"set_{name}scale"), getattr(axes, f"get_{name}label")()
    if not len(sizes) or not any(bool((np.asarray(column) <= 0).any()) for column in columns):
        set_scale("log")
        return
    set_scale("symlog", linthresh=float(sizes.min()))
    getattr(axes, f"set_{name}label")(f"{label} (linear below {sizes.min():g})", **AS_IT_IS)


def _colours(count: int) -> list[Any]:
    """Return distinct colours; for many groups those of a continuous scale, in its order."""
    colormaps = package("matplotlib", "plot").colormaps
    if count <= _FEW:
        return list(colormaps["tab10"].colors[:count])
    return [colormaps["viridis"](index / (count - 1)) for index in range(count)]


def check_installed() -> None:
    """Check before any work that the packages for plots are installed.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    package("matplotlib", "plot")


def new_axes() -> Any:
    """Return the axes of a new figure, which is shown as others are in this session."""
    return package("matplotlib.pyplot", "plot").subplots(figsize=(7, 4.2), layout="constrained")[1]
