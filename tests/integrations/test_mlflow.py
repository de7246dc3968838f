"""MLflow on experiments of mlv: its fluent API, its client and its autologs, through its own entry points."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import wait_until
from training import ONLY_OURS, TESTS, die_and_go_on, is_intact, library

import mlv

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before MLflow is imported: tests talk to nobody
mlflow = library("mlflow")
pytestmark = ONLY_OURS


@pytest.fixture(autouse=True)
def client(tmp_path, monkeypatch):
    """A client of MLflow, whose global state is as new; relative paths lie in a folder of the test's own."""
    from mlflow.tracking import fluent

    from mlv.integrations.mlflow import sessions

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID", raising=False)
    monkeypatch.setattr(fluent, "_active_experiment_id", None)
    uri = f"mlv:{tmp_path / 'runs'}"  # MLflow keeps one store for each URI
    mlflow.set_tracking_uri(uri)
    yield mlflow.MlflowClient(uri)
    while mlflow.active_run():
        mlflow.end_run()
    sessions.end_below(tmp_path, "ok")
    os.environ.pop("MLFLOW_EXPERIMENT_ID", None)  # of `set_experiment`
    mlflow.set_tracking_uri(None)


def names(runs):
    return sorted(run.info.run_name for run in runs)


def test_the_fluent_api_writes_an_experiment(client):
    """Params, metrics, tags, a note and artifacts of a run are those of the experiment, and MLflow reads them back."""
    mlflow.set_experiment("digits")
    with mlflow.start_run(run_name="first", description="a trial", tags={"release": "v1"}) as run:
        mlflow.log_params({"lr": 0.1, "depth": 3, "text": "0.10", "none": None, "flag": True})
        for step in range(3):
            mlflow.log_metrics({"loss": 1 / (step + 1), "val/acc": step / 4}, step=step)
        mlflow.set_tag("release", "v2")
        mlflow.log_text("hello", "notes/hello.txt")

    exp = mlv.Exp.open("runs/digits/first")
    assert exp.id == run.info.run_id
    assert exp.params == {"lr": 0.1, "depth": 3, "text": "0.10", "none": None, "flag": True}
    assert (exp.tags, exp.notes, exp.status) == (("release=v2",), ("a trial",), "ok")
    assert [(event.step, set(event.data)) for event in exp.events("metrics")] == [(i, {"loss", "val/acc"}) for i in range(3)]
    assert [event.name for event in exp.events("file")] == ["notes/hello.txt"]

    read = client.get_run(run.info.run_id)
    assert read.data.params == {"lr": "0.1", "depth": "3", "text": "0.10", "none": "None", "flag": "True"}
    assert read.data.metrics == {"loss": 1 / 3, "val/acc": 0.5}
    assert read.data.tags["mlflow.note.content"] == "a trial"
    assert read.data.tags["release"] == "v2"
    assert read.info.status == "FINISHED"
    assert run.info.start_time == read.info.start_time <= read.info.end_time
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert all(read.info.start_time <= point.timestamp <= read.info.end_time for point in history)
    assert [file.path for file in client.list_artifacts(run.info.run_id, "notes")] == ["notes/hello.txt"]
    assert mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/notes/hello.txt") == "hello"
    assert is_intact(exp.path)


@pytest.mark.parametrize("text", ["1", "-3", "0.1", "0.10", "1e5", "1e-07", "nan", "inf", "True", "None", "", "007", "9" * 30])
def test_params_keep_their_text(text):
    """The value that a param's text stands for gives the same text again."""
    from mlv.integrations.mlflow.records import parsed

    assert str(parsed(text)) == text


def test_a_param_does_not_change(client):
    """Another value for a param is MLflow's own error; the same value is none."""
    run = client.create_run("0")
    client.log_param(run.info.run_id, "lr", 0.1)
    client.log_param(run.info.run_id, "lr", 0.1)

    with pytest.raises(mlflow.MlflowException, match="Changing param values is not allowed"):
        client.log_param(run.info.run_id, "lr", 0.2)


