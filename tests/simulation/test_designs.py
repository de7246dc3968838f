"""The designs count in closed form what a loop over each tick counts one by one."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from benchmarks.simulation.costs import Costs
from benchmarks.simulation.designs import Segments, WholeFiles
from benchmarks.simulation.events import Attempt
from benchmarks.simulation.simulate import five_designs, simulate
from benchmarks.simulation.trace import Run, Trace

COSTS = Costs(
    line_bytes=180,
    put_s=lambda size: 0.08 + 5e-9 * size,
    get_s=lambda size: 0.08 + 1e-9 * size,
    list_s=lambda keys: 0.09 + 1e-4 * keys,
    gzip_bytes=lambda size: 100 + 0.13 * size,
    gzip_s=lambda size: 1e-8 * size,
    parse_s=lambda events: 1e-3 + 2e-6 * events,
    commit_s=lambda rows: 3e-3 + 2e-7 * rows,
    merge_s=lambda rows: 1e-2 + 3e-7 * rows,
    commit_trips=lambda latency_ms: 0.07 + 0.011 * latency_ms,
)
ENDED = Attempt(Run(0, 40_000, 4_000.0), 0, 0, 100.0, 4_100.0, 0.0, killed=False, outages=())
SLOW = replace(ENDED, run=Run(0, 40, 4_000.0))


def ticked(attempt: Attempt, every_s: float) -> tuple[int, float, int]:
    """Ship an attempt tick by tick: the segments, their bytes without merging, and the objects that are left."""
    random, now, shipped, segments, size = Random(1), attempt.begin, 0, 0, 0.0
    while now < attempt.end:
        logged = int((min(now, attempt.end) - attempt.begin) * attempt.run.rate)
        if logged > shipped:
            segments, size, shipped = segments + 1, size + COSTS.gzip_bytes((logged - shipped) * COSTS.line_bytes), logged
            now += COSTS.put_s(1_000)
        now += every_s * random.uniform(0.8, 1.2)
    return segments, size, segments // 64 + min(1, segments % 64)


@pytest.mark.parametrize("attempt", [ENDED, SLOW], ids=["fast", "slow"])
def test_segments_are_those_of_a_loop(attempt):
    """Segments, their bytes and the objects left behind are within 3 % of what each tick ships, and two."""
    segments, size, objects = ticked(attempt, 10.0)
    design = Segments(COSTS, 10.0)
    design.begun(attempt.begin, attempt.run)
    design.ended(attempt.end, attempt)

    assert design.shipments(attempt) == pytest.approx(segments, rel=0.03, abs=2)
    assert size < design.totals.bytes_up < 2.3 * size + 2_000  # all of it twice: small and merged
    assert design.totals.objects_read[0] == pytest.approx(objects + 2, abs=1)


def test_whole_files_are_those_of_a_loop():
    """A file that is written anew each time costs the sum of all its sizes."""
    now, writes, size = ENDED.begin, 0, 0.0
    while now < ENDED.end:
        whole = COSTS.gzip_bytes((now - ENDED.begin) * ENDED.run.rate * COSTS.line_bytes)
        writes, size = writes + 1, size + whole
        now += 10.0 + COSTS.put_s(whole)

    assert WholeFiles(COSTS, 10.0).writes(ENDED) == (pytest.approx(writes, rel=0.02), pytest.approx(size, rel=0.02))


def test_loss_is_bounded_by_the_interval():
    """Without an outage at most two requests and a pause of 1.2 intervals lie between a line and the bucket."""
    design = Segments(COSTS, 10.0)
    unsafe_s = [design.unsafe_s(ENDED, 0.1) for _ in range(5_000)]

    assert max(unsafe_s) <= 12.2
    assert sum(unsafe_s) / len(unsafe_s) == pytest.approx(5.2, rel=0.05)


def test_an_outage_costs_all_of_it():
    """Whoever dies while the store is away, or before the next try, loses all lines since it went."""
    design = Segments(COSTS, 10.0)
    within = replace(ENDED, outages=((3_500.0, 4_100.0),))
    before = replace(ENDED, outages=((1_000.0, 1_600.0),))

    assert all(600 <= design.unsafe_s(within, 0.1) <= 612.2 for _ in range(100))
    assert all(design.unsafe_s(before, 0.1) <= 12.2 for _ in range(100))


def test_designs_see_the_same_laboratory():
    """All designs learn of the same kills and events; merging leaves fewer objects than small segments do."""
    trace = Trace(hosts=4, slots=4)
    whole, small, merged, *others = five_designs(trace, 200, COSTS)
    outcome = simulate(trace, 200, [whole, small, merged, *others])

    assert {len(design.totals.lost_s) for design in outcome.designs} == {outcome.kills}
    assert all(design.ended_runs == 200 for design in outcome.designs)
    assert sum(merged.totals.objects_read) < sum(small.totals.objects_read) / 3
    assert small.totals.bytes_up < merged.totals.bytes_up < whole.totals.bytes_up / 10
    assert outcome.events == pytest.approx(sum(run.events for run in trace.runs(200)), rel=1e-6)


def test_a_build_looks_where_there_is_news():
    """A build lists what was marked today or yesterday, by runs that go on and by those that ended, and no run twice."""
    day = 86_400.0
    design = Segments(COSTS, 10.0)
    for number in range(3):
        design.begun(0.0, Run(number, 10, 10 * day))
    design.begun(1.5 * day, Run(3, 10, 10 * day))
    marks = design._marks

    marks.turn(1.6 * day, design._running)
    assert (marks.count, marks.runs) == (3 + 4, 4)
    design.ended(1.7 * day, Attempt(Run(3, 10, 0.2 * day), 0, 0, 1.5 * day, 1.7 * day, 0.0, killed=False, outages=()))
    marks.turn(2.1 * day, design._running)
    assert (marks.count, marks.runs) == (4 + 3, 4)
    marks.turn(3.1 * day, design._running)
    assert (marks.count, marks.runs) == (3 + 3, 3)


@pytest.mark.parametrize(
    ("shipped_s", "built_s", "there", "new"), [(400, 200, 40, 20), (960, 900, 33, 6), (1_300, 600, 4, 4), (1_300, 640, 4, 3)]
)
def test_a_build_reads_merged_segments(shipped_s, built_s, there, new):
    """Of segments that were merged since the latest build it reads the larger ones."""
    design, run = Segments(COSTS, 10.0), Run(0, 100_000, 10_000.0)
    design.begun(0.0, run)
    design._built_at = float(built_s)

    assert design._objects(run, 0.0, float(shipped_s)) == (there, new)


def test_long_builds_count_as_long_as_they_are():
    """How long it takes until a row is there is sampled by time, so that a slow build counts more than a quick one."""
    trace = Trace(hosts=2, slots=2)
    (design,) = simulate(trace, 100, [Segments(COSTS, 10.0)]).designs

    assert len(design.totals.stale_s) == pytest.approx(design._built_at / 150, rel=0.02)


def test_a_simulation_can_be_repeated():
    """Equal seeds give equal totals."""
    trace = Trace(hosts=2, slots=2)
    once, again = (simulate(trace, 50, five_designs(trace, 50, COSTS)) for _ in range(2))

    assert [design.totals for design in once.designs] == [design.totals for design in again.designs]
