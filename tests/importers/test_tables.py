"""Tables come over, wide and long, with their steps, times and names; so do the logs of Lightning, Keras and transformers."""

from __future__ import annotations

import json
import math
from datetime import datetime, timezone

import pytest

import mlv
from importers.trees import content, import_all, import_one, is_intact, points, write
from mlv.errors import InvalidArgument
from mlv.importers import values
from mlv.importers.csv_files import value_of


def test_wide(tmp_path):
    """A row is a line of metrics; step and time are found by their usual names, and empty cells are absent."""
    path = write(
        tmp_path / "log.csv",
        "step,epoch,time,loss,acc,phase\n0,0,2024-02-29T12:00:00,0.5,,warm\n1,0,2024-02-29T12:00:01Z,nan,0.5,\n2,1,1709208002,inf,1,x\n",
    )

    exp, outcome = import_one(path, tmp_path / "runs")

    assert (outcome.is_whole, exp.name, exp.status, exp.tags) == (True, "log", "ended", ("imported", "csv"))
    assert points(exp)[0] == (0, {"loss": 0.5, "phase": "warm"})
    assert (math.isnan(points(exp)[1][1]["loss"]), points(exp)[2]) == (True, (2, {"loss": math.inf, "acc": 1, "phase": "x"}))
    assert [event.time for event in exp.events("metrics")] == [
        datetime(2024, 2, 29, 12, 0, n, tzinfo=timezone.utc) for n in range(3)
    ]
    assert [dict(event.at) for event in exp.events("metrics")] == [{"epoch": 0}, {"epoch": 0}, {"epoch": 1}]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_long(tmp_path, separator):
    """A table with a column of names and one of values is long, whatever separates its cells; columns can be chosen."""
    rows = [["n", "it", "value", "metric"], ["1", "0", "0.5", "loss"], ["2", "1", "0.25", "loss"], ["3", "1", "x", "a/b"]]
    path = write(tmp_path / "t.csv", "".join(separator.join(row) + "\r\n" for row in rows))

    exp, outcome = import_one(path, tmp_path / "runs", step="it")

    assert outcome.is_whole
    assert points(exp) == [(0, {"loss": 0.5}), (1, {"loss": 0.25}), (1, {"a/b": "x"})]
    assert [dict(event.at) for event in exp.events("metrics")] == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_a_column_that_is_not_there(tmp_path):
    """A chosen column that is none is refused, with those that there are."""
    path = write(tmp_path / "t.csv", "a,b\n1,2\n")

    [outcome] = import_all(path, tmp_path / "runs", step="epoch")

    assert outcome.error == "--step epoch is none of the columns a, b"
    assert not InvalidArgument("").fields


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"value_column": "v"}, "--value-column v is none of the columns a, b"),
        ({"value_column": "b"}, "--value-column b wants the column of the names beside it: name that with --name-column"),
        ({"name_column": "a"}, "--name-column a wants the column of the values beside it: name that with --value-column"),
    ],
)
def test_columns_of_a_long_table(tmp_path, columns, text):
    """A column of names without one of values, or the other way round, is refused, with the option that is missing."""
    [outcome] = import_all(write(tmp_path / "t.csv", "a,b\n1,2\n"), tmp_path / "runs", **columns)

    assert outcome.error == text


def test_a_column_without_a_name(tmp_path):
    """The index that pandas writes in front, without a name, comes over by its place."""
    exp, outcome = import_one(write(tmp_path / "t.csv", ",step,loss\n0,5,0.5\n"), tmp_path / "runs")

    assert (points(exp), outcome.is_whole) == ([(5, {"column_1": 0, "loss": 0.5})], True)


