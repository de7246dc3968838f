"""The metrics of one line of a log, without the event around them: the decoder of all readers that go line by line."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from mlv import wire
from mlv.encoding import TIME_LENGTH, loads, restored
from mlv.events import Event, prefix_of

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)


class MetricsLine(NamedTuple):
    """The metrics of one line."""

    run: str
    seq: int
    time_us: int
    """Microseconds since the beginning of 1970, in UTC."""
    step: Any
    prefix: str
    """The text before a key in a full name: empty, or it ends with a slash."""
    data: Mapping[str, Any]
    """Logged values by their keys; mostly numbers."""
    at: Mapping[str, Any] | None = None
    """The coordinates, of a line in the form that mlv writes; None without any."""


def metrics_line_of(event: Event) -> MetricsLine | None:
    """Return the metrics of an event; None if it is of another type."""
    if event.type != "metrics" or not isinstance(event.data, dict):
        return None
    return MetricsLine(event.run, event.seq, microseconds(event.time), event.step, prefix_of(event.name), event.data, event.at)


def microseconds(moment: datetime) -> int:
    """Return microseconds since the beginning of 1970."""
    return (moment - _EPOCH) // _MICROSECOND


class LineDecoder:
    """Decodes the lines of a log, one after the other: 2.4 us for each, where an event takes 4.5."""

    def __init__(self) -> None:
        self._second, self._second_us = "", 0

    def metrics(self, line: bytes) -> MetricsLine | None:
        """Return the metrics of a line; None of another type, and where only `event_from_line` can tell."""
        try:
            fields = loads(line)
            if fields["type"] != "metrics":
                return None
            data, name, run, seq = fields["data"], fields.get("name", ""), fields["run"], fields["seq"]
            if type(data) is not dict or type(name) is not str or type(run) is not str or type(seq) is not int:
                return None
            if "nonfinite" in fields or wire.TAGGED in line:
                data = restored(data, fields.get("nonfinite") or {})
            time_us, prefix = self._microseconds(fields["time"]), prefix_of(name)
            return MetricsLine(run, seq, time_us, fields.get("step"), prefix, data, fields.get("at"))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def _microseconds(self, text: str) -> int:
        """Return microseconds since the beginning of 1970; the calendar, the slow step, is asked once per second of log time.

        Raises:
            ValueError: It is not written as mlv writes it.
        """
        second, fraction = text[:20], text[20:26]
        if len(text) != TIME_LENGTH or text[26] != "Z" or not (fraction.isascii() and fraction.isdigit()):
            raise ValueError(text)
        if second != self._second:
            if second[19] != ".":
                raise ValueError(text)
            moment = datetime.fromisoformat(second[:19]).replace(tzinfo=timezone.utc)
            self._second, self._second_us = second, microseconds(moment)
        return self._second_us + int(fraction)
