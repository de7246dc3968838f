"""`mlv.whence`: from the bare file to the event that produced it, and to the experiments before."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from logs import line

import mlv
from mlv import Exp, FileRef, FileUnusable, InvalidArgument, init_sub_exp, whence
from mlv.audit.provenance import PRODUCED, USED, default_root
from mlv.encoding import Reference
from mlv.store import contents
from mlv.store.streams import lines_with

pytestmark = pytest.mark.usefixtures("inline")


def publish(exp: Exp, path: str, content: bytes, type: str = "file", step: int | None = None, **more: Any) -> Path:
    """Put a file into an experiment, and the event that says so into its log."""
    place = exp.path / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    reference = contents.reference(exp.path, place, contents.content_of(place))
    exp.log._emit(type, path, reference if type == "file" else {**more, "file": reference}, step)
    return place


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "train.csv"
    path.write_bytes(b"1,2,3")
    return path


@pytest.fixture
def exp(runs: Path, data: Path) -> Exp:
    """A finished experiment with params that refer to a file, a checkpoint, and an image."""
    with Exp(runs, "digits", {"data": FileRef(data)}, capture=()) as exp:
        publish(
            exp, "models/1.npz", b"weights", "checkpoint", 3, action="saved", save=1, folder="models", places=["models/1.npz"]
        )
        publish(exp, "files/image.png", b"pixels", "image", 4)
    return exp


@pytest.fixture
def sub(exp: Exp) -> Exp:
    """A sub-experiment of the checkpoint, with a file of its own."""
    with init_sub_exp(exp.path / "models" / "1.npz", "squeeze") as sub:
        publish(sub, "small.npz", b"small", step=7)
    return sub


def copied(path: Path, tmp_path: Path) -> Path:
    """The bare file, under another name and somewhere else."""
    return Path(shutil.copyfile(path, tmp_path / "found.bin"))


class TestProduced:
    def test_a_checkpoint(self, exp, runs, tmp_path):
        """Experiment, run, event and step are found from a copy under another name."""
        [origin] = whence(copied(exp.path / "models" / "1.npz", tmp_path), runs)

        assert (origin.role, origin.exp, origin.exp_id, origin.parents) == (PRODUCED, exp.path, exp.id, ())
        assert (origin.event.type, origin.event.step, origin.event.seq) == ("checkpoint", 3, 2)
        assert (origin.event.run, origin.where, origin.reference["path"]) == (exp.runs[0].id, "data.file", "models/1.npz")

    def test_media(self, exp, runs):
        """The file of a media event is one that the event produced."""
        [origin] = whence(exp.path / "files" / "image.png")

        assert (origin.role, origin.event.type, origin.event.step) == (PRODUCED, "image", 4)

    def test_a_folder(self, runs, tmp_path):
        """A folder is known by its manifest."""
        with Exp(runs, "exp", capture=()) as exp:
            folder = exp.path / "files" / "table"
            folder.mkdir(parents=True)
            (folder / "a.csv").write_bytes(b"1")
            exp.log._emit("file", "table", contents.reference(exp.path, folder, contents.content_of(folder)), None)
        shutil.copytree(folder, tmp_path / "copy")

        [origin] = whence(tmp_path / "copy", runs)

        assert origin.reference["media_type"] == "inode/directory"

    def test_its_own_file_referred_to(self, exp, runs):
        """A reference of an experiment to a file of its own says that it made the file."""
        (exp.path / "report.txt").write_bytes(b"report")
        ref = FileRef(exp.path / "report.txt")
        assert ref.sha256
        with Exp.open(exp.path) as again:
            again.log("reported", {"file": ref})

        [origin] = whence(exp.path / "report.txt")

        assert (origin.role, origin.event.name) == (PRODUCED, "reported")

    def test_the_earliest_first(self, exp, runs):
        """Of several that produced the same content, the earliest comes first; the others follow."""
        with Exp(runs, "a_later_one", capture=()) as later:
            publish(later, "same.npz", b"weights", step=1)

        found = whence(later.path / "same.npz")

        assert [(origin.role, origin.exp) for origin in found] == [(PRODUCED, exp.path), (PRODUCED, later.path)]

    def test_not_where_it_is_kept(self, exp, runs):
        """That a checkpoint was let go, or is kept in another place, does not mean that it was made then."""
        with Exp.open(exp.path) as again:
            file = exp.path / "models" / "1.npz"
            reference = contents.reference(exp.path, file, contents.content_of(file))
            again.log._emit("checkpoint", "", {"action": "removed", "places": ["models/1.npz"], "file": reference}, None)

        assert [origin.event.step for origin in whence(file)] == [3]


class TestUsed:
    def test_params(self, exp, runs, data):
        """A file that params refer to was used, and not made, by the experiment."""
        [origin] = whence(data, runs)

        assert (origin.role, origin.event, origin.where) == (USED, None, "params.data")
        assert origin.time == exp.meta["created"]

    def test_an_event(self, exp, runs, data):
        """So was one that an event refers to."""
        ref = FileRef(data)
        assert ref.sha256
        with Exp.open(exp.path) as again:
            again.log("evaluated", {"on": [ref]}, step=9)

        _, origin = whence(data, runs)

        assert (origin.role, origin.event.step, origin.where) == (USED, 9, "data.on[0]")

    def test_the_checkpoint_of_a_sub_experiment(self, exp, sub, runs):
        """The checkpoint that a sub-experiment began from was produced by the parent, and used there."""
        found = whence(exp.path / "models" / "1.npz")

        assert [(origin.role, origin.exp, origin.where) for origin in found] == [
            (PRODUCED, exp.path, "data.file"),
            (USED, sub.path, "parent.checkpoint"),
        ]

    def test_a_users_own_mapping(self, exp, runs, data):
        """A mapping of the user's own that only looks like a reference names nothing."""
        digest = hashlib.sha256(b"other").hexdigest()
        with Exp.open(exp.path) as again:
            again.log("said", {"_mlv": "file", "path": "x", "sha256": digest, "text": [digest]})
        (data.parent / "other").write_bytes(b"other")

        assert whence(data.parent / "other", runs) == []


