"""Sub-experiments: what follow-up scripts do with a checkpoint."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from mlv import CheckpointMissing, Exp, InvalidArgument, InvalidName, InvalidParams, MlvWarning, NotAnExperiment, init_sub_exp

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def parent(tmp_path: Path) -> Exp:
    """A finished experiment with a checkpoint in it."""
    with Exp(tmp_path / "runs", "digits", {"lr": 0.1}, capture=()) as exp:
        (exp.path / "models").mkdir()
        (exp.path / "models" / "best.npz").write_bytes(b"weights")
        (exp.path / "model.npz").write_bytes(b"weights")
    return exp


@pytest.fixture
def checkpoint(parent: Exp) -> Path:
    return parent.path / "models" / "best.npz"


class TestPlace:
    def test_below_the_parent(self, parent, checkpoint):
        """It lies in `<parent>/<kind>/subexp_1`, then `subexp_2`, also when the checkpoint lies deeper inside."""
        exps = [init_sub_exp(path, "squeeze") for path in (checkpoint, parent.path / "model.npz", str(checkpoint))]

        assert [exp.path.relative_to(parent.path).as_posix() for exp in exps] == [f"squeeze/subexp_{n}" for n in (1, 2, 3)]
        assert [exp.kind for exp in exps] == ["squeeze"] * 3

    def test_numbers_go_on(self, parent, checkpoint):
        """The number is one more than the highest: a deleted one is not given again while later ones exist."""
        for name in ("subexp_1", "subexp_9", "subexp_x", "subexp_²", "other_12"):
            (parent.path / "squeeze" / name).mkdir(parents=True)

        assert init_sub_exp(checkpoint, "squeeze").name == "subexp_10"

    def test_named(self, parent, checkpoint):
        """It may have a name; a name that is taken gets a suffix."""
        exps = [init_sub_exp(checkpoint, "squeeze", "half") for _ in range(2)]

        assert [exp.name for exp in exps] == ["half", "half_1"]
        assert exps[0].path == parent.path / "squeeze" / "half"

    def test_settings(self, checkpoint):
        """It has params, tags and notes of its own, and logs like any other."""
        with init_sub_exp(checkpoint, "squeeze", params={"rate": 0.5}, tags=["a"], notes="Why.") as exp:
            exp.log({"acc": 0.9})

        assert (exp.params, exp.tags, exp.notes, exp.status) == ({"rate": 0.5}, ("a",), ("Why.",), "ok")
        assert [event.data for event in exp.events("metrics")] == [{"acc": 0.9}]

    def test_of_a_sub_experiment(self, parent, checkpoint):
        """A checkpoint of a sub-experiment has its follow-ups there."""
        inner = init_sub_exp(checkpoint, "squeeze")
        (inner.path / "small.npz").write_bytes(b"")
        innermost = init_sub_exp(inner.path / "small.npz", "tune")

        assert innermost.path == inner.path / "tune" / "subexp_1"
        assert innermost.parent == inner
        assert innermost.parent.parent == parent

    def test_outside_any_experiment(self, tmp_path):
        """A checkpoint outside any experiment has its follow-ups in its own folder, without a parent."""
        (tmp_path / "model.npz").write_bytes(b"weights")
        exp = init_sub_exp(tmp_path / "model.npz", "squeeze")

        assert exp.path == tmp_path / "squeeze" / "subexp_1"
        assert exp.parent is None
        assert exp.meta["parent"]["checkpoint"]["sha256"] == hashlib.sha256(b"weights").hexdigest()

    def test_what_has_a_path(self, parent, checkpoint):
        """A checkpoint may be an object with a path."""
        assert init_sub_exp(SimpleNamespace(path=checkpoint), "squeeze").parent == parent

    def test_a_folder(self, parent):
        """A folder counts as one checkpoint: its digest is that of all its files."""
        folder = parent.path / "models" / "epoch_1"
        folder.mkdir()
        (folder / "a").write_bytes(b"1")
        digests = [init_sub_exp(folder, "squeeze").meta["parent"]["checkpoint"]["sha256"] for _ in range(2)]
        (folder / "a").rename(folder / "b")
        digests.append(init_sub_exp(folder, "squeeze").meta["parent"]["checkpoint"]["sha256"])

        assert digests[0] == digests[1] != digests[2]

    def test_relative(self, parent, checkpoint, monkeypatch):
        """A relative path is one from the current folder."""
        monkeypatch.chdir(checkpoint.parent)

        assert init_sub_exp("best.npz", "squeeze").parent == parent

    def test_while_the_parent_is_written(self, tmp_path):
        """The parent need not be finished; its run goes on."""
        with Exp(tmp_path, "digits", capture=()) as parent:
            (parent.path / "model.npz").write_bytes(b"")
            with init_sub_exp(parent.path / "model.npz", "squeeze") as exp:
                exp.log({"a": 1})
            parent.log({"b": 1})

            assert exp.parent.status == "running"
            assert len(list(parent.events("metrics"))) == 1


class TestLinks:
    def test_meta(self, parent, checkpoint):
        """meta.json names the parent by ID and relative path, and the checkpoint by path, size and SHA-256."""
        exp = init_sub_exp(checkpoint, "squeeze")

        assert json.loads((exp.path / "meta.json").read_bytes())["parent"] == {
            "_mlv": "exp",
            "id": parent.id,
            "path": "../..",
            "checkpoint": {
                "_mlv": "file",
                "path": "../../models/best.npz",
                "sha256": hashlib.sha256(b"weights").hexdigest(),
                "size": 7,
            },
        }

    def test_up_and_down(self, parent, checkpoint):
        """One goes from each to the other."""
        exps = [init_sub_exp(checkpoint, kind) for kind in ("squeeze", "squeeze", "tune")]

        assert [exp.parent for exp in exps] == [parent] * 3
        assert parent.sub_exps == exps
        assert Exp.open(parent.path).sub_exps[2].parent == parent

    def test_children_only(self, parent, checkpoint):
        """Sub-experiments of sub-experiments are theirs."""
        inner = init_sub_exp(checkpoint, "squeeze")
        (inner.path / "x").write_bytes(b"")
        innermost = init_sub_exp(inner.path / "x", "squeeze")

        assert parent.sub_exps == [inner]
        assert inner.sub_exps == [innermost]

    def test_a_moved_tree(self, parent, checkpoint, tmp_path):
        """Moving the whole tree elsewhere breaks nothing."""
        with init_sub_exp(checkpoint, "squeeze"):
            pass
        moved = tmp_path / "other" / "name"
        moved.parent.mkdir()
        shutil.move(parent.path, moved)
        again = Exp.open(moved)

        [sub] = again.sub_exps
        assert sub.parent == again
        assert (sub.path / sub.meta["parent"]["checkpoint"]["path"]).read_bytes() == b"weights"
        with init_sub_exp(moved / "model.npz", "squeeze") as second:
            assert second.name == "subexp_2"

    def test_a_parent_that_is_gone(self, parent, checkpoint, tmp_path):
        """A sub-experiment that was taken out says where it looked for its parent."""
        with init_sub_exp(checkpoint, "squeeze") as exp:
            pass
        exp.path.rename(tmp_path / "alone")
        alone = Exp.open(tmp_path / "alone")

        with pytest.raises(NotAnExperiment, match=f"the parent {parent.id} of .* is neither at .* nor around it"):
            alone.parent  # noqa: B018
        assert alone.status == "ok"

    def test_moved_within_the_tree(self, parent, checkpoint):
        """A sub-experiment that was moved within its parent's folder still finds it."""
        with init_sub_exp(checkpoint, "squeeze") as exp:
            pass
        (parent.path / "old" / "deep").mkdir(parents=True)
        exp.path.rename(parent.path / "old" / "deep" / "one")

        [sub] = parent.sub_exps
        assert sub.parent == parent

    def test_reading_survives_a_broken_neighbour(self, parent, checkpoint):
        """A sub-experiment whose meta.json is broken is warned of, and does not hide the others."""
        good, bad = init_sub_exp(checkpoint, "squeeze"), init_sub_exp(checkpoint, "squeeze")
        (bad.path / "meta.json").chmod(0o644)
        (bad.path / "meta.json").write_text("{")

        with pytest.warns(MlvWarning, match=r"subexp_2/meta\.json is not a meta\.json"):
            assert parent.sub_exps == [good]