KILLED = """
import mlflow
mlflow.set_tracking_uri(uri)
client = mlflow.MlflowClient()
[run] = client.search_runs(["0"], "attributes.run_name = 'fit'") or [client.create_run("0", run_name="fit")]
assert run.info.status == ("RUNNING" if last else "KILLED")
with mlflow.start_run(run_id=run.info.run_id):
    mlflow.log_param("lr", 0.1)
    with mlflow.start_run(run_name="fold", nested=True):
        mlflow.log_text("a", "a.txt")
        for step in range(3):
            mlflow.log_metric("score", step, step=step)
    for step in range(len(client.get_metric_history(run.info.run_id, "loss")), 6):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
        if step == last:
            kill()
exp = Exp.open("runs/fit")
"""


@pytest.mark.crash
def test_a_run_goes_on_after_a_kill(client, tmp_path, python):
    """What was logged before a kill is there, the run is killed for MLflow, and goes on in another process."""
    die_and_go_on(f"uri = 'mlv:{tmp_path / 'runs'}'\n{KILLED}", last=3, python=python)

    exp = mlv.Exp.open("runs/fit")
    assert [event.step for event in exp.events("metrics")] == [0, 1, 2, 3, 4, 5]
    assert [run.status for run in exp.runs] == ["killed", "ok"]
    assert [sub.status for sub in exp.sub_exps] == ["ok", "ok"]
    [run] = [run for run in client.search_runs(["0"]) if run.info.run_name == "fit"]
    assert (run.info.status, run.data.params) == ("FINISHED", {"lr": "0.1"})
    assert is_intact(exp.path)


def test_nested_runs_are_sub_experiments(client):
    """A nested run lies below its parent, and one of another experiment of MLflow in that one."""
    other = client.create_experiment("other")
    with mlflow.start_run(run_name="parent") as parent:
        for index in range(2):
            with mlflow.start_run(run_name="fold", nested=True):
                mlflow.log_metric("score", index)
        with mlflow.start_run(run_name="elsewhere", nested=True, experiment_id=other) as elsewhere:
            pass

    assert [exp.path.relative_to(Path.cwd()).as_posix() for exp in mlv.Exp.open("runs/parent").sub_exps] == [
        "runs/parent/run/fold",
        "runs/parent/run/fold_1",
    ]
    children = client.search_runs(["0"], f"tags.mlflow.parentRunId = '{parent.info.run_id}'")
    assert sorted(run.data.metrics["score"] for run in children) == [0, 1]
    assert client.get_run(elsewhere.info.run_id).info.experiment_id == other


@pytest.mark.parametrize(("status", "expected"), [("FAILED", "failed"), ("KILLED", "interrupted")])
def test_the_status_of_a_run(client, status, expected):
    """A run ends with the status that MLflow gives, at the time that it gives."""
    run = client.create_run("0", run_name="run", start_time=1000)
    client.set_terminated(run.info.run_id, status, end_time=2000)

    info = client.get_run(run.info.run_id).info
    assert (info.status, info.start_time, info.end_time) == (status, 1000, 2000)
    assert mlv.Exp.open("runs/run").status == expected


def test_nothing_is_stored_where_mlv_is_disabled(client, monkeypatch):
    """Under `MLV_DISABLED` all calls are there, and nothing is on the disk."""
    monkeypatch.setenv("MLV_DISABLED", "1")
    with mlflow.start_run(run_name="run") as run, mlflow.start_run(nested=True):
        mlflow.log_param("lr", 0.1)
        mlflow.log_metric("loss", 1.0)
        mlflow.log_text("hello", "hello.txt")

    assert client.get_run(run.info.run_id).info.run_id == run.info.run_id
    assert not Path("runs").exists()


