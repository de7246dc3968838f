"""A metric folded to a few numbers."""

from __future__ import annotations

import math
from dataclasses import fields
from datetime import datetime, timezone

import pytest
from logs import line, write

from mlv.query.events import Events
from mlv.query.metrics.summary import Summary, fast_summary, summary
from mlv.state import STATISTICS, State, Summarized


def of(folder, *values, **description):
    write(folder, *(line("ra", seq, "metrics", seq, step=seq, data={"a": value}) for seq, value in enumerate(values, 1)))
    return summary(Events(folder, "metrics"), State(descriptions={"a": description}))["a"]


def test_numbers(tmp_path):
    """Last, least, greatest, best, mean and count."""
    found = of(tmp_path, 3, 1.0, 2, 1, mode="min")

    numbers = {"last": 1, "min": 1, "max": 3, "best": 1, "mean": 1.75, "count": 4, "last_step": 4, "best_step": 2}
    assert found == Summary(**numbers, value=1, value_step=4)


@pytest.mark.parametrize(
    ("statistic", "value", "step"),
    [("last", 1, 4), ("min", 1, 2), ("max", 3, 1), ("mean", 1.75, None), ("best", 3, 1), ("none", None, None), ("p99", 1, 4)],
)
def test_the_value_that_stands(tmp_path, statistic, value, step):
    """A description chooses the number that stands for the metric; one that is not known chooses the last."""
    found = of(tmp_path, 3, 1.0, 2, 1, mode="max", summary=statistic)

    assert (found.value, found.value_step) == (value, step)
    assert found.statistic == (statistic if statistic != "p99" else "last")


@pytest.mark.parametrize(("values", "statistic"), [((1, 2), "best"), (("x", "y"), "min"), ((math.nan,), "mean")])
def test_a_statistic_without_a_number(tmp_path, values, statistic):
    """Where there is no such number the last value stands, and says so."""
    found = of(tmp_path, *(None if value != value else value for value in values), summary=statistic)

    assert (found.value, found.statistic) == (found.last, "last")


def test_given_values(tmp_path):
    """A value of `exp.summarize` stands for the metric of its name, whatever its description; its numbers stay."""
    write(tmp_path, line("ra", 1, "metrics", data={"a": 1}), line("ra", 2, "metrics", 1, data={"a": 2}))
    given = {name: Summarized(value, datetime.now(timezone.utc)) for name, value in {"a": 7, "time_s": "long"}.items()}

    found = summary(Events(tmp_path), State(descriptions={"a": {"summary": "min"}}, summaries=given))

    assert (found["a"].value, found["a"].statistic, found["a"].last, found["a"].min) == (7, "summary", 2, 1)
    assert found["time_s"] == Summary(value="long", statistic="summary")


def test_the_best_needs_a_mode(tmp_path):
    """Nobody guesses whether less is better."""
    assert of(tmp_path, 1, 2).best is None
    assert of(tmp_path, 1, 2, mode="max").best == 2


def test_nan(tmp_path):
    """NaN is counted, and neither the best nor part of the mean; infinities are numbers."""
    line_of_nan = line("ra", 2, "metrics", 2, data={"a": None}, nonfinite={"/a": "nan"})
    line_of_inf = line("ra", 3, "metrics", 3, data={"a": None}, nonfinite={"/a": "inf"})
    write(tmp_path, line("ra", 1, "metrics", 1, data={"a": 2}), line_of_nan)
    of_nan = summary(Events(tmp_path), State())["a"]
    write(tmp_path, line("ra", 1, "metrics", 1, data={"a": 2}), line_of_inf)
    of_inf = summary(Events(tmp_path), State())["a"]

    assert math.isnan(of_nan.last)
    assert (of_nan.min, of_nan.max, of_nan.mean, of_nan.count, of_nan.nans) == (2, 2, 2, 2, 1)
    assert (of_inf.min, of_inf.max, of_inf.mean, of_inf.count, of_inf.nans) == (2, math.inf, math.inf, 2, 0)


@pytest.mark.parametrize("value", ["x", None, True, [1], {"b": 1}])
def test_what_is_no_number(tmp_path, value):
    """Other values may be the last, and are not counted."""
    found = of(tmp_path, 1, value)

    assert (found.last, found.count, found.max) == (value, 1, 1)


def test_full_names(tmp_path):
    """A metric is known by its full name, however it was logged."""
    write(tmp_path, line("ra", 1, "metrics", name="t", data={"a": 1}), line("ra", 2, "metrics", 1, data={"t/a": 2, "b": 3}))

    assert {name: found.count for name, found in summary(Events(tmp_path), State()).items()} == {"t/a": 2, "b": 1}


def test_by_columns(tmp_path_factory):
    """By columns or event by event: the same, but for the last digit of a mean."""
    pytest.importorskip("pyarrow")
    pytest.importorskip("hypothesis")
    from hypothesis import given, settings
    from hypothesis import strategies as st

    from query.metrics.test_long_table import metric_line

    keys = st.sampled_from(["a", "b", "t/a"])
    data = st.dictionaries(keys, st.floats(width=32) | st.integers(-3, 3), max_size=3)
    events = st.tuples(st.fixed_dictionaries({"name": st.sampled_from(["", "t"]), "data": data}), st.none() | st.integers(0, 9))

    @settings(deadline=None)
    @given(st.lists(events, max_size=8), st.randoms(), st.sampled_from([None, "min", "max"]), st.sampled_from(STATISTICS))
    def check(events, random, mode, statistic):
        folder = tmp_path_factory.mktemp("exp")
        lines = [metric_line(seq, *event) for seq, event in enumerate(events, 1)]
        random.shuffle(lines)
        write(folder, *lines)
        state = State(descriptions={name: {"mode": mode, "summary": statistic} for name in ("a", "t/a")})

        slow, fast = summary(Events(folder, "metrics"), state), fast_summary(folder, state)

        assert fast is not None
        assert sorted(fast) == sorted(slow)
        for name, plain in slow.items():
            for field in fields(Summary):
                expected, found = getattr(plain, field.name), getattr(fast[name], field.name)
                assert found == (None if expected is None else pytest.approx(expected, nan_ok=True))

    check()
