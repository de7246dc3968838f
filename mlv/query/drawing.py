"""Lines drawn by matplotlib."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mlv.query.lines import Line
from mlv.query.packages import package

AS_IT_IS = {"parse_math": False, "usetex": False}
"""Properties of a text in a figure that shows its characters."""
_FEW = 10
_BESIDE = 8


def draw(axes: Any, lines: Sequence[Line], metric: str, x: str) -> Any:
    """Draw lines and their bands, a colour for each group, into matplotlib's Axes; gives them back."""
    groups = list(dict.fromkeys(line.group for line in lines))
    colours = dict(zip(groups, _colours(len(groups)), strict=True))
    for line in lines:
        colour = colours[line.group]
        axes.plot(line.x, line.middle, color=colour, label=line.title, marker="o" if len(line.x) == 1 else None, linewidth=1.6)
        if line.members > 1 and len(line.x) == 1:  # a band of no width would not be seen
            axes.vlines(line.x, line.low, line.high, color=colour, alpha=0.4, linewidth=4)
        elif line.members > 1:
            axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.2, linewidth=0)
    # Names come from data: a dollar sign is one, and begins no formula, nor may any of it be run by LaTeX.
    axes.set_xlabel(x, **AS_IT_IS)
    axes.set_ylabel(metric, **AS_IT_IS)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if any(line.title for line in lines):
        beside = {"loc": "upper left", "bbox_to_anchor": (1.01, 1)} if len(lines) > _BESIDE else {}
        legend = axes.legend(frameon=False, fontsize="small", ncols=math.ceil(len(lines) / 30), **beside)
        for text in legend.get_texts():
            text.update(AS_IT_IS)
    return axes


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
