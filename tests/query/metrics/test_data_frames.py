"""One experiment as data frames: what was logged is what stands in them."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import pytest
from logs import line, write

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytest.importorskip("hypothesis")
from hypothesis import given, settings
from hypothesis import strategies as st

import mlv
from mlv import InvalidArgument, InvalidPattern, UnknownMetric
from mlv.query.events import Events
from mlv.query.metrics.data_frames import frame, history
from mlv.query.metrics.summary import summary
from mlv.query.moments import moment, until
from mlv.state import State
from query.metrics.test_long_table import coordinates, metric_line, steps, values


def metric(seq: int, data: dict, step: Any = None, *, run: str = "ra", name: str = "", second: float | None = None, **at: Any):
    fields = {"name": name} if name else {}
    fields.update({"step": step} if step is not None else {})
    fields.update({"at": at} if at else {})
    return line(run, seq, "metrics", seq if second is None else second, **fields, data=data)


def shown(table: Any) -> list[dict[str, Any]]:
    """The rows without their times; what is missing is left out."""
    rows = table.drop(columns="time").to_dict("records")
    return [{key: value for key, value in row.items() if value == value} for row in rows]


class TestWide:
    def test_columns(self, tmp_path):
        """Step, time, coordinates, then a column for each full name."""
        write(tmp_path, metric(1, {"loss": 0.5}, 1, name="train", epoch=0), metric(2, {"train/acc": 1}, 2, epoch=0))

        table = history(tmp_path)

        assert list(table.columns) == ["step", "time", "epoch", "train/loss", "train/acc"]
        assert [str(kind) for kind in table.dtypes] == ["int64", "datetime64[us, UTC]", "int64", "float64", "float64"]
        assert str(table["time"][1]) == "2026-01-01 00:00:02+00:00"

    def test_equal_steps_are_one_row(self, tmp_path):
        """Values of the same step and coordinates share a row, and the later one wins."""
        lines = [
            metric(1, {"a": 1, "b": 1}, 5),
            metric(2, {"a": 9}, 6),
            metric(3, {"a": 2, "c": 3}, 5.0),
            metric(4, {"a": 4}, 5, x=1),
        ]
        write(tmp_path, *lines)

        assert shown(history(tmp_path)) == [
            {"step": 5, "a": 2, "b": 1, "c": 3},
            {"step": 6, "a": 9},
            {"step": 5, "x": 1, "a": 4},
        ]

    def test_a_resumed_run_wins(self, tmp_path):
        """What a second run measures at a step again replaces it, though its seq is smaller."""
        write(tmp_path, metric(8, {"a": 1}, 1), metric(9, {"a": 2}, 2), metric(2, {"a": 3}, 2, run="rb", second=30))

        assert shown(history(tmp_path)) == [{"step": 1, "a": 1}, {"step": 2, "a": 3}]

    def test_lines_out_of_order(self, tmp_path):
        """The seq counts, not the place in the file."""
        write(tmp_path, metric(3, {"a": 3}, 1), metric(2, {"a": 2}, 1), metric(1, {"a": 1}, 0))

        assert shown(history(tmp_path)) == [{"step": 0, "a": 1}, {"step": 1, "a": 3}]

    def test_without_a_step_nothing_is_merged(self, tmp_path):
        """Each line without a step is a row."""
        write(tmp_path, metric(1, {"a": 1}), metric(2, {"a": 2}), metric(3, {"b": 3}))

        assert shown(history(tmp_path)) == [{"step": 0, "a": 1}, {"step": 1, "a": 2}, {"step": 0, "b": 3}]

    def test_streams_share_rows(self, tmp_path):
        """Metrics of all streams stand side by side; one can be chosen."""
        write(tmp_path, metric(1, {"loss": 1}, 1))
        write(tmp_path, metric(2, {"acc": 0.5}, 1), stream="val")

        assert shown(history(tmp_path)) == [{"step": 1, "loss": 1, "acc": 0.5}]
        assert shown(history(tmp_path, stream="val")) == [{"step": 1, "acc": 0.5}]

    def test_names_that_are_taken(self, tmp_path):
        """A metric that is called like a column says that it is a metric."""
        write(tmp_path, metric(1, {"time": 1, "step": 2, "epoch": 3}, 4, epoch=5))

        table = history(tmp_path)

        assert list(table.columns) == ["step", "time", "epoch", "metric.time", "metric.step", "metric.epoch"]
        assert table["metric.epoch"].tolist() == [3]

    def test_mixed_types(self, tmp_path):
        """Texts, lists and missing numbers beside numbers are objects, and come back."""
        write(tmp_path, *(metric(seq, {"a": value}, seq) for seq, value in enumerate([1, "x", [1, [2]], None, True, 2**70], 1)))

        assert history(tmp_path)["a"].tolist() == [1.0, "x", [1, [2]], None, True, float(2**70)]

    def test_steps_that_floats_cannot_hold(self, tmp_path):
        """Large steps and texts stay apart, and exact."""
        write(
            tmp_path,
            metric(1, {"a": 1}, 2**53),
            metric(2, {"a": 2}, 2**53 + 1),
            metric(3, {"a": 3}, "end"),
            metric(4, {"a": 4}),
        )

        assert history(tmp_path)["step"].tolist() == [2**53, 2**53 + 1, "end", None]

    def test_nothing(self, tmp_path):
        """No metrics: no rows."""
        write(tmp_path, line("ra", 1, "note", data={"text": "x"}))

        assert list(history(tmp_path).columns) == ["step", "time"]
        assert len(history(tmp_path, wide=False)) == 0


class TestChoice:
    @pytest.fixture
    def folder(self, tmp_path):
        lines = [metric(epoch + 1, {"loss": epoch / 2, "acc": epoch}, 7, name=f"train/epoch/{epoch}") for epoch in range(3)]
        write(tmp_path, *lines, metric(9, {"lr": 0.1}, 7))
        return tmp_path

    def test_braces_become_columns(self, folder):
        """A brace leaves the name for a column of its type; rows of equal step are told apart by it."""
        table = history(folder, "train/epoch/{epoch:int}/loss")

        assert list(table.columns) == ["step", "time", "epoch", "train/epoch/{epoch}/loss"]
        assert table["epoch"].tolist() == [0, 1, 2]
        assert table["epoch"].dtype == "int64"
        assert table["train/epoch/{epoch}/loss"].tolist() == [0, 0.5, 1]

    def test_within_one_line(self, tmp_path):
        """One line with several values of a brace is several rows."""
        write(tmp_path, metric(1, {"layer/0/norm": 1, "layer/1/norm": 2, "lr": 3}, 5))

        table = history(tmp_path, "layer/{layer:int}/*")

        assert shown(table) == [
            {"step": 5, "layer": 0, "layer/{layer}/norm": 1}, {"step": 5, "layer": 1, "layer/{layer}/norm": 2},
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("choice", "expected"),
        [
            ({"pattern": "**/acc"}, ["train/epoch/0/acc", "train/epoch/1/acc", "train/epoch/2/acc"]),
            ({"keys": ["lr", "train/epoch/0/acc"]}, ["train/epoch/0/acc", "lr"]),
            ({"pattern": "nothing/*"}, []),
            ({"pattern": "nothing/{n:int}"}, ["n"]),
        ],
    )
    def test_patterns_and_keys(self, folder, choice, expected):
        """A pattern or full names say which metrics."""
        assert list(history(folder, **choice).columns)[2:] == expected

    @pytest.mark.parametrize("choice", [{"pattern": "train/epoch/0/los"}, {"keys": ["train/epoch/0/los"]}])
    def test_a_metric_that_nobody_logged(self, folder, choice):
        """A name that is not there is an error, which says what is."""
        with pytest.raises(UnknownMetric, match="nobody logged the metric 'train/epoch/0/los': there is 'train/epoch/0/loss'"):
            history(folder, **choice)

    def test_what_is_no_choice(self, folder):
        """What cannot be read is refused."""
        with pytest.raises(InvalidPattern):
            history(folder, "a/{")
        with pytest.raises(InvalidArgument, match="full names"):
            history(folder, keys=[3])


class TestLong:
    def test_rows(self, tmp_path):
        """A row for each value, in the order of logging; of equal steps the later one."""
        write(tmp_path, metric(1, {"a": 1, "b": 2}, 1, epoch=0), metric(2, {"a": 3}, 1, epoch=0), metric(3, {"a": 4}, 2))

        assert shown(history(tmp_path, wide=False)) == [
            {"name": "b", "step": 1, "epoch": 0, "value": 2},
            {"name": "a", "step": 1, "epoch": 0, "value": 3},
            {"name": "a", "step": 2, "value": 4},
        ]

    def test_braces(self, tmp_path):
        """Full names stay, and the braces are columns beside them."""
        write(tmp_path, metric(1, {"l/0": 1, "l/1": 2}, 1))

        assert shown(history(tmp_path, "l/{i:int}", wide=False)) == [
            {"name": "l/0", "step": 1, "i": 0, "value": 1}, {"name": "l/1", "step": 1, "i": 1, "value": 2},
        ]  # fmt: skip


def folded(folder: Path, last: int = 99) -> list[dict[str, Any]]:
    """The wide rows, by a plain loop over the events up to a number."""
    rows: dict[Any, dict[str, Any]] = {}
    for event in Events(folder, "metrics"):
        if event.seq > last:
            continue
        at = tuple(sorted((key, repr(value)) for key, value in event.at.items()))
        key = (event.run, event.seq) if event.step is None else (event.step, at)
        for name, value in event.data.items():
            row = rows.setdefault(key, {})
            row[f"{event.name}/{name}" if event.name else name] = value
    return list(rows.values())


names = st.sampled_from(["a", "b", "c/d", "é", ""]) | st.text(st.characters(codec="utf-8"), max_size=3)
logged = st.fixed_dictionaries({"name": st.sampled_from(["", "t"]), "data": st.dictionaries(names, values, max_size=3)})


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(logged, steps | st.integers(0, 3), coordinates), max_size=8), st.randoms(), st.integers(0, 9))
def test_equals_a_fold_of_the_events(tmp_path_factory, events, random, last):
    """A wide frame is the plain fold of the events up to a moment, whatever the names, values, steps and the order of lines."""
    folder = tmp_path_factory.mktemp("exp")
    lines = [metric_line(seq, *event) for seq, event in enumerate(events, 1)]
    random.shuffle(lines)
    write(folder, *lines)

    table = history(folder, cut={"ra": last})

    expected = folded(folder, last)
    assert len(table) == len(expected)
    for number, row in enumerate(expected):
        for name, value in row.items():
            column = [column for column in (name, *(("metric." * i) + name for i in range(1, 4))) if column in table.columns][
                -1
            ]
            found = table[column].iloc[number]
            assert found == value or repr(found) == repr(value) or (value != value and math.isnan(found))


READERS = {
    "wide": lambda folder: history(folder)["a"].tolist(),
    "long": lambda folder: history(folder, wide=False)["value"].tolist(),
    "frame": lambda folder: frame(Events(folder, "metrics"))["a"].tolist(),
    "summary": lambda folder: list(range(1, summary(Events(folder), State())["a"].count + 1)),
    "as of": lambda folder: [event.data["a"] for event in until(Events(folder), moment(folder, step=10**6))],
}


class TestAnyState:
    LINES = tuple(metric(seq, {"a": seq}, seq) for seq in (1, 2, 3, 4))

    @pytest.mark.parametrize("reader", READERS)
    def test_cut_anywhere_in_the_last_two_lines(self, tmp_path, reader):
        """Every reader gives the whole lines of a log that was cut off, or is being written."""
        whole = b"".join(self.LINES)
        ends = [len(b"".join(self.LINES[:count])) for count in range(5)]
        for cut in range(ends[2], len(whole) + 1):
            (tmp_path / "log.jsonl").write_bytes(whole[:cut])

            # A line that lacks nothing but its newline counts.
            assert READERS[reader](tmp_path) == list(range(1, 1 + sum(end <= cut + 1 for end in ends[1:])))

    @pytest.mark.parametrize("reader", [name for name in READERS if name != "summary"])
    def test_a_corrupted_middle_line(self, tmp_path, reader):
        """Every reader gives the lines around damage."""
        write(tmp_path, self.LINES[0], self.LINES[1][:30] + b"\xff\x00" + self.LINES[1][32:], *self.LINES[2:])

        assert READERS[reader](tmp_path) == [1, 3, 4]

    @pytest.mark.parametrize("wide", [True, False])
    def test_damage_is_named(self, tmp_path, wide):
        """The frame says which bytes were passed over."""
        write(tmp_path, self.LINES[0], b"damage\n")
        start = len(self.LINES[0])

        assert history(tmp_path, wide=wide).attrs["skipped"][0].startswith(f"log.jsonl, bytes {start} to {start + 7}: not JSON")

    @pytest.mark.parametrize("reader", READERS)
    def test_a_log_that_grows(self, tmp_path, reader):
        """Every reader passes while the log is being written, and gives a prefix of it."""
        lines = [metric(seq, {"a": seq}, seq, second=0) for seq in range(1, 1500)]
        write(tmp_path, lines[0])
        is_over = threading.Event()

        def grow() -> None:
            with open(tmp_path / "log.jsonl", "ab", buffering=700) as file:
                file.writelines(lines[1:])
            is_over.set()

        writing = threading.Thread(target=grow)
        writing.start()
        while not is_over.is_set():
            found = READERS[reader](tmp_path)
            assert found == list(range(1, len(found) + 1))[: len(found)]
        writing.join()


class TestFrame:
    def test_data_as_columns(self, tmp_path):
        """Each key of the data is a column, beside step, time, name and the coordinates."""
        write(tmp_path, line("ra", 1, "event", 1, name="saved", step=3, at={"epoch": 1}, data={"mb": 2.5, "step": "x"}))

        table = frame(Events(tmp_path, "event"))

        assert list(table.columns) == ["step", "time", "name", "epoch", "mb", "data.step"]
        assert table.iloc[0].drop("time").tolist() == [3, "saved", 1, 2.5, "x"]

    def test_mixed(self, tmp_path):
        """Data that is no mapping, and values of all kinds, fail nothing."""
        datas = [5, None, {"a": 1}, {"a": "x"}, {"a": [1, 2]}, {"a": {"b": 1}}, {"a": 2**70}]
        write(tmp_path, *(line("ra", seq, "event", data=data) for seq, data in enumerate(datas, 1)))

        table = frame(Events(tmp_path, "event"))

        assert table["a"].tolist()[2:] == [1, "x", [1, 2], {"b": 1}, float(2**70)]
        assert table["data"].tolist()[0] == 5

    def test_no_events(self, tmp_path):
        """None of the type: no rows."""
        write(tmp_path, line("ra", 1, "event"))

        assert list(frame(Events(tmp_path, "image")).columns) == ["step", "time", "name"]


def test_logged_tables(tmp_path):
    """Tables of all steps and experiments are one frame, whether they stand in the line or in a file; what is gone is named."""
    for name, count in (("a", 2), ("b", 9000)):
        with mlv.Exp(tmp_path, name, {"name": name}, capture=()) as exp:
            for step in (1, 2):
                rows = {"label": [f"{step}-{row}" for row in range(count)], "step": [0.5] * count}
                exp.log.sub("val").table("errors", rows, step=step)
            exp.log.table("other", [{"x": 1}])

    exp = mlv.Exp.open(tmp_path / "a")
    table = exp.tables("val/*")
    assert list(table.columns) == ["name", "step", "label", "table.step"]
    assert table.to_numpy().tolist() == [["val/errors", step, f"{step}-{row}", 0.5] for step in (1, 2) for row in range(2)]
    assert list(exp.tables()["x"].dropna()) == [1]
    assert exp.tables("nothing").empty
    both = mlv.find(tmp_path).tables("val/errors")
    assert both.groupby(["exp_name", "step"]).size().to_dict() == {("a", 1): 2, ("a", 2): 2, ("b", 1): 9000, ("b", 2): 9000}
    assert both["label"].iloc[-1] == "2-8999"
    next((tmp_path / "b" / "files").rglob("1-*.*")).unlink()
    both = mlv.find(tmp_path).tables("val/errors")
    assert len(both) == 4 + 9000
    assert "val/errors" in both.attrs["skipped"][0]


def test_metrics_at_the_best_step(tmp_path):
    """`frame(best=...)` gives every metric at the step where one is best, or at its last step before."""
    for name, losses in (("a", [3.0, 1.0, 1.0, float("nan"), 2.0]), ("b", [1.0, 2.0]), ("c", [])):
        with mlv.Exp(tmp_path, name, {"name": name}, capture=()) as exp:
            for step, loss in enumerate(losses):
                exp.log({"val/loss": loss}, step=step)
                exp.log({"test/acc": step / 10}, step=step)
                if step % 2 == 0:
                    exp.log({"rare": step}, step=step)

    found = mlv.find(tmp_path)
    with pytest.raises(InvalidArgument, match="mode='min' or 'max'"):
        found.frame(best="val/loss")
    with pytest.raises(UnknownMetric, match="val/loss"):
        found.frame(best="val/los", mode="min")
    columns = ["best.step", "best.val/loss", "best.test/acc", "best.rare"]
    assert found.frame(best="val/loss", mode="min")[columns].fillna(-1).to_numpy().tolist() == [
        [1, 1.0, 0.1, 0], [0, 1.0, 0.0, 0], [-1, -1, -1, -1],
    ]  # fmt: skip
    with mlv.Exp.open(tmp_path / "b") as exp:
        exp.log.describe("val/loss", mode="max")
    assert found[1:2].frame(best="val/loss")[columns].to_numpy().tolist() == [[1, 2.0, 0.1, 0]]