def test_times_that_are_none(tmp_path):
    """Fractions of a second may have any number of digits; cells that are no times are counted, and end nothing."""
    huge = "1" + "0" * 400
    times = ["2024-02-29T12:00:00.5Z", "2024-02-29T12:00:00.123456789+00:00", "12/31/2023 10:00", huge, None]
    rows = [{"step": step, "time": int(time) if time == huge else time, "loss": 1} for step, time in enumerate(times)]
    path = write(tmp_path / "t.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows))

    exp, outcome = import_one(path, tmp_path / "runs")

    assert [event.time.microsecond for event in exp.events("metrics")] == [500_000, *[123_456] * 4]
    assert outcome.left == {"cells of time that are no times: their rows have the time of the one before": 2}


def test_coordinates_that_are_none(tmp_path):
    """A cell of a long table that no coordinate can be is counted."""
    path = write(tmp_path / "t.jsonl", '{"name": "loss", "value": 1, "fold": 2, "more": [1]}\n')

    exp, outcome = import_one(path, tmp_path / "runs")

    assert ([dict(event.at) for event in exp.events("metrics")], sum(outcome.left.values())) == ([{"fold": 2}], 1)


def test_keras(tmp_path):
    """The file of Keras's CSVLogger counts by epochs."""
    path = write(tmp_path / "run1" / "training.log.csv", "epoch,accuracy,loss,val_loss\n0,0.5,1.5,NA\n1,0.75,1.0,1.25\n")

    exp, _ = import_one(path, tmp_path / "runs")

    assert (exp.name, points(exp)) == ("training", [
        (0, {"accuracy": 0.5, "loss": 1.5, "val_loss": "NA"}), (1, {"accuracy": 0.75, "loss": 1.0, "val_loss": 1.25}),
    ])  # fmt: skip


def test_damage(tmp_path):
    """Rows with too many or too few cells are counted, and the others come over."""
    path = write(tmp_path / "t.csv", "step,loss\n0,1\n1,2,3\n2\n\n3,4\n")

    exp, outcome = import_one(path, tmp_path / "runs")

    assert points(exp) == [(0, {"loss": 1}), (3, {"loss": 4})]
    assert dict(outcome.left) == {
        "rows with more cells than there are columns": 1,
        "rows with fewer cells than there are columns": 1,
    }


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_that_grows(tmp_path, suffix):
    """A table that is still written comes over row by row: a last line without an end waits, where it is followed."""
    rows = [
        f"{step},{step / 4}\n" if suffix == ".csv" else json.dumps({"step": step, "loss": step / 4}) + "\n"
        for step in range(50)
    ]
    header = "step,loss\n" if suffix == ".csv" else ""
    whole = header + "".join(rows)
    path = tmp_path / f"t{suffix}"
    for cut in (len(header) + len(rows[0]), 100, 101, 102, 200, len(whole)):
        path.write_text(whole[:cut])
        exp, outcome = import_one(path, tmp_path / "runs", follows=True)
        assert (outcome.left, outcome.imported.differences) == ({}, [])

    path.write_text(whole)
    import_one(path, tmp_path / "runs")
    assert points(exp) == [(step, {"loss": step / 4}) for step in range(50)]
    assert is_intact(exp)
    before = content(tmp_path / "runs")
    import_one(path, tmp_path / "runs")
    assert content(tmp_path / "runs") == before


def test_json_lines(tmp_path):
    """Objects in lines come over, nested ones, NaN and what is no object included."""
    lines = ['{"_step": 0, "_timestamp": 1700000000.5, "a": {"b": 1}}', '{"_step": 1, "a": {"b": NaN}}', "[1]", "half", ""]
    path = write(tmp_path / "history.jsonl", "\n".join(lines) + '\n{"_step": 2, "a"')

    exp, outcome = import_one(path, tmp_path / "runs")

    assert [(event.step, event.time.timestamp()) for event in exp.events("metrics")] == [(0, 1700000000.5), (1, 1700000000.5)]
    assert points(exp)[0][1] == {"a/b": 1}
    assert dict(outcome.left) == {"lines that are no object of JSON": 2}
    assert any("last line is not complete" in note for note in outcome.notes)


def test_parquet(tmp_path):
    """A table of Parquet comes over; one that is cut off is reported."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"step": [0, 1, 2], "loss": [0.5, None, 0.25], "time": [datetime(2024, 1, 1)] * 3})
    parquet.write_table(table, tmp_path / "t.parquet")
    exp, outcome = import_one(tmp_path / "t.parquet", tmp_path / "runs")
    assert (points(exp), outcome.is_whole) == ([(0, {"loss": 0.5}), (2, {"loss": 0.25})], True)

    (tmp_path / "torn.parquet").write_bytes((tmp_path / "t.parquet").read_bytes()[:-20])
    [torn] = import_all(tmp_path / "torn.parquet", tmp_path / "runs")
    assert "torn.parquet cannot be read" in torn.error


def test_tables_of_a_folder(tmp_path):
    """The tables of a folder come over where the format is named, and are passed over otherwise: they may be anything."""
    for name in ("a/x.csv", "b/x.csv"):
        write(tmp_path / "logs" / name, "step,loss\n0,1\n")

    with pytest.raises(InvalidArgument, match="holds nothing that mlv knows"):
        import_all(tmp_path / "logs", tmp_path / "runs")
    outcomes = import_all(tmp_path / "logs", tmp_path / "runs", "csv")

    assert sorted(str(each.imported.path.relative_to(tmp_path / "runs")) for each in outcomes) == ["a/x", "b/x"]


def test_values():
    """Cells become numbers where Python reads them as such, and stay texts otherwise."""
    cells = {"1": 1, "-0": 0, "1e3": 1000.0, "0x1": "0x1", "True": True, "1" * 30: float("1" * 30), "1.5 s": "1.5 s", "": ""}
    cells |= {"9223372036854775807": 2**63 - 1, "2024_01": "2024_01", "1_0.5": "1_0.5"}

    assert {cell: value_of(cell) for cell in cells} == cells


def test_names_of_very_wide_tables():
    """Hundreds of thousands of columns of one name have names of their own, as soon as others do."""
    assert values.unique(["a", "a", "a_2", "a", "b"]) == ["a", "a_2", "a_2_2", "a_3", "b"]
    assert len(values.unique(["a"] * 200_000)) == 200_000


def test_settings_that_stand_for_billions(tmp_path):
    """Settings whose aliases stand for each other ten times over are reported, and take neither time nor memory."""
    pytest.importorskip("yaml")
    lines = [
        "a0: &a0 [1]",
        *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)),
        "self: &self [1, *self]",
    ]
    write(tmp_path / "v/hparams.yaml", "\n".join(lines))
    write(tmp_path / "v/metrics.csv", "step,loss\n0,1\n")

    exp, outcome = import_one(tmp_path / "v", tmp_path / "runs")

    reason = "hparams.yaml: its aliases stand for more than a million values"
    assert (points(exp), exp.params, outcome.left) == ([(0, {"loss": 1})], {}, {reason: 1})


def test_lightning(tmp_path):
    """A folder of Lightning's CSVLogger is an experiment with its hyperparameters and checkpoints."""
    pytest.importorskip("yaml")
    folder = tmp_path / "logs" / "lightning_logs" / "version_0"
    write(folder / "metrics.csv", "epoch,step,train_loss,val_loss\n0,9,0.5,\n0,9,,0.75\n1,19,0.25,\n")
    write(
        folder / "hparams.yaml",
        "lr: 0.1\nact: !!python/name:torch.nn.ReLU ''\npath: !!python/object/apply:pathlib.Path [a, b]\n",
    )
    write(folder / "checkpoints" / "epoch=1.ckpt", "weights")

    exp, outcome = import_one(tmp_path / "logs", tmp_path / "runs")

    assert (exp.path, outcome.is_whole) == (tmp_path / "runs/lightning_logs/version_0", True)
    assert exp.params == {"lr": 0.1, "act": "torch.nn.ReLU", "path": ["a", "b"]}
    assert points(exp) == [(9, {"train_loss": 0.5}), (9, {"val_loss": 0.75}), (19, {"train_loss": 0.25})]
    assert (exp.path / "files/checkpoints/epoch=1.ckpt").read_text() == "weights"
    write(folder / "metrics.csv", (folder / "metrics.csv").read_text() + "1,29,0.125,\n")
    exp, grown = import_one(tmp_path / "logs", tmp_path / "runs")
    assert (grown.imported.differences, exp.summary()["train_loss"].count) == ([], 3)


def test_lightning_itself(tmp_path):
    """A logger of Lightning's own writes what comes over."""
    loggers = pytest.importorskip("lightning.pytorch.loggers", reason="Lightning writes the files")
    logger = loggers.CSVLogger(tmp_path / "logs", name="fit")
    logger.log_hyperparams({"lr": 0.1, "layers": [1, 2]})
    for step in range(3):
        logger.log_metrics({"loss": step / 4, "epoch": 0}, step)
    logger.save()

    exp, outcome = import_one(tmp_path / "logs", tmp_path / "runs")

    assert (exp.params, outcome.is_whole) == ({"lr": 0.1, "layers": [1, 2]}, True)
    assert points(exp) == [(step, {"loss": step / 4}) for step in range(3)]


def test_transformers(tmp_path):
    """The longest history of an output folder is its experiment; what training took is a summary."""
    history = [
        {"epoch": 0.5, "loss": 1.5, "learning_rate": 0.1, "step": 10},
        {"epoch": 1.0, "eval_loss": 1.25, "eval_runtime": 0.5, "step": 20},
        {"epoch": 1.0, "train_runtime": 9.5, "train_loss": 1.4, "total_flos": 5.0, "step": 20},
    ]
    state = {"global_step": 20, "max_steps": 20, "num_train_epochs": 1, "best_metric": 1.25, "log_history": history}
    write(
        tmp_path / "out/checkpoint-10/trainer_state.json", json.dumps({**state, "global_step": 10, "log_history": history[:1]})
    )
    write(tmp_path / "out/checkpoint-15/trainer_state.json", json.dumps(state)[:60])
    first, torn = import_one(tmp_path / "out", tmp_path / "runs")
    write(tmp_path / "out/checkpoint-20/trainer_state.json", json.dumps(state))

    exp, outcome = import_one(tmp_path / "out", tmp_path / "runs")

    assert dict(torn.left) == {"trainer_state.json that cannot be read": 1}
    assert (first.path, outcome.imported.differences, exp.params) == (exp.path, [], {"max_steps": 20, "num_train_epochs": 1})
    assert points(exp) == [(10, {"loss": 1.5, "learning_rate": 0.1}), (20, {"eval/loss": 1.25, "eval/runtime": 0.5})]
    assert next(iter(exp.events("metrics"))).at == {"epoch": 0.5}
    assert {name: exp.summary()[name].value for name in ("train_runtime", "train_loss", "best_metric")} == {
        "train_runtime": 9.5, "train_loss": 1.4, "best_metric": 1.25,
    }  # fmt: skip
    assert mlv.Exp.open(exp.path).tags == ("imported", "transformers")