def test_an_exception_fails_the_run(client):
    """A block that an exception leaves is a failed run."""
    with pytest.raises(ValueError, match="unlucky"), mlflow.start_run(run_name="run") as run:
        raise ValueError("unlucky")

    assert client.get_run(run.info.run_id).info.status == "FAILED"


def test_what_is_logged_after_the_end_does_not_begin_the_run_again(client):
    """Metrics, tags, a new name and artifacts come into a run that is over; its status and its times stay."""
    with mlflow.start_run(run_name="run") as run:
        pass
    before = client.get_run(run.info.run_id).info

    client.log_metric(run.info.run_id, "late", 1.0)
    client.set_tag(run.info.run_id, "paper", "yes")
    client.update_run(run.info.run_id, name="renamed")
    client.log_text(run.info.run_id, "x", "x.txt")

    after = client.get_run(run.info.run_id)
    assert (after.info.status, after.info.end_time, after.info.run_name) == ("FINISHED", before.end_time, "renamed")
    assert (after.data.metrics, after.data.tags["paper"]) == ({"late": 1.0}, "yes")
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["x.txt"]
    assert is_intact("runs/run")


def test_batches_in_any_order(client):
    """Metrics of any order of steps are kept in the order of their logging; the latest is that of the greatest step."""
    from mlflow.entities import Metric, Param, RunTag

    run_id = client.create_run("0").info.run_id
    client.log_batch(run_id, metrics=[Metric("a", float(step), 7000 + step, step) for step in (3, 1, 2, 1)])
    client.log_batch(run_id, tags=[RunTag("k", "v")], params=[Param("p", "q")], metrics=[Metric("a", float("nan"), 1, 0)])

    history = client.get_metric_history(run_id, "a")
    assert [(point.step, point.timestamp) for point in history] == [(3, 7003), (1, 7001), (2, 7002), (1, 7001), (0, 1)]
    data = client.get_run(run_id).data
    assert (data.metrics, data.params, data.tags["k"]) == ({"a": 3.0}, {"p": "q"}, "v")


def test_several_threads(client):
    """Threads with a run each, and threads that log into one run: nothing is lost, or in another run."""
    run_id = client.create_run("0", run_name="shared").info.run_id

    def work(number):
        with mlflow.start_run(run_name=f"own_{number}"):
            for step in range(30):
                mlflow.log_metric("own", number, step=step)
                client.log_metric(run_id, f"shared_{number}", step, step=step)
                client.set_tag(run_id, f"tag_{number}", step)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for number in range(3):
        history = client.get_metric_history(run_id, f"shared_{number}")
        assert [point.step for point in history] == list(range(30))
        assert {event.data["own"] for event in mlv.Exp.open(f"runs/own_{number}").events("metrics")} == {number}
    tags = client.get_run(run_id).data.tags
    assert {tags[f"tag_{number}"] for number in range(3)} == {"29"}


def test_several_processes_log_into_one_run(client, tmp_path):
    """Processes that log into a run by its ID are runs of one experiment."""
    run_id = client.create_run("0", run_name="shared").info.run_id
    script = f"""
import mlflow
mlflow.set_tracking_uri("mlv:{tmp_path / "runs"}")
for step in range(5):
    mlflow.MlflowClient().log_metric({run_id!r}, "m_" + name, step, step=step)
"""
    workers = [subprocess.Popen([sys.executable, "-c", f"name = {name!r}\n{script}"]) for name in ("a", "b")]
    assert [worker.wait() for worker in workers] == [0, 0]
    client.set_terminated(run_id)

    for name in ("a", "b"):
        assert [point.step for point in client.get_metric_history(run_id, f"m_{name}")] == list(range(5))
    assert client.get_run(run_id).info.status == "FINISHED"
    assert is_intact("runs/shared")