class TestBadInput:
    def test_no_checkpoint(self, parent):
        """A checkpoint that does not exist is refused with its path; nothing is made."""
        with pytest.raises(CheckpointMissing, match=r"there is no checkpoint at '.*nope\.npz': give the path") as caught:
            init_sub_exp(parent.path / "nope.npz", "squeeze")

        assert isinstance(caught.value, FileNotFoundError)
        assert caught.value.path == str(parent.path / "nope.npz")
        assert not (parent.path / "squeeze").exists()

    @pytest.mark.parametrize(
        "kind", ["log", "files", "models", "system", "console", "rewound", "rank3", "a/b", "a@b", "", "..", None, 3]
    )
    def test_kinds(self, checkpoint, parent, kind):
        """A kind that is reserved, or no name, is refused."""
        before = sorted(parent.path.rglob("*"))
        with pytest.raises(InvalidName, match="kind"):
            init_sub_exp(checkpoint, kind)

        assert sorted(parent.path.rglob("*")) == before

    @pytest.mark.parametrize("name", ["", "..", "a/b", {"rate": 1}])
    def test_names(self, checkpoint, parent, name):
        """So is a name that is none."""
        with pytest.raises(InvalidName, match="experiment name"):
            init_sub_exp(checkpoint, "squeeze", name)

        assert not (parent.path / "squeeze").exists()

    @pytest.mark.parametrize("path", [None, 3, {"a": 1}, "a\0b"])
    def test_paths(self, path):
        """So is a checkpoint that is no path."""
        with pytest.raises(InvalidArgument, match="checkpoint="):
            init_sub_exp(path, "squeeze")

    def test_params(self, checkpoint, parent):
        """So are params that are no mapping."""
        with pytest.raises(InvalidParams, match=r"params are 3"):
            init_sub_exp(checkpoint, "squeeze", params=3)

        assert not (parent.path / "squeeze").exists()


