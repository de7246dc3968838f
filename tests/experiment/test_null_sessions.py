"""MLV_DISABLED: the same interface, a script that runs to its end, and nothing that stays."""

from __future__ import annotations

import inspect
import multiprocessing
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import psutil
import pytest

import mlv
from mlv.experiment import null_sessions
from mlv.experiment.logger import MutedLogger


@pytest.fixture(autouse=True)
def off(monkeypatch, tmp_path):
    """Everything is disabled, and has temporary files of its own."""
    monkeypatch.setenv("MLV_DISABLED", "1")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(null_sessions, "roots", {})
    (tmp_path / "temporary").mkdir()


@pytest.fixture
def exp(tmp_path):
    return mlv.Exp(tmp_path / "runs", "exp", {"lr": 0.1}, tags=["first"], notes="why")


def log_everything(log, value):
    """Every call of a Logger, each with what it cannot store."""
    log({"loss": value}, step=value)
    log("event", {"bad": value})
    log.metrics(value)
    log.metric(value, value)
    log.value("weights", value)
    for call in (log.debug, log.info, log.warning, log.error, log.exception):
        call("%d", value, step=value, extra=value)
    for call in (log.image, log.images, log.figure, log.audio, log.video, log.text, log.table, log.histogram, log.array):
        call("name", value)
    log.pr_curve("curve", value, value)
    log.graph("graph", value, value)
    with log.span("span", bad=value) as span:
        span.add(worse=value)


class Untouchable:
    """Raises at whatever is done to it."""

    def __getattribute__(self, name):
        raise AssertionError(name)

    def __repr__(self):
        raise AssertionError("repr")


