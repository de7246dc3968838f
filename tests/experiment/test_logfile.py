"""`mlv.log_to`: a log file by a Logger directly, without an experiment, with the same lines and promises; `mlv.read`."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import wait_until

import mlv

OWN = ("run_started", "run_ended", "seal")


def logged(path: Path | str) -> list[mlv.Event]:
    """The events of a file that a user logged."""
    return [event for event in mlv.read(path) if event.type not in OWN]


def mlv_(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "mlv", *map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("inline", ["0", "1"])
def test_lines_are_those_of_an_experiment(tmp_path, monkeypatch, inline):
    """Whatever is logged leaves the line that it would leave in an experiment, by the ring and by its inline twin."""
    monkeypatch.setenv("MLV_INLINE", inline)
    path = tmp_path / "train.log.jsonl"
    with mlv.log_to(path) as log, mlv.Exp(tmp_path / "runs", "exp", capture=()) as exp:
        for one in (log, exp.log):
            one({"loss": 0.5, "bad": math.inf}, step=1)
            one("checkpointed", {"mb": 3})
            one.sub("val").at(epoch=2)({"acc": 1})
            one.info("hello %s", "you", step=2)
            one.describe("loss", unit="nat")

    def lines(path: Path) -> list[dict[str, object]]:
        found = map(json.loads, path.read_text().splitlines())
        return [{key: value for key, value in one.items() if key not in ("run", "time")} for one in found]

    mine, theirs = lines(path), lines(exp.path / "log.jsonl")
    assert mine[1:7] == theirs[1:7]
    assert [one["type"] for one in mine] == [one["type"] for one in theirs]
    assert mine[0]["data"] == {key: value for key, value in theirs[0]["data"].items() if key not in ("exp", "folder")}
    assert sorted(os.listdir(tmp_path)) == [".mlv", "runs", "train.log.jsonl"]


def test_read(tmp_path):
    """`mlv.read` gives the events in order, each time anew, by type and name; also of an experiment's log, and of a folder."""
    log = mlv.log_to(tmp_path / "train.log.jsonl")
    log({"loss": math.nan, "acc": 0.5}, step=3)
    found = mlv.read(tmp_path / "train.log.jsonl", "metrics")
    log({"loss": 0.25}, step=4)
    log("done", {"a": 1})

    assert [(event.step, event.stream) for event in found] == [(3, "train"), (4, "train")]
    assert math.isnan(next(iter(found)).data["loss"])
    assert [event.name for event in mlv.read(tmp_path / "train.log.jsonl", name="done")] == ["done"]
    assert [event.seq for event in mlv.read(tmp_path / "train.log.jsonl")] == [1, 2, 3, 4]
    with mlv.Exp(tmp_path / "runs", "exp", capture=()) as exp:
        exp.log({"a": 1})
        exp.logger("val")({"b": 1})
    assert [event.data for event in mlv.read(exp.path / "val.log.jsonl", "metrics")] == [{"b": 1}]
    assert len(list(mlv.read(exp.path, "metrics"))) == 2


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "os._exit(3)", "raise SystemExit", "1 / 0"])
def test_ends(tmp_path, python, end):
    """However the process ends, everything is in the file, in order and sealed, and the end is told."""
    python(f"import mlv, os\nlog = mlv.log_to('train.log.jsonl')\nfor i in range(500): log({{'a': i}}, step=i)\n{end}")

    path = tmp_path / "train.log.jsonl"
    wait_until(lambda: path.exists() and list(mlv.read(path, "seal")))
    wait_until(lambda: mlv_("verify", path, cwd=tmp_path).stdout.startswith("intact"))
    assert [event.step for event in logged(path)] == list(range(500))
    [ended] = mlv.read(path, "run_ended")
    assert ended.data["status"] == ("ended" if "System" in end else "failed" if "/" in end else "killed")
    assert [name for name in os.listdir(tmp_path) if name.endswith("jsonl")] == ["train.log.jsonl"]


