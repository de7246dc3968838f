"""Tags go, experiments are archived, moved and removed, and what points to them goes on leading there."""

from __future__ import annotations

import pytest

import mlv
from mlv import Exp, ExperimentBusy, FileRef, InvalidArgument, SavedirUnusable

# What a writer process adds is tested elsewhere.
pytestmark = pytest.mark.usefixtures("inline")


def made(savedir, name="a", params=None, **options) -> Exp:
    with Exp(savedir, name, params, capture=(), **options) as exp:
        with exp.file("weights", "wb") as file:
            file.write(name.encode())
        exp.log({"loss": 1.0}, step=0)
    return exp


def test_tags_go(tmp_path):
    """Also those of meta.json, which stays as it is; a tag that is added again is there again."""
    exp = made(tmp_path, tags=["first", "second"])
    again = Exp.open(exp.path)
    again.add_tags("third")
    again.remove_tags("first", "third")

    assert again.tags == ("second",)
    assert exp.meta["tags"] == ["first", "second"]
    assert len(mlv.find(tmp_path, tags="first")) == 0
    again.add_tags("first")
    assert Exp.open(exp.path).tags == ("first", "second")


def test_the_archive(tmp_path):
    """An archived experiment has the status and the runs that it had; during a run, and after it, the latest word counts."""
    with Exp(tmp_path, "a", capture=()) as exp:
        exp.log({"loss": 1.0})
        exp.archive()
        assert (exp.is_archived, exp.status) == (True, "running")
    assert (exp.is_archived, exp.status, len(exp.runs)) == (True, "ok", 1)

    exp.unarchive()

    assert not Exp.open(exp.path).is_archived


def test_references_follow(tmp_path):
    """References to a moved experiment and its files, from elsewhere and in it, lead where they led."""
    a = made(tmp_path / "runs")
    sub = mlv.init_sub_exp(a.path / "files" / "weights", "squeeze")
    sub.close()
    params = {"exp": mlv.ExpRef(a), "file": FileRef(a.path / "files" / "weights"), "sub": mlv.ExpRef(sub)}
    b = made(tmp_path / "others", "b", params)

    moved = a.move(tmp_path / "kept" / "deep" / "a")
    moved = moved.move(tmp_path / "kept" / "renamed")

    assert b.resolve(b["exp"]) == moved
    assert b.resolve(b["file"]) == moved.path / "files" / "weights"
    assert b.resolve(b["sub"]).path == moved.path / "squeeze" / "subexp_1"
    assert [below.parent for below in moved.sub_exps] == [moved]


def test_a_sub_experiment_moves_out(tmp_path):
    """It knows its parent and the checkpoint that it began from, also once the parent moves as well."""
    a = made(tmp_path / "runs")
    sub = mlv.init_sub_exp(a.path / "files" / "weights", "squeeze")
    sub.close()

    sub = sub.move(tmp_path / "alone" / "sub")

    assert sub.parent == a
    assert sub.resolve(sub.meta["parent"]["checkpoint"]) == a.path / "files" / "weights"
    elsewhere = a.move(tmp_path / "elsewhere" / "a")
    assert Exp.open(sub.path).parent == elsewhere


def test_trash(tmp_path):
    """What is removed lies in the trash, is in no list, and comes back with all that went along."""
    a = made(tmp_path)
    mlv.init_sub_exp(a.path / "files" / "weights", "squeeze").close()
    before = sorted(path.relative_to(a.path) for path in a.path.rglob("*"))

    trash = a.remove()

    assert trash is not None
    assert trash.is_relative_to(tmp_path / ".mlv" / "trash")
    assert len(mlv.find(tmp_path)) == 0
    back = Exp.open(trash).move(a.path)
    assert sorted(path.relative_to(a.path) for path in a.path.rglob("*")) == before
    assert (back.status, len(back.sub_exps)) == ("ok", 1)


def test_deleted_at_once(tmp_path):
    """With `now`, nothing is left but the others."""
    a, b = made(tmp_path), made(tmp_path, "b")

    assert a.remove(now=True) is None

    assert mlv.find(tmp_path).paths == [b.path]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mlv", "b"]
    assert not any((tmp_path / ".mlv").iterdir())


@pytest.mark.parametrize("below", [False, True])
def test_not_during_a_run(tmp_path, below):
    """An experiment in which a run goes on, or in one below it, stays."""
    a = made(tmp_path)
    running = mlv.init_sub_exp(a.path / "files" / "weights", "squeeze") if below else Exp.open(a.path)
    running.log({"loss": 0.5})
    running.flush()

    for change in (lambda: a.remove(), lambda: a.remove(now=True), lambda: a.move(tmp_path / "new")):
        with pytest.raises(ExperimentBusy, match="goes on"):
            change()

    assert a.path.is_dir()
    running.close()


def test_where_nothing_can_go(tmp_path):
    """A path that is taken, or in the experiment itself, is an error that changes nothing."""
    a, b = made(tmp_path), made(tmp_path, "b")

    with pytest.raises(SavedirUnusable, match="is there already"):
        a.move(b.path)
    with pytest.raises(InvalidArgument, match="into itself"):
        a.move(a.path / "inner")
    assert Exp.open(a.path).summary()["loss"].last == 1.0
