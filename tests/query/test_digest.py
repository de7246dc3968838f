"""What one pass over an experiment tells about it as a whole."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logs import line, write

import mlv
from mlv.query.digest import read_digest

numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**60), 2**60), st.booleans(), st.text(max_size=3)
)
lines = st.lists(
    st.tuples(st.sampled_from(["r1", "r2"]), st.sampled_from(["log", "val"]), st.sampled_from(["", "a"]), numbers), max_size=30
)


@given(lines=lines, mode=st.sampled_from(["min", "max", None]))
def test_summaries_are_those_of_the_experiment(tmp_path_factory, lines, mode):
    """Metrics are folded in one pass to what `exp.summary()` says, over runs and streams."""
    folder = tmp_path_factory.mktemp("exp")
    (folder / "meta.json").write_text('{"format": 1, "params": {}}')
    described = [line("r0", 1, "metadata", name="a/x", data={"mode": mode})] if mode else []
    write(folder, *described, *(row(*given_, n) for n, given_ in enumerate(lines) if given_[1] == "log"))
    write(folder, *(row(*given_, n) for n, given_ in enumerate(lines) if given_[1] == "val"), stream="val")
    exp = mlv.Exp.open(folder)

    found = read_digest(folder, exp.id, exp.meta).metrics

    expected = exp.summary()
    assert found.keys() == expected.keys()
    for name, summary in expected.items():
        assert (found[name].last, found[name].count, found[name].nans) == (summary.last, summary.count, summary.nans)
        assert (found[name].min, found[name].max, found[name].best) == (summary.min, summary.max, summary.best)
        assert found[name].mean == (None if summary.mean is None else pytest.approx(summary.mean, rel=1e-9, abs=1e-300))
        assert (found[name].last_step, found[name].best_step) == (summary.last_step, summary.best_step)


def row(run, stream, name, value, number):
    return line(run, number + 1, "metrics", name=name, second=number, step=number, data={"x": value})


def test_a_clock_that_went_back(tmp_path):
    """The last value is that of the run whose clock was ahead, and within it that of the greatest `seq`."""
    (tmp_path / "meta.json").write_text('{"format": 1, "params": {}}')
    write(
        tmp_path,
        line("r1", 1, "metrics", second=9, data={"x": 1}),
        line("r2", 1, "metrics", second=4, data={"x": 2}),
        line("r1", 2, "metrics", second=1, data={"x": 3}),
    )
    write(tmp_path, line("r1", 3, "metrics", second=2, data={"x": 4}), stream="val")
    exp = mlv.Exp.open(tmp_path)

    found = read_digest(tmp_path, exp.id, exp.meta).metrics

    assert found["x"].last == exp.summary()["x"].last == 4


def test_nan_and_infinity(tmp_path, monkeypatch):
    """NaN is counted, and is no extreme; infinities are."""
    monkeypatch.setenv("MLV_INLINE", "1")
    with mlv.Exp(tmp_path, "exp", capture=()) as exp:
        for value in (math.nan, math.inf, math.inf, math.nan):
            exp.log({"x": value})
        exp.log({"y": math.nan})

    found = read_digest(exp.path, exp.id, exp.meta).metrics

    assert (found["x"].min, found["x"].max, found["x"].count, found["x"].nans) == (math.inf, math.inf, 4, 2)
    assert (found["y"].min, found["y"].max, found["y"].mean, found["y"].count) == (None, None, None, 1)


def test_long_logs_are_read_by_columns_to_the_same(tmp_path):
    """The columns of a long log give the digest that its lines give, and damaged lines are told once."""
    pytest.importorskip("pyarrow", reason="columns need pyarrow")
    rows = [
        line("r1", 1, "run_started", data={}),
        line("r1", 2, "metadata", name="a/x", data={"mode": "min"}),
        *(line("r1", seq, "metrics", name="a", step=seq, data={"x": seq % 7 + 0.5, "y": 0.25}) for seq in range(3, 15_000)),
        line("r1", 15_000, "run_ended", data={"status": "ok"}),
    ]
    (tmp_path / "meta.json").write_text('{"format": 1, "params": {}}')
    write(tmp_path, *rows)
    with open(tmp_path / "log.jsonl", "ab") as file:
        file.write(b'{"broken\n')
    skipped: list[list] = [[], []]

    plain, fast = (read_digest(tmp_path, "e", {}, skipped=holes, by_columns=way) for way, holes in enumerate(skipped))

    assert (tmp_path / "log.jsonl").stat().st_size > 1 << 20
    assert fast == plain
    assert len(skipped[0]) == len(set(skipped[1])) == 1
