"""Lines of a batch as points of metrics, where they are some, and as events."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from io import BytesIO
from typing import Any, NamedTuple

from mlv import wire
from mlv.encoding import BadLine, event_from_line, loads, restored
from mlv.events import Event
from mlv.projections.batch import LineBatch

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)


class MetricsLine(NamedTuple):
    """The metrics of one line."""

    run: str
    time_us: int
    """Microseconds since the beginning of 1970, in UTC."""
    step: Any
    prefix: str
    """The text before a key in a full name: empty, or it ends with a slash."""
    data: Mapping[str, Any]
    """Logged values by their keys; mostly numbers."""


def points_and_events(batch: LineBatch) -> Iterator[MetricsLine | Event]:
    """Yield the lines of the batch in their order: those of type `metrics` as points, all others as events."""
    if not batch.selection.takes_all:
        for event in batch:
            yield _points(event) or event
        return
    stream, is_tagged, clock = batch.stream, wire.TAGGED in batch.lines, _Clock()
    for line in BytesIO(batch.lines):
        points = _plain_points(line, clock) if not is_tagged or wire.TAGGED not in line else None
        if points is not None:
            yield points
            continue
        try:
            event = event_from_line(line, stream)
        except BadLine:
            continue
        yield _points(event) or event


def microseconds(moment: datetime) -> int:
    """Return microseconds since the beginning of 1970."""
    return (moment - _EPOCH) // _MICROSECOND


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


def _points(event: Event) -> MetricsLine | None:
    """Return the points of an event that is read already; None if it is of another type."""
    if event.type != "metrics" or not isinstance(event.data, dict):
        return None
    prefix = f"{event.name}/" if event.name else ""
    return MetricsLine(event.run, microseconds(event.time), event.step, prefix, event.data)


def _plain_points(line: bytes, clock: _Clock) -> MetricsLine | None:
    """Return the points of a plain line, as nearly all are; None if it needs a closer look."""
    try:
        fields = loads(line)
        if fields["type"] != "metrics":
            return None
        data, name, run = fields["data"], fields.get("name", ""), fields["run"]
        if type(data) is not dict or type(name) is not str or type(run) is not str or type(fields["seq"]) is not int:
            return None
        if "nonfinite" in fields:
            data = restored(data, fields["nonfinite"])
        return MetricsLine(run, clock.microseconds(fields["time"]), fields.get("step"), f"{name}/" if name else "", data)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


class _Clock:
    """Reads times of the log; the calendar is asked once per second of log time, as that is the slow step."""

    def __init__(self) -> None:
        self._second, self._second_us = "", 0

    def microseconds(self, text: str) -> int:
        """Return microseconds since the beginning of 1970.

        Raises:
            ValueError: It is not written as mlv writes it.
        """
        if len(text) != 27 or text[19] != "." or text[26] != "Z" or not (text[20:26].isascii() and text[20:26].isdigit()):
            raise ValueError(text)
        if text[:19] != self._second:
            moment = datetime.fromisoformat(text[:19]).replace(tzinfo=timezone.utc)
            self._second, self._second_us = text[:19], microseconds(moment)
        return self._second_us + int(text[20:26])
