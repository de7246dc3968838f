"""No spike is hidden: the columns of a curve hold what a naive fold over all its points gives."""

from __future__ import annotations

import math

import pytest

from mlv.errors import InvalidArgument
from mlv.web.pixels import Grid, grid, ordered, pixels, smoothed

np = pytest.importorskip("numpy", reason="curves need numpy")
hypothesis = pytest.importorskip("hypothesis", reason="properties need hypothesis")
st = hypothesis.strategies

VALUES = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([math.nan, math.inf, -math.inf, 0.0]))
POSITIONS = st.floats(0, 1000).map(lambda x: round(x, 6))
"""Positions whose distances are no numbers at the end of what floats can hold, where the loop below fails."""
POINTS = st.lists(st.tuples(st.one_of(st.integers(0, 60).map(float), st.floats(-100, 100)), VALUES), max_size=80)


@hypothesis.given(points=POINTS, count=st.integers(1, 30))
def test_columns_are_those_of_a_naive_fold(points, count):
    """First, least, greatest and last of each column are exact, and every value that is no number is counted in its column."""
    x, y = ordered(*(np.array(values, float) for values in (zip(*points, strict=True) if points else ([], []))))
    columns = grid([x], None, None, count)

    result = pixels(x, y, columns)

    expected: dict[int, list[float]] = {}
    for at, value in sorted(points, key=lambda point: point[0]):
        expected.setdefault(int(columns.columns(np.array([at]))[0]), []).append(value)
    assert -1 not in expected
    for column in range(count):
        finite = [value for value in expected.get(column, []) if math.isfinite(value)]
        drawn = [float(result.arrays[name][column]) for name in ("first", "min", "max", "last")]
        assert drawn == [finite[0], min(finite), max(finite), finite[-1]] if finite else all(map(math.isnan, drawn))
        for kind, is_kind in (("nan", math.isnan), ("inf", lambda v: v == math.inf), ("ninf", lambda v: v == -math.inf)):
            number = sum(map(is_kind, expected.get(column, [])))
            assert ((column, kind, number) in result.marks) == (number > 0)
    assert result.points == len(points)


@hypothesis.given(
    x=st.lists(st.one_of(st.integers(-30, 30).map(float), st.floats(-10, 10), st.floats()), max_size=60),
    span=st.tuples(st.floats(-40, 40), st.floats(-40, 40)), count=st.integers(1, 40),
)  # fmt: skip
def test_bounds_are_those_of_the_columns(x, span, count):
    """Where the bounds of all columns are searched, each point lies between those of its own column."""
    x = np.sort(np.array([position for position in x if position == position], float))
    hypothesis.assume(span[0] < span[1])
    columns = Grid(*span, count)

    bounds = columns.bounds(x)

    if bounds is not None:
        expected = np.full(len(x), -1)
        for column in range(count):
            expected[bounds[column] : bounds[column + 1]] = column
        assert expected.tolist() == columns.columns(x).tolist()


def test_many_points_are_drawn_as_few_are(monkeypatch):
    """The fast way for many points gives the columns that the other gives."""
    x = np.sort(np.random.default_rng(0).normal(size=5000).round(2))
    y = np.random.default_rng(1).normal(size=5000)
    columns = Grid(-1.0, 1.5, 300)
    assert columns.bounds(x) is not None
    fast = pixels(x, y, columns, 0.5)
    monkeypatch.setattr(Grid, "bounds", lambda *_: None)
    slow = pixels(x, y, columns, 0.5)

    assert fast.points == slow.points
    assert (fast.marks, fast.totals) == (slow.marks, slow.totals)
    assert all(np.array_equal(fast.arrays[name], slow.arrays[name], equal_nan=True) for name in slow.arrays)


