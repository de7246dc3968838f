"""What W&B's server gives out comes over: charts, histories, lists and files of runs, torn and damaged ones too.

Nobody reaches the server here: the forms are those of its page and of its documented API.
"""

from __future__ import annotations

import json
import math
import tracemalloc
from datetime import datetime, timezone
from pathlib import Path

import pytest
from conftest import run_command

import mlv
from importers.trees import content, import_all, import_one, is_intact, points, write
from mlv.experiment.importing.source import EPOCH, SourceEvent
from mlv.importers import log_lines
from mlv.importers.reading import SourceReading

CHART = (
    '"epoch","sun-1 - _step","sun-1 - _step__MIN","sun-1 - _step__MAX","sun-1 - train/loss","sun-1 - train/loss__MIN",'
    '"sun-1 - train/loss__MAX","a - b-2 - _step","a - b-2 - _step__MIN","a - b-2 - _step__MAX","a - b-2 - train/loss",'
    '"a - b-2 - train/loss__MIN","a - b-2 - train/loss__MAX"\n'
    '"0","10","10","10","0.5","0.5","0.5","11","11","11","0.75","0.5","1"\n'
    '"1","20","20","20","0.25","0.25","0.25","","","","","",""'
)
METADATA = {"program": "train.py", "args": ["--lr", "0.1"], "host": "vm", "startedAt": "2024-02-29T12:00:00.5", "os": "Linux",
            "git": {"remote": "https://user:secret@example.org/x.git", "commit": "abc"}}  # fmt: skip


def opened(outcomes):
    assert [each.error for each in outcomes] == [""] * len(outcomes)
    assert {each.unit.format for each in outcomes} == {"wandb-export"}
    return [mlv.Exp.open(each.imported.path) for each in outcomes]


def test_a_chart(tmp_path):
    """Each run of a chart is an experiment; a point that stands for several has their least and greatest beside it."""
    path = write(tmp_path / "exports" / "wandb_export_2024.csv", CHART)

    outcomes = import_all(tmp_path / "exports", tmp_path / "runs")

    sun, dashed = opened(outcomes)
    assert [exp.path.relative_to(tmp_path / "runs").as_posix() for exp in (sun, dashed)] == [
        "wandb_export_2024/sun-1", "wandb_export_2024/a - b-2",
    ]  # fmt: skip
    assert points(sun) == [(10, {"train/loss": 0.5}), (20, {"train/loss": 0.25})]
    assert [dict(event.at) for event in sun.events("metrics")] == [{"epoch": 0}, {"epoch": 1}]
    assert points(dashed) == [(11, {"train/loss": 0.75, "train/loss/min": 0.5, "train/loss/max": 1})]
    assert [each.left for each in outcomes] == [{}, {}]
    before = content(tmp_path / "runs")
    import_all(path, tmp_path / "runs")
    assert (content(tmp_path / "runs") == before, is_intact(sun)) == (True, True)


def test_runs_of_a_chart_that_begin_alike(tmp_path):
    """A run whose name begins with that of another is told from it."""
    columns = [f"{run} - {name}" for run in ("a", "a - b") for name in ("_step", "loss")]
    names = ["Step", *(column + ending for column in columns for ending in ("", "__MIN", "__MAX"))]
    path = write(tmp_path / "chart.csv", ",".join(names) + "\n0," + ",".join("1" * (len(names) - 1)) + "\n")

    exps = opened(import_all(path, tmp_path / "runs"))

    assert [(exp.name, points(exp)) for exp in exps] == [("a", [(1, {"loss": 1})]), ("a - b", [(1, {"loss": 1})])]


def test_long_outputs(tmp_path):
    """What was printed is never in memory as a whole."""
    path = tmp_path / "output.log"
    path.write_bytes(b"".join(b"epoch %d\r" % number + b"x" * 1000 + b"\n" for number in range(10_000)))
    tracemalloc.start()
    try:
        lines = sum(isinstance(item, SourceEvent) for item in log_lines.PrintedFile(path).items("run", EPOCH, SourceReading()))
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (lines, most < 5_000_000) == (10_000, True)


