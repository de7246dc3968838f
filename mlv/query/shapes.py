"""The text around the numbers of a line of metrics, which other lines have as well."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

from mlv.encoding import BadLine, event_from_line, loads
from mlv.query.rows import row

_MARKER = 735149600000
"""What is put in the place of numbers, and counted up: no number like it may stand in the line."""
_MARKERS, _MOST_SLOTS = b"7351496", 100_000
"""How all of them begin, as long as there are no more."""
TIME = b"2001-02-03T04:05:06.000007"
_SLOT = re.compile(
    rb'(?<="time":")\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(?=Z")'
    rb"|(?<=:)-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?=[,}])"
)
Slot = tuple[str, Any]
"""The field and, in `at` and `data`, the key or the place of the value."""


@dataclass(frozen=True)
class Pattern:
    """What lines have in common."""

    gaps: tuple[bytes, ...]
    """The text before each slot, and behind the last one."""
    slots: list[Slot]
    row: tuple[Any, ...]
    """The row of such a line."""
    at: dict[str, Any]


def pattern_of(line: bytes) -> Pattern | None:
    """The pattern of a line of metrics; None if it has something that needs a closer look."""
    are_times = tuple(b":" in text for text in _SLOT.findall(line))
    return _pattern_around(are_times, tuple(_SLOT.split(line))) if line.endswith(b"}\n") else None


@lru_cache(maxsize=256)
def _pattern_around(are_times: tuple[bool, ...], gaps: tuple[bytes, ...]) -> Pattern | None:
    if len(are_times) >= _MOST_SLOTS:
        return None
    texts = [TIME if is_time else b"%d" % (_MARKER + number) for number, is_time in enumerate(are_times)]
    line = b"".join(chain.from_iterable(zip(gaps, texts, strict=False))) + gaps[-1]
    around = b"\n".join(gaps)  # one look for all: each in each would take for ever in a line of many numbers
    if b'"_mlv' in line or TIME in around or _MARKERS in around:
        return None
    try:
        event, fields = event_from_line(line, ""), loads(line)
    except (BadLine, ValueError):
        return None
    if event.type != "metrics" or not isinstance(event.data, dict) or not isinstance(event.at, dict):
        return None
    landed = {value: slot for slot, value in _places(fields)}
    slots = [landed.get(text.decode() + "Z" if text is TIME else int(text)) for text in texts]
    known = [slot for slot in slots if slot is not None]
    if len(known) < len(slots) or not {("seq", None), ("time", None)} <= set(known) or len(event.data) != len(fields["data"]):
        return None
    return Pattern(gaps, known, row(event), event.at)


def _places(fields: dict[str, Any]) -> Iterator[tuple[Slot, Any]]:
    """Where the numbers and the time of a line stand, as far as it is known what they mean there."""
    for name in ("seq", "time", "step"):
        if type(fields.get(name)) in (int, str):
            yield (name, None), fields[name]
    at = fields.get("at")
    yield from ((("at", key), value) for key, value in (at if isinstance(at, dict) else {}).items() if type(value) is int)
    yield from ((("data", place), value) for place, value in enumerate(fields["data"].values()) if type(value) is int)
