"""What a plot of a metric shows: a line per family, with a band over its members, whichever library draws it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mlv.errors import InvalidArgument
from mlv.query import families, series
from mlv.query.digest import Digest
from mlv.query.families import Family, ParentOf, Points, aggregated
from mlv.query.packages import package

_PIECES = re.compile(r"([^\s=]*=?)(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)?\s?")


@dataclass(frozen=True)
class Line:
    """One family: the median of its members at each x, and the band from their 10th to their 90th percentile."""

    label: str
    group: str
    """What the colour tells: the value of `by`, or the label."""
    members: int
    diverged: int
    """The most members that had NaN or an infinity at one x."""
    x: Any
    middle: Any
    low: Any
    high: Any

    @property
    def title(self) -> str:
        """The label, and how many members there are; nothing is pooled in silence."""
        diverged = f", {self.diverged} diverged" if self.diverged else ""
        count = f" ({self.members}{diverged})" if self.members > 1 or self.diverged else ""
        return (self.label + count).strip()


def lines(
    digests: Sequence[Digest], parent_of: ParentOf, metric: str, x: str, by: str | None, over: str | Iterable[str]
) -> list[Line]:
    """The lines of a plot, families without a value left out.

    Raises:
        InvalidArgument: A param or coordinate is unknown.
        UnknownMetric: Nobody logged the metric.
    """
    if not isinstance(metric, str) or not isinstance(x, str):
        raise InvalidArgument(f"metric={metric!r} and x={x!r}: give a name each", metric=metric, x=x)
    np = package("numpy")
    found = families.families(digests, over, parent_of)
    if by is not None:
        families.check_setting(by, list(dict.fromkeys(name for family in found for name in family.settings)), "by")
    values = series.read(digests, [metric.replace("{", "{{").replace("}", "}}")], x)
    family_of = np.zeros(len(digests), np.int64)
    for number, family in enumerate(found):
        family_of[family.members] = number
    sizes = [len(family.members) for family in found]
    at = Points(family_of[values.member], values.member, values.x, values.value)
    numbers = aggregated(at, sizes, ("p10", "p50", "p90"), None)
    names = families.varying([found[number] for number in np.unique(numbers["group"])])
    result = []
    for number in np.unique(numbers["group"]):
        rows = numbers["group"] == number
        label = _label(found[number], names)
        group = label if by is None else f"{by}={_text(found[number].settings.get(by))}"
        drawn = (numbers[key][rows] for key in ("x", "p50", "p10", "p90"))
        result.append(Line(label, group, sizes[number], int(numbers["diverged"][rows].max()), *drawn))
    return sorted(result, key=lambda line: _by_number(line.label))


def _label(family: Family, names: Iterable[str]) -> str:
    parts = [f"{name}={_text(family.settings[name])}" for name in names if name in family.settings]
    return " ".join([*([family.kind] if family.kind else []), *parts])


def _by_number(label: str) -> list[tuple[float, str]]:
    """Labels in the order of the numbers in them."""
    return [(float(number) if number else math.inf, text) for text, number in _PIECES.findall(label)]


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
