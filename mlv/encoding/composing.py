"""Lines from events: the bytes of heads, tails and whole lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import orjson

from mlv import wire
from mlv.encoding.texts import text_only

# How the payload of a frame completes its line.
TAIL, DATA, STEP = 0, 1, 2
"""TAIL: all that follows the head. DATA: the data alone. STEP: the data alone, the step beside it as an integer."""


def dumps(value: Any) -> bytes:
    """Return compact JSON of a value that is in its JSON form already."""
    return orjson.dumps(value)


def head(type: str, name: str, verbosity: int = 0) -> bytes:
    """Return the bytes of a line that events of one type, name and verbosity share."""
    named = b'"name":%s,' % dumps(text_only(name)) if name else b""
    return b'"type":%s,' % dumps(type) + named + (b'"verbosity":%d,' % verbosity if verbosity else b"")


def tail(step: Any, at: Mapping[str, Any], data: bytes, nonfinite: Mapping[str, str]) -> bytes:
    """Return all bytes that follow the head of a line."""
    fields = [
        b'"step":' + dumps(step) if step is not None else b"",
        b'"at":' + dumps(at) if at else b"",
        b'"data":' + data,
        b'"nonfinite":' + dumps(nonfinite) if nonfinite else b"",
    ]
    return b",".join(field for field in fields if field) + b"}"


def as_tail(kind: int, step: int, payload: bytes) -> bytes:
    """Return the payload of any kind as one of kind TAIL."""
    if kind == STEP:
        return b'"step":%d,"data":%s}' % (step, payload)
    return b'"data":%s}' % payload if kind == DATA else payload


Clean = Callable[[bytes, int, bytes], tuple[bytes, bytes]]
"""Changes head and payload of an event before it is written; its arguments are head, kind and payload."""


_MINUTE_US = 60_000_000


def _minute_text(minute: int) -> bytes:
    return datetime.fromtimestamp(minute * 60, timezone.utc).strftime("%Y-%m-%dT%H:%M:").encode()


class Composer:
    """Makes whole lines of one run from the fields of a frame; `clean` is applied to head and payload of each."""

    def __init__(self, run: str, clean: Clean | None = None) -> None:
        self._clean = clean
        self._begin = wire.beginning(run) + b',"seq":'
        self._second_ns = -1_000_000_000
        self._second_text = b""

    def line(self, seq: int, time_ns: int, head: bytes, kind: int, step: int, payload: bytes) -> bytes:
        """Return the line, newline included."""
        if self._clean is not None:
            head, payload = self._clean(head, kind, payload)
        return self.clean_line(seq, time_ns, head, kind, step, payload)

    def clean_line(self, seq: int, time_ns: int, head: bytes, kind: int, step: int, payload: bytes) -> bytes:
        """Return the line of a head and a payload that were cleaned already."""
        nanosecond = time_ns - self._second_ns
        if not 0 <= nanosecond < 1_000_000_000:  # formatting a date costs more than all other steps
            second, nanosecond = divmod(time_ns, 1_000_000_000)
            self._second_text = datetime.fromtimestamp(second, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.").encode()
            self._second_ns = time_ns - nanosecond
        begin = self._begin
        when = self._second_text
        if kind == STEP:
            return b'%s%d,"time":"%s%06dZ",%s"step":%d,"data":%s}\n' % (
                begin, seq, when, nanosecond // 1000, head, step, payload,
            )  # fmt: skip
        if kind == DATA:
            return b'%s%d,"time":"%s%06dZ",%s"data":%s}\n' % (begin, seq, when, nanosecond // 1000, head, payload)
        return b'%s%d,"time":"%s%06dZ",%s%s\n' % (begin, seq, when, nanosecond // 1000, head, payload)

    def points(
        self, first: int, times_us: Sequence[int], keys: Sequence[bytes], steps: Sequence[int], values: Sequence[bytes]
    ) -> list[bytes]:
        """Return the lines of metrics with one number each, from a number of the run on; keys and values are JSON."""
        minutes = {minute: _minute_text(minute) for minute in {time_us // _MINUTE_US for time_us in times_us}}
        begin, numbers = self._begin, range(first, first + len(values))
        # One formatting for each line, and nothing else: a source may have a hundred million.
        return [
            b'%s%d,"time":"%s%02d.%06dZ","type":"metrics","step":%d,"data":{%s:%s}}\n'
            % (begin, seq, minutes[us // _MINUTE_US], us % _MINUTE_US // 1_000_000, us % 1_000_000, step, key, value)
            for seq, us, step, key, value in zip(numbers, times_us, steps, keys, values, strict=True)
        ]

    def opening(self, seq: int, time_ns: int) -> bytes:
        """Return the bytes before the head, for payloads too large to be joined in memory."""
        return self.line(seq, time_ns, b"", TAIL, 0, b"")[:-1]
