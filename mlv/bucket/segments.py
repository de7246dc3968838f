"""From the names of segments to a plan of reading: per copy the longest run of bytes from 0 without a hole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


class ByteSpan(NamedTuple):
    """The bytes of one segment, and how often they were merged."""

    start: int
    end: int
    level: int = 0


def merges(spans: Sequence[ByteSpan], most_bytes: int, least_count: int) -> list[ByteSpan]:
    """Return the larger segments that neighbours are to be merged to, once so many of one level can be.

    A level is merged only when there are enough of it, so that no byte is written more often than there are levels.

    Args:
        spans: Those of the segments of one stream of one copy, in order: each begins where the last one ends.
        most_bytes: Size of the largest segment.
        least_count: Number of segments that are replaced at once; 2 where the stream is complete.
    """
    for level in range(max((span.level for span in spans), default=-1) + 1):
        groups = [group for group in _neighbours(spans, level, most_bytes) if len(group) > 1]
        if sum(map(len, groups)) >= least_count:
            return [ByteSpan(group[0].start, group[-1].end, level + 1) for group in groups]
    return []


def _neighbours(spans: Iterable[ByteSpan], level: int, most_bytes: int) -> list[list[ByteSpan]]:
    groups: list[list[ByteSpan]] = []
    is_open = False
    for span in spans:
        is_open = is_open and span.level <= level and span.end - groups[-1][0].start <= most_bytes
        if is_open:
            groups[-1].append(span)
        else:
            groups.append([span])
        is_open = span.level <= level
    return groups


def replaced(spans: Iterable[ByteSpan], merged: ByteSpan) -> list[ByteSpan]:
    """Return the spans with one in place of those that it covers."""
    others = [span for span in spans if not (merged.start <= span.start and span.end <= merged.end)]
    return sorted([*others, merged])
