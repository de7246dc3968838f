"""What happens to a logdir that is there already: only what allogger wrote is ever cleared."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mlv
import mlv.compat.allogger as allogger

pytest.importorskip("h5py")
pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder of its own; whatever a test began is over behind it."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    allogger.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A logdir with a session that is over, and one of a worker in it: made once, as it takes half a dozen processes."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLV_INLINE", "1")
        patch.setenv("MLV_SPOOL", str(tmp_path_factory.mktemp("spool")))
        allogger.basic_configure(logdir="log", default_outputs=["hdf"])
        allogger.get_logger("main").log(1, "x")
        allogger.get_logger("worker", logdir="log/Process-1").log(1, "x")
        allogger.close()
    return folder / "log"


@pytest.fixture
def logdir(made, place):
    """A copy of the logdir, in the test's own folder."""
    return Path(shutil.copytree(made, place / "log", symlinks=True))


@pytest.mark.parametrize(("policy", "sessions"), [("c", 3), ("continue", 3), ("", 3), ("cl", 1), ("clear", 1), ("CL", 1)])
def test_continue_and_clear(logdir, policy, sessions):
    """`c` adds a session, `cl` removes those before."""
    allogger.basic_configure(logdir="log", default_path_exists=policy)

    assert len(list(mlv.find(logdir))) == sessions


def test_abort(logdir):
    """`a` ends the script, and changes nothing."""
    with pytest.raises(SystemExit, match="1"):
        allogger.basic_configure(logdir="log", default_path_exists="a")

    assert len(list(mlv.find(logdir))) == 2


def test_other_answers(logdir):
    """What is no answer is said, as in the original."""
    with pytest.raises(RuntimeError, match=r"Unrecognized response\. Valid responses are 'c', 'cl' or 'a'"):
        allogger.basic_configure(logdir="log", default_path_exists="perhaps")


ASK = "import mlv.compat.allogger as allogger; allogger.basic_configure(logdir='log', default_path_exists='ask')"


def asked(place, answers):
    """A script whose answers come through a pipe; None closes it."""
    stdin = subprocess.DEVNULL if answers is None else None
    return subprocess.run(
        [sys.executable, "-c", ASK], cwd=place, input=answers, stdin=stdin, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(
    ("answers", "sessions"), [("c\n", 3), ("\n", 3), ("cl\n", 1), ("CLEAR\n", 1), ("cl", 1), ("x\ncl\n", 1), ("x\ny\nc\n", 3)]
)
def test_answers_through_a_pipe(logdir, place, answers, sessions):
    """D5: an answer is taken from whatever stdin is, and asked for again after a slip."""
    done = asked(place, answers)

    assert done.returncode == 0, done.stderr
    assert "(C)ontinue/(cl)ear/(a)bort" in done.stdout
    assert len(list(mlv.find(logdir))) == sessions


def test_abort_through_a_pipe(logdir, place):
    """D5: `a` ends the script with status 1, and changes nothing."""
    assert asked(place, "a\n").returncode == 1
    assert len(list(mlv.find(logdir))) == 2


@pytest.mark.parametrize(
    ("answers", "said"),
    [("", "nobody answers"), (None, "nobody answers"), ("x\n", "Unrecognized response"), ("x\n" * 5, "Unrecognized response")],
)
def test_no_answer(logdir, place, answers, said):
    """D5: an end of stdin is said at once, and wrong answers end after three."""
    done = asked(place, answers)

    assert done.returncode == 1
    assert said in done.stderr
    assert len(list(mlv.find(logdir))) == 2


def test_stdin_that_is_gone(logdir, monkeypatch):
    """D5: a process without stdin is told what to give."""
    monkeypatch.setattr("sys.stdin", None)

    with pytest.raises(RuntimeError, match="default_path_exists='c'"):
        allogger.basic_configure(logdir="log", default_path_exists="ask")


@pytest.mark.parametrize("foreign", ["checkpoint.npy", "src/main.py", "events/notes.txt", "events/deep/x.py"])
def test_others_files_are_not_cleared(logdir, foreign):
    """A folder with anything that allogger did not write stays as it is."""
    path = logdir / foreign
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("precious")

    with pytest.raises(RuntimeError, match=path.name):
        allogger.basic_configure(logdir="log", default_path_exists="cl")

    assert path.read_text() == "precious"
    assert len(list(mlv.find(logdir))) == 2


def test_links_are_not_followed(logdir, place):
    """A link leads out of the folder: nothing is cleared, there or here."""
    (place / "data").mkdir()
    (place / "data" / "1_vm.h5").touch()
    (logdir / "linked").symlink_to(place / "data")

    with pytest.raises(RuntimeError, match="linked"):
        allogger.basic_configure(logdir="log", default_path_exists="cl")

    assert (place / "data" / "1_vm.h5").exists()


def test_a_running_session_is_not_cleared(logdir, python):
    """What another process is writing is not cleared under its hands."""
    allogger.basic_configure(logdir="log", default_outputs=["hdf"])
    allogger.get_logger("main").log(1, "x")

    done = python("""
        import mlv.compat.allogger as allogger
        allogger.basic_configure(logdir="log", default_path_exists="cl")
    """)

    assert "is being written" in done.stderr
    allogger.close()
    assert len(list(mlv.find(logdir))) == 3