def test_a_deleted_run_is_in_the_trash(client):
    """A deleted run goes into the trash with those nested in it, takes nothing more, and comes back to where it was."""
    with mlflow.start_run(run_name="parent") as run, mlflow.start_run(run_name="fold", nested=True):
        pass

    client.delete_run(run.info.run_id)

    assert not Path("runs/parent").exists()
    assert client.search_runs(["0"]) == []
    assert names(client.search_runs(["0"], run_view_type=mlflow.entities.ViewType.DELETED_ONLY)) == ["fold", "parent"]
    assert client.get_run(run.info.run_id).info.lifecycle_stage == "deleted"
    with pytest.raises(mlflow.MlflowException, match="restore it first"):
        client.log_metric(run.info.run_id, "m", 1.0)

    client.restore_run(run.info.run_id)
    assert names(client.search_runs(["0"])) == ["fold", "parent"]
    assert Path("runs/parent/run/fold/meta.json").exists()


def test_a_deleted_run_comes_back_beside_others(client):
    """A run comes back beside another one that has its name by now, and a nested one comes out of a parent in the trash."""
    first = client.create_run("0", run_name="fit").info.run_id
    client.delete_run(first)
    client.create_run("0", run_name="fit")
    client.restore_run(first)
    assert (client.get_run(first).info.run_name, mlv.Exp.open("runs/fit_1").id) == ("fit", first)

    parent = client.create_run("0", run_name="parent").info.run_id
    fold = client.create_run("0", run_name="fold", tags={"mlflow.parentRunId": parent}).info.run_id
    for run_id in (fold, parent):
        client.delete_run(run_id)
    for run_id in (fold, parent):
        client.restore_run(run_id)
    assert [mlv.Exp.open(f"runs/{name}").id for name in ("fold", "parent")] == [fold, parent]


def test_runs_that_were_deleted_before_come_back_with_their_experiment(client):
    """A nested run that was deleted before its parent, and that before the experiment, are where they were."""
    experiment_id = client.create_experiment("vision")
    parent = client.create_run(experiment_id, run_name="parent").info.run_id
    fold = client.create_run(experiment_id, run_name="fold", tags={"mlflow.parentRunId": parent}).info.run_id
    client.delete_run(fold)
    client.delete_experiment(experiment_id)
    client.restore_experiment(experiment_id)

    assert mlv.Exp.open("runs/vision/parent").id == parent
    assert mlv.Exp.open("runs/vision/parent/run/fold").id == fold


NAMES = ["meta.json", "mlflow.log.jsonl", "\u8a13" * 100, "\U00020000" * 100, "\ud800", "..", "/a/../b"]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:20])
def test_any_name_names_a_folder(client, tmp_path, name):
    """Runs and experiments of MLflow may have names that no folder can have, or that files of mlv have."""
    experiment_id = client.create_experiment(name)
    run_id = client.create_run("0", run_name=name).info.run_id
    client.create_run(experiment_id, run_name=name)

    assert client.get_run(run_id).info.run_name == name
    assert {path.parent.parent.parent for path in (tmp_path / "runs").glob("*/*/meta.json")} == {tmp_path / "runs"}
    assert len(client.search_runs([experiment_id])) == len(client.search_runs(["0"])) == 1
    client.set_experiment_tag("0", "a", "b")


def test_artifacts_are_not_replaced_by_a_file_of_their_folders_name(client, tmp_path):
    """A file that has the name of a folder of artifacts is refused, and these stay."""
    run_id = client.create_run("0", run_name="fit").info.run_id
    client.log_text(run_id, "a", "folder/a.txt")
    with pytest.raises(mlflow.MlflowException, match="another name"):
        client.log_text(run_id, "b", "folder")

    assert (tmp_path / "runs" / "fit" / "files" / "folder" / "a.txt").read_text() == "a"


OWNER = """
import mlflow
mlflow.set_tracking_uri(uri)
with mlflow.start_run(run_name="fit"):
    open("begun", "w").close()
    wait_until(lambda: os.path.exists("logged"))
"""