def test_a_chart_of_one_run(tmp_path):
    """A chart on the page of a run does not name it; its steps are those of the x axis; a torn line waits."""
    path = write(tmp_path / "loss.csv", "Step,loss,loss__MIN,loss__MAX\n0,0.5,0.5,0.5\n1,0.25,0.25,0.2")

    exp, outcome = import_one(path, tmp_path / "runs")
    path.write_text("Step,loss,loss__MIN,loss__MAX\n0,0.5,0.5,0.5\n1,0.25,0.25,0.25\n")
    exp, whole = import_one(path, tmp_path / "runs")

    assert (sum(outcome.left.values()), whole.left, whole.imported.differences) == (1, {}, [])
    assert (exp.name, points(exp)) == ("loss", [(0, {"loss": 0.5}), (1, {"loss": 0.25})])


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_history(tmp_path, suffix):
    """A history is known by its columns, and has its steps and times; `_runtime` follows from them."""
    rows = [{"_step": n, "_runtime": n + 0.5, "_timestamp": 1700000000.5 + n, "loss": n / 4} for n in range(3)]
    lines = [",".join(map(str, row.values())) if suffix == ".csv" else json.dumps(row) for row in rows]
    header = ["_step,_runtime,_timestamp,loss"] if suffix == ".csv" else []
    write(tmp_path / "source" / f"history{suffix}", "\n".join([*header, *lines]) + "\n")

    [exp] = opened(import_all(tmp_path / "source", tmp_path / "runs"))

    assert (exp.name, points(exp)) == ("history", [(n, {"loss": n / 4}) for n in range(3)])
    assert [event.time.timestamp() for event in exp.events("metrics")] == [1700000000.5 + n for n in range(3)]


def history_parquet(path: Path, steps: range, **columns: list) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    of_all = {"_step": list(steps), "_runtime": [0.5] * len(steps), "_timestamp": [1700000000.0 + n for n in steps]}
    parquet.write_table(pyarrow.table({**of_all, **columns}), path)


def test_an_artifact_of_history(tmp_path):
    """The numbered tables of an artifact are the history of one run, with nested values and histograms; it grows by tables."""
    folder = tmp_path / "artifacts" / "run-abc-history:v0"
    media = [{"_type": "histogram", "bins": [0.0, 1.0, 2.0], "values": [1, 3]}, None]
    history_parquet(folder / "0000.parquet", range(2), nested=[{"a": 1.0}, {"a": None}], h=media, loss=[0.5, None])
    first = import_all(tmp_path / "artifacts", tmp_path / "runs")
    history_parquet(folder / "0001.parquet", range(2, 4), loss=[0.25, 0.125])

    outcomes = import_all(tmp_path / "artifacts", tmp_path / "runs")

    [exp] = opened(outcomes)
    assert (exp.name, first[0].imported.path, outcomes[0].imported.differences) == ("abc", exp.path, [])
    assert points(exp) == [(0, {"nested/a": 1.0, "loss": 0.5}), (2, {"loss": 0.25}), (3, {"loss": 0.125})]
    [histogram] = exp.events("histogram")
    assert (histogram.step, histogram.name, histogram.data["counts"]) == (0, "h", [1, 3])
    assert is_intact(exp)


def test_a_damaged_artifact(tmp_path):
    """A table that is cut off is no history; it is named as a file of no format, and the run beside it comes over."""
    history_parquet(tmp_path / "a" / "0000.parquet", range(3), loss=[1.0, 2.0, 3.0])
    history_parquet(tmp_path / "b" / "0000.parquet", range(3), loss=[1.0, 2.0, 3.0])
    path = tmp_path / "b" / "0000.parquet"
    path.write_bytes(path.read_bytes()[:-30])

    done = run_command("import", tmp_path, "--into", tmp_path.parent / "runs")

    assert ("1 experiment: 1 new" in done.stdout, "0000.parquet" in done.stderr) == (True, True)


RUN = {"name": "sun-1", "id": "abc", "project": "p", "state": "finished", "created_at": "2024-02-29T12:00:00",
       "config": {"lr": 0.1, "old": {"value": 3, "desc": None}, "_wandb": {}}, "tags": ["x", ""], "notes": "fine",
       "summary": {"loss": 0.25, "best": {"acc": 0.5}, "_step": 3, "_timestamp": 1709208010.0, "_wandb": {}}}  # fmt: skip


def test_a_list_of_runs(tmp_path):
    """Each run of a list is an experiment: its config, its summary, how it ended, and the history where there is one."""
    history = [{"_step": n, "_timestamp": 1709208001.0 + n, "loss": 1 / (1 + n)} for n in range(3)]
    second = {**RUN, "name": "moon-2", "id": "def", "state": "crashed", "config": json.dumps(RUN["config"]), "history": history}
    write(tmp_path / "runs.json", json.dumps([RUN, second]))

    exps = opened(import_all(tmp_path / "runs.json", tmp_path / "out"))

    assert [(exp.name, exp.status, exp.params, exp.notes) for exp in exps] == [
        ("sun-1", "ok", {"lr": 0.1, "old": 3}, ("fine",)), ("moon-2", "lost", {"lr": 0.1, "old": 3}, ("fine",)),
    ]  # fmt: skip
    assert (exps[0].tags, exps[0].runs[0].started) == (
        ("x", "imported", "wandb-export"), datetime(2024, 2, 29, 12, tzinfo=timezone.utc),
    )  # fmt: skip
    assert {name: exps[0].summary()[name].value for name in exps[0].summary()} == {"loss": 0.25, "best/acc": 0.5}
    assert points(exps[1]) == [(n, {"loss": 1 / (1 + n)}) for n in range(3)]
    assert all(map(is_intact, exps))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_list_as_the_documentation_makes_it(tmp_path, suffix):
    """A table with summary, config and name, in which Python printed the mappings, comes over; others are counted."""
    rows = [
        {"summary": {"loss": math.nan, "acc": 0.5}, "config": {"lr": 0.1}, "name": "sun-1"},
        {"summary": "half {", "config": {"lr": 0.2}, "name": "moon-2"},
    ]
    if suffix == ".csv":
        lines = [f'{number},"{row["summary"]}","{row["config"]}",{row["name"]}' for number, row in enumerate(rows)]
        text = "\n".join([",summary,config,name", *lines]) + "\n"
    else:
        text = "".join(json.dumps(row) + "\n" for row in rows)

    outcomes = import_all(write(tmp_path / f"project{suffix}", text), tmp_path / "runs")

    first, second = opened(outcomes)
    assert (first.name, first.params, first.summary()["acc"].value) == ("sun-1", {"lr": 0.1}, 0.5)
    assert math.isnan(first.summary()["loss"].value)
    assert (second.params, dict(outcomes[1].left)) == ({"lr": 0.2}, {"settings or summaries that are no mapping": 1})