def test_checkpoint_in_an_attached_experiment(parent, tmp_path):
    """A file of a copy that was attached belongs to the experiment that holds the copy: the copy stays as it is."""
    with Exp(tmp_path / "runs", "study", capture=()) as study:
        copy = study.attach(parent.path, "digits")
    with init_sub_exp(copy / "models" / "best.npz", "squeeze") as sub:
        assert sub.path.parent == study.path / "squeeze"
    assert sub.parent.id == study.id


def test_file_of_an_experiment_beside_an_attached_meta(parent, tmp_path):
    """A meta.json that was attached makes no experiment of the folder of the attachments: they are not moved away."""
    with Exp(tmp_path / "runs", "study", capture=()) as study:
        study.attach(parent.path / "meta.json")
        mine = study.attach(parent.path / "model.npz")
        with pytest.raises(InvalidArgument, match="stays there"):
            study.attach(mine, "moved.npz", how="move")


def test_an_experiment_is_no_checkpoint(tmp_path):
    """Given a whole experiment, it asks for one of its checkpoints, and makes nothing."""
    with Exp(tmp_path, "exp", capture=()) as exp, pytest.raises(InvalidArgument, match=r"exp\.best"):
        init_sub_exp(exp, "squeeze")

    assert exp.sub_exps == []
    assert not (tmp_path / "squeeze").exists()