class TestParents:
    def test_the_chain(self, exp, sub, runs, tmp_path):
        """The parents are named up to the first one, each with the checkpoint and the event that made it."""
        with init_sub_exp(sub.path / "small.npz", "tune") as innermost:
            publish(innermost, "tuned.npz", b"tuned")

        [origin] = whence(copied(innermost.path / "tuned.npz", tmp_path), runs)

        assert [(parent.path, parent.id) for parent in origin.parents] == [(sub.path, sub.id), (exp.path, exp.id)]
        assert [(parent.event.type, parent.event.step) for parent in origin.parents] == [("file", 7), ("checkpoint", 3)]

    @pytest.mark.parametrize("place", ["squeezed", "deep/inside/it"])
    def test_after_folders_were_moved(self, exp, sub, runs, tmp_path, place):
        """Parents are found by their IDs, wherever below the root they are now."""
        small = copied(sub.path / "small.npz", tmp_path)
        target = tmp_path / "archive" / place
        target.parent.mkdir(parents=True)
        shutil.move(sub.path, target)
        shutil.move(runs / "digits", tmp_path / "archive" / "renamed")

        [origin] = whence(small, tmp_path / "archive")

        assert origin.exp == target
        assert [parent.path for parent in origin.parents] == [tmp_path / "archive" / "renamed"]

    def test_a_parent_that_is_not_there(self, exp, sub, tmp_path):
        """A parent that is not below the root is named by its ID, and by the checkpoint."""
        alone = tmp_path / "alone"
        shutil.move(sub.path, alone / "sub")

        [origin] = whence(alone / "sub" / "small.npz")

        [parent] = origin.parents
        assert (parent.id, parent.path, parent.event, parent.checkpoint["path"]) == (exp.id, None, None, "../../models/1.npz")

    def test_a_checkpoint_that_was_copied(self, exp, runs, tmp_path):
        """A sub-experiment of a bare copy leads to the experiment that made the checkpoint, by the hash."""
        checkpoint = copied(exp.path / "models" / "1.npz", tmp_path)
        with init_sub_exp(checkpoint, "squeeze") as sub:
            publish(sub, "small.npz", b"small")

        [origin] = whence(sub.path / "small.npz", tmp_path)

        assert [(parent.id, parent.event.step) for parent in origin.parents] == [(exp.id, 3)]

    def test_a_circle(self, exp, sub, runs):
        """Metas that name each other are no endless chain."""
        meta = json.loads((sub.path / "meta.json").read_text())
        (sub.path / "meta.json").chmod(0o644)
        (sub.path / "meta.json").write_text(json.dumps({**meta, "parent": {"_mlv": "exp", "id": "x", "checkpoint": {
            "_mlv": "file", "path": "small.npz", "sha256": hashlib.sha256(b"small").hexdigest()}}}))  # fmt: skip
        text = (sub.path / "meta.json").read_text().replace('"id": "x", ', "")
        (sub.path / "meta.json").write_text(text)

        [produced, _] = whence(sub.path / "small.npz")

        assert [parent.path for parent in produced.parents] == [sub.path]


