"""Links that a handed-over folder holds where the store writes: nothing is made where they lead."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import run_command

import mlv


def listing(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture
def hostile(tmp_path, inline):
    """A finished experiment, and a folder of the reader's own with a file in it."""
    with mlv.Exp(tmp_path / "runs", "x", {"lr": 1}, capture=(), system=False) as exp:
        for step in range(10):
            exp.log({"loss": 1 / (step + 1)}, step=step)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "file").write_bytes(b"mine")
    return exp.path, mine


@pytest.mark.parametrize("name", ["files", "files/media", ".mlv/ends", "models", "csv"])
def test_linked_folders(hostile, name):
    """B3: nothing is written through a link in place of a folder of the store, by whatever is logged, saved or kept."""
    folder, mine = hostile
    place = folder / name
    place.parent.mkdir(exist_ok=True)
    if place.is_dir():
        place.rename(folder.parent / "aside")
    place.symlink_to(mine)
    before = listing(mine)
    script = f"""
import warnings, numpy, mlv
from contextlib import suppress
warnings.simplefilter("ignore")
with suppress(mlv.MlvError, OSError):
    with mlv.Exp.open({str(folder)!r}, outputs=["csv"]) as exp:
        exp.log({{"loss": 0.5}}, step=10)
        exp.log.image("sample", numpy.zeros((4, 4, 3), dtype="uint8"), step=1)
        exp.log.text("words", "text", step=1)
        with suppress(mlv.MlvError, OSError):
            with exp.file("m.bin", "wb") as file:
                file.write(b"1")
        with suppress(mlv.MlvError, OSError):
            exp.attach(__import__("os").__file__)
        with suppress(mlv.MlvError, OSError):
            exp.checkpoints().save({{"a": 1}}, step=1)
"""
    subprocess.run([sys.executable, "-c", script], check=False, timeout=120, capture_output=True)
    run_command("recover", folder)
    assert listing(mine) == before


def test_capture_through_a_link(tmp_path):
    """B3: the diff of a repository is not published through a link in place of `files`."""
    subprocess.run(["git", "init", "-q", str(tmp_path / "code")], check=True)
    identity = ["-c", "user.name=n", "-c", "user.email=n@example.org"]
    script = tmp_path / "code" / "train.py"
    script.write_text("print(1)\n")
    subprocess.run(["git", "-C", str(tmp_path / "code"), "add", "."], check=True)
    subprocess.run(["git", "-C", str(tmp_path / "code"), *identity, "commit", "-qm", "one"], check=True)
    script.write_text("print(2)\n")
    (tmp_path / "exp").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "exp" / "files").symlink_to(tmp_path / "mine")
    program = f"""
import sys
from pathlib import Path
from mlv.experiment.opening.captures import capture, make_redactor
sys.modules["__main__"].__file__ = {str(script)!r}
print(capture(["git"], make_redactor((), ()), Path({str(tmp_path / "exp")!r}), "diff.patch"))
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert "is a link to elsewhere" in done.stdout
    assert list((tmp_path / "mine").iterdir()) == []