def test_a_run_ends_although_another_process_logged_into_it(client, tmp_path):
    """A run that its process ends is finished, also for a process that logged into it meanwhile and goes on."""
    script = f"{TESTS}import os\nfrom conftest import wait_until\nuri = 'mlv:{tmp_path / 'runs'}'\n{OWNER}"
    with subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path) as owner:
        wait_until(lambda: Path("begun").exists())
        [run] = client.search_runs(["0"])
        client.log_metric(run.info.run_id, "score", 1.0)
        assert client.get_run(run.info.run_id).info.status == "RUNNING"
        Path("logged").touch()
        assert owner.wait() == 0

    info = client.get_run(run.info.run_id).info
    assert (info.status, info.end_time is not None) == ("FINISHED", True)


def test_experiments_of_mlflow_are_there_although_nothing_is_stored(client, tmp_path, monkeypatch):
    """Under MLV_DISABLED a script with MLflow goes through as it is, and leaves nothing."""
    monkeypatch.setenv("MLV_DISABLED", "1")
    for _ in range(2):
        mlflow.set_experiment("vision")
        with mlflow.start_run(run_name="fit"):
            mlflow.log_param("lr", 0.1)
            mlflow.log_metric("loss", 0.5)
            mlflow.log_text("a", "a.txt")

    assert client.get_experiment_by_name("vision").name == "vision"
    assert not (tmp_path / "runs").exists()


def test_folders_behind_links_are_logged(client, tmp_path):
    """A folder of artifacts has those of the folders to which it links, once each, and not itself."""
    source = tmp_path / "source"
    Path(source, "folder").mkdir(parents=True)
    Path(source, "folder", "a.txt").write_text("a")
    Path(source, "link").symlink_to(source / "folder")
    Path(source, "folder", "up").symlink_to(source)
    run_id = client.create_run("0", run_name="fit").info.run_id
    client.log_artifacts(run_id, source)

    files = tmp_path / "runs" / "fit" / "files"
    assert sorted(path.relative_to(files).as_posix() for path in files.rglob("*.txt")) == ["folder/a.txt", "link/a.txt"]


