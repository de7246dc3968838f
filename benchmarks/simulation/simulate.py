"""Runs of a trace through all designs at once: they see the same hosts vanish at the same moments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

from benchmarks.simulation.costs import Costs
from benchmarks.simulation.designs import Broker, Design, Segments, Server, SmallSegments, WholeFiles, at_interval
from benchmarks.simulation.events import Attempt, Laboratory, Loop, Observer
from benchmarks.simulation.trace import Run, Trace


@dataclass(frozen=True)
class Outcome:
    """What the laboratory did, and what each design made of it."""

    designs: Sequence[Design]
    runs: int
    attempts: int
    kills: int
    events: float
    run_hours: float
    makespan_s: float
    spent_s: float
    """Our own time."""


def simulate(trace: Trace, count: int, designs: Sequence[Design], observers: Sequence[Observer] = ()) -> Outcome:
    """Let all runs end, and all lake builders with them."""
    began = perf_counter()
    loop, tally = Loop(), _Tally()
    laboratory = Laboratory(loop, trace, trace.runs(count), [tally, *observers, *designs])
    for design in designs:
        if isinstance(design, Segments):
            design.attach(loop, lambda: laboratory.running == 0)
    loop.run()
    for design in designs:
        design.finish(tally.last)
    spent_s = perf_counter() - began
    return Outcome(designs, count, tally.attempts, tally.kills, tally.events, tally.run_s / 3600, tally.last, spent_s)


class _Tally(Observer):
    def __init__(self) -> None:
        self.attempts = self.kills = 0
        self.events = self.run_s = self.last = 0.0

    def begun(self, now: float, run: Run) -> None:
        self.last = now

    def ended(self, now: float, attempt: Attempt) -> None:
        self.attempts += 1
        self.kills += attempt.killed
        self.events += attempt.events
        self.run_s += attempt.length_s
        self.last = now


def five_designs(trace: Trace, count: int, costs: Costs, every_s: float = 10.0) -> list[Design]:
    """Return the five designs; the server is as large as the trace asks for."""
    return [
        WholeFiles(costs, every_s, trace.seed),
        SmallSegments(costs, every_s, trace.seed),
        Segments(costs, every_s, trace.seed),
        Broker(costs, every_s, trace.seed),
        Server(costs, every_s, trace.seed, trace.outages(), demand(trace, count)),
    ]


def demand(trace: Trace, count: int) -> float:
    """Events a second when all slots are taken."""
    events = length_s = 0.0
    for run in trace.runs(count):
        events += run.events
        length_s += run.length_s
    return events / length_s * min(count, trace.hosts * trace.slots)


def ablations(trace: Trace, costs: Costs) -> dict[str, Callable[[], Design]]:
    """Return mlv's design without one of its means, and at other intervals, by name."""
    seed = trace.seed
    return {
        "as it is": lambda: Segments(costs, 10.0, seed),
        "without merging and news": lambda: SmallSegments(costs, 10.0, seed),
        "without news": lambda: Segments(costs, 10.0, seed, news=False),
        "without txn": lambda: Segments(costs, 10.0, seed, txn=False),
        "every 2 s": lambda: at_interval(costs, 2.0),
        "every 30 s": lambda: at_interval(costs, 30.0),
    }
