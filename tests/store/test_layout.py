"""Which folders are experiments."""

from __future__ import annotations

import pytest

from mlv.store.layout import enclosing_experiment, is_own, walk


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
