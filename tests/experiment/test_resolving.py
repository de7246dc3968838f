"""`exp.resolve`: references give back the file or the experiment, or say what became of it."""

from __future__ import annotations

import copy
import hashlib
import pickle
import shutil
from pathlib import Path

import pytest

from mlv import Exp, ExpRef, FileRef, InvalidArgument, InvalidParams, ParamsConflict, ReferenceBroken, init_sub_exp
from mlv.encoding import Reference
from mlv.store.contents import content_of, reference
from mlv.store.references import portable

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A file outside any experiment."""
    path = tmp_path / "project" / "data" / "train.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"1,2,3")
    return path


@pytest.fixture
def exp(data: Path) -> Exp:
    """A finished experiment with a checkpoint, whose params refer to the file."""
    with Exp(
        data.parents[1] / "runs", "digits", {"data": FileRef(data), "nested": [{"again": FileRef(data)}]}, capture=()
    ) as exp:
        (exp.path / "models").mkdir()
        (exp.path / "models" / "1.npz").write_bytes(b"weights")
    return exp


@pytest.fixture
def checkpoint(exp: Exp) -> Path:
    return exp.path / "models" / "1.npz"


class TestFiles:
    def test_where_it_was(self, exp, data):
        """A file that is as it was is given back, from an object as from what was read."""
        assert exp.resolve(FileRef(data)) == data
        assert exp.resolve(exp.params["data"]) == data
        assert exp.resolve(Exp.open(exp.path).params["nested"][0]["again"]) == data

    def test_an_attachment(self, exp, checkpoint):
        """A path of the experiment is one below its folder, wherever that is now."""
        found = reference(exp.path, checkpoint, content_of(checkpoint))
        shutil.move(exp.path, exp.path.parent / "renamed")
        moved = Exp.open(exp.path.parent / "renamed")

        assert moved.resolve(found) == moved.path / "models" / "1.npz"

    def test_a_folder(self, exp, data):
        """A folder is proven by its manifest."""
        ref = FileRef(data.parent)
        assert (ref.sha256, exp.resolve(ref)) == (content_of(data.parent).sha256, data.parent)

        (data.parent / "more.csv").write_bytes(b"")
        with pytest.raises(ReferenceBroken, match="was changed"):
            exp.resolve(ref)

    def test_a_tree_that_was_moved(self, exp, data, tmp_path):
        """A file that was moved together with the experiment is found at the same place around it."""
        shutil.move(tmp_path / "project", tmp_path / "elsewhere")
        moved = Exp.open(tmp_path / "elsewhere" / "runs" / "digits")

        assert moved.resolve(moved.params["data"]) == tmp_path / "elsewhere" / "data" / "train.csv"

    def test_a_file_of_another_experiment(self, exp, checkpoint, tmp_path):
        """A file of an experiment is found in that experiment, though its folder be renamed."""
        with Exp(exp.path.parent, "second", {"start": FileRef(checkpoint)}, capture=()) as second:
            pass
        shutil.move(exp.path, exp.path.with_name("first"))

        assert second.resolve(second.params["start"]) == exp.path.with_name("first") / "models" / "1.npz"

    def test_the_checkpoint_it_began_from(self, exp, checkpoint, tmp_path):
        """So is the checkpoint of a sub-experiment in a tree that was moved."""
        with init_sub_exp(checkpoint, "squeeze"):
            pass
        shutil.move(exp.path, tmp_path / "moved")
        [sub] = Exp.open(tmp_path / "moved").sub_exps

        assert sub.resolve(sub.meta["parent"]["checkpoint"]) == tmp_path / "moved" / "models" / "1.npz"
        assert sub.resolve(sub.meta["parent"]).path == tmp_path / "moved"

    def test_a_checkpoint_of_a_tree_that_was_moved(self, tmp_path):
        """A checkpoint that a script still holds is found again after the experiment was moved."""
        with Exp(tmp_path / "runs", "exp", capture=()) as exp:
            best = exp.checkpoints().save(lambda path: Path(path).write_text("weights"))
        shutil.move(exp.path, tmp_path / "moved")

        assert Exp.open(tmp_path / "moved").resolve(best) == tmp_path / "moved" / "models" / "latest" / "000001"

    def test_another_place_of_the_same_content(self, exp, checkpoint):
        """A checkpoint that was let go in one place is found in the others that the log names."""
        (exp.path / "best").mkdir()
        file = reference(exp.path, checkpoint, content_of(checkpoint))
        places = ["models/1.npz", "best/1.npz"]
        with Exp.open(exp.path) as again:
            saved = {"action": "saved", "save": 1, "folder": "models", "file": file, "places": places}
            again.log._emit("checkpoint", "", saved, 1)
        checkpoint.rename(exp.path / "best" / "1.npz")

        assert again.resolve(file) == exp.path / "best" / "1.npz"


class TestBroken:
    def test_changed(self, exp, data):
        """A file that was changed is told with both hashes."""
        data.write_bytes(b"3,2,1")

        with pytest.raises(ReferenceBroken) as caught:
            exp.resolve(exp.params["data"])

        recorded, actual = (hashlib.sha256(content).hexdigest() for content in (b"1,2,3", b"3,2,1"))
        assert str(caught.value).startswith(
            f"{data} was changed: its SHA-256 is {actual}, and {recorded} was recorded. Restore"
        )
        assert (caught.value.sha256, caught.value.actual, caught.value.path) == (recorded, actual, str(data))

    def test_gone(self, exp, data):
        """A file that is gone is told with the places that were looked at."""
        data.unlink()

        with pytest.raises(ReferenceBroken, match=f"{data} is gone: it is neither at {data} nor around there") as caught:
            exp.resolve(exp.params["data"])

        assert isinstance(caught.value, FileNotFoundError)
        assert caught.value.places == [str(data)]

    @pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_bytes(b"")], ids=["gone", "changed"])
    def test_on_another_host(self, exp, data, change):
        """Where it was recorded on another machine, the text names that one."""
        change(data)

        with pytest.raises(ReferenceBroken, match="on the host gpu7, and this is ") as caught:
            exp.resolve({**exp.params["data"], "host": "gpu7"})

        assert caught.value.host == "gpu7"

    def test_never_hashed(self, exp, data):
        """A file whose hash could not be computed cannot be proven."""
        found = {**exp.params["data"], "sha256": None, "problem": "changed before it was hashed"}

        with pytest.raises(ReferenceBroken, match="changed before it was hashed, so its hash is not known"):
            exp.resolve(found)

    def test_changed_before_it_was_hashed(self, exp, data):
        """So is one that changed since the reference to it was made."""
        ref = FileRef(data)
        data.write_bytes(b"others")

        with pytest.raises(ReferenceBroken, match="changed before it was hashed"):
            exp.resolve(ref)

    @pytest.mark.parametrize("ref", [None, "model.npz", {}, {"_mlv": "int", "value": "3"}, {"_mlv": "file"}, {"path": "x"}])
    def test_no_reference(self, exp, ref):
        """What is no reference is refused."""
        with pytest.raises(InvalidArgument, match="is no reference: give a FileRef"):
            exp.resolve(ref)


class TestExps:
    @pytest.fixture
    def other(self, exp: Exp) -> Exp:
        """An experiment beside it."""
        with Exp(exp.path.parent, "other", {"teacher": exp, "ref": ExpRef(exp)}, capture=()) as other:
            pass
        return other

    def test_where_it_was(self, exp, other):
        """An experiment is opened, from an object as from what was read."""
        assert other.resolve(ExpRef(exp)) == exp
        assert other.resolve(exp) == exp
        assert other.resolve(Exp.open(other.path).params["teacher"]) == exp

    @pytest.mark.parametrize("place", ["renamed", "other/teachers/1", "far/away/digits"])
    def test_moved(self, exp, other, place):
        """It is found by its ID beside, below and around the experiment that refers to it."""
        target = exp.path.parent / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(exp.path, target)
        if place.startswith("far"):
            with pytest.raises(ReferenceBroken, match=f"the experiment {exp.id} is neither at {exp.path} nor around"):
                other.resolve(other.params["ref"])
        else:
            assert other.resolve(other.params["ref"]).path == target

    def test_another_one_at_its_place(self, exp, other):
        """One of another ID is not taken for it."""
        shutil.rmtree(exp.path)
        with Exp(exp.path.parent, "digits", {"another": 1}, capture=()):
            pass

        with pytest.raises(ReferenceBroken):
            other.resolve(other.params["ref"])


class TestLogging:
    def test_in_events(self, exp, data):
        """References are stored wherever they stand in an event's data."""
        with Exp.open(exp.path) as again:
            again.log("trained", {"exp": exp, "refs": [ExpRef(exp)], "_mlv": "exp"})
            [event] = again.events("event")

        assert event.data == {"exp": ExpRef(exp).__mlv_reference__(), "refs": [ExpRef(exp).__mlv_reference__()], "_mlv": "exp"}
        assert isinstance(event.data["exp"], Reference)
        assert again.resolve(event.data["refs"][0]) == exp


