"""The values of metrics as rows; a value without a step is numbered by its position in the series."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from mlv.events import Event, metrics_of


class Point(NamedTuple):
    """One value of one metric."""

    name: str
    """The full name."""
    step: int | float
    value: Any
    event: Event


class PointCounter:
    """Takes events one after the other, and remembers how many values each series had.

    A step that is no number (`ForeignStep`) counts as none: the point gets the number of points that its series had before,
    over all runs.
    """

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        """Go on from the counts of an earlier `PointCounter`."""
        self.counts = dict(counts or {})

    def of(self, events: Iterable[Event]) -> Iterator[Point]:
        """Yield the values of all events of type `metrics`."""
        for event in events:
            step = event.step if isinstance(event.step, (int, float)) else None
            for name, value in metrics_of(event):
                count = self.counts.get(name, 0)
                self.counts[name] = count + 1
                yield Point(name, count if step is None else step, value, event)


def coordinates(event: Event) -> dict[str, Any]:
    """Return the coordinates of an event; a step that is no number is one of them."""
    if event.step is None or isinstance(event.step, (int, float)):
        return dict(event.at)
    return {"step": event.step, **event.at}
