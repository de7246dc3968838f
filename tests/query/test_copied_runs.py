"""Copies of an experiment that were made while its run went on: how that ended stands in the original alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import run_command

import mlv
from mlv.audit.merge import merge
from mlv.audit.verify import verify
from mlv.store.origins import is_copy, origin
from mlv.store.owners import Owner

SCRIPT = """
import sys, mlv
with mlv.Exp(sys.argv[1], "exp", {"lr": 1}, capture=()) as exp:
    exp.log({"loss": 1.0}, step=0)
    exp.flush()
    print("ready", flush=True)
    sys.stdin.readline()
    exp.log({"loss": 0.5}, step=1)
"""


@pytest.fixture
def training(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that trains until a line comes."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path / "runs")], text=True, **pipes)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate(timeout=60)


def listed(root: Path) -> list[str]:
    """What `mlv ls --json` says of the only experiment, and then what other readers do."""
    [folder] = [path.parent for path in root.rglob("meta.json")]
    page = json.loads(run_command("show", folder, "--json").stdout)
    [found] = mlv.find(root)
    return [
        json.loads(run_command("ls", root, "--json").stdout)["status"],
        page["status"],
        page["runs"][-1]["status"],
        found.status,
        mlv.Exp.open(folder).status,
    ]


def test_a_copy_of_a_running_experiment(tmp_path, training):
    """R20: a copy is `lost` from the first moment on, whatever becomes of the original; one that was renamed is itself."""
    shutil.copytree(tmp_path / "runs", tmp_path / "copies", symlinks=True)
    assert listed(tmp_path / "copies") == ["lost"] * 5
    (tmp_path / "runs").rename(tmp_path / "moved")
    assert listed(tmp_path / "moved") == ["running"] * 5

    training.communicate("\n", timeout=60)

    assert listed(tmp_path / "moved") == ["ok"] * 5
    assert listed(tmp_path / "copies") == ["lost"] * 5
    recovered = run_command("recover", tmp_path / "copies")
    assert recovered.returncode == 0, recovered.stderr
    assert "killed" not in recovered.stdout
    assert listed(tmp_path / "copies") == ["lost"] * 5
    assert any("copied while it went on" in finding.text for finding in verify(tmp_path / "copies" / "exp").findings)

    list(merge(tmp_path / "moved", tmp_path / "copies"))

    assert listed(tmp_path / "copies") == ["ok"] * 5


def test_a_copy_of_a_run_that_was_killed(tmp_path, training):
    """R20: of a run that was killed, the original says so, and a copy that was made before does not."""
    shutil.copytree(tmp_path / "runs", tmp_path / "copies", symlinks=True)

    training.kill()
    training.wait(60)

    assert listed(tmp_path / "runs") == ["killed"] * 5
    assert listed(tmp_path / "copies") == ["lost"] * 5


def test_which_folder_is_a_copy(tmp_path):
    """R20: a folder is a copy if its number and its path are others, and it is asked on the machine that wrote them."""
    here = Owner.current().to_data()
    made, elsewhere = tmp_path / "made", tmp_path / "elsewhere"
    made.mkdir()
    recorded = origin(made)
    assert recorded is not None
    assert not is_copy(made, recorded, here)
    assert not is_copy(made, {**recorded, "inode": -1}, here)  # a file system that numbers folders anew

    made.rename(elsewhere)
    assert not is_copy(elsewhere, recorded, here)
    assert not is_copy(made, recorded, here)  # gone

    shutil.copytree(elsewhere, made / "copy")
    assert is_copy(made / "copy", recorded, here)
    assert not is_copy(made / "copy", recorded, {**here, "machine": "another"})
    assert not is_copy(made / "copy", {"inode": "odd"}, {})
    assert not is_copy(made / "copy", None, here)  # a log of an early version
