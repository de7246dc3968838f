"""Functions through measured points: a straight line or a power, whichever errs less, and how far it errs a decade further."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Point = tuple[float, float]
"""A size, and what it cost."""
Form = Literal["line", "power"]


@dataclass(frozen=True, slots=True)
class Fit:
    """`a + b * x`, or `a * x ** b`."""

    form: Form
    a: float
    b: float
    low: float
    high: float
    """The span of sizes that it was fitted on."""
    error: float
    """The largest relative error on these points."""
    checked_at: float
    check_error: float
    """Prediction over measurement at a size beyond those, less 1."""

    def __call__(self, x: float) -> float:
        return self.a + self.b * x if self.form == "line" else self.a * x**self.b

    def function(self) -> Callable[[float], float]:
        """The function alone: a simulation asks it a hundred million times."""
        a, b = self.a, self.b
        return (lambda x: a + b * x) if self.form == "line" else (lambda x: a * x**b)

    def to_data(self) -> dict[str, Any]:
        """A mapping for JSON."""
        return asdict(self)


def fit(points: Sequence[Point], check: Point, forms: Sequence[Form] = ("line", "power")) -> Fit:
    """Fit the points, each with the same weight relative to its value, and compare with the one left out."""
    candidates = []
    for form in forms:
        a, b = _line(points) if form == "line" else _power(points)
        draft = Fit(form, a, b, min(x for x, _ in points), max(x for x, _ in points), 0.0, check[0], 0.0)
        candidates.append((max(abs(draft(x) / y - 1) for x, y in points), draft))
    error, best = min(candidates, key=lambda candidate: candidate[0])
    return Fit(best.form, best.a, best.b, best.low, best.high, error, check[0], best(check[0]) / check[1] - 1)


def _line(points: Sequence[Point]) -> tuple[float, float]:
    """Least squares of relative errors; nothing gets cheaper than nothing, nor with size."""
    weight = [1 / y**2 for _, y in points]
    total = sum(weight)
    mean_x = sum(w * x for w, (x, _) in zip(weight, points, strict=True)) / total
    mean_y = sum(w * y for w, (_, y) in zip(weight, points, strict=True)) / total
    spread = sum(w * (x - mean_x) ** 2 for w, (x, _) in zip(weight, points, strict=True))
    slope = sum(w * (x - mean_x) * (y - mean_y) for w, (x, y) in zip(weight, points, strict=True)) / spread
    slope = max(slope, 0.0)
    if mean_y - slope * mean_x >= 0:
        return mean_y - slope * mean_x, slope
    return 0.0, sum(w * x * y for w, (x, y) in zip(weight, points, strict=True)) / sum(
        w * x * x for w, (x, _) in zip(weight, points, strict=True)
    )


def _power(points: Sequence[Point]) -> tuple[float, float]:
    logs = [(math.log(x), math.log(y)) for x, y in points]
    mean_x, mean_y = (sum(values) / len(logs) for values in zip(*logs, strict=True))
    slope = sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum((x - mean_x) ** 2 for x, _ in logs)
    return math.exp(mean_y - slope * mean_x), slope