def test_files_of_a_run_that_goes_on(tmp_path):
    """Measurements, and what was printed, come over once, whatever of a run's files grew between two imports."""
    folder = tmp_path / "server" / "abc"
    for count in (2, 4):
        rows = [{"_timestamp": 1709208001.0 + number, "_runtime": number} for number in range(count)]
        history = [json.dumps({**row, "_step": number, "loss": number}) for number, row in enumerate(rows)]
        write(folder / "wandb-history.jsonl", "".join(f"{line}\n" for line in history))
        system = [json.dumps({**row, "system.cpu": number}) for number, row in enumerate(rows)]
        write(folder / "wandb-events.jsonl", "".join(f"{line}\n" for line in system))
        write(folder / "output.log", "".join(f"line {number}\n" for number in range(count)))
        exp, outcome = import_one(tmp_path / "server", tmp_path / "runs")
        assert (outcome.left, outcome.imported.differences) == ({}, [])

    assert [step for step, _ in points(exp)] == list(range(4))
    assert [dict(event.data)["cpu"] for event in exp.events("system")] == list(range(4))
    assert [event.data["message"] for event in exp.events("message", stream="console")] == [f"line {n}" for n in range(4)]
    assert is_intact(exp)


def test_files_of_a_run(tmp_path):
    """Files that were fetched from a run are an experiment: settings, history, summary, machine, console, and the others."""
    pytest.importorskip("yaml")
    folder = tmp_path / "runs-of-server" / "abc"
    write(folder / "config.yaml", "wandb_version: 1\nlr:\n  desc: null\n  value: 0.1\n_wandb:\n  value: {}\n")
    write(folder / "wandb-metadata.json", json.dumps(METADATA))
    write(folder / "wandb-summary.json", json.dumps({"loss": 0.25, "_step": 1}))
    image = {"_type": "image-file", "path": "media/images/x.png", "width": 1, "height": 1}
    rows = [{"_step": n, "_timestamp": 1709208001.0 + n, "_runtime": n, "loss": 1 / (1 + n)} for n in range(2)]
    text = "".join(json.dumps(row) + "\n" for row in [*rows, {"_step": 2, "_timestamp": 1709208003.0, "pic": image}])
    write(folder / "wandb-history.jsonl", text + '{"_step": 3, "lo')
    write(folder / "wandb-events.jsonl", '{"system.cpu": 5.5, "_timestamp": 1709208002.0, "_runtime": 1, "_wandb": true}\n')
    write(folder / "media" / "images" / "x.png", "png")
    write(folder / "output.log", "hello\n")
    write(folder / "model.txt", "weights")

    exp, outcome = import_one(tmp_path / "runs-of-server", tmp_path / "runs")

    assert (exp.name, exp.params["lr"], outcome.left) == ("abc", 0.1, {})
    assert points(exp) == [(0, {"loss": 1.0}), (1, {"loss": 0.5})]
    assert (exp.meta["script"]["argv"], exp.meta["machine"]["host"]) == (["train.py", "--lr", "0.1"], "vm")
    assert "secret" not in (exp.path / "meta.json").read_text()
    [picture] = exp.events("image")
    assert (picture.step, (exp.path / picture.data["file"]["path"]).read_text()) == (2, "png")
    assert [dict(event.data)["cpu"] for event in exp.events("system")] == [5.5]
    assert [event.data["message"] for event in exp.events("message", stream="console")] == ["hello"]
    assert ((exp.path / "files" / "model.txt").read_text(), exp.summary()["loss"].value) == ("weights", 0.25)
    assert is_intact(exp)
    before = content(tmp_path / "runs")
    import_all(tmp_path / "runs-of-server", tmp_path / "runs")
    assert content(tmp_path / "runs") == before
