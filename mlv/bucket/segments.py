"""From the names of segments to a plan of reading: per copy the longest run of bytes from 0 without a hole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from mlv.bucket.names import Segment


class SegmentSlice(NamedTuple):
    """The bytes of a stream that one segment contributes."""

    segment: Segment
    start: int
    """Of the stream's file, not of the segment."""
    end: int

    def of(self, content: bytes) -> bytes:
        """Cut the slice out of the uncompressed content of its segment."""
        return content[self.start - self.segment.start : self.end - self.segment.start]


def chain(segments: Iterable[Segment], start: int = 0) -> list[SegmentSlice]:
    """Return the slices that together are the bytes from `start` to the first hole, in order.

    The segments are of one stream of one copy, in any order, and may overlap: whatever covers the same bytes holds the same
    bytes. Of those that begin at or before a position the one that leads furthest is taken, so that a merged segment wins over
    the small ones that it covers. Bytes behind a hole have not arrived yet.
    """
    ordered = sorted(segments, key=lambda segment: segment.start)
    slices: list[SegmentSlice] = []
    position, index = start, 0
    furthest: Segment | None = None
    while True:
        while index < len(ordered) and ordered[index].start <= position:
            if furthest is None or ordered[index].end > furthest.end:
                furthest = ordered[index]
            index += 1
        if furthest is None or furthest.end <= position:
            return slices
        slices.append(SegmentSlice(furthest, position, furthest.end))
        position = furthest.end


def end(segments: Iterable[Segment]) -> int:
    """Return the position behind the last byte that a reader can have: 0 where the first bytes are not there yet."""
    slices = chain(segments)
    return slices[-1].end if slices else 0
