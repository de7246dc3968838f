"""What tests of importers share: importing, and the content of trees."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from conftest import run_command

import mlv
from mlv.importers.importing import Outcome, bring, look_for
from mlv.importers.reading import Options


def import_all(source: Path, root: Path, format: str | None = None, **options: Any) -> list[Outcome]:
    """Import a source, and return what became of each experiment in it."""
    chosen = Options(**options)
    return list(bring(look_for([source], format, chosen).units, root, chosen))


def import_one(source: Path, root: Path, format: str | None = None, **options: Any) -> tuple[mlv.Exp, Outcome]:
    """Import a source that holds one experiment."""
    [outcome] = import_all(source, root, format, **options)
    assert outcome.error == ""
    return mlv.Exp.open(outcome.imported.path), outcome


def write(path: Path, text: str) -> Path:
    """Write a file of a source, in a folder that is made if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def is_intact(exp: mlv.Exp) -> bool:
    """Whether `mlv verify` says so."""
    return str(run_command("verify", exp.path).stdout).startswith("intact")


def content(root: Path) -> dict[str, bytes]:
    """All files of a tree, apart from what writers keep for themselves."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and ".mlv" not in path.parts)
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def points(exp: mlv.Exp) -> list[tuple[Any, dict[str, Any]]]:
    """Step and data of each line of metrics."""
    return [(event.step, dict(event.data)) for event in exp.events("metrics")]


def written_by(tool: str, script: str, folder: Path, **variables: str) -> None:
    """Run a script of a tool in a folder."""
    pytest.importorskip(tool, reason=f"{tool} writes the files")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "written.py"
    path.write_text(textwrap.dedent(script))
    env = {**os.environ, "GIT_PYTHON_REFRESH": "quiet", "HF_HUB_OFFLINE": "1", **variables}
    done = subprocess.run([sys.executable, path], env=env, cwd=folder, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