def test_a_writer_that_is_killed_as_well(tmp_path, python):
    """Where the writer died, too, the next reader, or `mlv recover`, brings in what waits."""
    kill = """
        import mlv, os, psutil
        log = mlv.log_to("train.log.jsonl")
        log({"a": 0}); log.flush()
        [writer] = [one for one in psutil.process_iter(["cmdline"]) if os.getcwd() in (one.info["cmdline"] or [])]
        writer.suspend()
        for i in range(1, 100): log({"a": i})
        writer.kill()
        os.kill(os.getpid(), 9)
    """
    pytest.importorskip("psutil")
    python(kill)
    done = mlv_("recover", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert [event.data["a"] for event in logged(tmp_path / "train.log.jsonl")] == list(range(100))
    [ended] = mlv.read(tmp_path / "train.log.jsonl", "run_ended")
    assert ended.data["status"] == "killed"
    assert mlv_("verify", "train.log.jsonl", cwd=tmp_path).stdout.startswith("intact")


def test_appending(tmp_path):
    """A file that is there is gone on with, as another run; one Logger of a process is the same run as another of the file."""
    for number in range(2):
        log = mlv.log_to(tmp_path / "train.log.jsonl")
        log({"a": number})
        mlv.log_to(tmp_path / "." / "train.log.jsonl")({"b": number})
        log.close()

    assert [event.data for event in logged(tmp_path / "train.log.jsonl")] == [{"a": 0}, {"b": 0}, {"a": 1}, {"b": 1}]
    assert len(list(mlv.read(tmp_path / "train.log.jsonl", "run_started"))) == 2
    with pytest.warns(mlv.MlvWarning, match="after close"):
        log({"late": 1})


def test_several_processes_and_files(tmp_path):
    """Processes share a file, each as a run of its own, and files share a folder; no line is torn, lost or in another file."""
    script = """
import mlv, sys
one, two = mlv.log_to("one.log.jsonl"), mlv.log_to("two.log.jsonl")
for i in range(300):
    one({"i": i, "p": int(sys.argv[1])}); two({"j": i})
"""
    processes = [subprocess.Popen([sys.executable, "-c", script, str(number)], cwd=tmp_path) for number in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]

    found = [event.data for event in logged(tmp_path / "one.log.jsonl")]
    for number in range(3):
        assert [data["i"] for data in found if data["p"] == number] == list(range(300))
    assert len(logged(tmp_path / "two.log.jsonl")) == 900
    for name in ("one", "two"):
        done = mlv_("verify", f"{name}.log.jsonl", cwd=tmp_path)
        assert done.stdout.startswith("intact"), done.stdout


def _log_in_child(log: mlv.Logger) -> None:
    log({"child": 1})


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children(tmp_path, method):
    """A Logger travels to children, whose runs name the one that they came from."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    log = mlv.log_to(tmp_path / "train.log.jsonl").sub("a")
    log({"parent": 1})
    process = multiprocessing.get_context(method).Process(target=_log_in_child, args=(log,))
    process.start()
    process.join(60)
    log({"parent": 2})

    assert process.exitcode == 0
    wait_until(lambda: len(logged(tmp_path / "train.log.jsonl")) == 3)
    first, second = mlv.read(tmp_path / "train.log.jsonl", "run_started")
    assert second.data["parent_run"] == first.run
    assert pickle.loads(pickle.dumps(log)).name == "a"
    log.close()


def test_paths(tmp_path, monkeypatch):
    """A relative path means the folder at that time; a folder that is missing is made; the file comes with the first event."""
    monkeypatch.chdir(tmp_path)
    log = mlv.log_to(Path("deep") / "er" / "log.jsonl")
    assert not (tmp_path / "deep" / "er" / "log.jsonl").exists()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    log({"a": 1})
    log.flush()

    assert log.path == tmp_path / "deep" / "er" / "log.jsonl"
    assert len(logged(log.path)) == 1
    log.close()


@pytest.mark.parametrize("name", ["train.jsonl", "train.log", "train", ".log.jsonl", "system.log.jsonl", "a@b.log.jsonl"])
def test_names(tmp_path, name):
    """A name by which no reader would know the log is refused, and what to give is said."""
    with pytest.raises(mlv.InvalidName, match=r"\.log\.jsonl|choose another"):
        mlv.log_to(tmp_path / name)

    assert os.listdir(tmp_path) == []


def test_what_is_no_place_for_a_log(tmp_path):
    """The folder of an experiment, a file of something else, a device, and a file where a folder would be, are refused."""
    with mlv.Exp(tmp_path / "runs", "exp", capture=()) as exp:
        exp.log({"a": 1})
    with pytest.raises(mlv.InvalidArgument, match="folder of an experiment"):
        mlv.log_to(exp.path / "mine.log.jsonl")
    (tmp_path / "other.log.jsonl").write_text('{"mine": 1}\n')
    with pytest.raises(mlv.FileUnusable, match="something else"):
        mlv.log_to(tmp_path / "other.log.jsonl")
    assert (tmp_path / "other.log.jsonl").read_text() == '{"mine": 1}\n'
    with pytest.raises(mlv.SavedirUnusable):
        mlv.log_to(tmp_path / "other.log.jsonl" / "train.log.jsonl")
    os.mkfifo(tmp_path / "fifo.log.jsonl")
    with pytest.raises(mlv.FileUnusable, match="no regular file"):
        mlv.log_to(tmp_path / "fifo.log.jsonl")
    for path in ("missing.log.jsonl", "missing"):
        with pytest.raises(mlv.FileUnusable, match="no log"):
            mlv.read(tmp_path / path)


def test_a_torn_tail(tmp_path):
    """A half line that a crash of the machine left swallows nothing: it is set aside before the next line."""
    path = tmp_path / "train.log.jsonl"
    with mlv.log_to(path) as log:
        log({"a": 1})
    path.write_bytes(path.read_bytes() + b'{"run":"rxxxxxxxxx","seq":9,"ti')
    with mlv.log_to(path) as log:
        log({"a": 2})

    assert [event.data for event in logged(path)] == [{"a": 1}, {"a": 2}]
    assert len(list((tmp_path / ".mlv" / "torn").iterdir())) == 1


def test_command_line(tmp_path):
    """`mlv tail`, `summary` and `verify` take the path of the file; an edit shows."""
    path = tmp_path / "train.log.jsonl"
    with mlv.log_to(path) as log:
        log.describe("loss", mode="min")
        for step in range(5):
            log({"loss": 1 / (step + 1)}, step=step)

    assert "step=4  loss=0.2" in mlv_("tail", "-n", "2", path, cwd=tmp_path).stdout
    assert mlv_("tail", "-f", path.name, cwd=tmp_path).returncode == 0
    assert json.loads(mlv_("summary", "--json", path, cwd=tmp_path).stdout)["loss"]["best"] == 0.2
    assert mlv_("verify", path, cwd=tmp_path).returncode == 0
    path.write_text(path.read_text().replace('"loss":0.5', '"loss":0.1'))
    done = mlv_("verify", path, cwd=tmp_path)
    assert (done.returncode, done.stdout.split()[0]) == (1, "edited")


def test_disabled(tmp_path, monkeypatch):
    """Under MLV_DISABLED nothing is stored, and the calls are there."""
    monkeypatch.setenv("MLV_DISABLED", "1")
    with mlv.log_to(tmp_path / "train.log.jsonl") as log:
        log({"a": 1})
        log.sub("b").info("hello")
        assert log.flush()

    assert os.listdir(tmp_path) == []


def test_credentials(tmp_path):
    """What looks like a credential in a message does not reach the file, nor what `redact` names."""
    with mlv.log_to(tmp_path / "train.log.jsonl", redact=["hunter\\d"]) as log:
        log.info("ghp_" + "a1B2" * 9 + " and hunter2")

    assert "hunter2" not in (tmp_path / "train.log.jsonl").read_text()
    assert "ghp_a1B2" not in (tmp_path / "train.log.jsonl").read_text()
