"""The steps of metrics that `log.describe(name, x=)` puts over another x axis, for outputs with one number for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlv.projections.points import whole_step
from mlv.query.metrics.lines import MetricsLine

_METRICS, _AT = "metrics.", "at."
_OF_STEPS_AND_TIMES = frozenset({"step", "time", "elapsed", "active"})
"""Axes that such outputs have already."""


class StepAxes:
    """The x axes of one stream, and the latest values of those that are metrics.

    A description holds from its line on. The position of a value is the coordinate of that name in its line, or else the value
    of the metric of that name, in the same line or the last one before it. A value without one keeps its step.
    """

    def __init__(self, axes: Mapping[str, str] | None = None, latest: Mapping[str, int] | None = None) -> None:
        """Go on from the data of an earlier one."""
        self._axes, self._latest = dict(axes or {}), dict(latest or {})

    def to_data(self) -> list[dict[str, Any]]:
        """Return a JSON form, of which `StepAxes(*data)` is this again."""
        return [self._axes, self._latest]

    def describe(self, name: str, x: Any) -> None:
        """Put a metric over an x axis."""
        self._axes.pop(name, None)
        if isinstance(x, str) and x not in _OF_STEPS_AND_TIMES:
            self._axes[name] = x

    def steps(self, points: MetricsLine) -> dict[str, int]:
        """Return the positions of the metrics of a line that have another x axis than the step, by full name."""
        names = {points.prefix + key: value for key, value in points.data.items()}
        metrics = {x.removeprefix(_METRICS) for x in self._axes.values()}
        values = {name: whole_step(names[name]) for name in metrics & names.keys()}
        self._latest.update((name, value) for name, value in values.items() if value is not None)
        positions = {name: self._position(self._axes[name], points.at) for name in self._axes.keys() & names.keys()}
        return {name: position for name, position in positions.items() if position is not None}

    def _position(self, x: str, at: Any) -> int | None:
        if isinstance(at, Mapping) and not x.startswith(_METRICS):
            position = whole_step(at.get(x.removeprefix(_AT)))
            if position is not None:
                return position
        return None if x.startswith(_AT) else self._latest.get(x.removeprefix(_METRICS))
