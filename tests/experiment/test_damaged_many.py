"""Many experiments, of which one is being written, cut off or damaged: what is whole is read."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mlv

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")


@pytest.fixture
def root(tmp_path, inline):
    """Two experiments of three steps each."""
    for name in ("a", "b"):
        with mlv.Exp(tmp_path / "runs", name, capture=()) as exp:
            for step in range(3):
                exp.log({"loss": float(step)}, step=step)
    return tmp_path / "runs"


def readings(root) -> tuple[object, ...]:
    """Whatever many experiments answer."""
    found = mlv.find(root)
    counts = found.sql("select exp_name, count(*) from metrics group by all order by 1").rows()
    frame = found.frame(stats=["count"])
    return counts, list(frame["metrics.loss.count"]), list(found.aggregate()["count"]), len(found.history())


def test_cut_at_each_byte_of_the_last_metrics(root):
    """However a log is cut within its last lines of metrics, each way of reading sees the same whole lines."""
    path = root / "b" / "log.jsonl"
    content = path.read_bytes()
    lines = content.splitlines(keepends=True)
    ends = [sum(map(len, lines[: n + 1])) for n, line in enumerate(lines) if b'"metrics"' in line]

    for cut in range(ends[-2] - 1, ends[-1] + 1, 7):
        path.write_bytes(content[:cut])
        # A line that lacks nothing but its newline is whole.
        whole = sum(cut >= end - 1 for end in ends)

        assert readings(root) == ([("a", 3), ("b", whole)], [3, whole], [2] * whole + [1] * (3 - whole), 3 + whole)


@pytest.mark.parametrize("damage", [b"half a line\n", b'{"type":"metrics","data":3}\n', b"\xff\n"])
def test_a_damaged_line_in_the_middle(root, damage):
    """A damaged line costs nothing but itself."""
    path = root / "b" / "log.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], damage, *lines[3:]]))

    assert readings(root) == ([("a", 3), ("b", 3)], [3, 3], [2, 2, 2], 6)


def test_a_running_log(root):
    """What is being written is read as far as it is whole."""
    with mlv.Exp.open(root / "b") as exp:
        exp.log({"loss": 9.0}, step=3)
        exp.flush()

        assert readings(root)[1:3] == ([3, 4], [2, 2, 2, 1])


names = st.text(min_size=1, max_size=6).filter(lambda name: not name.startswith("_mlv"))
values = st.one_of(st.floats(), st.integers(-(2**50), 2**50))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(st.dictionaries(names, values, max_size=3), st.integers(0, 9)), max_size=6))
def test_what_was_logged_is_what_sql_gives(tmp_path_factory, inline, rows):
    """Hostile names and values come back from SQL as they were logged."""
    folder = tmp_path_factory.mktemp("runs")
    expected = []
    with mlv.Exp(folder, "exp", capture=()) as exp:
        for metrics, step in rows:
            exp.log(metrics, step=step)
    for event in exp.events("metrics"):
        expected += [(event.seq, float(event.step), name, float(value)) for name, value in event.data.items()]

    found = mlv.find(folder).sql("select seq, step, name, value from metrics order by seq").rows()

    assert sorted(map(comparable, found)) == sorted(map(comparable, expected))


def comparable(row):
    return (*row[:3], math.isnan(row[3]), 0.0 if math.isnan(row[3]) else row[3])