@hypothesis.given(
    points=st.lists(st.tuples(POSITIONS, st.floats(-1e3, 1e3)), min_size=1, max_size=60), weight=st.floats(0, 0.999)
)
def test_smoothing_is_that_of_a_naive_fold(points, weight):
    """The fast way to smooth gives the moving average that a loop gives."""
    x, y = ordered(*(np.array(values, float) for values in zip(*points, strict=True)))
    mean = (x[-1] - x[0]) / (len(x) - 1) if len(x) > 1 else 0.0

    line = smoothed(x, y, weight)

    total = share = 0.0
    for number, value in enumerate(y):
        gap = x[number] - x[number - 1] if number else 0.0
        kept = weight ** (gap / mean if gap > 0 else 1.0)
        total, share = kept * total + (1 - kept) * value, kept * share + (1 - kept)
        if share > 1e-9:
            assert line[number] == pytest.approx(total / share, rel=1e-6, abs=1e-6)


def test_planted_spikes_stay():
    """Of 100,000 points each of 60 single spikes is in its column."""
    y = np.random.default_rng(0).normal(size=100_000)
    spikes = np.arange(60) * 1600 + 7
    y[spikes] = 1000.0

    result = pixels(np.arange(100_000.0), y, Grid(0, 99_999, 700))

    assert len(set(spikes * 700 // 99_999)) == 60
    assert int((result.arrays["max"] == 1000.0).sum()) == 60


def test_zoom_counts_only_its_points():
    """A range shows the points in it, both ends included."""
    result = pixels(np.arange(100.0), np.arange(100.0), Grid(10, 20, 5))

    assert result.points == 11
    assert result.arrays["first"][0] == 10
    assert result.arrays["last"][-1] == 20


def test_logarithmic_columns():
    """Columns of a logarithmic axis are equally wide in its logarithm; what is not above zero has none."""
    x = np.array([-1.0, 0.0, 1.0, 10.0, 100.0])

    result = pixels(x, x, grid([x], None, None, 3, is_log=True))

    assert result.points == 3
    assert result.arrays["last"].tolist()[0] == 1.0
    assert result.arrays["max"][2] == 100.0


@hypothesis.given(x=st.lists(st.floats(1e-12, 1e12), min_size=2, max_size=20, unique=True), count=st.integers(1, 30))
def test_ends_of_a_logarithmic_axis_are_inside(x, count):
    """No point is lost by the last digit of its logarithm: neither one at an end, nor one at the edge of two columns."""
    x = np.array(sorted(x))

    result = pixels(x, x, grid([x], None, None, count, is_log=True))

    assert result.points == len(x)
    assert np.nanmin(result.arrays["min"]) == x[0]
    assert np.nanmax(result.arrays["max"]) == x[-1]


@pytest.mark.parametrize("x", [[-1.7e308, 0.0, 1.7e308], [5e-323, 1e-322], [1.0, 1.0000000000000002]])
@pytest.mark.parametrize("is_log", [False, True])
def test_extreme_ranges_keep_their_points(x, is_log):
    """A range wider than floats, or as narrow as two neighbours, drops no point."""
    x = np.array(x)

    result = pixels(x, x, grid([x], None, None, 7, is_log=is_log))

    assert result.points == int((x > 0).sum() if is_log else len(x))


def test_infinite_positions_do_not_spoil_the_smoothed_line():
    """A point that lies nowhere on the axis is left out of the moving average too."""
    x, y = np.array([0.0, 1.0, 2.0, math.inf]), np.array([0.0, 1.0, 2.0, 3.0])
    columns = grid([x], None, None, 3)

    assert pixels(x, y, columns, 0.5).arrays["smooth"].tolist() == pixels(x[:3], y[:3], columns, 0.5).arrays["smooth"].tolist()


@pytest.mark.parametrize(("begin", "end", "count"), [(1, 0, 5), (math.nan, 1, 5), (0, 1, 0), (0, 1, 10**9), (0, math.inf, 5)])
def test_wrong_ranges_are_refused(begin, end, count):
    """A range that is none is answered with a sentence."""
    with pytest.raises(InvalidArgument):
        grid([np.arange(3.0)], begin, end, count)


def test_weights_are_checked():
    """A weight of 1 would keep the first value for ever."""
    with pytest.raises(InvalidArgument, match=r"0\.6"):
        smoothed(np.arange(3.0), np.arange(3.0), 1.0)
