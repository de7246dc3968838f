"""Values of members on grids of their own, brought together."""

from __future__ import annotations

import math

import pytest

from mlv.errors import InvalidArgument

pytest.importorskip("numpy")
pytest.importorskip("hypothesis")
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mlv.query.many.grids import checked_grid, is_uneven, on_grid
from mlv.query.many.statistics import Samples

numbers = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([math.nan, math.inf]))
rows = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3), st.integers(-20, 20), numbers), min_size=1, max_size=60)


def points(table):
    group, member, x, value = zip(*table, strict=True)
    return Samples(np.array(group), np.array(member), np.array(x, float), np.array(value, float))


def as_dict(result):
    """Values by group, member and x; each stands once."""
    keys = list(zip(result.group.tolist(), result.member.tolist(), result.x.tolist(), strict=True))
    assert len(keys) == len(set(keys))
    return dict(zip(keys, result.value.tolist(), strict=True))


def tracks(table):
    """The values of each member in each group by x, the later of equal x."""
    result = {}
    for group, member, x, value in table:
        result.setdefault((group, member), {})[float(x)] = value
    return result


def naive_interpolation(table):
    result = {}
    own = tracks(table)
    for (group, member), values in own.items():
        places = sorted({x for (other, _), track in own.items() if other == group for x in track})
        for x in places:
            left = max((own for own in values if own <= x), default=None)
            right = min((own for own in values if own >= x), default=None)
            if left is None or right is None:
                continue
            ends = values[left], values[right]
            share = 0.0 if left == right else (x - left) / (right - left)
            between = ends[0] + (ends[1] - ends[0]) * share
            result[group, member, x] = between if all(map(math.isfinite, ends)) else math.nan
    return result


def naive_bins(table, count):
    xs = [x for _, _, x, _ in table]
    edges = np.linspace(min(xs), max(xs), count + 1)
    bins = {}
    for (group, member), track in tracks(table).items():
        for x, value in track.items():
            number = min(int(np.searchsorted(edges, x, side="right")) - 1, count - 1)
            bins.setdefault((group, member, (edges[number] + edges[number + 1]) / 2), []).append(value)
    return {key: sum(own) / len(own) if all(map(math.isfinite, own)) else math.nan for key, own in bins.items()}


@settings(deadline=None)
@given(rows)
def test_interpolated(table):
    """R10: each member has a value at every x of its group between its first and its last, in straight lines."""
    assert as_dict(on_grid(points(table), "interpolate")) == pytest.approx(naive_interpolation(table), nan_ok=True, abs=1e-6)


@settings(deadline=None)
@given(rows, st.integers(1, 9))
def test_binned(table, count):
    """R10: in each bin a member has the mean of its values, and NaN where one of them is no finite number."""
    result = as_dict(on_grid(points(table), count))

    assert result == pytest.approx(naive_bins(table, count), nan_ok=True, abs=1e-6)


@settings(deadline=None)
@given(rows)
def test_exact(table):
    """`exact` leaves values where they are."""
    given_points = points(table)

    assert on_grid(given_points, "exact") is given_points


def test_many_places():
    """Many places become two thousand even ones; a member with one value keeps it, at the nearest."""
    x = np.arange(5000.0)
    both = Samples(np.zeros(5001, int), np.append(np.zeros(5000, int), 1), np.append(x, 2.2), np.append(x, 7.0))

    result = on_grid(both, "interpolate")

    assert len(result.x) == 2001
    assert result.value[:2000] == pytest.approx(result.x[:2000])
    assert (result.value[-1], result.member[-1]) == (7.0, 1)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([range(10), range(10)], False),
        ([range(10), range(5)], False),  # ended early
        ([range(10), range(5, 15)], False),  # began later
        ([range(100), [*range(40), *range(41, 100)]], False),  # one is missing
        ([range(0, 100, 2), range(1, 100, 2)], True),
        ([range(0, 100, 3), range(0, 100, 5)], True),
        ([range(10)], False),
    ],
)
def test_uneven(members, expected):
    """Grids are uneven where members lack values between their first and last, not where they end early."""
    table = [(0, member, x, 1.0) for member, xs in enumerate(members) for x in xs]

    assert is_uneven(points(table)) is expected


@pytest.mark.parametrize("grid", ["linear", 0, -1, 2.5, True, None])
def test_grid_that_cannot_be(grid):
    """What is no way to bring values together is refused."""
    with pytest.raises(InvalidArgument, match="grid="):
        checked_grid(grid)
