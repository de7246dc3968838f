"""The bytes of a ring: a header of words and tables, and frames that are there wholly or not at all.

```
0       words of 8 bytes (those of the producer and of the writer in cache lines of their own)
2048    text, by the writer: which job was rejected first, and why
4096    JSON: run, experiment, process
12288   cursors: one JSON array [index, stream, head] a line
65536   frames, each at a multiple of 8
```

A frame: CRC-32 (4 bytes), then seq, time in ns, step (8 each), code = cursor * 4 + kind, length of the payload (4 each), the
payload. The CRC covers all behind it and is seeded with the frame's position, which counts on over all laps: a frame of an
earlier lap, one that is half written, or one whose stores another core sees in a different order does not match. The head is
published, by one aligned store, after the frame.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

MAGIC = int.from_bytes(b"mlvring1", "little")

# Words, by index.
W_MAGIC, W_CAPACITY, W_INFO_BYTES = 0, 1, 2  # by the producer, once
W_HEAD, W_WANTED_SYNC, W_ENDED, W_CURSOR_BYTES = 8, 9, 10, 11  # stored by the producer
W_DROPPED_FIRST, W_DROPPED_LAST = 12, 13  # by the producer: numbers that no `dropped` event tells of yet, 0 where none
W_TAIL, W_SYNCED, W_STAMP, W_ERRNO, W_DONE, W_TOUCHED, W_WRITER_PID, W_WRITER_START = range(16, 24)  # by the writer
W_SAID_END = 24  # by the writer: whether the run's end is in its stream
W_COMPLETE = 25  # by the writer: as the tail, but held back by jobs that are not done
W_REJECTED = 26  # by the writer: how many jobs became `rejected` events
W_REDACTED = 27  # by the writer: from how many events it took credentials
W_REASON_BYTES = 28  # by the writer: length of the text that says why the first of those jobs was rejected

REASON_OFFSET = 2048  # behind the words, of eight bytes each
INFO_OFFSET = 4096  # one page before it, all that a writer maps
CURSOR_OFFSET = 12288  # leaves 8 KiB to the run's description
DATA_OFFSET = 65536  # a whole number of pages on every machine, those with pages of 64 KiB included
CURSOR_BYTES = DATA_OFFSET - CURSOR_OFFSET

FIELDS = struct.Struct("<QQqII")
OVERHEAD = 4 + FIELDS.size  # the CRC comes first
LONGEST = 256 << 10
"""Bytes of the longest frame; a reader takes twice as much at a time, so that it always gets a whole one."""
BIG = 3
"""Kind of a frame whose payload is the name of a spool file, which holds the bytes of a TAIL payload, or a job."""
LAST = 1
"""Step of a BIG frame that holds the end of its run."""
PAD = 0xFFFFFFFF
"""Stands for a payload's length where the remainder of a lap stays empty."""

pack_fields = FIELDS.pack
_WHOLE = struct.Struct("<IQQqII")


class Frame(NamedTuple):
    """One event as it travels."""

    seq: int
    time_ns: int
    step: int
    cursor: int
    kind: int
    payload: bytes


def frame_end(position: int, payload_bytes: int) -> int:
    """Return the position just behind a frame, rounded up to a multiple of 8."""
    return (position + payload_bytes + OVERHEAD + 7) & -8


def pad(position: int) -> bytes:
    """Return the frame that marks the remainder of a lap as empty (36 bytes)."""
    body = pack_fields(0, 0, 0, 0, PAD)
    return struct.pack("<I", zlib.crc32(body, position & 0xFFFFFFFF)) + body


class Stretch(NamedTuple):
    """The whole frames of a stretch of the ring."""

    frames: list[Frame]
    end: int
    """Position behind the last whole frame."""


def parse(data: bytes, position: int, capacity: int, last_seq: int) -> Stretch:
    """Read the whole frames at the start of a stretch that begins at `position` and does not cross a lap.

    Stops, without complaint, at the first frame that is not (yet) there: torn, partial, stale, or with a `seq` that is
    not above those before it.
    """
    frames: list[Frame] = []
    offset, size = 0, len(data)
    # Bound once, and no NamedTuple is called: this loop runs for each event.
    unpack, crc32, make = _WHOLE.unpack_from, zlib.crc32, tuple.__new__
    while offset + OVERHEAD <= size:
        crc, seq, time_ns, step, code, length = unpack(data, offset)
        end = offset + OVERHEAD + (0 if length == PAD else length)
        body = data[offset + 4 : end]
        # The length is part of what the CRC covers: until it matches, the end is a guess.
        if end > size or crc != crc32(body, position + offset & 0xFFFFFFFF):
            break
        if length == PAD:
            return Stretch(frames, next_lap(position + offset, capacity))
        if seq <= last_seq:
            break
        frames.append(make(Frame, (seq, time_ns, step, code >> 2, code & 3, body[FIELDS.size :])))
        last_seq = seq
        offset = (end + 7) & -8
    return Stretch(frames, position + offset)


def lap_start(position: int, capacity: int) -> int:
    """Return the position at which the lap of `position` began."""
    return position - position % capacity


def next_lap(position: int, capacity: int) -> int:
    """Return the position at which the lap after the one of `position` begins."""
    return (position // capacity + 1) * capacity


def stretches(start: int, end: int, capacity: int, longest: int) -> Iterator[tuple[int, int]]:
    """Cut positions from `start` to `end` where a lap ends or a stretch gets too long."""
    while start < end:
        stop = min(end, next_lap(start, capacity), start + longest)
        yield start, stop
        start = stop