class TestParams:
    def test_stay_references(self, exp, data, tmp_path):
        """Params that were read can be given to another experiment: references in them are still references."""
        with Exp(tmp_path, "next", Exp.open(exp.path).params, capture=()) as following:
            assert following.params == exp.params
            assert following.resolve(following.params["nested"][0]["again"]) == data

        assert (following.path / "meta.json").read_text().count('"_mlv": "file"') == 2

    @pytest.mark.parametrize("travel", [copy.copy, copy.deepcopy, lambda params: pickle.loads(pickle.dumps(params))])
    def test_travel(self, exp, travel, tmp_path):
        """So they are in copies of params, and in other processes; like all params they do not change."""
        with pytest.raises(TypeError, match="read-only"):
            exp.params["data"]["path"] = "x"
        with Exp(tmp_path, "next", travel(exp.params), capture=()) as following:
            assert following.params == exp.params
            assert following.params_id == exp.params_id

    def test_added(self, exp, data):
        """They can be added later."""
        with Exp.open(exp.path) as again:
            again.add_params({"more": FileRef(data)})
            again.add_params({"more": FileRef(data)})

        assert Exp.open(exp.path).params["more"] == exp.params["data"]

    def test_equal_by_content(self, exp, data):
        """The same content in another place is the same param; another content is a conflict."""
        twin = data.with_name("twin.csv")
        shutil.copyfile(data, twin)
        with Exp(exp.path.parent, "digits", {"data": FileRef(twin)}, on_exists="open", capture=()) as again:
            assert again.path == exp.path

        twin.write_bytes(b"others")
        with pytest.raises(ParamsConflict, match=r"params\.data is"):
            Exp(exp.path.parent, "digits", {"data": FileRef(twin)}, on_exists="open", capture=())

    def test_changed_since(self, data, tmp_path):
        """A file that changed between the reference and the experiment is refused: the params would not be true."""
        ref = FileRef(data)
        data.write_bytes(b"others")

        with pytest.raises(
            InvalidParams, match=r"params\.a\[0\] refers to .*train\.csv, which was changed before it was hashed"
        ):
            Exp(tmp_path, "never", {"a": [ref]}, capture=())


