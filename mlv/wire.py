"""The bytes of a line of the log: what they tell before the line is parsed.

mlv writes `{"run":"rk3v9x2m","seq":17,"time":"...","type":"metrics", ...}`, without a space, and in this order. Other writers
may choose both: an answer from bytes is a hint where its function says "may", and then the parsed line decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

TAGGED = b'"_mlv'
"""Begins each key that mlv reserves: of an object in place of another value, and of a user's own such key."""
TO_FILE = b'"_mlv":"file"'
"""Stands in each reference to a file."""
NONFINITE = b'"nonfinite"'
"""The field that lists NaN and infinities, which JSON writes as null."""
STEP, DATA = b'"step"', b'"data":'

_RUN_AND_SEQ = rb'\{"run":"([^"\\]*)","seq":(\d{1,18}),'
_BEGINNING = re.compile(_RUN_AND_SEQ)
_TIMED_BEGINNING = re.compile(_RUN_AND_SEQ + rb'"time":"([^"\\]*)"')
_TIME = re.compile(rb'"time"\s*:\s*"([^"]*)"')


def beginning(run: str) -> bytes:
    """Return the bytes that the lines of a run begin with."""
    return b'{"run":"%s"' % run.encode("utf-8", "surrogatepass")


def run_and_seq(line: bytes) -> tuple[bytes, int] | None:
    """Return run and seq of a line that mlv wrote, from its first bytes; None of any other."""
    match = _BEGINNING.match(line)
    return None if match is None else (match[1], int(match[2]))


def run_seq_time(line: bytes) -> tuple[bytes, int, bytes] | None:
    """Return run, seq and time of a line that mlv wrote, from its first bytes; None of any other."""
    match = _TIMED_BEGINNING.match(line)
    return None if match is None else (match[1], int(match[2]), match[3])


def run_of(line: bytes) -> bytes:
    """Return the run of a line that mlv wrote; of any other line some bytes, or none."""
    return line[8 : line.find(b'"', 8)]


def time_in(line: bytes) -> bytes:
    """Return the first field `time` of a line, whoever wrote it; empty without one."""
    match = _TIME.search(line)
    return b"" if match is None else match[1]


def quoted(text: str) -> bytes:
    """Return a JSON text of plain letters; a line of a type, or with a field of that name, holds it."""
    return b'"%s"' % text.encode()


def mark(type: str) -> bytes:
    """Return the field `type` as mlv writes it."""
    return b'"type":"%s"' % type.encode()


METRICS, RUN_ENDED, REJECTED, REDACTED = map(mark, ("metrics", "run_ended", "rejected", "redacted"))


def type_pattern(types: Iterable[str]) -> re.Pattern[bytes]:
    """Return a pattern that matches in each line that may be of one of the types, whoever wrote it."""
    return re.compile(rb'"type"\s*:\s*"(?:%s)"' % b"|".join(re.escape(name.encode()) for name in types))


def type_filter(types: Iterable[str]) -> Callable[[bytes], object]:
    """Return a function that tells whether a line may be of one of the types."""
    return type_pattern(types).search


def looks_whole(line: bytes) -> bool:
    """Return whether a line that was not chosen may be passed over in silence: damage is always reported."""
    return line.startswith(b"{") and line.endswith(b"}\n") and b'"type"' in line


def may_need_restoring(lines: bytes) -> bool:
    """Return whether values in one or more lines may stand in another form than they were logged in."""
    return TAGGED in lines or NONFINITE in lines