def test_nothing_is_stored(tmp_path, exp, capsys):
    """What is logged is not even looked at, and neither a file nor a process is made."""
    children = {*psutil.Process().children()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for log in (exp.log, exp.log.sub("train").at(epoch=3), exp.logger("val", filter="x"), exp.log.root.parent):
            log_everything(log, Untouchable())
        for _, here in exp.log.each(epoch=range(2)):
            here({"loss": 1})
        exp.flush()
        exp.close()
        exp.log({"after": "close"})

    assert [path.name for path in tmp_path.rglob("*")] == ["temporary"]
    assert {*psutil.Process().children()} <= children


def test_it_is_said(tmp_path, capsys):
    """One line on stderr tells that nothing is stored, and who wanted that."""
    mlv.Exp(tmp_path, "one")
    assert capsys.readouterr().err == "mlv: nothing of one is stored: disabled by MLV_DISABLED\n"


def test_the_muted_logger_has_the_same_calls():
    """What the twin overrides, it overrides with the same arguments."""
    for name, call in vars(MutedLogger).items():
        if inspect.isfunction(call) and not name.startswith("_"):
            assert inspect.signature(call) == inspect.signature(getattr(mlv.Logger, name)), name


def test_what_it_is(exp):
    """An experiment remembers what it is: name, params, tags, notes, runs and status."""
    exp.add_params({"seed": 1})
    exp.add_tags("second")
    exp.add_note("because")
    with exp.paused("lunch"):
        assert exp.runs[-1].paused
    assert (exp.name, exp.kind, exp["lr"], exp["seed"], exp.status) == ("exp", None, 0.1, 1, "running")
    assert (exp.tags, exp.notes, len(exp.id), exp.meta["git"]) == (("first", "second"), ("why", "because"), 64, None)
    with pytest.raises(mlv.ParamsConflict):
        exp.add_params({"lr": 0.2})
    exp.close()
    assert [run.status for run in exp.runs] == ["ok"]


def test_what_failed(tmp_path):
    """The status is that of a run."""
    with pytest.raises(ZeroDivisionError), mlv.Exp(tmp_path, "exp") as exp:
        raise ZeroDivisionError
    assert exp.status == "failed"


def test_what_was_logged(exp):
    """Reading finds nothing, in the forms in which it finds something elsewhere."""
    exp.log({"loss": 1}, step=1)
    assert list(exp.events()) == list(exp.events(follow=False)) == []
    assert exp.summary() == {}
    assert exp.as_of(step=1).summary() == {}


def test_frames_of_nothing(exp):
    """Frames are empty."""
    pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    exp.log({"loss": 1}, step=1)
    assert len(exp.history()) == len(exp.frame("event")) == 0


def test_arguments_are_checked(tmp_path):
    """What would be refused is refused: a script that runs so, runs."""
    with pytest.raises(mlv.InvalidName):
        mlv.Exp(tmp_path, "a/b")
    with pytest.raises(mlv.InvalidParams):
        mlv.Exp(tmp_path, "a", {"x": print}, strict=True)
    with pytest.raises(mlv.InvalidArgument):
        mlv.Exp(tmp_path, "a").close("fine")
    with pytest.raises(TypeError):
        mlv.Exp(tmp_path, "a").log.image("x", valeu=3)


def test_a_bad_value(tmp_path, monkeypatch):
    """What is neither on nor off is refused before anything is on the disk."""
    monkeypatch.setenv("MLV_DISABLED", "perhaps")
    with pytest.raises(mlv.InvalidArgument, match="MLV_DISABLED='perhaps' is neither on nor off: give 1 or 0"):
        mlv.Exp(tmp_path / "runs", "exp")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("value", ["0", "", "no"])
def test_not_disabled(tmp_path, monkeypatch, value):
    """A variable that says no, or nothing, disables nothing."""
    monkeypatch.setenv("MLV_DISABLED", value)
    with mlv.Exp(tmp_path, "exp", capture=()) as exp:
        exp.log({"loss": 1})
    assert (tmp_path / "exp" / "log.jsonl").exists()


def test_files(tmp_path, exp):
    """Files can be written and read back; they lie elsewhere, in a place of this user alone."""
    with exp.file("notes.txt", "w") as file:
        file.write("fine")
    with exp.filepath("folder") as path:
        path.mkdir()
        (path / "inner.txt").write_text("fine")
    exp.save_extra("layers", {"conv": (3, 4)})
    (exp.path / "own.txt").write_text("fine")

    assert (exp.path / "files" / "notes.txt").read_text() == "fine"
    assert exp.load_extra("layers") == {"conv": (3, 4)}
    assert not (tmp_path / "runs").exists()
    [root] = (tmp_path / "temporary").iterdir()
    assert root in exp.path.parents
    assert root.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("how", ["copy", "link", "move"])
def test_attachments_stay_where_they_are(tmp_path, exp, how):
    """A file that is attached is neither copied nor moved: it would be gone with the process."""
    (tmp_path / "data.csv").write_text("1,2")
    assert exp.attach(tmp_path / "data.csv", how=how) == tmp_path / "data.csv"
    assert (tmp_path / "data.csv").read_text() == "1,2"
    assert list((tmp_path / "temporary").glob("*/*/*/files")) == []


def test_checkpoints(exp):
    """A portfolio works: the script finds, loads, and goes on from its best checkpoint."""
    exp.log.describe("loss", mode="min")
    portfolio = exp.checkpoints(top=1, metric="loss", every=2)
    for step, loss in enumerate([0.5, 0.2, 0.4]):
        portfolio.save(lambda path, step=step: path.write_text(f"weights {step}"), step=step, metrics={"loss": loss})

    assert (exp.best.step, exp.latest.step, [one.step for one in portfolio.kept]) == (1, 2, [1, 2])
    assert exp.best.path.read_text() == "weights 1"

    squeeze = mlv.init_sub_exp(exp.best, "squeeze", params={"rate": 0.5})
    squeeze.log({"acc": 1})
    assert squeeze.path.relative_to(exp.path).as_posix() == "squeeze/subexp_1"
    assert squeeze.parent == exp
    assert squeeze.parent["lr"] == 0.1
    assert exp.sub_exps == [squeeze]


def test_names_are_not_taken(tmp_path, exp):
    """Two experiments of one name are two."""
    other = mlv.Exp(tmp_path / "runs", "exp", on_exists="error")
    (other.path / "x").write_text("1")
    assert not (exp.path / "x").exists()
    assert exp != other


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """An experiment that was stored before, with a checkpoint."""
    with monkeypatch.context() as on:
        on.setenv("MLV_DISABLED", "0")
        with mlv.Exp(tmp_path / "runs", "stored", {"lr": 0.1}, capture=()) as exp:
            exp.log({"loss": 1}, step=1)
            exp.checkpoints().save(lambda path: path.write_text("weights"), step=1)
        return exp.path


def content_of(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def open_again(path):
    return mlv.Exp.open(path)


def make_again(path):
    return mlv.Exp(path.parent, path.name, {"seed": 1}, on_exists="open")


@pytest.mark.parametrize("opening", [open_again, make_again])
def test_an_experiment_that_is_there(stored, opening):
    """What is there can be read, and is not changed, whatever is logged, saved or published."""
    before = content_of(stored)
    exp = opening(stored)

    assert [event.data for event in exp.events("metrics")] == [{"loss": 1}]
    assert (exp.path, exp["lr"], exp.status, exp.latest.path.read_text()) == (stored, 0.1, "ok", "weights")
    exp.log({"loss": 2}, step=2)
    exp.add_params({"more": 1})
    with exp.file("a.txt", "w") as file:
        file.write("x")
    exp.checkpoints().save(lambda path: path.write_text("others"), step=2)
    assert exp.latest.path.read_text() == "others"
    exp.close()

    assert content_of(stored) == before


def test_a_checkpoint_that_is_there(stored):
    """A script that goes on from a stored checkpoint leaves nothing beside it, and knows its parent."""
    before = content_of(stored)
    [checkpoint] = stored.glob("models/latest/*")
    with mlv.init_sub_exp(checkpoint, "squeeze") as sub:
        sub.log({"acc": 1})
    assert sub.parent["lr"] == 0.1
    assert content_of(stored) == before


def test_travelling(exp):
    """Experiments and loggers travel, and store nothing where they arrive."""
    exp.log({"loss": 1})
    arrived = pickle.loads(pickle.dumps((exp, exp.log.sub("train").at(epoch=1))))
    assert arrived[0] == exp
    assert arrived[1].coordinates == {"epoch": 1}
    arrived[1]({"loss": Untouchable()})


def _child(log, path):
    log({"loss": 1})
    os._exit(0 if isinstance(log, MutedLogger) else 1)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children(exp, method):
    """So do those of children."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python's, for a fork beside threads of others
        child = multiprocessing.get_context(method).Process(target=_child, args=(exp.log, str(exp.path)))
        child.start()
    child.join(60)
    assert child.exitcode == 0


SCRIPT = """
import os, mlv
with mlv.Exp("runs", "exp", {"lr": 0.1}) as exp:
    for step in range(1000):
        exp.log({"loss": 1 / (step + 1)}, step=step)
    exp.checkpoints(every=1).save(lambda path: path.write_text("x"), step=1)
    with exp.file("a.txt", "w") as file: file.write("x")
    print(exp.latest.path.read_text(), exp.path.is_dir())
%s
"""


@pytest.mark.parametrize("end", ["", "raise SystemExit(0)", "pid = os.fork()\nif pid == 0: exp.path\nelse: os.wait()"])
def test_a_whole_script(tmp_path, end):
    """A script leaves nothing at all: not beside it, not in the temporary files, not in the spool."""
    (tmp_path / "train.py").write_text(SCRIPT % end)
    done = in_temporary(tmp_path, tmp_path / "train.py")

    assert (done.returncode, done.stdout.split("\n")[0]) == (0, "x True"), done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["temporary", "train.py"]
    assert list((tmp_path / "temporary").iterdir()) == []
    assert list(Path(os.environ["MLV_SPOOL"]).iterdir()) == []


def test_what_a_killed_script_left(tmp_path):
    """What a killed one could not remove, the next one does."""
    (tmp_path / "killed.py").write_text(SCRIPT % "os.kill(os.getpid(), 9)")
    (tmp_path / "train.py").write_text(SCRIPT % "")
    in_temporary(tmp_path, tmp_path / "killed.py")
    assert len(list((tmp_path / "temporary").iterdir())) == 1

    in_temporary(tmp_path, tmp_path / "train.py")
    assert list((tmp_path / "temporary").iterdir()) == []


def in_temporary(folder, script):
    environ = {**os.environ, "TMPDIR": str(folder / "temporary")}
    words = [sys.executable, "-W", "error", str(script)]
    return subprocess.run(words, cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False)


def test_by_the_project(tmp_path, monkeypatch, capsys):
    """The project's file can disable, and the environment overrules it."""
    (tmp_path / "pyproject.toml").write_text("[tool.mlv]\ndisabled = true\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLV_DISABLED")
    mlv.Exp("runs", "one", capture=())
    assert f"disabled by {tmp_path / 'pyproject.toml'}" in capsys.readouterr().err

    monkeypatch.setenv("MLV_DISABLED", "0")
    with mlv.Exp("runs", "two", capture=()) as exp:
        exp.log({"loss": 1})
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["two"]


def test_no_temporary_files_at_all(tmp_path, monkeypatch):
    """Where there is no place for temporary files, logging needs none; who wants to save a file is told."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing" / "file"))
    (tmp_path / "missing").write_text("")
    with mlv.Exp("runs", "exp") as exp:
        exp.log({"loss": 1})
        with pytest.raises(mlv.FileUnusable), exp.file("a.txt", "w"):
            pass
    assert exp.status == "ok"
