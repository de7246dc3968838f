"""The rows that lines become, of one log or of many at once."""

from __future__ import annotations

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("numpy")

import logs
from lakes import metrics

from mlv.lake.rows import MetricRows, RowBlock, parse_together

LINES = {
    "plain": lambda run: [metrics(run, seq, seq, x=float(seq), y=1) for seq in range(1, 40)],
    "notes": lambda run: [
        logs.line(run, 1, "note", data={"run": run, "text": f'{{"run":"{run}",'}),
        *(metrics(run, seq, seq, x=float(seq), y=1) for seq in range(2, 20)),
        logs.line(run, 20, "note"),
    ],
    "odd": lambda run: [
        *(metrics(run, seq, seq, x=float(seq), y=1) for seq in range(1, 5)),
        metrics(run, 5, 5, x="text", y=1),
        metrics(run, 6, 2**60 + 1, x=1.0, y=2**70),
        b"half a line\n",
    ],
    "other": lambda run: [metrics(run, seq, seq, z=float(seq)) for seq in range(1, 4)],
    "nested": lambda run: [
        logs.line(run, seq, "metrics", step=1, data={"x": 1.0, "y": 1}, other={"run": run}) for seq in (1, 2)
    ],
}


def rows_of(parsed):
    """The rows of a parsed block, as texts."""
    rows = MetricRows()
    for table in parsed.tables:
        rows.add("exp", "log", table)
    return sorted(str(row) for row in rows.table().to_pylist()), sorted(parsed.unlike)


@pytest.mark.parametrize("kinds", ["plain plain plain", "plain notes odd", "plain other", "nested plain", "odd odd"])
def test_many_logs_at_once_give_the_rows_of_each(kinds):
    """Logs that are parsed together have the rows that each has alone, of its own run."""
    blocks = [RowBlock("log", b"".join(LINES[kind](f"run{number}"))) for number, kind in enumerate(kinds.split())]

    together = parse_together(blocks)

    alone = [parse_together([block])[0] for block in blocks]
    assert list(map(rows_of, together)) == list(map(rows_of, alone))
    assert all(f"run{number}" in str(rows_of(parsed)) for number, parsed in enumerate(together))


def test_rows_are_sorted():
    """Rows of many logs are in the order of name, experiment and step, those without a step first."""
    rows = MetricRows()
    lines = metrics("r1", 1, 5, y=1.0, x=2.0) + metrics("r1", 2, 3, x=1.0) + metrics("r1", 3, x=0.0)
    for exp in ("b", "a"):
        for table in parse_together([RowBlock("log", lines)])[0].tables:
            rows.add(exp, "log", table)

    keys = [(row["name"], row["exp"], -1.0 if row["step"] is None else row["step"]) for row in rows.table().to_pylist()]

    assert keys == sorted(keys)
    assert len(keys) == 8
