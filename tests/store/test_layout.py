"""Which folders are experiments."""

from __future__ import annotations

import os

import pytest

from mlv.errors import MlvWarning
from mlv.store.layout import absolute, enclosing_experiment, is_own, walk


def experiment(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "meta.json").write_text("{}")
    return folder


def test_walk(tmp_path):
    """Experiments are found at any depth, parents first, in order of name."""
    found = [experiment(tmp_path / name) for name in ("b", "b/prune/subexp_1", "c/d")]
    experiment(tmp_path / ".mlv" / "x")

    assert list(walk(tmp_path)) == found


@pytest.mark.parametrize("inside", ["files/copy", "files/deep/er/copy", "models/latest", ".tmp-0", "squeeze/.tmp-0"])
def test_copies_are_no_experiments_of_the_tree(tmp_path, inside):
    """What was attached to an experiment, is its checkpoint, or is not finished, is not listed."""
    exp = experiment(tmp_path / "exp")
    experiment(exp / inside)

    assert list(walk(tmp_path)) == [exp]


@pytest.mark.parametrize("name", ["files", "models"])
def test_experiments_of_these_names(tmp_path, name):
    """Outside an experiment a folder may be called anything."""
    exp = experiment(tmp_path / name / "exp")

    assert list(walk(tmp_path)) == [exp]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("meta.json", True),
        ("log.jsonl", True),
        ("val.log.jsonl", True),
        ("files/a", True),
        (".mlv/x", True),
        ("scratch/a", False),
    ],
)
def test_what_is_its_own(tmp_path, path, expected):
    """An experiment's own are its meta, logs, files and models; the rest is the user's."""
    assert is_own(tmp_path, tmp_path / path) is expected


@pytest.mark.parametrize("inside", ["files/copy", "files", "models/latest/copy", ".mlv/copy"])
def test_a_copy_holds_nothing_of_its_own(tmp_path, inside):
    """A file in a copy of an experiment belongs to the experiment that keeps the copy."""
    exp = experiment(tmp_path / "exp")
    (exp / "meta.json").write_text('{"format": 1, "params": {}}')
    copy = experiment(exp / inside)

    assert enclosing_experiment(copy / "files" / "model.npz") == exp


@pytest.mark.parametrize("inside", ["squeeze/subexp_1", "files/x", "models/digits"])
def test_the_innermost_experiment(tmp_path, inside):
    """A file belongs to the innermost experiment around it; any project may have a meta.json, and a folder `models`."""
    experiment(tmp_path / "project")
    exp = experiment(tmp_path / "project" / inside)

    assert enclosing_experiment(exp / "files" / "model.npz") == exp


def test_links_are_followed(tmp_path):
    """R11: experiments behind a linked folder are found, each once, by the path that leads there."""
    root, disk = tmp_path / "runs", tmp_path / "disk"
    own = experiment(root / "own")
    experiment(disk / "cnn" / "a")
    (root / "cnn").symlink_to(disk / "cnn")
    (root / "again").symlink_to(disk)
    (root / "best").symlink_to(own)
    (root / "nowhere").symlink_to(root / "gone")
    (disk / "cnn" / "back").symlink_to(root)

    with pytest.warns(MlvWarning, match="a folder around it"):
        assert list(walk(root)) == [root / "again" / "cnn" / "a", own]


def test_links_in_circles(tmp_path):
    """R11: a link to a folder around it is passed over, and warned about; two that lead to one another come to an end."""
    root, disk = tmp_path / "runs", tmp_path / "disk"
    own = experiment(root / "own")
    experiment(disk / "a" / "x")
    experiment(disk / "b" / "y")
    (disk / "a" / "b").symlink_to(disk / "b")
    (disk / "b" / "a").symlink_to(disk / "a")
    (root / "disk").symlink_to(disk / "a")
    (root / "up").symlink_to(tmp_path)

    with pytest.warns(MlvWarning, match=f"up is a link to {tmp_path}/, a folder around it"):
        assert list(walk(root)) == [root / "disk" / "b" / "y", root / "disk" / "x", own]


@pytest.mark.parametrize("path", ["a/../b", "link/../b", "link/x/../../b", "link/..", "..", "a/./b", "", "a/../../b/.."])
def test_absolute(tmp_path, monkeypatch, path):
    """R2: an absolute path leads where the system would go, also up from behind a link."""
    (tmp_path / "deep" / "real" / "x").mkdir(parents=True)
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "real")
    monkeypatch.chdir(tmp_path)

    result = absolute(path)

    assert result.is_absolute()
    assert ".." not in result.parts
    assert os.path.realpath(result) == os.path.realpath(path or ".")
