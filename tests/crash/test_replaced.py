"""A run writes into its own experiment, wherever that is moved, and never into one that was put in its place."""

from __future__ import annotations

import array
import os
import shutil
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import pytest
from conftest import fork, wait_until

import mlv
from mlv.audit.verify import verify
from mlv.transport import spool as spools

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

OPTIONS = {"capture": (), "system": False}


@pytest.fixture(params=["ring", "inline"], autouse=True)
def channel(request, monkeypatch):
    """Through a writer of its own, and from the training process itself."""
    if request.param == "inline":
        monkeypatch.setenv("MLV_INLINE", "1")
    return request.param


def begun(folder: Path, number: int, **options: object) -> mlv.Exp:
    """A run that has begun a moment ago."""
    exp = mlv.Exp(folder / "runs", "exp", {"number": number}, **OPTIONS, **options)
    exp.log({"number": number}, step=1)
    return exp


def numbers(folder: Path) -> list[int]:
    return [event.data["number"] for event in mlv.Exp.open(folder).events("metrics")]


def assert_only(folder: Path, *expected: int) -> None:
    """The experiment holds these numbers and is intact; the outputs as well, where it has some."""
    assert numbers(folder) == list(expected)
    assert verify(folder).verdict == "intact"
    if (folder / "csv").exists():
        rows = [line.split(",") for line in (folder / "csv" / "log.csv").read_text().splitlines()[1:]]
        assert [int(row[3]) for row in rows if row[0] == "number"] == list(expected)


def saved(path: Path) -> None:
    path.write_text("a checkpoint")


def removed(folder: Path) -> None:
    """What a user does; a process that is at work in it may make it come to nothing for a moment."""
    wait_until(lambda: shutil.rmtree(folder, ignore_errors=True) or not folder.exists())


@pytest.mark.parametrize("outputs", [[], ["csv"]], ids=["", "csv"])
def test_removed_and_made_again(tmp_path, outputs):
    """D1: what a removed experiment logs never comes into the one in its place; one warning says that it is lost."""
    first = begun(tmp_path, 1, outputs=outputs)
    removed(tmp_path / "runs")
    second = begun(tmp_path, 2, outputs=outputs)
    first.log({"number": 1}, step=2)
    with pytest.warns(mlv.MlvWarning) as told:
        first.close()
    second.close()

    assert [str(one.message) for one in told if "removed or replaced" in str(one.message)]
    assert len(told) == 1
    assert_only(tmp_path / "runs" / "exp", 2)
    mine = [place for place in spools.existing() if place.is_relative_to(os.environ["MLV_SPOOL"])]
    wait_until(lambda: not [ring for place in mine for ring in spools.rings_in(place)])


