"""Pointers to files and experiments: what they know, when they hash, and how they stand in JSON."""

from __future__ import annotations

import copy
import hashlib
import os
import pickle
import socket
from datetime import datetime, timezone
from pathlib import Path

import pytest

from mlv import Exp, ExpRef, FileRef, FileUnusable, InvalidArgument, NotAnExperiment, ReferenceBroken
from mlv.encoding import Conversion, Reference
from mlv.store.contents import content_of
from mlv.store.references import all_completed, completed

WEIGHTS = hashlib.sha256(b"weights").hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.npz"
    path.write_bytes(b"weights")
    os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    (path / "inner").mkdir(parents=True)
    (path / "a.csv").write_bytes(b"1,2")
    (path / "inner" / "b.csv").write_bytes(b"3,4,5")
    return path


class TestFileRef:
    def test_what_it_knows(self, file, monkeypatch):
        """Host, absolute path, size, time of the last change, and SHA-256."""
        monkeypatch.chdir(file.parent)

        ref = FileRef("model.npz")

        assert (ref.host, ref.path, ref.size, ref.sha256) == (socket.gethostname(), file, 7, WEIGHTS)
        assert ref.modified == datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=timezone.utc)

    def test_in_json(self, file):
        """It stands in JSON as the format says; its hash is null until somebody needs it."""
        ref = FileRef(file)
        before = dict(ref.__mlv_reference__())
        assert ref.sha256 == WEIGHTS

        assert before == {
            "_mlv": "file",
            "host": socket.gethostname(),
            "path": str(file),
            "size": 7,
            "modified": "2023-11-14T22:13:20.123456Z",
            "sha256": None,
        }
        assert ref.__mlv_reference__() == {**before, "sha256": WEIGHTS}

    def test_a_folder(self, folder):
        """A folder has the size of all its files, the time of the latest, and the SHA-256 of its manifest."""
        os.utime(folder / "inner" / "b.csv", ns=(0, 4_000_000_000_000_000_000))

        ref = FileRef(folder)

        manifest = "".join(
            f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in ("a.csv", "inner/b.csv")
        )
        assert (ref.size, ref.modified.year) == (8, 2096)
        assert ref.sha256 == hashlib.sha256(manifest.encode()).hexdigest()

    def test_is_hashed_once(self, file):
        """The hash is computed when it is first asked for, and stays."""
        ref = FileRef(file)
        first = ref.sha256
        file.unlink()

        assert ref.sha256 == first

    @pytest.mark.parametrize("change", ["content", "time", "removed"])
    def test_changed_before_it_is_hashed(self, file, change):
        """The hash of what is there later would be a wrong one: it is refused."""
        ref = FileRef(file)
        if change == "content":
            file.write_bytes(b"others, longer")
        elif change == "time":
            os.utime(file, ns=(0, 5))
        else:
            file.unlink()

        with pytest.raises(ReferenceBroken, match=r"model\.npz was (changed|gone) before it was hashed: make the"):
            ref.sha256  # noqa: B018

    def test_of_an_experiment(self, tmp_path):
        """A file of an experiment knows which one."""
        with Exp(tmp_path, "digits", capture=()) as exp:
            (exp.path / "model.npz").write_bytes(b"weights")

        ref = FileRef(exp.path / "model.npz")

        assert ref.within == ExpRef(exp)
        assert ref.__mlv_reference__()["within"] == {"_mlv": "exp", "id": exp.id, "path": str(exp.path), "name": "digits"}

    @pytest.mark.parametrize("travel", [copy.copy, copy.deepcopy, lambda ref: pickle.loads(pickle.dumps(ref))])
    def test_is_a_value(self, file, travel):
        """It does not change, is equal to one of the same file as it is, and travels with the hash that it has."""
        ref = FileRef(file)
        assert ref.sha256 == WEIGHTS
        with pytest.raises(AttributeError, match="does not change"):
            ref.size = 3  # type: ignore[misc]
        with pytest.raises(AttributeError, match="does not change"):
            del ref.size
        other = travel(ref)
        file.unlink()

        assert (other, hash(other), other.sha256, repr(other)) == (ref, hash(ref), WEIGHTS, f"FileRef({str(file)!r})")

    def test_nothing_there(self, tmp_path):
        """A file that is not there is refused at once."""
        with pytest.raises(FileUnusable, match=r"no file that can be read at '.*nope': No such file") as caught:
            FileRef(tmp_path / "nope")

        assert isinstance(caught.value, OSError)
        assert caught.value.path == str(tmp_path / "nope")

    def test_neither_file_nor_folder(self, tmp_path):
        """So is a pipe: reading it would never end."""
        os.mkfifo(tmp_path / "pipe")

        with pytest.raises(FileUnusable, match="neither a file nor a folder"):
            FileRef(tmp_path / "pipe")

    @pytest.mark.parametrize("path", [None, 3, {"a": 1}, "a\0b", "a\ud800"])
    def test_no_path(self, path):
        """So is what is no path."""
        with pytest.raises(InvalidArgument, match="path="):
            FileRef(path)


