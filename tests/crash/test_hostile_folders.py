"""Experiments that somebody handed on, with something else where a file or a folder is expected: it costs itself."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import mlv
from mlv.transport import recovery

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")

from typer.testing import CliRunner

from mlv.cli.app import app

SECRET = b"the first line\nthe second one, which has no end"
PLACES = {
    "x.log.jsonl": ["pipe", "link", "endless", "hard link"],
    "log.jsonl": ["pipe", "link", "endless", "folder"],
    "meta.json": ["pipe", "endless"],
    ".mlv/claims/x.json": ["pipe", "link", "endless"],
    ".mlv/claims/.lock": ["pipe", "link"],
    ".mlv/outputs/csv.err": ["pipe", "link"],
    "csv/.mlv-csv.json": ["pipe", "link", "endless"],
    "csv/log.csv": ["pipe", "link", "hard link"],
    "csv/.mlv-csv.lock": ["link"],
    "files/model.bin": ["pipe", "link", "endless"],
}
FOLDERS = (".mlv", ".mlv/claims", ".mlv/torn", "files", "files/media", "csv")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two experiments, of which one has everything that may be replaced."""
    root = tmp_path_factory.mktemp("pristine") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLV_INLINE", "1")
        for name in ("a", "b"):
            with mlv.Exp(root, name, {"lr": 0.1}, capture=()) as exp:
                exp.log({"loss": 0.5}, step=1)
                exp.logger("x")({"loss": 0.5}, step=1)
                exp.log.text("note", "a text")
                exp.checkpoints(every=1).save({"w": [1]}, step=1)
                with exp.file("model.bin", "wb") as file:
                    file.write(b"weights")
    (root / "a" / ".mlv" / "outputs").mkdir(parents=True, exist_ok=True)
    (root / "a" / ".mlv" / "torn").mkdir(parents=True, exist_ok=True)
    (root / "a" / ".mlv" / "claims").mkdir(parents=True, exist_ok=True)
    mlv.projections.replay(mlv.Exp.open(root / "a"), "csv")
    return root


def replaced(root: Path, place: str, kind: str) -> Path:
    """Put something else at a place of the experiment `a`; gives a file of the reader's, which it may lead to."""
    path, victim = root / "a" / place, root.parent / "victim"
    victim.mkdir()
    (victim / "secret").write_bytes(SECRET)
    target = victim if place in FOLDERS else victim / "secret"
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(target)
    elif kind == "endless":
        path.symlink_to("/dev/zero")
    elif kind == "hard link":
        os.link(target, path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "file":
        path.write_bytes(b"")
    return victim / "secret"


def used(root: Path) -> list[str]:
    """Read, change and finish both experiments in all ways; what went wrong in a way that nothing may go."""
    exp, out = root / "a", root.parent
    commands = [
        ("ls", root), ("show", exp), ("tail", exp), ("summary", exp), ("verify", root), ("recover", root),
        ("export", exp, "--to", "csv"), ("export", exp, "--to", "tensorboard"),
        ("dump", root, "--to", "csv", "--out", out / "o"), ("sql", root, "select count(*) from events"),
        ("merge", root, out / "copy"), ("compare", exp, root / "b"),
        ("redact", exp, "-p", "hunter2"), ("plot", root, "-m", "loss", "--out", out / "o.html"),
    ]  # fmt: skip
    problems = []
    for words in commands:
        result = CliRunner().invoke(app, list(map(str, words)))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            problems.append(f"{words}: {result.exception!r}")
        if words[0] == "ls" and not re.search("^b ", result.output, re.MULTILINE):
            problems.append(f"{words}: lacks the other one: {result.output}")
    problems += _refusals(lambda: _logged(exp))
    return problems + _refusals(lambda: recovery.recover(exp, 1.0))


def _refusals(work: Callable[[], object]) -> list[str]:
    try:
        work()
    except (mlv.MlvError, OSError):
        pass  # a clear word
    except Exception as error:
        return [repr(error)]
    return []


def _logged(folder: Path) -> None:
    exp = mlv.Exp.open(folder)
    try:
        exp.log({"loss": 0.25}, step=2)
        exp.logger("x")({"loss": 0.25}, step=2)
        exp.log.text("note", "another text")
        with exp.file("other.bin", "wb") as file:
            file.write(b"weights")
    finally:
        exp._session.end(timeout_s=0.2)  # what cannot be written is waited for, as the disk may take it later


@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("place", "kind"),
    [(place, kind) for place, kinds in {**PLACES, **dict.fromkeys(FOLDERS, ("link", "file"))}.items() for kind in kinds],
)
def test_names(pristine, tmp_path, monkeypatch, place, kind):
    """B3, B7, H1 to H4, H12 to H14: what a name leads to is not waited for, read without end, or written through a link."""
    monkeypatch.setenv("MLV_INLINE", "1")
    shutil.copytree(pristine, tmp_path / "runs")
    secret = replaced(tmp_path / "runs", place, kind)

    assert used(tmp_path / "runs") == []
    assert secret.read_bytes() == SECRET
    assert sorted(secret.parent.iterdir()) == [secret]
