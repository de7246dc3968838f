"""The event loop, and the laboratory that runs on it: slots of hosts that take runs from a queue, and lose them."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from benchmarks.simulation.trace import Outages, Run, Span, Trace, united


class Loop:
    """Actions in the order of their time; those of one moment in the order in which they were announced."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._announced = 0

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Announce what happens then."""
        if time < self.now:
            raise ValueError(f"{time} is before {self.now}: an event loop does not go back")
        self._announced += 1
        heapq.heappush(self._heap, (time, self._announced, action))

    def run(self) -> None:
        """Let everything happen."""
        while self._heap:
            self.now, _, action = heapq.heappop(self._heap)
            action()


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one host did of a run: until its end, or until the host vanished."""

    run: Run
    number: int
    """0 for the first."""
    host: int
    begin: float
    end: float
    done_s: float
    """So much of the run was done before."""
    killed: bool
    outages: tuple[Span, ...]
    """When the store was out of reach, cut to the attempt; begins are kept if it ended in one."""

    @property
    def length_s(self) -> float:
        """Seconds from its begin to its end."""
        return self.end - self.begin

    @property
    def events(self) -> float:
        """How many events it logged."""
        return self.run.rate * self.length_s

    @property
    def events_before(self) -> float:
        """How many events the run had before."""
        return self.run.rate * self.done_s


class Observer:
    """What a design, or a service of it, learns of the laboratory as time passes."""

    def begun(self, now: float, run: Run) -> None:
        """Learn that a run goes on somewhere."""

    def ended(self, now: float, attempt: Attempt) -> None:
        """Learn how that ended."""


class Laboratory:
    """Hosts whose slots are never idle while runs are waiting; a run that lost its host goes on at the next free slot."""

    def __init__(self, loop: Loop, trace: Trace, runs: Iterable[Run], observers: Iterable[Observer]) -> None:
        self._loop, self._trace = loop, trace
        self._runs: Iterator[Run] = iter(runs)
        self._observers = list(observers)
        self._waiting: deque[tuple[Run, int, float]] = deque()
        self._store = trace.outages()
        self._hosts = [_Host(number, trace.outages(number)) for number in range(trace.hosts)]
        self.running = 0
        for host in self._hosts:
            for slot in range(trace.slots):
                self._fill(host, slot)
            self._doom(host, trace.lifetimes(host.number).expovariate)

    def _fill(self, host: _Host, slot: int) -> None:
        if self._waiting:
            run, number, done_s = self._waiting.popleft()
        else:
            run, number, done_s = next(self._runs, None), 0, 0.0  # type: ignore[assignment]
            if run is None:
                return
        job = _Job(run, number, done_s, self._loop.now, slot)
        host.jobs[slot] = job
        self.running += 1
        for observer in self._observers:
            observer.begun(self._loop.now, run)
        self._loop.at(self._loop.now + run.length_s - done_s, lambda: self._end(host, job))

    def _end(self, host: _Host, job: _Job) -> None:
        if host.jobs.get(job.slot) is job:  # else it was killed
            self._close(host, job, killed=False)
            self._fill(host, job.slot)

    def _doom(self, host: _Host, draw: Callable[[float], float]) -> None:
        if self._trace.preemption_s < math.inf:
            self._loop.at(self._loop.now + draw(1 / self._trace.preemption_s), lambda: self._kill(host, draw))

    def _kill(self, host: _Host, draw: Callable[[float], float]) -> None:
        for job in list(host.jobs.values()):
            self._close(host, job, killed=True)
            self._waiting.append((job.run, job.number + 1, job.done_s + self._loop.now - job.begin))
        for slot in range(self._trace.slots):
            self._fill(host, slot)
        if self.running or self._waiting:
            self._doom(host, draw)

    def _close(self, host: _Host, job: _Job, killed: bool) -> None:
        del host.jobs[job.slot]
        self.running -= 1
        now = self._loop.now
        away = united([*self._store.within(job.begin, now), *host.outages.within(job.begin, now)])
        spans = tuple((max(begin, job.begin), min(end, now)) for begin, end in away)
        attempt = Attempt(job.run, job.number, host.number, job.begin, now, job.done_s, killed, spans)
        for observer in self._observers:
            observer.ended(now, attempt)


class _Host:
    def __init__(self, number: int, outages: Outages) -> None:
        self.number, self.outages = number, outages
        self.jobs: dict[int, _Job] = {}


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    run: Run
    number: int
    done_s: float
    begin: float
    slot: int
