"""Numbers of events as ranges, so that a long run takes no more memory than a short one."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterable, Iterator

Range = tuple[int, int]
"""First and last number, both included."""


class Seqs:
    """The numbers of the events that one run has in one stream."""

    def __init__(self) -> None:
        self._bounds = array("q")
        self._is_in_order = True
        self.last = 0
        """The largest number so far."""

    def add(self, seq: int) -> None:
        """Add a number; consecutive ones share one range."""
        bounds = self._bounds
        if bounds and bounds[-1] == seq - 1:
            bounds[-1] = seq
        else:
            bounds.extend((seq, seq))
            self._is_in_order = self._is_in_order and seq > self.last
        self.last = max(self.last, seq)

    def ranges(self) -> Iterator[Range]:
        """Return the ranges, smallest first; a number that was added twice is in two of them."""
        ranges = zip(self._bounds[::2], self._bounds[1::2], strict=True)
        return ranges if self._is_in_order else iter(sorted(ranges))


def merged(sources: Iterable[Iterable[Range]]) -> tuple[list[Range], list[Range]]:
    """Return the union of sorted lists of ranges, and the ranges that are in more than one."""
    whole: list[Range] = []
    doubled: list[Range] = []
    for first, last in heapq.merge(*sources):
        start, end = whole[-1] if whole else (0, 0)
        if not whole or first > end + 1:
            whole.append((first, last))
            continue
        if first <= end:
            doubled.append((first, min(last, end)))
        whole[-1] = (start, max(last, end))
    return whole, doubled


def gaps(ranges: Iterable[Range]) -> list[Range]:
    """Return the ranges of numbers, from 1 on, that sorted ranges leave out."""
    missing: list[Range] = []
    expected = 1
    for first, last in ranges:
        if first > expected:
            missing.append((expected, first - 1))
        expected = max(expected, last + 1)
    return missing


def is_within(inner: Iterable[Range], outer: Iterable[Range]) -> bool:
    """Return whether every inner range lies in one of the outer ranges."""
    around = list(outer)
    return all(any(first <= a and b <= last for first, last in around) for a, b in inner)


def as_text(ranges: Iterable[Range], most: int = 6) -> str:
    """Return ranges as text for people: `3, 5 to 9`."""
    texts = [str(first) if first == last else f"{first} to {last}" for first, last in ranges]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more
