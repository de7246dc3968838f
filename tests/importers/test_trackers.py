"""Runs of Sacred, Trackio and DVCLive come over, as the tools wrote them, and damaged ones as much as there is."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import mlv
from importers.trees import content, import_all, import_one, is_intact, points, write, written_by

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


def sacred_run(folder: Path, status: str = "COMPLETED", points: int = 3, **more: object) -> None:
    info = {"name": "digits", "base_dir": "/code", "mainfile": "train.py", "dependencies": ["numpy==2.0"], "repositories": []}
    fields = {"experiment": info, "start_time": "2024-02-29T12:00:00.000001", "status": status, "host": {"hostname": "vm"}}
    write(folder / "run.json", json.dumps({**fields, "heartbeat": f"{points}", **more}))
    write(folder / "config.json", json.dumps({"lr": 0.1, "size": {"py/tuple": [1, 2]}}))
    times = [f"2024-02-29T12:00:0{number + 1}.000000" for number in range(points)]
    loss = {"steps": list(range(points)), "timestamps": times, "values": [number / 4 for number in range(points)]}
    write(
        folder / "metrics.json",
        json.dumps({"loss": loss, "odd": {"steps": [0], "timestamps": times[:1], "values": [math.nan]}}),
    )
    write(folder / "cout.txt", "hello\r\x1b[1mworld\n")


def test_sacred(tmp_path):
    """A run of Sacred comes over with config, metrics at their times, info, output, host and status."""
    folder = tmp_path / "sacred" / "1"
    sacred_run(folder, "FAILED", fail_trace=["Traceback\n", "ValueError: no\n"], result=3, artifacts=["a.txt", "gone.txt"])
    write(folder / "info.json", json.dumps({"best": {"acc": 0.5}}))
    write(folder / "a.txt", "text")

    exp, outcome = import_one(tmp_path / "sacred", tmp_path / "runs")

    assert (exp.path, dict(outcome.left)) == (tmp_path / "runs/digits/1", {"files that are gone, or lie elsewhere": 1})
    assert (exp.params, exp.status) == ({"lr": 0.1, "size": [1, 2]}, "failed")
    assert [(event.step, event.time.second) for event in exp.events("metrics") if "loss" in event.data] == [
        (0, 1),
        (1, 2),
        (2, 3),
    ]
    assert math.isnan(next(data["odd"] for _, data in points(exp) if "odd" in data))
    assert {name: exp.summary()[name].value for name in ("best/acc", "result")} == {"best/acc": 0.5, "result": 3}
    assert [event.data["message"] for event in exp.events("message", stream="console")] == ["world"]
    assert (exp.path / "files/artifacts/a.txt").read_text() == "text"
    assert (exp.meta["script"]["path"], exp.meta["env"]["packages"]) == ("/code/train.py", {"numpy": "2.0"})
    assert exp.runs[0].exception["type"] == "ValueError"
    assert is_intact(exp)


def test_sacred_that_runs(tmp_path):
    """A run that goes on comes over in parts; a file that is cut off is reported, and comes over once it is whole."""
    folder = tmp_path / "sacred" / "1"
    sacred_run(folder, "RUNNING", 1)
    import_one(tmp_path / "sacred", tmp_path / "runs")
    sacred_run(folder, "RUNNING", 3)
    (folder / "cout.txt").write_bytes((folder / "cout.txt").read_bytes() + b"more\n")
    (folder / "metrics.json").write_text((folder / "metrics.json").read_text()[:50])
    _, torn = import_one(tmp_path / "sacred", tmp_path / "runs")
    printed = (folder / "cout.txt").read_bytes()
    sacred_run(folder, "COMPLETED", 5)
    (folder / "cout.txt").write_bytes(printed + b"last\n")

    exp, outcome = import_one(tmp_path / "sacred", tmp_path / "runs")

    assert dict(torn.left) == {"metrics.json that is no JSON: it is damaged, or is being written": 1}
    assert outcome.imported.differences == []
    assert sorted(step for step, data in points(exp) if "loss" in data) == list(range(5))
    printed = [event.data["message"] for event in exp.events("message", stream="console")]
    assert printed == ["world", "more", "last"]
    assert is_intact(exp)


def test_sacred_itself(tmp_path):
    """What Sacred wrote comes over."""
    script = """
        from sacred import Experiment
        from sacred.observers import FileStorageObserver

        ex = Experiment("digits", save_git_info=False)
        ex.observers.append(FileStorageObserver("sacred"))

        @ex.config
        def config():
            lr = 0.1
            layers = [1, 2]

        @ex.main
        def main(_run, lr):
            for step in range(4):
                _run.log_scalar("loss", 1 / (1 + step), step)
            print("hello")
            with open("a.txt", "w") as file:
                file.write("text")
            ex.add_artifact("a.txt")
            ex.add_resource("a.txt")
            ex.info["best"] = 3
            return 42

        ex.run()
    """
    written_by("sacred", script, tmp_path)

    exp, outcome = import_one(tmp_path / "sacred", tmp_path / "runs")

    assert outcome.is_whole, outcome.to_data()
    assert (exp.params["lr"], exp.params["layers"], exp.status) == (0.1, [1, 2], "ok")
    assert points(exp) == [(step, {"loss": 1 / (1 + step)}) for step in range(4)]
    assert (exp.summary()["result"].value, exp.summary()["best"].value) == (42, 3)
    assert {path.name for path in (exp.path / "files").iterdir()} == {"artifacts", "resources", "sources"}


def trackio_project(root: Path, rows: int, *, is_old: bool = False) -> Path:
    """A database as Trackio writes it; of its first version, without IDs of runs."""
    path = root / "trackio" / "proj.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    run = "" if is_old else "run_id text, "
    connection.executescript(f"""
        create table metrics (id integer primary key, {run}timestamp text, run_name text, step integer, metrics text);
        create table configs (id integer primary key, {run}run_name text, config text, created_at text);
        create table system_metrics (id integer primary key, {run}timestamp text, run_name text, metrics text);
    """)
    image = {"_type": "trackio.image", "file_path": "proj/first/1/a.png", "caption": "cap"}
    begin = "null" if is_old else "null, 'id1'"
    for number in range(rows):
        row = {"loss": "NaN" if number == 1 else number / 4, **({"img": image} if number == 1 else {})}
        cells = ["2024-02-29T12:00:00+00:00", "first", number, json.dumps(row).encode()]
        connection.execute(f"insert into metrics values ({begin}, ?, ?, ?, ?)", cells)
    for number in range(rows // 2):
        cells = ["2024-02-29T12:00:01+00:00", "first", json.dumps({"cpu": number})]
        connection.execute(f"insert into system_metrics values ({begin}, ?, ?, ?)", cells)
    config = json.dumps({"lr": 0.1, "_Created": "2024-02-29T11:59:00+00:00", "_Group": "g"})
    connection.execute(f"insert into configs values ({begin}, 'first', ?, '')", [config])
    connection.commit()
    connection.close()
    media = root / "trackio/media/proj/first/1/a.png"
    media.parent.mkdir(parents=True, exist_ok=True)
    media.write_bytes(PNG)
    return path


@pytest.mark.parametrize("is_old", [False, True])
def test_trackio(tmp_path, is_old):
    """A run of Trackio comes over, of any version of its database, and goes on coming over while it is written."""
    trackio_project(tmp_path, 4, is_old=is_old)
    import_one(tmp_path / "trackio", tmp_path / "runs")
    trackio_project(tmp_path, 9, is_old=is_old)

    exp, outcome = import_one(tmp_path / "trackio", tmp_path / "runs")

    assert (exp.path, exp.params, outcome.is_whole) == (tmp_path / "runs/proj/first", {"lr": 0.1}, True)
    assert outcome.imported.differences == []
    losses = {step: data["loss"] for step, data in points(exp)}
    assert (math.isnan(losses.pop(1)), losses) == (True, {step: step / 4 for step in (0, *range(2, 9))})
    [image] = exp.events("image")
    assert (image.step, image.data["caption"], (exp.path / image.data["file"]["path"]).read_bytes()) == (1, "cap", PNG)
    assert [event.data["cpu"] for event in exp.events("system")] == [0, 1, 2, 3]
    assert is_intact(exp)


def test_trackio_damaged(tmp_path):
    """Media that are gone and rows that are no JSON are reported, and the others come over; no database is none."""
    path = trackio_project(tmp_path, 3)
    (tmp_path / "trackio/media/proj/first/1/a.png").unlink()
    connection = sqlite3.connect(path)
    connection.execute("update metrics set metrics = '{half' where step = 2")
    connection.commit()
    connection.close()

    exp, outcome = import_one(tmp_path / "trackio", tmp_path / "runs")

    assert len(points(exp)) == 2
    assert sum(outcome.left.values()) == 2
    path.write_bytes(path.read_bytes()[:3000])
    (tmp_path / "other.db").write_bytes(b"SQLite format 3\x00" + bytes(50))
    assert [each.error != "" for each in _all(path, tmp_path)] in ([], [True])


def _all(path: Path, root: Path) -> list[object]:
    try:
        return list(import_all(path, root / "again"))
    except mlv.errors.MlvError:  # it is no longer recognised
        return []


def test_trackio_itself(tmp_path):
    """What Trackio wrote comes over."""
    pytest.importorskip("pandas")
    script = """
        import math
        import numpy as np, pandas, trackio

        trackio.init(project="proj", name="first", group="g", config={"lr": 0.1, "n": {"a": 1}})
        for step in range(4):
            trackio.log({"loss": 1 / (1 + step), "odd": math.nan if step == 1 else math.inf, "a/b": step}, step=step)
        trackio.log({
            "img": trackio.Image(np.zeros((4, 5, 3), "uint8"), caption="cap"),
            "tab": trackio.Table(dataframe=pandas.DataFrame({"a": [1, 2]})),
            "h": trackio.Histogram([1, 2, 2, 3]),
        }, step=4)
        trackio.alert("title", "text")
        trackio.finish()
    """
    written_by("trackio", script, tmp_path, TRACKIO_DIR=str(tmp_path / "trackio"))

    exp, outcome = import_one(tmp_path / "trackio", tmp_path / "runs")

    assert outcome.is_whole, outcome.to_data()
    assert exp.params == {"lr": 0.1, "n": {"a": 1}}
    step, data = points(exp)[1]
    assert (step, data["loss"], data["a/b"], math.isnan(data["odd"])) == (1, 0.5, 1, True)
    assert [len(list(exp.events(kind))) for kind in ("image", "table", "histogram", "message")] == [1, 1, 1, 1]
    assert is_intact(exp)


def test_dvclive(tmp_path):
    """A run of DVCLive comes over, metrics of a step as one line; a series with a damaged row lacks that."""
    pytest.importorskip("yaml")
    folder = tmp_path / "dvclive"
    write(folder / "plots/metrics/train/loss.tsv", "step\tloss\n0\t1.0\n1\t0.5\n")
    write(folder / "plots/metrics/acc.tsv", "step\tacc\n0\t1\nodd\n")
    write(folder / "metrics.json", "{}")
    write(folder / "params.yaml", "lr: 0.1\n")
    (folder / "plots/images").mkdir()
    (folder / "plots/images/img.png").write_bytes(PNG)
    first, torn = import_one(folder, tmp_path / "runs")
    assert (points(first), sum(torn.left.values())) == ([(0, {"acc": 1, "train/loss": 1.0}), (1, {"train/loss": 0.5})], 1)
    write(folder / "plots/metrics/train/loss.tsv", "step\tloss\n0\t1.0\n1\t0.5\n2\t0.25\n")
    write(folder / "plots/metrics/acc.tsv", "step\tacc\n0\t1\n")
    write(folder / "params.yaml", "lr: 0.1\nlate: 1\n")

    exp, outcome = import_one(folder, tmp_path / "runs")

    assert (outcome.is_whole, exp.params, exp.summary()["train/loss"].count) == (True, {"lr": 0.1, "late": 1}, 3)
    assert next(iter(exp.events("image"))).name == "images/img"
    assert is_intact(exp)


def test_dvclive_steps_that_recur(tmp_path):
    """A metric with several values of one step comes over with all of them."""
    write(tmp_path / "v/plots/metrics/loss.tsv", "step\tloss\n0\t1\n0\t2\n1\t3\n")
    write(tmp_path / "v/metrics.json", "{}")

    exp, _ = import_one(tmp_path / "v", tmp_path / "runs")

    assert points(exp) == [(0, {"loss": 1}), (0, {"loss": 2}), (1, {"loss": 3})]


def test_dvclive_itself(tmp_path):
    """What DVCLive wrote comes over."""
    script = """
        import numpy as np
        from dvclive import Live

        with Live("dvclive", save_dvc_exp=False) as live:
            live.log_params({"lr": 0.1, "a": {"b": 1}})
            for step in range(4):
                live.log_metric("train/loss", 1 / (1 + step))
                live.log_metric("acc", step)
                live.next_step()
            live.log_image("img.png", np.zeros((4, 5, 3), "uint8"))
            live.log_plot("curve", [{"x": 1, "y": 2}], x="x", y="y")
    """
    pytest.importorskip("numpy")
    written_by("dvclive", script, tmp_path)

    exp, outcome = import_one(tmp_path / "dvclive", tmp_path / "runs")

    assert outcome.is_whole, outcome.to_data()
    assert exp.params == {"lr": 0.1, "a": {"b": 1}}
    assert points(exp) == [(step, {"acc": step, "train/loss": 1 / (1 + step)}) for step in range(4)]
    assert json.loads((exp.path / "files/plots/custom/curve.json").read_text()) == [{"x": 1, "y": 2}]
    before = content(tmp_path / "runs")
    import_one(tmp_path / "dvclive", tmp_path / "runs")
    assert content(tmp_path / "runs") == before


def test_trackio_without_metrics(tmp_path):
    """A run that only measured the machine or raised an alert comes over, once nobody waits for its params."""
    path = trackio_project(tmp_path, 2)
    connection = sqlite3.connect(path)
    connection.execute("create table alerts (id integer primary key, run_id, timestamp, run_name, title, text, level, step)")
    moment = "2024-02-29T12:00:00+00:00"
    measured = json.dumps({"gpu": {"0": {"load": 3}}, "cpu": "NaN", "name": "A100"})
    connection.execute("insert into system_metrics values (null, 'id2', ?, 'second', ?)", [moment, measured])
    connection.execute("insert into alerts values (null, 'id3', ?, 'third', 'hot', null, 'warn', 0)", [moment])
    connection.commit()
    connection.close()

    followed = import_all(path.parent, tmp_path / "runs", follows=True)
    outcomes = {outcome.imported.path.name: outcome for outcome in import_all(path.parent, tmp_path / "runs")}

    assert [outcome.imported.path.name for outcome in followed] == ["first"]
    assert sorted(outcomes) == ["first", "second", "third"]
    [event] = mlv.Exp.open(outcomes["second"].imported.path).events("system")
    assert (event.data["gpu/0/load"], math.isnan(event.data["cpu"]), sum(outcomes["second"].left.values())) == (3, True, 1)
    [alert] = mlv.Exp.open(outcomes["third"].imported.path).events("message")
    assert alert.data["message"] == "hot"


def test_trackio_tables_of_media(tmp_path):
    """A medium in a table comes over as its file; one that is gone is reported, and leaves its cell."""
    path = trackio_project(tmp_path, 1)
    (tmp_path / "trackio/media/proj/a.png").write_bytes(PNG)
    cells = [{"_type": "trackio.image", "file_path": f"proj/{name}.png"} for name in ("a", "gone")]
    table = {"_type": "trackio.table", "_value": [{"x": 1, "image": cell} for cell in cells]}
    connection = sqlite3.connect(path)
    connection.execute("update metrics set metrics = ?", [json.dumps({"tab": table})])
    connection.commit()
    connection.close()

    exp, outcome = import_one(path.parent, tmp_path / "runs")

    [event] = exp.events("table")
    [[_, there], [_, gone]] = event.data["rows"]
    assert ((exp.path / there["path"]).read_bytes(), gone) == (PNG, cells[1])
    assert sum(outcome.left.values()) == 1


def test_trackio_hostile(tmp_path):
    """A medium at an absolute path stays where it is; a time without a zone is one of UTC, wherever it is imported."""
    path = trackio_project(tmp_path, 2)
    (tmp_path / "secret.png").write_bytes(PNG)
    row = {"loss": 1, "img": {"_type": "trackio.image", "file_path": f"{tmp_path}/secret.png"}}
    connection = sqlite3.connect(path)
    connection.execute("update metrics set metrics = ?, timestamp = '2024-02-29T12:00:00'", [json.dumps(row)])
    connection.commit()
    connection.close()
    script = f"""
        from pathlib import Path
        from importers.trees import import_one

        exp, outcome = import_one(Path({str(path.parent)!r}), Path({str(tmp_path / "runs")!r}))
        print(exp.path, sum(outcome.left.values()), {{event.time.isoformat() for event in exp.events("metrics")}})
    """
    env = {**os.environ, "TZ": "Asia/Tokyo", "PYTHONPATH": os.pathsep.join(map(str, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], env=env, capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout == f"{tmp_path / 'runs/proj/first'} 2 {{'2024-02-29T12:00:00+00:00'}}\n"
    assert not list((tmp_path / "runs").rglob("*.png"))


def test_trackio_unreadable(tmp_path):
    """A database that is damaged behind its first page is reported by its path."""
    path = trackio_project(tmp_path, 2)
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * (path.stat().st_size - 4096))

    [outcome] = import_all(tmp_path / "trackio", tmp_path / "runs")

    assert outcome.error.startswith(f"{path} cannot be read: ")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_pipes(tmp_path):
    """A pipe in place of a file of settings, of which nothing may ever come, is reported, and nothing waits for it."""
    pytest.importorskip("yaml")
    sacred_run(tmp_path / "source/sacred/1")
    write(tmp_path / "source/v/plots/metrics/loss.tsv", "step\tloss\n0\t1\n")
    write(tmp_path / "source/v/metrics.json", "{}")
    for name in ("sacred/1/info.json", "v/params.yaml"):
        os.mkfifo(tmp_path / "source" / name)

    words = [sys.executable, "-m", "mlv", "import", tmp_path / "source", "--into", tmp_path / "runs"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, "info.json that is no file" in done.stdout) == (1, True)
    assert done.stdout.endswith("2 experiments: 2 new; 2 things did not come over\n")


def test_sacred_points_without_a_step(tmp_path):
    """A value of a metric that has no step, or no time, is reported."""
    sacred_run(tmp_path / "sacred/1")
    loss = {"steps": [0], "timestamps": ["2024-02-29T12:00:01"], "values": [1, 2, 3]}
    write(tmp_path / "sacred/1/metrics.json", json.dumps({"loss": loss}))

    exp, outcome = import_one(tmp_path / "sacred", tmp_path / "runs")

    assert (points(exp), sum(outcome.left.values())) == ([(0, {"loss": 1})], 2)
