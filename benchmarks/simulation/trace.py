"""What happens to a laboratory: runs of all sizes, hosts that vanish, stores that are away. Equal seeds give equal traces."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
_Z99 = 2.3263478740408408
"""So many standard deviations above its mean lies the 99th percentile of a normal distribution."""

Span = tuple[float, float]
"""From when until when, in seconds."""


@dataclass(frozen=True, slots=True)
class Trace:
    """The settings of a trace; those of time can be compressed together by `compressed`."""

    seed: int = 17
    hosts: int = 500
    slots: int = 8
    """Runs at once on a host."""
    median_events: float = 1000.0
    p99_events: float = 1e6
    most_per_s: float = 1000.0
    """No run logs more events a second than that."""
    shortest_s: float = 600.0
    longest_s: float = 3 * DAY_S
    likeness: float = 0.6
    """Correlation of the logarithms of events and length."""
    preemption_s: float = 6 * HOUR_S
    """Mean time until a host vanishes, with all that is on it."""
    store_outage_s: float = 7 * DAY_S
    """Mean time between outages of the store."""
    host_outage_s: float = 30 * DAY_S
    """Mean time between outages of the network of one host."""
    shortest_outage_s: float = 60.0
    longest_outage_s: float = 1800.0

    def runs(self, count: int) -> Iterator[Run]:
        """Draw runs: both sizes are log-normal; the bounds of length are its 1st and 99th percentile, and cut it."""
        draw = Random(f"runs {self.seed}").gauss
        sigma_events = math.log(self.p99_events / self.median_events) / _Z99
        median_s = math.sqrt(self.shortest_s * self.longest_s)
        sigma_s = math.log(self.longest_s / median_s) / _Z99
        for number in range(count):
            shared, own = draw(0, 1), draw(0, 1)
            events = self.median_events * math.exp(sigma_events * shared)
            length = self.likeness * shared + math.sqrt(1 - self.likeness**2) * own
            length_s = min(self.longest_s, max(self.shortest_s, median_s * math.exp(sigma_s * length)))
            yield Run(number, max(1, round(min(events, self.most_per_s * length_s))), length_s)

    def outages(self, host: int | None = None) -> Outages:
        """Spans in which the store, or the network of a host, is away."""
        mean_s = self.store_outage_s if host is None else self.host_outage_s
        return Outages(Random(f"outages {self.seed} {host}"), mean_s, self.shortest_outage_s, self.longest_outage_s)

    def lifetimes(self, host: int) -> Random:
        """Return the random numbers that decide when a host vanishes."""
        return Random(f"host {self.seed} {host}")


@dataclass(frozen=True, slots=True)
class Run:
    """One training, if nothing interrupts it: events at even distances."""

    number: int
    events: int
    length_s: float

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.length_s


class Outages:
    """Spans in order, drawn as far as somebody looks; their lengths are log-uniform."""

    def __init__(self, random: Random, mean_s: float, shortest_s: float, longest_s: float) -> None:
        self._random, self._mean_s = random, mean_s
        self._logs = math.log(shortest_s), math.log(longest_s)
        self._begins: list[float] = []
        self._ends: list[float] = []
        self._drawn_s = random.expovariate(1 / mean_s) if mean_s < math.inf else math.inf

    def within(self, begin: float, end: float) -> list[Span]:
        """Return the outages that touch a span of time, as they are: they may begin earlier and end later."""
        while self._drawn_s < end:
            length_s = math.exp(self._random.uniform(*self._logs))
            self._begins.append(self._drawn_s)
            self._ends.append(self._drawn_s + length_s)
            self._drawn_s += length_s + self._random.expovariate(1 / self._mean_s)
        first = bisect_right(self._ends, begin)
        last = bisect_right(self._begins, end)
        return [(self._begins[number], self._ends[number]) for number in range(first, last)]


def united(spans: list[Span]) -> list[Span]:
    """Return spans in order, those that touch each other as one."""
    union: list[Span] = []
    for begin, end in sorted(spans):
        if union and begin <= union[-1][1]:
            union[-1] = union[-1][0], max(end, union[-1][1])
        else:
            union.append((begin, end))
    return union