def test_a_run_that_goes_on_elsewhere_is_not_deleted(client, tmp_path):
    """A run that another process writes into stays: the error says so."""
    mlv.Exp(tmp_path / "runs", "busy").close()
    script = (
        "import mlv, sys; exp = mlv.Exp.open('runs/busy'); exp.log({'a': 1}); exp.flush(); print('on', flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=-1, stdout=-1, text=True) as other:
        assert other.stdout.readline() == "on\n"
        [run] = client.search_runs(["0"])
        with pytest.raises(mlflow.MlflowException, match="busy"):
            client.delete_run(run.info.run_id)
        other.communicate("\n")


def test_experiments_of_mlflow_are_folders(client):
    """An experiment of MLflow is a folder with a log of its name and tags: its ID stays, whatever happens to it."""
    folder = mlflow.set_experiment("/Users/me/digits")
    client.set_experiment_tag(folder.experiment_id, "team", "blue")
    with mlflow.start_run(run_name="run"):
        pass
    client.rename_experiment(folder.experiment_id, "numbers")

    assert client.get_experiment_by_name("/Users/me/digits") is None
    renamed = client.get_experiment_by_name("numbers")
    assert (renamed.experiment_id, renamed.tags) == (folder.experiment_id, {"team": "blue"})
    with pytest.raises(mlflow.MlflowException, match="already exists"):
        client.create_experiment("numbers")
    assert client.create_experiment("/Users/me/digits") != folder.experiment_id

    client.delete_experiment(folder.experiment_id)
    assert "numbers" not in [each.name for each in client.search_experiments()]
    assert client.search_runs([folder.experiment_id]) == []
    with pytest.raises(mlflow.MlflowException, match="restore it first"):
        client.create_run(folder.experiment_id)
    client.restore_experiment(folder.experiment_id)
    assert names(client.search_runs([folder.experiment_id])) == ["run"]
    with pytest.raises(mlflow.MlflowException, match="the folder"):
        client.delete_experiment("0")


def test_searching(client):
    """Runs are filtered, ordered and paged as MLflow does it."""
    for number in range(5):
        with mlflow.start_run(run_name=f"run_{number}", tags={"even": str(number % 2 == 0)}):
            mlflow.log_param("number", number)
            mlflow.log_metric("loss", 5 - number)

    assert names(client.search_runs(["0"], "metrics.loss < 4 and params.number != '4'")) == ["run_2", "run_3"]
    assert names(client.search_runs(["0"], "tags.even = 'True'")) == ["run_0", "run_2", "run_4"]
    page = client.search_runs(["0"], order_by=["metrics.loss ASC"], max_results=2)
    rest = client.search_runs(["0"], order_by=["metrics.loss ASC"], max_results=9, page_token=page.token)
    assert [run.info.run_name for run in [*page, *rest]] == [f"run_{number}" for number in (4, 3, 2, 1, 0)]


def test_experiments_of_mlv_are_runs(client, tmp_path):
    """What mlv wrote is there for MLflow; what a rewind superseded is not."""
    with mlv.Exp(tmp_path / "runs", "plain", {"net": {"depth": 3}}, tags=["paper"]) as exp:
        for step in range(4):
            exp.log({"loss": step}, step=step)
        exp.rewind(1)
        exp.log({"loss": 9.0}, step=2)
        exp.log.sub("val")({"acc": 0.5, "text": "no number"})

    [run] = client.search_runs(["0"])
    assert (run.info.run_id, run.info.run_name, run.info.status) == (exp.id, "plain", "FINISHED")
    assert (run.data.params, run.data.metrics) == ({"net/depth": "3"}, {"loss": 9.0, "val/acc": 0.5})
    assert run.data.tags["paper"] == ""
    assert [point.value for point in client.get_metric_history(exp.id, "loss")] == [0, 1, 9]


def test_tags_and_datasets(client):
    """Tags can be deleted; data sets are inputs of the run."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    run_id = client.create_run("0", tags={"a": "b=c"}).info.run_id
    client.set_tag(run_id, "d", "")
    client.delete_tag(run_id, "a")
    with pytest.raises(mlflow.MlflowException, match="No tag with name: a"):
        client.delete_tag(run_id, "a")
    client.log_inputs(run_id, [DatasetInput(Dataset("iris", "1", "local", "{}"), [InputTag("mlflow.data.context", "eval")])])

    run = client.get_run(run_id)
    assert "a" not in run.data.tags
    assert run.data.tags["d"] == ""
    [dataset] = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.tags[0].value) == ("iris", "eval")


def test_what_mlv_does_not_keep_is_refused(client):
    """Traces and a registry of models are errors of MLflow, which say so."""
    run_id = client.create_run("0").info.run_id
    with pytest.raises(mlflow.MlflowException, match="mlv keeps no traces"):
        client.search_traces(experiment_ids=["0"])
    with pytest.raises(mlflow.MlflowException, match="mlv keeps no registry of models"):
        mlflow.register_model(f"runs:/{run_id}/model", "model")
    with pytest.raises(mlflow.MlflowException, match="artifacts lie with their runs"):
        client.create_experiment("s3", artifact_location="s3://bucket")
    with pytest.raises(mlflow.MlflowException, match="not found"):
        client.get_run("0" * 32)


def test_a_logged_model_is_a_sub_experiment(client):
    """A model that is logged lies below its run, is loaded from there, and has the metrics that are about it, once each."""
    linear_model = library("sklearn.linear_model")
    with mlflow.start_run(run_name="fit") as run:
        mlflow.log_metric("acc", 0.9)
        fitted = linear_model.LogisticRegression().fit([[0.0], [1.0]], [0, 1])
        info = mlflow.sklearn.log_model(fitted, name="clf", serialization_format="cloudpickle", pip_requirements=[])
        mlflow.log_metric("acc", 0.8, step=1, model_id=info.model_id)

    assert mlflow.sklearn.load_model(info.model_uri).predict([[1.0]]) == [1]
    assert [point.value for point in client.get_metric_history(run.info.run_id, "acc")] == [0.9, 0.8]
    model = client.get_logged_model(info.model_id)
    assert (model.name, str(model.status), model.source_run_id) == ("clf", "READY", run.info.run_id)
    assert [(metric.key, metric.value) for metric in model.metrics] == [("acc", 0.8)]
    assert [each.model_id for each in client.search_logged_models(["0"], "metrics.acc > 0.5")] == [info.model_id]
    assert client.get_run(run.info.run_id).outputs.model_outputs[0].model_id == info.model_id
    assert names(client.search_runs(["0"])) == ["fit"]
    [exp] = mlv.Exp.open("runs/fit").sub_exps
    assert (exp.kind, exp.name, exp.status) == ("logged_model", "clf", "ok")
    assert is_intact(exp.path)


def test_autolog_of_a_search(client):
    """MLflow's autolog of scikit-learn keeps a search: each candidate is a nested run."""
    library("pandas")
    numpy, selection, trees = library("numpy"), library("sklearn.model_selection"), library("sklearn.tree")
    mlflow.sklearn.autolog(log_models=False, log_datasets=False, silent=True)
    try:
        search = selection.GridSearchCV(trees.DecisionTreeClassifier(random_state=0), {"max_depth": [1, 2]}, cv=2)
        search.fit(numpy.arange(12.0).reshape(12, 1), numpy.array([0, 1, 1] * 4))
    finally:
        mlflow.sklearn.autolog(disable=True)

    [exp] = [exp for exp in mlv.find("runs") if exp.kind is None]
    assert (exp["best_max_depth"], exp["cv"], exp.status) == (search.best_params_["max_depth"], 2, "ok")
    assert exp.summary()["best_cv_score"].last == pytest.approx(search.best_score_)
    assert sorted(sub["max_depth"] for sub in exp.sub_exps) == [1, 2]
    assert is_intact(exp.path)


def test_autolog_of_lightgbm(client):
    """MLflow's autolog of LightGBM keeps each round of boosting."""
    lightgbm = library("lightgbm")
    numpy = library("numpy")
    data = numpy.arange(100.0).reshape(50, 2)
    train = lightgbm.Dataset(data, label=data[:, 0] % 3)
    mlflow.lightgbm.autolog(log_models=False, log_datasets=False, silent=True)
    try:
        with mlflow.start_run(run_name="boost"):
            lightgbm.train({"verbose": -1, "num_threads": 1}, train, num_boost_round=4, valid_sets=[train])
    finally:
        mlflow.lightgbm.autolog(disable=True)

    exp = mlv.Exp.open("runs/boost")
    assert [event.step for event in exp.events("metrics")] == [0, 1, 2, 3]
    assert exp["num_boost_round"] == 4


def test_autolog_of_lightning(client):
    """MLflow's autolog of Lightning keeps the metrics of each epoch."""
    lightning, boring = library("lightning.pytorch"), library("lightning.pytorch.demos.boring_classes")

    class Model(boring.BoringModel):
        def training_step(self, batch, index):
            loss = super().training_step(batch, index)["loss"]
            self.log("train_loss", loss)
            return loss

    mlflow.pytorch.autolog(log_models=False, log_datasets=False, silent=True)
    try:
        options = {"max_epochs": 2, "limit_train_batches": 2, "limit_val_batches": 0, "logger": False}
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
        with mlflow.start_run(run_name="fit"):
            lightning.Trainer(**options, **quiet, accelerator="cpu").fit(Model())
    finally:
        mlflow.pytorch.autolog(disable=True)

    exp = mlv.Exp.open("runs/fit")
    assert exp.summary()["train_loss"].count == 2
    assert exp["epochs"] == 2
