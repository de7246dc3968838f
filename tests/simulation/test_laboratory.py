"""The event loop, and the hosts that runs are on."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import pytest

from benchmarks.simulation.events import Attempt, Laboratory, Loop, Observer
from benchmarks.simulation.trace import Trace

SMALL = Trace(hosts=5, slots=3, preemption_s=4 * 3600.0, store_outage_s=6 * 3600.0)


class Recorder(Observer):
    def __init__(self) -> None:
        self.attempts: list[Attempt] = []

    def ended(self, now: float, attempt: Attempt) -> None:
        self.attempts.append(attempt)


@pytest.fixture(scope="module")
def attempts() -> list[Attempt]:
    """What became of three hundred runs."""
    loop, recorder = Loop(), Recorder()
    Laboratory(loop, SMALL, SMALL.runs(300), [recorder])
    loop.run()
    return recorder.attempts


def test_actions_happen_in_order():
    """Time never goes back, and actions of one moment keep the order of their announcement."""
    loop, happened = Loop(), []
    for time, name in ((2.0, "c"), (1.0, "a"), (1.0, "b")):
        loop.at(time, lambda name=name: happened.append(name))
    loop.run()

    assert happened == ["a", "b", "c"]
    with pytest.raises(ValueError, match="does not go back"):
        loop.at(1.0, loop.run)


def test_every_run_is_done_once(attempts):
    """The attempts of a run add up to its length, one after the other, and the last one alone was not killed."""
    of_runs = defaultdict(list)
    for attempt in attempts:
        of_runs[attempt.run].append(attempt)

    assert len(of_runs) == 300
    for run, those in of_runs.items():
        assert sum(attempt.length_s for attempt in those) == pytest.approx(run.length_s)
        assert [attempt.number for attempt in those] == list(range(len(those)))
        assert [attempt.killed for attempt in those] == [True] * (len(those) - 1) + [False]
        assert all(before.end <= after.begin for before, after in pairwise(those))


def test_a_host_takes_all_its_runs_with_it(attempts):
    """When a host vanishes, none of its runs goes on there; never are there more than it has slots."""
    for host in range(SMALL.hosts):
        those = [attempt for attempt in attempts if attempt.host == host]
        deaths = {attempt.end for attempt in those if attempt.killed}

        assert deaths
        assert not any(attempt.begin < death < attempt.end for attempt in those for death in deaths)
        assert max(sum(each.begin <= attempt.begin < each.end for each in those) for attempt in those) <= SMALL.slots


def test_outages_are_cut_to_the_attempt(attempts):
    """An attempt has the outages that it met, as far as it met them."""
    spans = [(attempt, span) for attempt in attempts for span in attempt.outages]

    assert spans
    assert all(attempt.begin <= begin < end <= attempt.end for attempt, (begin, end) in spans)