class TestExpRef:
    def test_what_it_knows(self, tmp_path):
        """ID, folder and name, of an Exp as of its folder."""
        with Exp(tmp_path, "digits", capture=()) as exp:
            ref = ExpRef(exp)

        assert (ref.id, ref.path, ref.name) == (exp.id, exp.path, "digits")
        assert ref == ExpRef(exp.path) == pickle.loads(pickle.dumps(ref))
        assert len({ref, ExpRef(str(exp.path))}) == 1
        assert ref.__mlv_reference__() == {"_mlv": "exp", "id": exp.id, "path": str(exp.path), "name": "digits"}

    def test_no_experiment(self, tmp_path):
        """A folder that holds none, and what is no folder, are refused."""
        with pytest.raises(NotAnExperiment, match="holds no experiment"):
            ExpRef(tmp_path)
        with pytest.raises(InvalidArgument, match="exp=3 is of type int"):
            ExpRef(3)


class TestCompleting:
    def test_a_file(self, file):
        """A reference gets the hash of its file."""
        assert completed(FileRef(file).__mlv_reference__())["sha256"] == WEIGHTS

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            (lambda path: path.write_bytes(b"WEIGHTS"), "changed before it was hashed"),
            (lambda path: path.unlink(), "gone before it was hashed"),
        ],
        ids=["changed", "gone"],
    )
    def test_a_problem(self, file, change, problem):
        """A file that is not as it was gets no hash, and a reason instead."""
        reference = FileRef(file).__mlv_reference__()
        change(file)

        assert completed(reference) == {**reference, "sha256": None, "problem": problem}

    def test_changed_while_it_is_read(self, file, monkeypatch):
        """So does one that changes while it is hashed."""

        def content_of_a_growing_file(path: Path) -> object:
            content = content_of(path)
            path.write_bytes(b"weights and more")
            return content

        reference = FileRef(file).__mlv_reference__()
        monkeypatch.setattr("mlv.store.references.content_of", content_of_a_growing_file)

        assert completed(reference)["problem"] == "changed before it was hashed"

    def test_at_any_depth(self, file):
        """Every reference is completed, but a user's own mapping that looks like one is left alone."""
        lookalike = {"_mlv": "file", "path": str(file), "sha256": None}
        found = all_completed({"a": [{"b": Reference(FileRef(file).__mlv_reference__())}], "c": lookalike})

        assert found["a"][0]["b"]["sha256"] == WEIGHTS
        assert found["c"] == lookalike


class TestConversion:
    def test_at_any_depth(self, file):
        """References are known wherever they stand, and the walk says whether one has yet to be hashed."""
        conversion = Conversion()
        found = conversion.value({"data": [1, {"file": FileRef(file)}]})

        assert found["data"][1]["file"]["_mlv"] == "file"
        assert conversion.pending

    def test_nothing_is_pending(self, file):
        """Where the hash is known, or cannot be known any more, nothing is left to do."""
        ref = FileRef(file)
        conversion = Conversion()
        conversion.value([ref.sha256, ref, Reference({**ref.__mlv_reference__(), "sha256": None, "problem": "gone"})])

        assert not conversion.pending

    def test_a_hook_that_fails(self):
        """An object whose reference cannot be made is a problem like any other."""

        class Broken:
            def __mlv_reference__(self) -> object:
                raise RuntimeError("no reference")

        conversion = Conversion()
        conversion.value({"file": Broken()})

        assert conversion.problems == [("file", "raised RuntimeError('no reference') when it was read")]