class TestRoot:
    def test_beside_the_experiment(self, exp, sub, runs, monkeypatch, tmp_path):
        """Without a root, one looks beside the outermost experiment around the file; else in `runs`; else here."""
        monkeypatch.chdir(tmp_path / "runs")
        assert default_root(sub.path / "small.npz") == runs
        assert default_root(tmp_path / "x") == Path()

        monkeypatch.chdir(tmp_path)
        assert default_root(tmp_path / "x") == Path("runs")
        assert mlv.whence(copied(exp.path / "models" / "1.npz", tmp_path))[0].exp == Path("runs/digits")


class TestBadInput:
    def test_unknown(self, exp, runs, tmp_path):
        """A file that nobody names comes from nowhere."""
        (tmp_path / "x").write_bytes(b"unknown")

        assert whence(tmp_path / "x", runs) == []

    def test_no_file(self, runs, tmp_path):
        """A file that cannot be read is refused."""
        with pytest.raises(FileUnusable, match=r"nope cannot be read: No such file"):
            whence(tmp_path / "nope", runs)

    def test_no_root(self, data):
        """So is a root that is no folder."""
        with pytest.raises(InvalidArgument, match="is no folder"):
            whence(data, data)

    def test_broken_experiments(self, exp, runs):
        """Lines and metas that cannot be read hide nothing."""
        digest = hashlib.sha256(b"weights").hexdigest()
        (runs / "broken").mkdir()
        (runs / "broken" / "meta.json").write_text(f'{{"{digest}"')
        (runs / "broken" / "log.jsonl").write_text(f'{{"file": "{digest}"\n["{digest}"]\n')

        (runs / "strange").mkdir()
        found = {"_mlv": "file", "path": "x", "sha256": digest}
        (runs / "strange" / "meta.json").write_text(json.dumps({"parent": {"id": [], "checkpoint": found}, "created": 3}))
        (runs / "strange" / "log.jsonl").write_bytes(line("ra", 1, "checkpoint", data=[found]))

        assert [origin.exp.name for origin in whence(exp.path / "models" / "1.npz")] == ["strange", "digits", "strange"]


def test_only_lines_with_the_hash_are_parsed(tmp_path):
    """A line is found wherever it lies between the blocks in which a log is read."""
    lines = [b"x" * (7 * n % 100) + (b"needle" if n % 10 == 0 else b"") + b"\n" for n in range(100)]
    (tmp_path / "log.jsonl").write_bytes(b"".join(lines) + b"half a needle")

    assert list(lines_with(tmp_path / "log.jsonl", b"needle", 64)) == [*lines[::10], b"half a needle"]


@pytest.mark.parametrize("path", ["log.jsonl", ".mlv/claims/log.json", "../elsewhere", "files/../../elsewhere", ".."])
def test_what_no_experiment_produces(tmp_path, path):
    """B5: an event that names what is the store's own, or lies outside, has not produced it."""
    (tmp_path / "elsewhere").write_bytes(b"a secret")
    with Exp(tmp_path / "runs", "exp", capture=()) as exp:
        digest = contents.content_of(tmp_path / "elsewhere").sha256
        exp.log._emit("file", "x", Reference({"_mlv": "file", "path": path, "size": 8, "sha256": digest}), None)

    assert [origin.role for origin in whence(tmp_path / "elsewhere", tmp_path / "runs")] == [USED]
