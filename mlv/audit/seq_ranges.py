"""Numbers of events as ranges, so that a long run takes no more room than a short one."""

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
        """Take a number; those that come in order share one range."""
        bounds = self._bounds
        if bounds and bounds[-1] == seq - 1:
            bounds[-1] = seq
        else:
            bounds.extend((seq, seq))
            self._is_in_order = self._is_in_order and seq > self.last
        self.last = max(self.last, seq)

    def ranges(self) -> Iterator[Range]:
        """The ranges, smallest first; a number that was taken twice is in two of them."""
        ranges = zip(self._bounds[::2], self._bounds[1::2], strict=True)
        return ranges if self._is_in_order else iter(sorted(ranges))


def merged(parts: Iterable[Iterable[Range]]) -> tuple[list[Range], list[Range]]:
    """The numbers that sorted parts hold at least once, and those that they hold more than once."""
    whole: list[Range] = []
    doubled: list[Range] = []
    for first, last in heapq.merge(*parts):
        start, end = whole[-1] if whole else (0, 0)
        if not whole or first > end + 1:
            whole.append((first, last))
            continue
        if first <= end:
            doubled.append((first, min(last, end)))
        whole[-1] = (start, max(last, end))
    return whole, doubled


def gaps(ranges: Iterable[Range]) -> list[Range]:
    """The numbers from 1 on that sorted ranges pass over."""
    found: list[Range] = []
    expected = 1
    for first, last in ranges:
        if first > expected:
            found.append((expected, first - 1))
        expected = max(expected, last + 1)
    return found


def is_within(inner: Iterable[Range], outer: Iterable[Range]) -> bool:
    """Whether every inner range lies in one of the outer ranges."""
    around = list(outer)
    return all(any(first <= a and b <= last for first, last in around) for a, b in inner)


def shown(ranges: Iterable[Range], most: int = 6) -> str:
    """Ranges for people: `3, 5 to 9`."""
    texts = [str(first) if first == last else f"{first} to {last}" for first, last in ranges]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more
