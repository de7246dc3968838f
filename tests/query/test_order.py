"""One order of the events, for every reader: within a run `seq` decides, whatever the clock did, and between runs time."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logs import line, write

from mlv.encoding import parse_time
from mlv.order import in_order, rows_in_order
from mlv.query.tail import Tail, latest_metrics

Row = tuple[str, str, int, tuple[str, ...], "int | None"]
"""Run, stream, second, metrics and step."""

rows = st.lists(
    st.tuples(
        st.sampled_from(["r1", "r2", "r3"]), st.sampled_from(["log", "log", "val"]), st.integers(0, 12),
        st.sampled_from([("a",), ("b",), ("a", "b")]), st.one_of(st.none(), st.integers(0, 5)),
    ),
    min_size=1, max_size=14,
)  # fmt: skip


def numbered(rows: list[Row]) -> list[dict[str, Any]]:
    """The rows as events; their values are their places."""
    seqs: dict[str, int] = {}
    events = []
    for value, (run, stream, second, names, step) in enumerate(rows):
        seqs[run] = seqs.get(run, 1) + 1
        event = {"run": run, "seq": seqs[run], "second": second, "data": dict.fromkeys(names, value)}
        events.append({**event, "stream": stream, **({} if step is None else {"step": step})})
    return events


@given(rows=rows)
def test_columns_are_ordered_as_objects_are(rows):
    """Rows of arrays come in the order in which the same events come as objects."""
    np = pytest.importorskip("numpy")
    events = numbered(rows)
    names = list({event["run"]: None for event in events})
    runs = np.array([names.index(event["run"]) for event in events])

    places = rows_in_order(runs, names, *(np.array([event[key] for event in events]) for key in ("seq", "second")))

    assert [events[place] for place in places] == in_order(events, lambda event: (event["run"], event["seq"], event["second"]))


CLOCK_SET_BACK = (
    line("ra", 1, "run_started", second=39, data={}),
    line("ra", 2, "metrics", second=40, data={"loss": 1}),
    line("ra", 3, "metrics", second=10, data={"loss": 2}),
    line("ra", 4, "run_ended", second=41, data={"status": "ok"}),
)


@pytest.mark.parametrize("about", [None, {}, {"parent_run": "ra", "rank": 1}], ids=["one run", "two runs", "child"])
def test_commands_agree(command, tmp_path, about):
    """A1: `ls`, plain, chosen and as JSON, `show`, `summary` and `sql` show one last value though a clock was set back."""
    pytest.importorskip("duckdb")
    (tmp_path / "meta.json").write_text('{"format": 1, "params": {}, "created": "2026-01-01T00:00:00.000000Z"}')
    other = [
        line("rb", 1, "run_started", second=5, data=about),
        line("rb", 2, "metrics", second=20, data={"loss": 3}),
        line("rb", 3, "run_ended", second=21, data={"status": "ok"}),
    ]
    write(tmp_path, *CLOCK_SET_BACK, *(other if about is not None else []))

    def told(*arguments: str) -> str:
        done = command(*arguments)
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    assert "loss=2" in told("ls", ".")
    assert json.loads(told("ls", ".", "--json"))["metrics"] == {"loss": 2}
    assert "loss=2" in told("ls", ".", "--where", "metrics.loss.last = 2")
    assert json.loads(told("show", ".", "--json"))["metrics"]["loss"]["value"] == 2
    assert json.loads(told("summary", ".", "--json"))["loss"]["last"] == 2
    assert told("sql", ".", "select metrics.loss.last::int as last from experiments", "--csv").split() == ["last", "2"]


def test_tail_shows_a_run_by_seq(tmp_path):
    """A1: the last lines of a run whose clock was set back are those that were logged last."""
    write(tmp_path, *CLOCK_SET_BACK)

    assert [found.event.seq for found in Tail(tmp_path).last(3)] == [2, 3, 4]


def test_the_end_of_a_long_log_that_does_not_tell(tmp_path):
    """A1: where another run was heard of later than what stands at the end of a log, all of it is read."""
    filling = [line("rb", number, "metrics", second=2, data={"other": number}) for number in range(10, 400)]
    later = line("rb", 500, "metrics", second=3, data={"loss": 2})
    started, ahead = line("ra", 1, "run_started", second=49), line("ra", 2, "metrics", second=50, data={"loss": 1})
    heard = {"ra": parse_time("2026-01-01T00:00:50.000000Z"), "rb": parse_time("2026-01-01T00:00:03.000000Z")}

    write(tmp_path, started, ahead, *filling, later)
    assert latest_metrics(tmp_path, 1 << 12, heard=heard)["loss"].value == 1
    assert latest_metrics(tmp_path)["loss"].value == 1
    write(tmp_path, *filling, later, started)  # a run of which all is there, without metrics
    assert latest_metrics(tmp_path, 1 << 12, heard=heard)["loss"].value == 2
