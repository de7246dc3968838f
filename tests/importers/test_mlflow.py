"""Runs of MLflow come over from its file store and its database, the real ones and damaged ones."""

from __future__ import annotations

import math
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import mlv
from importers import wandb_files as w
from importers.trees import content, import_all, import_one, is_intact, points, write
from mlv.importers import yaml_files
from mlv.importers.importing import look_for
from mlv.importers.reading import Options

META = """\
artifact_uri: file:///gone/mlruns/1/abc/artifacts
end_time: {end}
entry_point_name: ''
experiment_id: '1'
lifecycle_stage: {stage}
run_id: {id}
run_name: smart-bird
start_time: 1700000000000
status: {status}
user_id: me
"""
EXPERIMENT = "artifact_location: file:///gone/mlruns/1\nexperiment_id: '1'\nlifecycle_stage: active\nname: digits\n"


def run(root: Path, id: str = "abc", status: int = 3, stage: str = "active", **tags: str) -> Path:
    write(root / "mlruns/1/meta.yaml", EXPERIMENT)
    folder = root / "mlruns/1" / id
    end = 1700000100000 if status > 2 else "null"
    write(folder / "meta.yaml", META.format(end=end, stage=stage, id=id, status=status))
    for name, text in tags.items():
        write(folder / "tags" / name.replace("__", "."), text)
    write(folder / "params/lr", "0.1")
    write(folder / "metrics/loss", "1700000001000 0.5 0\n1700000002000 nan 1\n1700000003000 inf 2\n")
    write(folder / "metrics/val/acc", "1700000002000 0.25 1\n")
    return folder


def numbers(exp: mlv.Exp) -> str:
    return repr([(step, data) for step, data in points(exp)])


def test_a_store(tmp_path):
    """A run comes over below its experiment's name: metrics by time and step, params as texts, tags, artifacts that moved."""
    pytest.importorskip("yaml")
    folder = run(tmp_path, mlflow__note__content="A note.", kind="good")
    write(folder / "artifacts/models/m.bin", "weights")

    exp, outcome = import_one(tmp_path / "mlruns", tmp_path / "runs")

    assert (exp.path, outcome.is_whole, exp.status) == (tmp_path / "runs/digits/smart-bird", True, "ok")
    assert (exp.params, exp.tags, exp.notes) == ({"lr": "0.1"}, ("imported", "mlflow", "kind=good"), ("A note.",))
    assert numbers(exp) == "[(0, {'loss': 0.5}), (1, {'loss': nan, 'val/acc': 0.25}), (2, {'loss': inf})]"
    assert (exp.path / "files/artifacts/models/m.bin").read_text() == "weights"
    assert (exp.runs[0].started.timestamp(), exp.runs[0].ended.timestamp()) == (1700000000, 1700000100)
    assert is_intact(exp)
    parsed, _ = import_one(tmp_path / "mlruns", tmp_path / "parsed", parse_params=True)
    assert parsed.params == {"lr": 0.1}


@pytest.mark.parametrize("follows", [True, False])
def test_that_grows(tmp_path, follows):
    """A run that goes on comes over as far as it is; later points, params and its end are added."""
    pytest.importorskip("yaml")
    folder = run(tmp_path, status=1)
    first, _ = import_one(tmp_path / "mlruns", tmp_path / "runs", follows=follows)
    for number in range(3, 8):
        with open(folder / "metrics/loss", "a") as file:
            file.write(f"170000000{number + 1}000 {number} {number}\n17")
        _, partly = import_one(tmp_path / "mlruns", tmp_path / "runs", follows=follows)
        assert (dict(partly.left), partly.imported.differences) == ({}, [])
        (folder / "metrics/loss").write_text((folder / "metrics/loss").read_text().removesuffix("17"))
    write(folder / "params/late", "x")
    run_text = (folder / "metrics/loss").read_text()
    run(tmp_path)
    (folder / "metrics/loss").write_text(run_text)

    exp, outcome = import_one(tmp_path / "mlruns", tmp_path / "runs", follows=follows)

    assert (exp.path, outcome.imported.differences) == (first.path, [])
    assert [step for step, data in points(exp) if "loss" in data] == list(range(8))
    assert exp.params == {"lr": "0.1", "late": "x"}
    assert is_intact(exp)


