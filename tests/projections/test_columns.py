"""Columns hold every number of every line, whatever stood beside it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from mlv.projections import blocks
from mlv.projections.batch import LineBatch
from mlv.projections.points import points_and_events, whole_step
from mlv.projections.selecting import selection
from mlv.query.metrics.lines import MetricsLine

pytest.importorskip("hypothesis")
from hypothesis import given, settings
from hypothesis import strategies as st

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
            columns.add(MetricsLine("r1", 1, time_us, step, prefix, data))
            for key, value in data.items():
                if isinstance(value, (int, float)):
                    series = expected.setdefault(prefix + key, [])
                    whole = whole_step(step)
                    series.append((len(series) if whole is None else whole, time_us / 1e6, as_float(value)))
        for column in columns.take():
            rows = zip(column.steps.tolist(), column.times_s.tolist(), column.values.tolist(), strict=True)
            found.setdefault(column.name, []).extend(rows)

    assert repr(sorted(found.items())) == repr(sorted(expected.items()))


VALUES = [
    "1", "0.1", "-0.0", "9007199254740993", "-9223372036854775808", "9223372036854775807", "18446744073709551615", "true",
    "null", '"text"', '"2026-01-01"', "[1,2]", "[]", "{}", "1e400", '{"_mlv":"int","value":"99999999999999999999999"}', "1E2",
]  # fmt: skip
LINE = '{"run":"r1","seq":%d,"time":"2026-01-01T00:00:%02d.000%03dZ","type":"metrics",%s"data":{%s}}'
heads = st.sampled_from(
    ["", '"name":"c",', '"step":3,', '"step":4.5,', '"step":[1],', '"name":"d","step":-1,', '"at":{"e":1},']
)
data = st.dictionaries(names, st.sampled_from(VALUES), max_size=3).map(
    lambda found: ",".join(f'"{name}":{value}' for name, value in found.items())
)
ODD = ['{"half":', "", '{"run":"r1"}', '{"run":"r1","seq":1,"time":"2026-01-01","type":"metrics","data":{"a":1}}', "[1]"]
odd = st.sampled_from(ODD)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.one_of(st.tuples(heads, data), odd), max_size=4), st.lists(st.tuples(heads, data), min_size=1, max_size=2))
def test_lines_at_once_are_lines_one_by_one(tmp_path_factory, some, many):
    """Where many lines are parsed together, the columns are those of the slow way."""
    pytest.importorskip("pyarrow")
    chosen = [*some, *many * (-(-blocks.LEAST_BYTES // 150) // len(many))]
    texts = [one if isinstance(one, str) else LINE % (i + 1, i % 60, i % 1000, *one) for i, one in enumerate(chosen)]
    lines = "".join(f"{text}\n" for text in texts).encode()
    at_once, one_by_one = Columns({}), Columns({})
    for each in points_and_events(LineBatch(Path(), "log", 0, lines, selection())):
        if isinstance(each, MetricsLine):
            one_by_one.add(each)

    if at_once.add_lines(lines):
        assert _as_text(at_once) == _as_text(one_by_one)
    else:
        assert _as_text(at_once) == []


def test_plain_lines_are_parsed_at_once():
    """Lines as scripts log them need no slow way."""
    pytest.importorskip("pyarrow")
    texts = [LINE % (i, i % 60, 0, f'"step":{i},', '"loss":0.25,"count":3') for i in range(1, 1000)]

    assert Columns({}).add_lines("".join(f"{text}\n" for text in texts).encode())


def _as_text(columns: Columns) -> list[str]:
    found = [(one.name, one.steps.tolist(), one.times_s.tolist(), one.values.tolist()) for one in columns.take()]
    return sorted(map(repr, found))


def as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
