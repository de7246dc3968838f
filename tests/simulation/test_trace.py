"""The trace of a laboratory."""

from __future__ import annotations

from statistics import median, quantiles

import pytest

from benchmarks.simulation.trace import DAY_S, Trace, united


def test_equal_seeds_give_equal_traces():
    """A trace can be drawn again; another seed gives another one."""
    runs = list(Trace(seed=3).runs(50))

    assert runs == list(Trace(seed=3).runs(50))
    assert runs != list(Trace(seed=4).runs(50))


def test_sizes_are_as_the_settings_say():
    """Half of all runs have at most the median of events, 99 % at most the percentile; lengths stay within their bounds."""
    runs = list(Trace().runs(20_000))
    events = [run.events for run in runs]

    assert median(events) == pytest.approx(1_000, rel=0.1)
    assert quantiles(events, n=100)[-1] == pytest.approx(1e6, rel=0.3)
    assert 600 <= min(run.length_s for run in runs) < max(run.length_s for run in runs) <= 3 * DAY_S
    assert all(run.rate <= 1_001 for run in runs)


def test_outages_stay_where_they_are():
    """Whoever looks at the same time sees the same outages, however far somebody looked before."""
    once, again = Trace().outages(7), Trace().outages(7)
    year = once.within(0, 365 * DAY_S)

    assert [span for month in range(12) for span in again.within(month * 30 * DAY_S, (month + 1) * 30 * DAY_S)][:5] == year[:5]
    assert all(60 <= end - begin <= 1800 for begin, end in year)
    assert united(year) == year


def test_spans_that_touch_are_one():
    """Outages of the store and of the network are counted once."""
    assert united([(5, 7), (0, 2), (1, 3), (7, 8)]) == [(0, 3), (5, 8)]