def test_nested_deleted_and_damaged(tmp_path):
    """Nested runs lie below their parents, deleted ones are archived; damage costs its lines, and a missing file itself."""
    pytest.importorskip("yaml")
    run(tmp_path, "parent", status=4)
    child = run(tmp_path, "child", mlflow__parentRunId="parent", mlflow__runName="fold/1")
    run(tmp_path, "deleted", stage="deleted")
    write(child / "metrics/loss", "1700000001000 0.5 0\nhalf a line\n1700000003000 1.5 2\n170000")

    outcomes = {each.unit.key: each for each in import_all(tmp_path / "mlruns", tmp_path / "runs")}

    nested = mlv.Exp.open(outcomes["child"].imported.path)
    assert (nested.path.name, nested.kind, nested.parent.status) == ("fold_1", "nested", "failed")
    assert dict(outcomes["child"].left) == {"lines of metrics that are none": 1}
    assert mlv.Exp.open(outcomes["deleted"].imported.path).meta["source"]["id"] == "deleted"
    assert [event.data["archived"] for event in mlv.Exp.open(outcomes["deleted"].imported.path).events("archived")] == [True]
    (child / "meta.yaml").write_text("status: [")
    again = {each.unit.key: each for each in import_all(tmp_path / "mlruns", tmp_path / "again")}
    assert again["child"].error == ""


SCRIPT = """
    import math, sys, time
    import mlflow

    mlflow.set_tracking_uri(sys.argv[1])
    mlflow.set_experiment("digits")
    with mlflow.start_run(run_name="parent", description="A note.", tags={"team": "a"}) as parent:
        mlflow.log_params({"lr": 0.1, "name": "x"})
        for step in range(5):
            mlflow.log_metrics({"loss": 1 / (1 + step), "val/acc": float(step)}, step=step)
        mlflow.log_metric("odd", math.nan, step=1)
        mlflow.log_metric("odd", math.inf, step=2)
        mlflow.log_metric("odd", -math.inf, step=3)
        mlflow.log_text("words", "notes/a.txt")
        with mlflow.start_run(nested=True, run_name="child"):
            mlflow.log_metric("loss", 2.0)
    try:
        with mlflow.start_run(run_name="failed"):
            raise ValueError
    except ValueError:
        pass
    mlflow.delete_run(mlflow.last_active_run().info.run_id)
"""


