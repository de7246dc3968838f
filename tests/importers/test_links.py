"""Symbolic links that lead out of a source stay behind and are named, unless whoever imports asks for what they lead to."""

from __future__ import annotations

from pathlib import Path

import pytest

from importers import wandb_files as w
from importers.trees import import_all, import_one, points
from mlv.importers.importing import look_for
from mlv.importers.reading import Options

SECRET = "host: secret\n"


def write(path: Path, text: str = SECRET) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def outside(tmp_path):
    """A file of somebody who imports."""
    return write(tmp_path / "home" / "credentials")


def holds_secret(root: Path) -> bool:
    return any(b"secret" in path.read_bytes() for path in root.rglob("*") if path.is_file())


def fit(folder: Path) -> Path:
    """A folder of Lightning."""
    write(folder / "metrics.csv", "step,loss\n0,1\n")
    write(folder / "hparams.yaml", "lr: 0.1\n")
    return folder


def test_out_of_the_source(command, tmp_path, outside):
    """A file and a folder that links lead to are named, with the option that follows them; the status is 1."""
    pytest.importorskip("yaml")
    fit(tmp_path / "logs" / "a")
    (tmp_path / "logs" / "a" / "x.ckpt").symlink_to(outside)
    fit(tmp_path / "elsewhere" / "b")
    (tmp_path / "logs" / "b").symlink_to(tmp_path / "elsewhere" / "b")

    done = command("import", "logs", "--into", "runs")

    assert (done.returncode, holds_secret(tmp_path / "runs")) == (1, False)
    assert "2 links that lead out of the source stay behind: b, x.ckpt. With --links they are followed" in done.stderr
    followed = command("import", "--links", "logs", "--into", "runs")
    assert (followed.returncode, followed.stderr) == (0, "")
    assert (tmp_path / "runs/a/files/x.ckpt").read_text() == SECRET
    assert (tmp_path / "runs/b/log.jsonl").exists()


def test_within_the_source(tmp_path):
    """A link to a file of the source itself is that file; one to a folder of it is looked into once, in its own place."""
    pytest.importorskip("yaml")
    fit(tmp_path / "logs" / "a")
    write(tmp_path / "logs" / "blobs" / "1", "weights")
    (tmp_path / "logs" / "a" / "last.ckpt").symlink_to(tmp_path / "logs" / "blobs" / "1")
    (tmp_path / "logs" / "latest").symlink_to(tmp_path / "logs" / "a")
    (tmp_path / "logs" / "a" / "circle").symlink_to(tmp_path / "logs")

    found = look_for([tmp_path / "logs"], None, Options())
    exp, _ = import_one(tmp_path / "logs", tmp_path / "runs")

    assert (len(found.units), found.outside, points(exp)) == (1, [], [(0, {"loss": 1})])
    assert (exp.path / "files" / "last.ckpt").read_text() == "weights"


def test_circles_outside(tmp_path):
    """Folders that links lead to are looked into once, wherever their own links lead."""
    pytest.importorskip("yaml")
    fit(tmp_path / "elsewhere" / "b")
    (tmp_path / "elsewhere" / "b" / "circle").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "logs").mkdir()
    for name in ("one", "two"):
        (tmp_path / "logs" / name).symlink_to(tmp_path / "elsewhere")

    found = look_for([tmp_path / "logs"], None, Options(follows_links=True))

    assert [unit.path.relative_to(tmp_path / "logs").as_posix() for unit in found.units] == ["one/b"]


def test_files_of_runs(tmp_path, outside):
    """Media, saved files, artifacts and settings that links lead to are no file of their runs."""
    pytest.importorskip("yaml")
    image = {"_type": "image-file", "path": "media/x.png"}
    run = w.write(
        tmp_path / "sources/wandb/run-1-a", w.framed([w.run("a"), w.row(0, 0, image=image), w.exited()]), "run-a.wandb"
    )
    for name in ("media/x.png", "saved.h5", "output.log"):
        path = run.parent / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(outside)
    store = tmp_path / "sources/mlruns/1/abc"
    write(store / "meta.yaml", "run_id: abc\nstatus: 3\nstart_time: 1\nlifecycle_stage: active\nartifact_uri: ''\n")
    for name in ("params/token", "tags/x", "metrics/y", "artifacts/z"):
        (store / name).parent.mkdir()
        (store / name).symlink_to(outside)
    trial = tmp_path / "sources/train/trial"
    write(trial / "result.json", '{"loss": 1, "training_iteration": 1}\n')
    write(trial / "params.json", "{}")
    (trial / "error.txt").symlink_to(outside)
    (trial / "checkpoint_1").symlink_to(outside.parent)

    outcomes = import_all(tmp_path / "sources", tmp_path / "runs")
    found = look_for([tmp_path / "sources"], None, Options())

    assert [each.error for each in outcomes] == ["", "", "", ""]
    assert sorted(path.name for path in found.outside) == [
        "checkpoint_1", "error.txt", "output.log", "saved.h5", "token", "x", "x.png", "y", "z",
    ]  # fmt: skip
    assert not holds_secret(tmp_path / "runs")
    import_all(tmp_path / "sources", tmp_path / "all", follows_links=True)
    assert holds_secret(tmp_path / "all")


def test_out_of_a_folder_elsewhere(tmp_path, outside):
    """Artifacts may lie outside of the source; a link in them that leads further is counted."""
    pytest.importorskip("yaml")
    artifacts = tmp_path / "data" / "abc" / "artifacts"
    write(artifacts / "model.txt", "weights")
    (artifacts / "key").symlink_to(outside)
    uri = artifacts.as_uri()
    write(tmp_path / "mlruns/1/abc/meta.yaml", f"run_id: abc\nstatus: 3\nstart_time: 1\nartifact_uri: {uri}\n")

    exp, outcome = import_one(tmp_path / "mlruns", tmp_path / "runs")

    assert (exp.path / "files/artifacts/model.txt").read_text() == "weights"
    assert dict(outcome.left) == {"files that links lead to, out of their folder: they come over with --links": 1}
