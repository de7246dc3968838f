"""Functions through measured points."""

from __future__ import annotations

import pytest

from benchmarks.simulation.costs import FILE, LATENCIES_MS, Costs
from benchmarks.simulation.fits import fit

SIZES = (1e3, 1e4, 1e5, 1e6)


@pytest.mark.parametrize(
    ("form", "function"), [("line", lambda x: 0.08 + 3e-9 * x), ("power", lambda x: 2e-6 * x**0.8)], ids=["line", "power"]
)
def test_a_function_is_recognised(form, function):
    """Points of a line give that line, points of a power that power, also a decade beyond."""
    fitted = fit([(x, function(x)) for x in SIZES], (1e7, function(1e7)))

    assert fitted.form == form
    assert fitted(1e7) == pytest.approx(function(1e7), rel=1e-6)
    assert max(abs(fitted.check_error), fitted.error) < 1e-6


def test_the_decade_left_out_judges():
    """The error is that of a prediction: what is beyond has no say in the fit."""
    points = [(x, 1 + x) for x in (1, 10, 100)]

    assert fit(points, (1000, 1001)).check_error == pytest.approx(0)
    assert fit(points, (1000, 2002)).check_error == pytest.approx(-0.5)


def test_nothing_costs_less_than_nothing():
    """Noise in small sizes gives no negative time, and larger ones are not cheaper."""
    rising = fit([(1, 0.1), (10, 5), (100, 60)], (1000, 600), ["line"])
    falling = fit([(1, 3), (10, 2), (100, 1)], (1000, 1), ["line"])

    assert rising(0) >= 0
    assert falling(1000) >= falling(1) > 0


@pytest.mark.parametrize("latency_ms", LATENCIES_MS)
def test_measured_costs_are_complete(latency_ms):
    """The measured functions can be read for each distance, and a request takes at least its round trip."""
    costs = Costs.load(latency_ms, FILE)

    assert costs.put_s(1000) >= latency_ms / 1000
    assert costs.get_s(1000) >= latency_ms / 1000
    assert 0 < costs.gzip_bytes(1e6) < 1e6