@pytest.mark.parametrize("store", ["file", "sqlite"])
def test_mlflow_itself(tmp_path, store):
    """What MLflow wrote comes over, the same from its file store and from its database."""
    pytest.importorskip("mlflow", reason="MLflow writes the store")
    if store == "sqlite":
        pytest.importorskip("alembic")
        pytest.importorskip("sqlalchemy")
    uri = f"file:{tmp_path / 'mlruns'}" if store == "file" else f"sqlite:///{tmp_path / 'mlflow.db'}"
    script = write(tmp_path / "script.py", textwrap.dedent(SCRIPT))
    env = {**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true", "GIT_PYTHON_REFRESH": "quiet"}
    done = subprocess.run(
        [sys.executable, script, uri], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    source = tmp_path / ("mlruns" if store == "file" else "mlflow.db")
    shutil.move(source, tmp_path / "moved")
    if store == "sqlite":
        (tmp_path / "moved").rename(tmp_path / "moved.db")

    outcomes = import_all(tmp_path / ("moved" if store == "file" else "moved.db"), tmp_path / "runs")

    exps = {exp.name: exp for exp in (mlv.Exp.open(each.imported.path) for each in outcomes)}
    assert all(each.is_whole for each in outcomes), [each.to_data() for each in outcomes]
    parent, child, failed = exps["parent"], exps["child"], exps["failed"]
    assert (parent.params, parent.notes, parent.status) == ({"lr": "0.1", "name": "x"}, ("A note.",), "ok")
    assert parent.tags == ("imported", "mlflow", "team=a")
    assert (child.parent.id, failed.status, parent.path.parent.name) == (parent.id, "failed", "digits")
    assert {name: each.count for name, each in parent.summary().items()} == {"loss": 5, "val/acc": 5, "odd": 3}
    odd = [data["odd"] for _, data in points(parent) if "odd" in data]
    assert (math.isnan(odd[0]), odd[1:]) == (True, [math.inf, -math.inf])
    assert (parent.path / "files/artifacts/notes/a.txt").read_text() == "words"
    assert [event.data["archived"] for event in failed.events("archived")] == [True]
    assert all(is_intact(exp) for exp in exps.values())
    before = content(tmp_path / "runs")
    import_all(tmp_path / ("moved" if store == "file" else "moved.db"), tmp_path / "runs")
    assert content(tmp_path / "runs") == before


def test_an_old_database(tmp_path):
    """A database of an early version, without the columns of later ones, comes over; a damaged one is reported."""
    path = tmp_path / "mlflow.db"
    connection = sqlite3.connect(path)
    connection.executescript("""
        create table experiments (experiment_id integer, name text, artifact_location text, lifecycle_stage text);
        create table runs (run_uuid text, name text, status text, start_time integer, end_time integer, experiment_id integer);
        create table metrics (key text, value real, timestamp integer, run_uuid text);
        create table params (key text, value text, run_uuid text);
        create table tags (key text, value text, run_uuid text);
        insert into experiments values (1, 'old', '', 'active');
        insert into runs values ('r1', '', 'FINISHED', 1500000000000, 1500000009000, 1);
        insert into metrics values ('loss', 0.5, 1500000001000, 'r1'), ('loss', 0.25, 1500000002000, 'r1');
        insert into params values ('lr', '1e-3', 'r1');
    """)
    connection.commit()
    connection.close()

    exp, outcome = import_one(path, tmp_path / "runs")

    assert (exp.path.relative_to(tmp_path / "runs"), outcome.is_whole) == (Path("old/r1"), True)
    assert ([data["loss"] for _, data in points(exp)], exp.params) == ([0.5, 0.25], {"lr": "1e-3"})


def database(path: Path, *rows: str, uri: str = "") -> Path:
    """A database with a run of one metric, and more rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.executescript(f"""
        create table experiments (experiment_id integer, name text, artifact_location text, lifecycle_stage text);
        create table runs (
            run_uuid text, name text, status text, start_time integer, end_time integer, experiment_id integer,
            artifact_uri text
        );
        create table metrics (key text, value real, timestamp integer, run_uuid text);
        create table params (key text, value text, run_uuid text);
        create table tags (key text, value text, run_uuid text);
        insert into experiments values (1, 'exp', '', 'active');
        insert into runs values ('r1', '', 'FINISHED', 1500000000000, 1500000009000, 1, '{uri}');
        insert into metrics values ('loss', 0.5, 1500000001000, 'r1');
        {"".join(rows)}
    """)
    connection.commit()
    connection.close()
    return path


def test_a_folder_that_is_none_of_artifacts(tmp_path):
    """A store names the folder of artifacts of a run; one that is not such a folder stays out of the tree, and is reported."""
    for folder in ("home/.ssh", "1/r1/artifacts"):
        write(tmp_path / folder / "file", "content")
    named = import_one(database(tmp_path / "a/mlflow.db", uri=f"file://{tmp_path}/1/r1/artifacts"), tmp_path / "runs")[0]

    exp, outcome = import_one(database(tmp_path / "b/mlflow.db", uri=f"file://{tmp_path}/home"), tmp_path / "other")

    assert (named.path / "files/artifacts/file").read_text() == "content"
    assert (list(exp.events("file")), sum(outcome.left.values())) == ([], 1)


def test_texts_that_are_none(tmp_path):
    """A text of a database that is no UTF-8 is escaped, and the rest of it comes over."""
    path = database(tmp_path / "mlflow.db", "insert into params values ('lr', cast(x'30ff' as text), 'r1');")

    assert import_one(path, tmp_path / "runs")[0].params == {"lr": "0\\xff"}


def test_a_damaged_database(tmp_path):
    """A database that cannot be read is reported by its path, and what lies beside it comes over."""
    path = database(tmp_path / "m/mlflow.db")
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * (path.stat().st_size - 4096))
    write(tmp_path / "m/run-1/run-a.wandb", "")
    (tmp_path / "m/run-1/run-a.wandb").write_bytes(w.framed([w.run("a"), w.row(0, 0, loss=1), w.exited()]))

    outcomes = import_all(tmp_path / "m", tmp_path / "runs")

    assert [(each.unit.path, each.error != "") for each in outcomes if each.unit.format == "mlflow"] == [(path, True)]
    assert [each.is_whole for each in outcomes if each.unit.format == "wandb"] == [True]


def test_models_of_many_runs(tmp_path, monkeypatch):
    """The models of an experiment are read once for all of its runs."""
    for number in range(12):
        run(tmp_path, f"r{number}")
        model = tmp_path / f"mlruns/1/models/m{number}"
        write(model / "meta.yaml", f"name: net\nsource_run_id: r{number}\n")
        write(model / "artifacts/weights", "1")
    read, paths = yaml_files.mapping_of, []
    monkeypatch.setattr(yaml_files, "mapping_of", lambda path, reading: paths.append(path) or read(path, reading))

    outcomes = import_all(tmp_path / "mlruns", tmp_path / "runs")

    assert all((each.imported.path / f"files/models/net/m{each.unit.key[1:]}/weights").is_file() for each in outcomes)
    assert len([path for path in paths if path.parts[-3] == "models"]) <= 2 * 12  # once more where metas are looked for


def test_values_at_one_time_and_step(tmp_path):
    """A metric that was logged several times within a millisecond, without a step, comes over with all of its values."""
    pytest.importorskip("yaml")
    folder = run(tmp_path / "a")
    write(folder / "metrics/loss", "1700000000000 0.5 0\n1700000000000 0.25 0\n1700000000000 0.125 0\n")
    write(folder / "metrics/other", "1700000000000 1 0\n")
    more = ", ".join(f"('loss', {value}, 1500000001000, 'r1')" for value in (0.25, 0.125))

    exps = [
        import_one(tmp_path / "a/mlruns", tmp_path / "runs")[0],
        import_one(database(tmp_path / "b/mlflow.db", f"insert into metrics values {more};"), tmp_path / "runs")[0],
    ]

    assert [exp.summary()["loss"].count for exp in exps] == [3, 3]
    assert exps[0].summary()["other"].count == 1


@pytest.mark.parametrize(("status", "is_shared"), [(1, False), (3, True)])
def test_artifacts_that_are_written_again(tmp_path, status, is_shared):
    """An artifact of a run that goes on is a file of its own, whatever becomes of the source's."""
    pytest.importorskip("yaml")
    folder = run(tmp_path, status=status)
    write(folder / "artifacts/model.bin", "weights")

    exp, _ = import_one(tmp_path / "mlruns", tmp_path / "runs")

    assert exp.path.joinpath("files/artifacts/model.bin").samefile(folder / "artifacts/model.bin") <= is_shared
    with open(folder / "artifacts/model.bin", "r+") as file:
        file.write("WEIGHTS")
    assert is_shared or is_intact(exp)


def test_traces(tmp_path):
    """Traces of an experiment, which do not come over, are named as passed over."""
    pytest.importorskip("yaml")
    run(tmp_path)
    write(tmp_path / "mlruns/1/traces/tr-1/trace_info.yaml", "trace_id: tr-1\n")

    found = look_for([tmp_path / "mlruns"], None, Options())

    assert (len(found.units), [path.name for path in found.unknown]) == (1, ["trace_info.yaml"])
