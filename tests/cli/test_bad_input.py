"""What cannot be read, drawn or written is named, with what to do about it, and costs itself only."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import run_command
from other_user import as_other

import mlv


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two experiments."""
    monkeypatch.setenv("MLV_INLINE", "1")
    for name in ("a", "b"):
        with mlv.Exp(tmp_path / "runs", name, {"name": name}, capture=()) as exp:
            for step in range(3):
                exp.log({"loss": 1 / (step + 1), "huge": 1e308 * (-1) ** step}, step=step)
    (tmp_path / "file").write_text("")
    return tmp_path / "runs"


REFUSED = {
    "plot runs --metric zz*": "nobody logged a metric like 'zz*'",
    "plot runs --metric huge": "'huge' has 1e+308 on its y axis, and 1e+300 is the most that can be drawn: give log='y'",
    "plot runs --metric huge --out x.png": "'huge' has 1e+308 on its y axis",
    "plot runs --metric loss --out none/x.png": "--out 'none/x.png' cannot be written (No such file or directory): give a path",
    "dump runs --to csv --out file/x": "--out 'file/x' cannot be written (Not a directory): give a path in a folder",
    "export runs --to csv --out file": "--out 'file/a' cannot be written (Not a directory): give a path in a folder",
    "merge runs file": "file is no folder: give an experiment, or a folder with some",
    "merge file runs": "file is no folder: give an experiment, or a folder with some",
}


@pytest.mark.parametrize("words", REFUSED)
def test_refused(command, runs, words):
    """One line says what cannot be, with which value, and what to do."""
    for package in ("plotext", "matplotlib") if words.startswith("plot") else ("pyarrow",):
        pytest.importorskip(package)

    done = command(*words.split())

    assert done.returncode == 2
    assert done.stderr.startswith(f"mlv: {REFUSED[words]}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [["export", "", "--to", "csv"], ["plot", "", "--metric", "loss"], ["show", ""]])
def test_an_empty_word(command, runs, words):
    """An empty text, as that of a variable of the shell that is not set, is not the current folder."""
    done = command(*words)

    assert (done.returncode, done.stderr) == (2, "mlv: EXP '' is empty: give a path, or `.` for the current folder\n")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="mlv-open-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_without_the_right(runs, open_folder, monkeypatch):
    """A path that may not be read is named with what to do about it."""
    folder = Path(shutil.copytree(runs / "a", open_folder / "a"))
    monkeypatch.chdir(open_folder)  # the other user may not go back to where the tests run
    assert run_command("verify", "a").returncode == 0  # imports what the other user may not read
    (folder / "log.jsonl").chmod(0o600)

    def verify() -> None:
        done = run_command("verify", "a")
        advice = "Give yourself the right to it (chmod, chown), or run this as its owner"
        assert (done.returncode, done.stderr) == (2, f"mlv: a/log.jsonl: Permission denied. {advice}\n")

    as_other(verify)


def test_a_huge_number_on_a_logarithmic_axis(command, runs):
    """What is too large for an even axis is drawn on a logarithmic one."""
    pytest.importorskip("matplotlib")

    done = command("plot", "runs", "--metric", "huge", "--log", "y", "--out", "x.png")

    assert (done.returncode, done.stderr) == (0, "mlv: x.png\n")


def test_one_of_several_that_cannot_be_exported(command, runs):
    """An experiment whose meta.json is damaged costs itself only, with a word."""
    meta = runs / "a" / "meta.json"
    meta.chmod(0o644)
    meta.write_text("{")

    done = command("export", "runs", "--to", "csv", "--out", "out")

    assert done.returncode == 0
    assert "mlv: runs/a is left out: " in done.stderr
    assert os.listdir(runs.parent / "out") == ["b"]
    meta.with_name("log.jsonl").parent.rename(runs.parent / "alone")
    assert command("export", "alone", "--to", "csv").returncode == 2


def test_a_choice_among_copies(runs):
    """R9: `where` asks the copy that counts, not an older one for which it holds."""
    pytest.importorskip("duckdb")
    pytest.importorskip("pyarrow")
    shutil.copytree(runs / "a", runs / "older", symlinks=True)
    log = runs / "older" / "log.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.chmod(0o644)
    log.write_bytes(b"".join(lines[:2]))

    with pytest.warns(mlv.MlvWarning, match="is a copy of"):
        assert mlv.find(runs, where="metrics.loss.last > 0.9").paths == []