def test_what_has_a_reference(exp, checkpoint):
    """An object that gives a reference, as checkpoints do, can stand in another experiment, and is found when both moved."""

    class Checkpoint:
        def __mlv_reference__(self) -> Reference:
            return portable(exp.path, reference(exp.path, checkpoint, content_of(checkpoint)))

    with Exp(exp.path.parent, "next", {"start": Checkpoint()}, capture=()) as following:
        assert following.resolve(Checkpoint()) == checkpoint
    moved = exp.path.parents[1] / "moved"
    exp.path.parent.rename(moved)

    assert Exp.open(moved / "next").resolve(following.params["start"]) == moved / "digits" / "models" / "1.npz"


@pytest.mark.parametrize("path", ["files/a.bin", "files/in/a.bin"])
def test_links_in_the_experiment(tmp_path, path):
    """B5: a reference to a file of the experiment is not resolved to what a symbolic link in it leads to."""
    exp = Exp(tmp_path / "runs", "exp", capture=())
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.bin").write_bytes(b"a secret")
    (exp.path / "files").mkdir()
    if path.count("/") == 1:
        (exp.path / path).symlink_to(tmp_path / "elsewhere" / "a.bin")
    else:
        (exp.path / "files" / "in").symlink_to(tmp_path / "elsewhere")
    reference = {"_mlv": "file", "path": path, "size": 8, "sha256": hashlib.sha256(b"a secret").hexdigest()}

    with pytest.raises(ReferenceBroken):
        exp.resolve(reference)
    exp.close()


def test_a_folder_as_large_as_the_disk(tmp_path):
    """B5: a reference to a folder that holds more than was recorded is not read to find that out."""
    from mlv.store.references import holds

    assert not holds(Path("/"), {"size": 1000, "sha256": "0" * 64})
