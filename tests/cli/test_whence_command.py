"""What `mlv whence` prints, and how it exits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import mlv
from mlv.store import contents


@pytest.fixture
def small(runs: Path, tmp_path: Path) -> Path:
    """A bare copy of a file that a sub-experiment published, beside the folder with the experiments."""
    exp = mlv.Exp.open(runs / "digits" / "squeeze" / "subexp_1")
    (exp.path / "small.npz").write_bytes(b"small")
    reference = contents.reference(exp.path, exp.path / "small.npz", contents.content_of(exp.path / "small.npz"))
    exp.log.at(epoch=2)._emit("file", "small.npz", reference, 7)
    exp.close()
    return Path(shutil.copyfile(exp.path / "small.npz", tmp_path / "found.bin"))


def test_produced(command, small):
    """Experiment, event, step and run are told, and the parents below them; the status is 0."""
    shown = command("whence", "found.bin")
    first, second, third, fourth = shown.stdout.splitlines()

    assert (shown.returncode, shown.stderr) == (0, "")
    assert first.startswith("found.bin  5 B  ")
    assert second.startswith("produced  runs/digits/squeeze/subexp_1  ")
    assert "  small.npz  file small.npz, step 7, epoch 2, event 2 of run r" in third
    assert fourth.strip().startswith("from runs/digits  ")
    assert fourth.endswith("../../model.npz")


def test_used(command, runs, small):
    """So are those who only refer to the file, and where."""
    shown = command("whence", "runs/digits/model.npz")

    assert shown.stdout.splitlines()[1].strip().startswith("used  ")
    assert "../../model.npz  meta.json, parent.checkpoint" in shown.stdout


def test_json(command, small):
    """The same as JSON, for scripts."""
    shown = command("whence", "--json", "found.bin", "runs")
    found = json.loads(shown.stdout)

    [origin] = found["origins"]
    assert (found["path"], found["root"], found["size"]) == ("found.bin", "runs", 5)
    assert (origin["role"], origin["file"], origin["event"]["step"], origin["event"]["at"]) == (
        "produced",
        "small.npz",
        7,
        {"epoch": 2},
    )
    assert [parent["path"] for parent in origin["parents"]] == ["runs/digits"]


def test_unknown(command, runs, tmp_path):
    """A file that nobody names is told on stderr, with its hash and the place that was searched; the status is 1."""
    (tmp_path / "x").write_bytes(b"unknown")

    shown = command("whence", "x")

    assert (shown.returncode, shown.stdout) == (1, "")
    assert shown.stderr.startswith("mlv: no experiment at or below 'runs' names 'x', whose SHA-256 is ")


@pytest.mark.parametrize("words", [["nope"], ["runs", "nope"]])
def test_bad_input(command, runs, words):
    """A file or a root that is not there is one line on stderr; the status is 2."""
    shown = command("whence", *words)

    assert shown.returncode == 2
    assert shown.stderr.count("\n") == 1
