"""Columns hold every number of every line, whatever stood beside it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlv.projections.points import Points, whole_step

numpy = pytest.importorskip("numpy")

from mlv.projections.columns import Columns  # noqa: E402 - it needs numpy

names = st.sampled_from(["a", "b", "c/d", "d"])
values = st.one_of(st.integers(), st.integers(10**307, 10**310), st.floats(), st.booleans(), st.none(), st.text(max_size=2))
steps = st.one_of(
    st.none(), st.integers(-(2**70), 2**70), st.floats(), st.lists(st.integers(0, 9), max_size=2), st.text(max_size=1)
)
lines = st.lists(st.tuples(st.sampled_from(["", "c/"]), steps, st.dictionaries(names, values, max_size=3)), max_size=12)


@given(st.lists(lines, max_size=3))
def test_columns_are_the_points_one_by_one(batches):
    """Taken at any time, the columns are what a loop over all lines and values gives."""
    expected: dict[str, list[tuple[Any, ...]]] = {}
    found: dict[str, list[tuple[Any, ...]]] = {}
    columns, time_us = Columns({}), 0
    for batch in batches:
        for prefix, step, data in batch:
            time_us += 1
            columns.add(Points("r1", time_us, step, prefix, data))
            for key, value in data.items():
                if isinstance(value, (int, float)):
                    series = expected.setdefault(prefix + key, [])
                    whole = whole_step(step)
                    series.append((len(series) if whole is None else whole, time_us / 1e6, as_float(value)))
        for column in columns.take():
            rows = zip(column.steps.tolist(), column.times_s.tolist(), column.values.tolist(), strict=True)
            found.setdefault(column.name, []).extend(rows)

    assert repr(found) == repr(expected)


def as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
