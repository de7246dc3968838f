"""Many experiments, of which one is being written, cut off or damaged: what is whole is read."""

from __future__ import annotations

import json
import math
import shutil

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
        with mlv.Exp(tmp_path / "runs", name, capture=(), tags=[name]) as exp:
            for step in range(3):
                exp.log({"loss": float(step)}, step=step)
    return tmp_path / "runs"


def readings(root) -> tuple[object, ...]:
    """Whatever many experiments answer."""
    found = mlv.find(root)
    counts = found.sql("select exp_name, count(*) from metrics group by all order by 1").rows()
    frame = found.frame(stats=["count"])
    return counts, list(frame["metrics.loss.count"]), list(found.aggregate()["count"]), len(found.history())


def exported(root) -> list[float]:
    """The losses of `b` in files."""
    out = root.parent / "out"
    mlv.find(root).export("jsonl", out)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    shutil.rmtree(out)
    return [row["value"] for row in rows if row["exp_name"] == "b"]


def of_b(table, column="loss") -> list[float]:
    return list(table[table["exp_name"] == "b"][column])


READERS = {
    "history of many": lambda root: of_b(mlv.find(root).history()),
    "aggregate": lambda root: list(mlv.find(root, tags="b").aggregate(stats=["mean"])["mean"]),
    "sql of many": lambda root: [
        value for (value,) in mlv.find(root).sql("select value from metrics where exp_name = 'b' order by seq").rows()
    ],
    "sql": lambda root: [value for (value,) in mlv.Exp.open(root / "b").sql("select value from metrics order by seq").rows()],
    "events in sql": lambda root: [
        float(value)
        for (value,) in mlv.find(root).sql(
            "select data->>'$.loss' from events where exp_name = 'b' and type = 'metrics' order by seq"
        ).rows()
    ],
    "export": exported,
    "as of": lambda root: list(mlv.Exp.open(root / "b").as_of(step=99).history()["loss"]),
    "summary as of": lambda root: [float(n) for n in range(mlv.Exp.open(root / "b").as_of(step=99).summary()["loss"].count)],
    "summary": lambda root: [float(n) for n in range(mlv.Exp.open(root / "b").summary()["loss"].count)],
}  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
def test_cut_at_each_byte_of_the_last_two_lines(root, reader):
    """However a log is cut within its last two lines, each way of reading gives the lines that are whole."""
    path = root / "b" / "log.jsonl"
    lines = [
        line for line in path.read_bytes().splitlines(keepends=True) if b'"seal"' not in line and b'"run_ended"' not in line
    ]
    assert b'"metrics"' in lines[-2]
    ends = [sum(map(len, lines[: n + 1])) for n, line in enumerate(lines) if b'"metrics"' in line]

    # Each byte for the cheapest; others read the same lines, and each look at SQL opens a DuckDB.
    every = 9 if "sql" in reader else 1 if reader == "summary" else 4
    near = {end + beside for end in ends[-3:] for beside in (-2, -1, 0, 1)}
    for cut in sorted({*range(ends[-3], ends[-1] + 1, every), *near} & {*range(ends[-3], ends[-1] + 1)}):
        path.write_bytes(b"".join(lines)[:cut])
        # A line that lacks nothing but its newline is whole.
        assert READERS[reader](root) == [float(n) for n, end in enumerate(ends) if cut >= end - 1]


@pytest.mark.parametrize("reader", [reader for reader in READERS if "summary" not in reader])
def test_a_damaged_metric(root, reader):
    """Damage within a line of metrics costs that line, and no other."""
    path = root / "b" / "log.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    place = next(n for n, line in enumerate(lines) if b'"loss":1.0' in line)
    lines[place] = lines[place].replace(b'"data"', b"\xff\x00")
    path.write_bytes(b"".join(lines))

    assert READERS[reader](root) == [0.0, 2.0]


def test_damage_is_named(root):
    """Whatever reads many experiments says which bytes it passed over, and of which file."""
    path = root / "b" / "log.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], b"damage\n", *lines[3:]]))
    start = sum(map(len, lines[:3]))
    expected = [f"{path}, bytes {start} to {start + 7}: not JSON"]
    found = mlv.find(root)

    told = {
        "history": found.history().attrs["skipped"],
        "aggregate": found.aggregate().attrs["skipped"],
        "metrics": found.sql("select * from metrics").skipped,
        "all": found.sql("select * from events, metrics, files").skipped,
    }
    assert "skipped.txt" in found.export("csv", root.parent / "out")

    told["export"] = (root.parent / "out" / "skipped.txt").read_text().splitlines()
    assert {name: [text[: len(expected[0])] for text in texts] for name, texts in told.items()} == dict.fromkeys(told, expected)
    assert found[:1].sql("select * from metrics").skipped == []


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
    """Hostile names and values come back from SQL as they were logged; NaN as null."""
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
    is_null = row[3] is None or math.isnan(row[3])
    return (*row[:3], is_null, 0.0 if is_null else row[3])