def test_killed_removed_and_run_again(tmp_path, channel):
    """D1: start, kill at once, remove, run again: the new experiment holds its own events only."""
    script = tmp_path / "train.py"
    script.write_text(
        textwrap.dedent("""
        import os, signal, sys, mlv
        exp = mlv.Exp("runs", "exp", {"number": int(sys.argv[1])}, capture=(), system=False, outputs=["csv"])
        exp.log({"number": int(sys.argv[1])}, step=1)
        if sys.argv[2:]:
            os.kill(os.getpid(), signal.SIGKILL)
        exp.close()
        """)
    )
    subprocess.run([sys.executable, str(script), "1", "kill"], cwd=tmp_path, timeout=60)
    removed(tmp_path / "runs")
    done = subprocess.run([sys.executable, str(script), "2"], cwd=tmp_path, timeout=60, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert_only(tmp_path / "runs" / "exp", 2)
    wait_until(lambda: sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["exp"])


def test_moved_and_made_again(tmp_path):
    """D1: an experiment that is moved, with a new one in its place, goes on where it is."""
    first = begun(tmp_path, 1)
    (tmp_path / "runs" / "exp").rename(tmp_path / "runs" / "old")
    second = begun(tmp_path, 2)
    first.log({"number": 1}, step=2)
    first.close()
    second.close()

    assert_only(tmp_path / "runs" / "exp", 2)
    assert_only(tmp_path / "runs" / "old", 1, 1)


def test_files_of_a_moved_experiment(tmp_path):
    """B16: files, images and checkpoints follow the experiment that is renamed; nothing is made at its old path."""
    exp = begun(tmp_path, 1)
    portfolio = exp.checkpoints(latest=2)
    portfolio.save(saved, step=1)
    (tmp_path / "runs" / "exp").rename(tmp_path / "runs" / "moved")
    with exp.file("a.txt", "w") as file:
        file.write("a")
    exp.attach(__file__, "b.py")
    exp.log.array("weights", array.array("d", [1.0] * 20_000), step=1)
    portfolio.save(saved, step=2)
    exp.close()

    assert os.listdir(tmp_path / "runs") == ["moved"]
    assert_only(tmp_path / "runs" / "moved", 1)
    assert {"a.txt", "b.py"} <= {path.name for path in (tmp_path / "runs" / "moved" / "files").iterdir()}
    assert mlv.Exp.open(tmp_path / "runs" / "moved").latest.step == 2


def test_removed_experiment_does_not_come_back(tmp_path):
    """B16: nothing is made where the experiment was; files and checkpoints say why, the log once."""
    exp = begun(tmp_path, 1)
    portfolio = exp.checkpoints(latest=2)
    removed(tmp_path / "runs")
    with pytest.raises(mlv.FileUnusable, match="removed or replaced"), exp.file("a.txt", "w"):
        pass
    with pytest.raises(mlv.CheckpointNotSaved, match="removed or replaced"):
        portfolio.save(saved, step=1)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        exp.log.array("weights", array.array("d", [1.0] * 20_000), step=1)
        exp.log({"number": 1}, step=2)
        exp.close()

    assert len([one for one in told if "removed or replaced" in str(one.message)]) == 1
    assert not (tmp_path / "runs").exists()


def test_root_that_is_switched(tmp_path):
    """D1: a symbolic link above the experiment that leads to another tree meanwhile changes nothing for the run."""
    (tmp_path / "a").mkdir()
    (tmp_path / "runs").symlink_to("a")
    first = begun(tmp_path, 1)
    (tmp_path / "runs").unlink()
    (tmp_path / "b").mkdir()
    (tmp_path / "runs").symlink_to("b")
    second = begun(tmp_path, 2)
    with first.file("a.txt", "w") as file:
        file.write("a")
    first.close()
    second.close()

    assert_only(tmp_path / "a" / "exp", 1)
    assert_only(tmp_path / "b" / "exp", 2)
    assert (tmp_path / "a" / "exp" / "files" / "a.txt").exists()


def test_backup_that_is_restored(tmp_path):
    """D1: a copy that is put in place of a finished experiment takes new runs; an output that follows it goes on with it."""
    begun(tmp_path, 1, outputs=["csv"]).close()
    folder = tmp_path / "runs" / "exp"
    shutil.copytree(folder, tmp_path / "backup")
    removed(folder)
    shutil.copytree(tmp_path / "backup", folder)
    with mlv.Exp.open(folder, outputs=["csv"]) as again:
        again.log({"number": 2}, step=2)

    assert_only(folder, 1, 2)


def test_a_full_ring_of_a_removed_experiment(tmp_path, monkeypatch, channel):
    """D1: whoever logs on into a removed experiment is not held up: there is nothing to wait for."""
    if channel == "inline":
        pytest.skip("there is no ring")
    monkeypatch.setattr("mlv.transport.channels.CAPACITY", 1 << 16)
    monkeypatch.setenv("MLV_PATIENCE_S", "3600")
    exp = mlv.Exp(tmp_path / "runs", "exp", **OPTIONS)
    removed(tmp_path / "runs")
    begun(tmp_path, 2).close()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for i in range(20_000):
            exp.log({"number": i}, step=i)
        exp.close()

    assert len([one for one in told if "removed or replaced" in str(one.message)]) <= 1
    assert_only(tmp_path / "runs" / "exp", 2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_child_of_a_moved_experiment(tmp_path):
    """B16: what a forked child logs goes where the experiment is by then."""
    exp = begun(tmp_path, 1)
    (tmp_path / "runs" / "exp").rename(tmp_path / "runs" / "moved")
    pid = fork(lambda: (exp.log({"number": 2}, step=2), exp.close()))
    assert os.waitpid(pid, 0)[1] == 0
    exp.close()

    assert sorted(numbers(tmp_path / "runs" / "moved")) == [1, 2]
    assert os.listdir(tmp_path / "runs") == ["moved"]
