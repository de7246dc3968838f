"""Lines of a batch as the metrics of each, where it has some, and as events."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any

from mlv.encoding import BadLine, event_from_line
from mlv.events import Event
from mlv.projections.batch import LineBatch
from mlv.query.metrics.lines import LineDecoder, MetricsLine, metrics_line_of


def points_and_events(batch: LineBatch) -> Iterator[MetricsLine | Event]:
    """Yield the lines of the batch in their order: those of type `metrics` as such, all others as events."""
    if not batch.selection.takes_all:
        for event in batch:
            yield metrics_line_of(event) or event
        return
    decoder = LineDecoder()
    for line in BytesIO(batch.lines):
        points = decoder.metrics(line)
        if points is not None:
            yield points
            continue
        try:
            event = event_from_line(line, batch.stream)
        except BadLine:
            continue
        yield metrics_line_of(event) or event


def whole_step(step: Any) -> int | None:
    """Return the step as an integer of 64 bits, which is all that other forms of the log have room for; None if it has none.

    A fraction is rounded down; a list or mapping with one number counts as that number.
    """
    if type(step) is int:
        return step if -(2**63) <= step < 2**63 else None
    if isinstance(step, float):
        return whole_step(math.floor(step)) if math.isfinite(step) else None
    values = list(step.values()) if isinstance(step, Mapping) else step
    return whole_step(values[0]) if isinstance(values, list) and len(values) == 1 else None
