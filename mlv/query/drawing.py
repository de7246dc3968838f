"""Lines drawn by matplotlib."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlv import words
from mlv.errors import InvalidArgument
from mlv.optional import package
from mlv.query import axes as axes_
from mlv.query.lines import Line, x_label

AS_IT_IS = {"parse_math": False, "usetex": False}
"""Properties of a text in a figure that shows its characters."""
_FEW = 10
_BESIDE = 8
_DASHES = ("-", "--", ":", "-.")
LOGS = ("", "x", "y", "xy")
Limits = tuple["float | None", "float | None"]


@dataclass(frozen=True)
class View:
    """What is seen of lines: which axes are logarithmic, and from where to where they go."""

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


def draw(axes: Any, lines: Sequence[Line], metric: str, x: str, view: View = View()) -> Any:
    """Draw lines and their bands into matplotlib's Axes, and give them back.

    Each group has a colour; lines of one colour differ in their dashes.
    """
    groups = list(dict.fromkeys(line.group for line in lines))
    colours = dict(zip(groups, _colours(len(groups)), strict=True))
    counts = dict.fromkeys(groups, 0)
    for line in lines:
        colour, dashes = colours[line.group], _DASHES[counts[line.group] % len(_DASHES)]
        counts[line.group] += 1
        mark = "o" if len(line.x) == 1 else None
        places = _moments(line.x) if x == axes_.TIME else line.x
        axes.plot(places, line.middle, color=colour, label=line.title, marker=mark, linestyle=dashes, linewidth=1.6)
        if line.members > 1 and len(line.x) == 1:  # a band of no width would not be seen
            axes.vlines(places, line.low, line.high, color=colour, alpha=0.4, linewidth=4)
        elif line.members > 1:
            axes.fill_between(places, line.low, line.high, color=colour, alpha=0.2, linewidth=0)
    if x == axes_.TIME:
        dates = package("matplotlib.dates", "plot")
        axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(dates.AutoDateLocator()))
    # Names come from data: a dollar sign is one, and begins no formula, nor may any of it be run by LaTeX.
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


def shown_x(x: str) -> str:
    """The name of an x axis, with its unit or time zone."""
    if x == axes_.TIME:
        return f"time in {words.zone()}"
    return {axes_.ELAPSED: "seconds since the start", axes_.ACTIVE: "seconds of running since the start"}.get(x, x)


def _moments(seconds: Any) -> list[datetime]:
    """Moments as the clock on the wall shows them: matplotlib draws naive ones as they are."""
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
    """Colours that are told apart; of many groups, in the order of a scale."""
    colormaps = package("matplotlib", "plot").colormaps
    if count <= _FEW:
        return list(colormaps["tab10"].colors[:count])
    return [colormaps["viridis"](place / (count - 1)) for place in range(count)]


def check_installed() -> None:
    """Say at once which extra brings all that a plot needs.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    package("matplotlib", "plot")


def new_axes() -> Any:
    """Axes of a new figure, shown as figures are in this session."""
    return package("matplotlib.pyplot", "plot").subplots(figsize=(7, 4.2), layout="constrained")[1]
