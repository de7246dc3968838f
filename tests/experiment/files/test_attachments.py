"""Files of an experiment appear whole, with an event that vouches for them, or not at all."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from logs import of_type, read

import mlv
from mlv import Exp, MlvWarning
from mlv.audit.verify import verify
from mlv.errors import FileExists, FileUnusable, InvalidArgument, InvalidName, InvalidStep
from mlv.store import blobs, contents, copying
from mlv.store.blobs import TEMPORARY
from mlv.store.contents import content_of, files_in

pytestmark = pytest.mark.usefixtures("inline")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def file_lines(exp: Exp) -> list[dict]:
    """The lines of type `file`."""
    assert exp.flush()
    return of_type(read(exp.path), "file")


def files(exp: Exp) -> list[str]:
    """All that lies below `files`, temporaries included."""
    return files_in(exp.path / "files") if (exp.path / "files").exists() else []


def assert_vouched_for(exp: Exp) -> None:
    """The latest event of each file tells what is in it."""
    latest = {event.data["path"]: event for event in exp.events("file")}
    for path, event in latest.items():
        content = content_of(exp.path / path)
        assert (event.data["sha256"], event.data["size"]) == (content.sha256, content.size), f"{path}, event {event.seq}"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file of the user."""
    path = tmp_path / "data.csv"
    path.write_text("a,b\n1,2\n")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of the user."""
    path = tmp_path / "data"
    (path / "sub").mkdir(parents=True)
    (path / "b.txt").write_text("b")
    (path / "sub" / "a.txt").write_text("a")
    return path


@pytest.fixture
def permissions(tmp_path: Path) -> None:
    """See that permissions count here."""
    (tmp_path / "closed").touch(0)
    if os.access(tmp_path / "closed", os.R_OK):
        pytest.skip("root may read and remove everything")


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class TestFile:
    def test_file(self, exp):
        """A file appears at the end of the block, read-only, and its event says what it holds."""
        with exp.file("model.bin", "wb", step=3) as file:
            file.write(b"content")
            assert not (exp.path / "files" / "model.bin").exists()

        path = exp.path / "files" / "model.bin"
        assert path.read_bytes() == b"content"
        assert path.stat().st_mode & 0o222 == 0
        [line] = file_lines(exp)
        assert (line["name"], line["step"]) == ("model.bin", 3)
        assert line["data"] == {
            "_mlv": "file", "path": "files/model.bin", "size": 7, "sha256": sha256(b"content"),
            "media_type": "application/octet-stream",
        }  # fmt: skip

    def test_in_a_folder(self, exp):
        """Folders are made."""
        with exp.file(Path("tables") / "final.csv", "w") as file:
            file.write("a\n")

        assert files(exp) == ["tables/final.csv"]
        assert file_lines(exp)[0]["name"] == "tables/final.csv"

    @pytest.mark.parametrize("mode", ["w", "wt", "x", "w+", "+w", "x+t"])
    def test_text(self, exp, mode):
        """Text is UTF-8, whatever the machine prefers."""
        with exp.file("a.txt", mode, newline="\r\n") as file:
            file.write("ä\n")

        assert (exp.path / "files" / "a.txt").read_bytes() == "ä\r\n".encode()

    def test_encoding(self, exp):
        """Another encoding can be asked for."""
        with exp.file("a.txt", "w", encoding="latin-1") as file:
            file.write("ä")

        assert (exp.path / "files" / "a.txt").read_bytes() == b"\xe4"

    @pytest.mark.parametrize("mode", ["wb+", "w+b", "bx+"])
    def test_what_was_written_can_be_read(self, exp, mode):
        """With + the file is read and written anywhere."""
        with exp.file("a", mode) as file:
            file.write(b"abc")
            file.seek(1)
            assert file.read(1) == b"b"
            file.write(b"C")

        assert (exp.path / "files" / "a").read_bytes() == b"abC"

    def test_closed_in_the_block(self, exp):
        """A file that the block closed is published as well."""
        with exp.file("a", "w") as file:
            file.write("a")
            file.close()

        assert files(exp) == ["a"]

    @pytest.mark.parametrize("before", [None, b"old"])
    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError(errno.ENOENT, "theirs")])
    def test_exception(self, exp, before, error):
        """After an exception there is what was there before, no event, and nothing beside; the exception is the block's."""
        if before is not None:
            with exp.file("a", "wb") as file:
                file.write(before)
        events = len(file_lines(exp))

        def fail():
            with exp.file("a", "wb") as file:
                file.write(b"half")
                raise error

        with pytest.raises(error if isinstance(error, type) else type(error)) as caught:
            fail()

        assert not isinstance(caught.value, FileUnusable)
        assert files(exp) == ([] if before is None else ["a"])
        assert before is None or (exp.path / "files" / "a").read_bytes() == before
        assert len(file_lines(exp)) == events

    def test_again(self, exp):
        """A name that is published again holds the new content; both events stay."""
        for content in (b"one", b"two"):
            with exp.file("a", "wb") as file:
                file.write(content)

        assert (exp.path / "files" / "a").read_bytes() == b"two"
        assert [line["data"]["sha256"] for line in file_lines(exp)] == [sha256(b"one"), sha256(b"two")]

    @pytest.mark.usefixtures("ring")
    def test_readers_see_the_old_or_the_new_one(self, exp):
        """Whoever reads while a name is published again finds one of both contents, whole."""
        path = exp.path / "files" / "a"
        seen, stop = set(), threading.Event()

        def look():
            while not stop.is_set():
                seen.add(path.read_bytes())

        for number in range(50):
            with exp.file("a", "wb") as file:
                file.write(b"%d" % (number % 2) * 100_000)
            if number == 0:
                thread = threading.Thread(target=look)
                thread.start()
        stop.set()
        thread.join()

        assert seen <= {b"0" * 100_000, b"1" * 100_000}

    def test_new_only(self, exp):
        """Mode x refuses a name that is taken, as `open` does."""
        with exp.file("a", "x") as file:
            file.write("one")

        with pytest.raises(FileExistsError, match="'a' is published already"):
            exp.file("a", "xb")

        assert (exp.path / "files" / "a").read_text() == "one"

    @pytest.mark.usefixtures("ring")
    def test_new_only_of_two_at_once(self, exp):
        """Of two that were begun only one is published."""
        late = exp.file("a", "x")
        late.__enter__().write("late")
        with exp.file("a", "x") as file:
            file.write("first")

        with pytest.raises(FileExists):
            late.__exit__(None, None, None)

        assert (exp.path / "files" / "a").read_text() == "first"
        assert files(exp) == ["a"]
        assert len(file_lines(exp)) == 1

    @pytest.mark.parametrize(
        ("mode", "hint"),
        [("a", "nothing is appended"), ("ab", "nothing is appended"), ("r", "is read with open"), ("r+b", "is read with open"),
         ("", "one of w, wb"), ("wx", "one of"), ("wbt", "one of"), ("ww", "one of"), (None, "one of"), ("U", "one of")],
    )  # fmt: skip
    def test_other_modes(self, exp, mode, hint):
        """Other modes are refused, with the known ones; appending is explained."""
        with pytest.raises(InvalidArgument, match=hint):
            exp.file("a", mode)

    @pytest.mark.parametrize(
        "options", [{"mode": "wb", "encoding": "utf-8"}, {"mode": "w", "encoding": "no"}, {"mode": "w", "newline": "x"}]
    )
    def test_options_that_do_not_fit(self, exp, options):
        """What `open` refuses is refused, and nothing is left."""
        with pytest.raises(InvalidArgument, match="encoding="), exp.file("a", **options):
            pass

        assert files(exp) == []

    def test_step(self, exp):
        """A step that is none is refused before anything is written."""
        with pytest.raises(InvalidStep):
            exp.file("a", "w", step="3")

    @pytest.mark.parametrize("use", [open, os.fspath, lambda block: block.write("x")])
    @pytest.mark.parametrize("call", [lambda exp: exp.file("a", "w"), lambda exp: exp.filepath("a")])
    def test_without_a_block(self, exp, call, use):
        """What is used without `with` says how it is used."""
        with pytest.raises((InvalidArgument, AttributeError), match=r"is for a with block.*: with exp\.file"):
            use(call(exp))

    def test_after_the_end(self, exp, source):
        """A run that has ended publishes nothing that the log could not vouch for."""
        exp.close()

        for call in (lambda: exp.file("a", "w"), lambda: exp.filepath("a"), lambda: exp.attach(source)):
            with pytest.raises(FileUnusable, match=r"has ended\. Do it before close"):
                call()

        assert files(exp) == []

    def test_with_a_writer(self, ring, exp):
        """It is the same where a writer process writes the events."""
        with exp.file("a", "w") as file:
            file.write("a")

        assert_vouched_for(exp)


class TestFilepath:
    def test_file(self, exp):
        """A library that wants a path gets one with the suffix, in a folder of its own."""
        with exp.filepath("weights.pt", step=2) as path:
            assert path.name == "weights.pt"
            assert os.listdir(path.parent) == []
            path.write_bytes(b"weights")

        assert files(exp) == ["weights.pt"]
        [line] = file_lines(exp)
        assert (line["name"], line["step"], line["data"]["media_type"]) == ("weights.pt", 2, "application/x-pytorch")
        assert_vouched_for(exp)

    def test_folder(self, exp):
        """A library may make a folder; its event has the hash of the manifest."""
        for text in ("one", "two"):
            with exp.filepath("saved_model") as path:
                (path / "variables").mkdir(parents=True)
                (path / "variables" / "index").write_text(text)

        assert files(exp) == ["saved_model/variables/index"]
        [_, line] = file_lines(exp)
        assert (line["data"]["path"], line["data"]["size"]) == ("files/saved_model", 3)
        assert line["data"]["media_type"] == "inode/directory"
        assert_vouched_for(exp)

    def test_numpy_adds_a_suffix(self, exp):
        """A suffix that the library added is that of the file; the event keeps the name that was given."""
        np = pytest.importorskip("numpy")

        with exp.filepath("sub/arrays") as path:
            np.savez(path, w=np.ones(2))

        assert files(exp) == ["sub/arrays.npz"]
        [line] = file_lines(exp)
        assert (line["name"], line["data"]["path"]) == ("sub/arrays", "files/sub/arrays.npz")

    def test_another_suffix(self, exp):
        """A library may replace the suffix."""
        with exp.filepath("model.ckpt") as path:
            path.with_suffix(".h5").write_text("a")

        assert files(exp) == ["model.h5"]

    def test_nothing_written(self, exp):
        """Nothing is published where nothing was written, and it is said."""
        with pytest.raises(FileUnusable, match="nothing was written to the path"), exp.filepath("a"):
            pass

        assert files(exp) == []
        assert file_lines(exp) == []

    @pytest.mark.parametrize("others", [["a", "b"], ["b"], ["a.index", "a.data"]])
    def test_something_else_written(self, exp, others):
        """What is not the path that was given is not guessed at."""
        block = exp.filepath("a")
        path = block.__enter__()
        for name in others:
            path.with_name(name).write_text(name)

        with pytest.raises(FileUnusable, match=r"beside the path .* make a folder"):
            block.__exit__(None, None, None)

        assert files(exp) == []

    def test_exception(self, exp):
        """After an exception nothing is left."""

        def fail():
            with exp.filepath("a") as path:
                path.mkdir()
                (path / "b").write_text("half")
                raise ValueError("theirs")

        with pytest.raises(ValueError, match="theirs"):
            fail()

        assert os.listdir(exp.path / "files") == []

    def test_symbolic_links(self, exp, source):
        """A link that the library made becomes what it points at."""
        with exp.filepath("a.csv") as path:
            path.symlink_to(source)
        with exp.filepath("folder") as path:
            path.mkdir()
            (path / "b.csv").symlink_to(source)

        assert not (exp.path / "files" / "a.csv").is_symlink()
        assert (exp.path / "files" / "folder" / "b.csv").read_text() == source.read_text()
        assert_vouched_for(exp)
        assert files(exp) == ["a.csv", "folder/b.csv"]

    def test_read_only_folder(self, exp):
        """A folder that a library made read-only is published, and later superseded, all the same."""
        for text in ("first", "second"):
            with exp.filepath("saved_model") as path:
                path.mkdir()
                (path / "weights").write_text(text)
                path.chmod(0o555)

        assert (exp.path / "files" / "saved_model").stat().st_mode & 0o700 == 0o700
        assert files(exp) == ["saved_model/weights"]
        assert_vouched_for(exp)


class TestAttach:
    @pytest.mark.parametrize("how", ["copy", "link", "move"])
    def test_file(self, exp, source, how):
        """A file is an attachment then, with its event."""
        content = source.read_bytes()

        path = exp.attach(source, how=how, step=1)

        assert path == exp.path / "files" / "data.csv"
        assert path.read_bytes() == content
        assert source.exists() == (how != "move")
        [line] = file_lines(exp)
        assert (line["name"], line["step"]) == ("data.csv", 1)
        assert line["data"] == {
            "_mlv": "file", "path": "files/data.csv", "size": 8, "sha256": sha256(content), "media_type": "text/csv",
        }  # fmt: skip

    @pytest.mark.parametrize("how", ["copy", "link", "move"])
    def test_folder(self, exp, folder, how):
        """A folder is attached with all that is in it."""
        content = content_of(folder)

        path = exp.attach(folder, "inputs/v1", how=how)

        assert content_of(path) == content
        assert folder.exists() == (how != "move")
        assert files(exp) == ["inputs/v1/b.txt", "inputs/v1/sub/a.txt"]
        [line] = file_lines(exp)
        assert (line["name"], line["data"]["sha256"], line["data"]["size"]) == ("inputs/v1", content.sha256, 2)

    def test_copy_is_on_its_own(self, exp, source):
        """A copy does not change with the file, and is read-only."""
        path = exp.attach(source)
        source.write_text("later")

        assert path.read_text() != "later"
        assert path.stat().st_mode & 0o222 == 0
        assert_vouched_for(exp)

    def test_link_is_no_copy(self, exp, source):
        """A link takes no space, and the user's file keeps its mode."""
        mode = source.stat().st_mode

        path = exp.attach(source, how="link")

        if not path.samefile(source):
            pytest.skip("this file system shares blocks")
        assert source.stat().st_mode == mode

    def test_link_where_there_are_none(self, exp, source, folder, monkeypatch):
        """Where a link is impossible it is a copy, and one warning says so."""
        monkeypatch.setattr(blobs.os, "link", full)
        monkeypatch.setattr("fcntl.ioctl", full)

        with pytest.warns(MlvWarning, match="is copied, not linked") as warned:
            [exp.attach(path, how="link") for path in (source, folder)]

        assert len(warned) == 1
        assert_vouched_for(exp)

    def test_move_is_no_copy(self, exp, source):
        """The file is moved, and read-only then."""
        inode = source.stat().st_ino

        path = exp.attach(source, how="move")

        assert path.stat().st_ino == inode
        assert path.stat().st_mode & 0o222 == 0

    def test_move_from_another_disk(self, exp, source, monkeypatch):
        """From another file system it is a copy, and the file goes when that is there."""
        replace = os.replace

        def elsewhere(a, b):
            if Path(a) == source:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            replace(a, b)

        monkeypatch.setattr(blobs.os, "replace", elsewhere)

        path = exp.attach(source, how="move")

        assert path.read_text() == "a,b\n1,2\n"
        assert not source.exists()

    def test_move_really_from_another_disk(self, exp, elsewhere):
        """The same with two real file systems."""
        (elsewhere / "folder").mkdir()
        (elsewhere / "folder" / "a").write_text("a")
        (elsewhere / "b").write_text("b")

        exp.attach(elsewhere / "folder", how="move")
        exp.attach(elsewhere / "b", how="move")

        assert files(exp) == ["b", "folder/a"]
        assert not (elsewhere / "folder").exists()
        assert not (elsewhere / "b").exists()

    @pytest.fixture
    def elsewhere(self, exp, spool):
        """A folder on another file system than that of the experiment: on the disk, or in memory."""
        with tempfile.TemporaryDirectory() as temporary:
            folders = [each for each in (Path(temporary), spool) if each.stat().st_dev != exp.path.stat().st_dev]
            yield folders[0] if folders else pytest.skip("needs a second file system")

    def test_move_from_where_nothing_may_be_removed(self, exp, folder, permissions):
        """What cannot be removed is copied, with a warning."""
        folder.chmod(0o555)

        with pytest.warns(MlvWarning, match="could not be removed"):
            exp.attach(folder / "b.txt", how="move")
        folder.chmod(0o755)

        assert (folder / "b.txt").exists()

    @pytest.mark.parametrize("is_known", [True, False])
    def test_move_while_a_new_one_is_made(self, exp, source, monkeypatch, is_known):
        """A file that was made anew under the name in the meantime is not taken for the one that was moved."""
        if is_known:
            exp.attach(source, "known")
        move = blobs.move_into_place

        def moved(temporary, path, **options):
            move(temporary, path, **options)
            source.with_name("next").write_text("next")
            source.with_name("next").replace(source)

        monkeypatch.setattr(blobs, "move_into_place", moved)

        exp.attach(source, how="move")

        assert source.read_text() == "next"

    def test_move_of_links(self, exp, folder, source):
        """What links point at is copied, and stays where it is."""
        (folder / "link.csv").symlink_to(source)

        path = exp.attach(folder, how="move")

        assert not folder.exists()
        assert source.exists()
        assert not (path / "link.csv").is_symlink()

    @pytest.mark.parametrize("how", ["copy", "link", "move"])
    @pytest.mark.parametrize("kind", ["source", "folder"])
    def test_equal_content_is_stored_once(self, exp, request, kind, how):
        """A content that is there already is not stored again, under whatever name."""
        given = request.getfixturevalue(kind)
        first = exp.attach(given, "one")
        second = exp.attach(given, "two", how=how)

        names = files_in(first) if first.is_dir() else [""]
        assert all(os.path.samefile(first / name, second / name) for name in names)
        assert given.exists() == (how != "move")
        assert len(file_lines(exp)) == 2
        assert_vouched_for(exp)

    @pytest.mark.parametrize("how", ["copy", "link", "move"])
    def test_the_same_again(self, exp, source, how):
        """The same content under the same name leaves the file alone; that it was attached again is an event."""
        inode = exp.attach(source).stat().st_ino

        assert exp.attach(source, how=how).stat().st_ino == inode

        assert len(file_lines(exp)) == 2
        assert source.exists() == (how != "move")

    def test_an_edited_attachment_is_no_twin(self, exp, source):
        """Equal content is found only where it still is."""
        first = exp.attach(source, "one")
        first.chmod(0o644)
        first.write_text("edited!\n")
        first.chmod(0o444)

        second = exp.attach(source, "two")
        again = exp.attach(source, "one")

        assert second.read_text() == again.read_text() == source.read_text()

    def test_what_the_user_may_write_is_no_twin(self, exp, source):
        """Nothing that was copied changes with the user's own file, of which another attachment is a link."""
        exp.attach(source, "linked", how="link")
        copied = exp.attach(source, "copied")

        source.write_text("later!!\n")

        assert copied.read_text() == "a,b\n1,2\n"

    def test_a_file_and_a_folder_are_never_equal(self, exp, folder, tmp_path):
        """A file that holds the manifest of a folder has its hash, and is something else."""
        exp.attach(folder, "folder")
        lines = [f"{content_of(folder / name).sha256}  {name}\n" for name in files_in(folder)]
        (tmp_path / "manifest").write_text("".join(lines))

        path = exp.attach(tmp_path / "manifest")

        assert path.is_file()
        assert content_of(path).sha256 == content_of(exp.path / "files" / "folder").sha256

    def test_continued(self, exp, source):
        """A later run knows what the earlier ones attached."""
        first = exp.attach(source, "one")
        exp.close()

        with Exp.open(exp.path) as again:
            second = again.attach(source, "two")

        assert os.path.samefile(first, second)

    def test_continued_after_an_edit(self, exp, source):
        """A later run looks at the content before it believes the log."""
        first = exp.attach(source, "one")
        exp.close()
        first.chmod(0o644)
        first.write_text("edited!\n")
        first.chmod(0o444)

        with Exp.open(exp.path) as again:
            assert again.attach(source, "two").read_text() == "a,b\n1,2\n"

    @pytest.mark.parametrize(("before", "after"), [("source", "folder"), ("folder", "source")])
    def test_another_kind_under_the_name(self, exp, request, before, after):
        """A folder supersedes a file, and a file a folder."""
        exp.attach(request.getfixturevalue(before), "a")
        exp.attach(request.getfixturevalue(after), "a")

        assert content_of(exp.path / "files" / "a") == content_of(request.getfixturevalue(after))
        assert os.listdir(exp.path / "files") == ["a"]

    def test_relative_and_home(self, exp, source, monkeypatch):
        """A path is relative to the current folder, and ~ is the home folder."""
        monkeypatch.chdir(source.parent)
        monkeypatch.setenv("HOME", str(source.parent))

        assert exp.attach("data.csv") == exp.attach("~/data.csv")

    def test_inside_the_experiment(self, exp):
        """A file that a script wrote into the folder of the experiment itself can be attached."""
        (exp.path / "model.bin").write_bytes(b"model")

        assert exp.attach(exp.path / "model.bin", how="move").read_bytes() == b"model"

    def test_an_experiment_as_a_file(self, exp, tmp_path):
        """An attached experiment is no experiment of the tree."""
        with Exp(tmp_path / "other", "other", capture=()):
            pass

        exp.attach(tmp_path / "other")

        assert exp.sub_exps == []


class TestRefused:
    @pytest.mark.parametrize("name", ["", "../x", "/etc/x", "a/../../x", ".tmp-x", "a\0", 3])
    def test_names(self, exp, source, name):
        """A name that leads out of the folder is refused, by each call."""
        for call in (lambda: exp.file(name, "w"), lambda: exp.filepath(name), lambda: exp.attach(source, name)):
            with pytest.raises(InvalidName):
                call()

        assert not (exp.path / "files").exists()

    @pytest.mark.parametrize("link", ["files", "files/sub"])
    def test_links_out(self, exp, source, tmp_path, link):
        """A symbolic link out of the experiment is not written through."""
        (tmp_path / "outside").mkdir()
        (exp.path / link).parent.mkdir(exist_ok=True)
        (exp.path / link).symlink_to(tmp_path / "outside")

        with pytest.raises(InvalidName, match="through a symbolic link"):
            exp.attach(source, "sub/x")

        assert os.listdir(tmp_path / "outside") == []

    @pytest.mark.parametrize("how", ["reflink", "", None, "COPY"])
    def test_how(self, exp, source, how):
        """Another way is refused, with the known ones."""
        with pytest.raises(InvalidArgument, match="give 'copy', 'link' or 'move'"):
            exp.attach(source, how=how)

    @pytest.mark.parametrize("how", ["copy", "link", "move"])
    def test_what_is_not_there(self, exp, tmp_path, how):
        """A file that is not there is named, and nothing is published."""
        with pytest.raises(FileUnusable, match=r"nope' cannot be attached as 'nope': No such file") as caught:
            exp.attach(tmp_path / "nope", how=how)

        assert caught.value.errno == errno.ENOENT
        assert files(exp) == []

    @pytest.mark.parametrize("how", ["copy", "link", "move"])
    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
    def test_a_pipe(self, exp, folder, how):
        """What is no file and no folder is refused, at once; a folder that holds one stays where it is."""
        os.mkfifo(folder / "pipe")

        for path in (folder / "pipe", folder):
            with pytest.raises(FileUnusable, match="is no regular file"):
                exp.attach(path, how=how)

        assert files_in(folder) == ["b.txt", "pipe", "sub/a.txt"]
        assert files(exp) == []

    @pytest.mark.parametrize("how", ["copy", "link", "move"])
    @pytest.mark.parametrize("part", ["b.txt", "sub"])
    def test_what_may_not_be_read(self, exp, folder, permissions, how, part):
        """A file or folder without permission is named, and nothing is published."""
        (folder / part).chmod(0)
        try:
            with pytest.raises(FileUnusable, match=rf"Permission denied .*{part}"):
                exp.attach(folder, how=how)
        finally:
            (folder / part).chmod(0o700)

        assert files(exp) == []

    @pytest.mark.parametrize("how", ["copy", "link", "move"])
    def test_a_file_that_changes(self, exp, source, monkeypatch, how):
        """A file that is being written is refused; what is attached already stays."""
        exp.attach(source)
        source.write_text("changing")
        refuse_changed = contents.refuse_changed

        def changed(path, before, after, size):
            refuse_changed(path, before, os.stat_result([*after[:8], after[8] + 1, after[9]]), size)

        for module in (contents, copying):
            monkeypatch.setattr(module, "refuse_changed", changed)

        with pytest.raises(FileUnusable, match="changed while it was read"):
            exp.attach(source, how=how)

        assert (exp.path / "files" / "data.csv").read_text() == "a,b\n1,2\n"
        assert files(exp) == ["data.csv"]
        assert source.exists()

    @pytest.mark.parametrize("how", ["copy", "link", "move"])
    def test_the_experiment_itself(self, exp, how):
        """A folder that holds the experiment is not copied into it."""
        for path in (exp.path, exp.path.parent):
            with pytest.raises(InvalidArgument, match="holds the experiment"):
                exp.attach(path, "x", how=how)

    @pytest.mark.parametrize("path", ["log.jsonl", "meta.json", "files/a", "files"])
    def test_moving_what_is_its_own(self, exp, path):
        """An experiment loses nothing of its own to an attachment."""
        with exp.file("a", "w"):
            pass
        exp.flush()

        with pytest.raises(InvalidArgument, match="stays there: attach it with how='copy'"):
            exp.attach(exp.path / path, "x", how="move")

    def test_a_file_where_a_folder_should_be(self, exp, source):
        """A name below one that is a file is refused, and the file stays."""
        exp.attach(source, "a")

        with pytest.raises(FileUnusable, match=r"'a/b' is not published in .*: 'a' is a file of its own"):
            exp.attach(source, "a/b")

        assert files(exp) == ["a"]

    @pytest.mark.parametrize("kind", ["file", "folder", "written", "path"])
    def test_separate_attachments_in_the_way(self, exp, source, tmp_path, kind):
        """A name below which other attachments lie is refused with both names, also in a later run, and nothing is lost."""
        exp.attach(source, "sub/a")
        exp.attach(source, "sub/inner/b")
        exp.close()
        exp = Exp.open(exp.path)
        (tmp_path / "d").mkdir()
        (tmp_path / "d" / "x").write_text("x")

        def write() -> None:
            if kind == "written":
                with exp.file("sub", "w"):
                    pass
            elif kind == "path":
                with exp.filepath("sub") as path:
                    path.write_text("x")
            else:
                exp.attach(source if kind == "file" else tmp_path / "d", "sub", how="move")

        with pytest.raises(FileUnusable, match=r"'sub' is not published in .*: 'sub/a' is a file of its own"):
            write()

        assert [name for name in files(exp) if "sub" in name] == ["sub/a", "sub/inner/b"]
        assert (source.exists(), len(file_lines(exp))) == (True, 2)
        assert_vouched_for(exp)

    def test_a_library_that_adds_a_suffix_beside_a_folder(self, exp, source):
        """A name that is a folder of attachments is free again where a library adds a suffix to it."""
        exp.attach(source, "sub/a")

        with exp.filepath("sub") as path:
            path.with_suffix(".npz").write_text("x")

        assert files(exp) == ["sub.npz", "sub/a"]

    @pytest.mark.parametrize("name", ["fold/a", "fold/x", "fold/in/ner"])
    def test_a_file_within_a_folder_that_is_one_attachment(self, exp, source, tmp_path, name):
        """A folder that was attached whole keeps its content: nothing is put into it, nor replaced in it."""
        (tmp_path / "d" / "in").mkdir(parents=True)
        (tmp_path / "d" / "x").write_text("x")
        (tmp_path / "d" / "in" / "y").write_text("y")
        exp.attach(tmp_path / "d", "fold")

        with pytest.raises(FileUnusable, match=f"'{name}' is not published in .*: 'fold' was attached as one folder"):
            exp.attach(source, name)

        assert files(exp) == ["fold/in/y", "fold/x"]
        assert_vouched_for(exp)

    def test_a_folder_of_files_that_nobody_attached(self, exp, source):
        """What somebody put below `files` by hand is not taken away either."""
        exp.attach(source, "a")
        (exp.path / "files" / "own").mkdir()
        (exp.path / "files" / "own" / "b").write_text("b")

        with pytest.raises(FileUnusable, match="'own/b' is a file of its own"):
            exp.attach(source, "own")

        assert files(exp) == ["a", "own/b"]

    def test_a_folder_after_a_file(self, exp, source, tmp_path):
        """An attachment itself is replaced by the next of its name, whichever of the two is a folder."""
        (tmp_path / "d").mkdir()
        (tmp_path / "d" / "x").write_text("x")

        exp.attach(source, "one")
        exp.attach(tmp_path / "d", "one")
        exp.attach(tmp_path / "d", "one")
        assert files(exp) == ["one/x"]
        exp.attach(source, "one")

        assert files(exp) == ["one"]
        assert_vouched_for(exp)

    @pytest.mark.parametrize("call", ["fsync", "replace"])
    def test_a_disk_that_refuses(self, exp, source, monkeypatch, call):
        """When the disk is full in any step, the earlier content stays, and nothing is beside it."""
        exp.attach(source)
        source.write_text("new")
        monkeypatch.setattr(blobs.os, call, full)

        for how in ("copy", "link", "move"):
            with pytest.raises(FileUnusable, match="No space left"):
                exp.attach(source, how=how)
        with pytest.raises(FileUnusable, match="No space left"), exp.file("data.csv", "w") as file:
            file.write("new")

        monkeypatch.undo()
        assert (exp.path / "files" / "data.csv").read_text() == "a,b\n1,2\n"
        assert files(exp) == ["data.csv"]
        assert source.read_text() == "new"
        assert len(file_lines(exp)) == 1

    def test_the_disk_is_full_within_the_block(self, exp):
        """An error of the disk within the block says that nothing is published."""
        with pytest.raises(FileUnusable, match=r"'a' is not published in .*: No space left"), exp.file("a", "w"):
            full()

        assert files(exp) == []


class TestTogether:
    @pytest.mark.usefixtures("ring")
    def test_threads(self, exp, source):
        """Threads publish what they like; the log's last word about a name is what is there."""

        def work(number):
            for turn in range(10):
                with exp.file(f"shared{turn % 3}", "w") as file:
                    file.write(f"{number} {turn}" * 100)
                exp.attach(source, f"own/{number}_{turn}")

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))

        own = [f"own/{number}_{turn}" for number in range(8) for turn in range(10)]
        assert sorted(event.name for event in exp.events("file") if event.name.startswith("own")) == sorted(own)
        assert files(exp) == sorted([*own, "shared0", "shared1", "shared2"])
        assert_vouched_for(exp)
        assert {name for name in own if not os.path.samefile(exp.path / "files" / name, exp.path / "files" / own[0])} == set()

    @pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
    @pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
    @pytest.mark.usefixtures("ring")
    def test_forked_children(self, exp, source):
        """Forked children publish files in runs of their own, also while a thread of the parent is publishing."""
        context = multiprocessing.get_context("fork")
        exp.attach(source, "before")
        stop = threading.Event()

        def publish():
            while not stop.is_set():
                with exp.file("parent", "w") as file:
                    file.write("parent" * 1000)

        thread = threading.Thread(target=publish)
        thread.start()
        children = [context.Process(target=exp.attach, args=(source, f"child{number}")) for number in range(4)]
        for child in children:
            child.start()
        for child in children:
            child.join(60)
        stop.set()
        thread.join()

        assert [child.exitcode for child in children] == [0] * 4
        assert files(exp) == ["before", *(f"child{number}" for number in range(4)), "parent"]
        assert all(os.path.samefile(exp.path / "files" / "before", exp.path / "files" / name) for name in files(exp)[1:5])
        runs = {line["name"]: line["run"] for line in file_lines(exp)}
        assert len({runs[f"child{number}"] for number in range(4)}) == 4

    def test_a_thousand_names(self, exp, source):
        """Many files in one folder are no trouble, and equal ones take the space of one."""
        for number in range(300):
            exp.attach(source, f"copies/{number}")

        assert len(files(exp)) == 300
        assert (exp.path / "files" / "copies" / "7").stat().st_nlink == 300

    def test_a_moved_experiment(self, exp, source, tmp_path):
        """Paths in the log are those seen from the experiment: it can be moved, and goes on."""
        first = exp.attach(source, "one")
        exp.close()
        assert first.exists()
        shutil.move(exp.path, tmp_path / "moved")

        with mlv.Exp.open(tmp_path / "moved") as moved:
            second = moved.attach(source, "two")
            assert_vouched_for(moved)

        assert os.path.samefile(tmp_path / "moved" / "files" / "one", second)


@pytest.mark.usefixtures("ring")
def test_what_a_dead_process_left(exp, source, python):
    """The next one that publishes anything there removes what a killed process left."""
    script = """
        import os, sys, mlv
        exp = mlv.Exp.open(sys.argv[1])
        with exp.file("a", "w") as file, exp.filepath("b") as path:
            file.write("half")
            path.mkdir()
            os.kill(os.getpid(), 9)
        """
    python(script, exp.path)
    assert all(name.startswith(TEMPORARY) for name in os.listdir(exp.path / "files"))

    exp.attach(source)

    assert os.listdir(exp.path / "files") == ["data.csv"]


PUBLISHING = """
import random, sys, time
import mlv
from mlv.experiment.files.dedup import Contents
add = Contents.add

def add_late(*arguments):
    time.sleep(random.random() / 50)  # the file has its place, and no event yet
    add(*arguments)

Contents.add = add_late
exp, mine = mlv.Exp.open(sys.argv[1]), sys.argv[2]
exp.log("ready")
while len(list(exp.events("event"))) < 4:
    time.sleep(0.001)
for number in range(20):
    with exp.file(f"{number}.txt", "w") as file:
        file.write(mine)
exp.close()
"""


@pytest.mark.usefixtures("ring")
def test_runs_that_publish_one_name_at_once(exp):
    """Where processes publish the same name at once, the one that came last on the disk is the last one in the log."""
    exp.close()

    commands = [[sys.executable, "-c", PUBLISHING, str(exp.path), str(number)] for number in range(4)]
    processes = [subprocess.Popen(command) for command in commands]

    assert [process.wait(60) for process in processes] == [0] * 4
    assert verify(exp.path).verdict == "intact"


class TestAsReferences:
    """What `exp.file()` and `exp.filepath()` gave is, in an event or in params, the reference to the file."""

    def test_in_events(self, exp):
        """The call's own object, the open file and the path all become it, at any depth."""
        block = exp.file("a.bin", "wb")
        with block as file:
            file.write(b"abc")
        text = exp.file("a.txt", "w")
        with text as written:
            written.write("abc")
        other = exp.filepath("b.pt")
        with other as path:
            path.write_bytes(b"xyz")
        exp.log("saved", {"a": block, "list": [file, written, {"b": other}], "path": path})

        [event] = exp.events("event")
        first, second, third = event.data["list"]
        assert event.data["a"] == first
        assert third["b"] == event.data["path"]
        assert exp.resolve(event.data["a"]) == exp.path / "files" / "a.bin"
        assert exp.resolve(second) == exp.path / "files" / "a.txt"
        assert exp.resolve(third["b"]) == exp.path / "files" / "b.pt"
        assert third["b"]["within"]["id"] == exp.id

    def test_in_params(self, exp):
        """It may be a param of a sub-experiment."""
        block = exp.filepath("b.pt")
        with block as path:
            path.write_bytes(b"xyz")

        sub = mlv.init_sub_exp(exp.path / "files" / "b.pt", "squeeze", params={"data": [block, path]})

        assert sub.params["data"][0] == sub.params["data"][1]
        assert sub.resolve(sub.params["data"][0]) == exp.path / "files" / "b.pt"

    def test_too_early(self, exp):
        """Before the end of the block there is nothing to refer to: that is said; a path is a path until then."""
        block = exp.filepath("b.pt")
        with pytest.warns(mlv.RejectedWarning, match="not published yet"):
            exp.log("early", {"file": block})
        with block as path:
            exp.log("early", {"path": path})
            known = str(path)
            path.write_bytes(b"")

        [event] = exp.events("event")
        assert event.data == {"path": known}


@pytest.mark.usefixtures("ring")
def test_the_object_of_a_block_on_another_rank(tmp_path, python):
    """A rank that stores nothing may refer to what it wrote, without a warning."""
    with mlv.Exp(tmp_path, "exp", capture=()) as exp:
        done = python(
            """
            import mlv
            exp = mlv.Exp.open("exp")
            with exp.file("a", "w") as file:
                file.write("a")
            with exp.filepath("b") as path:
                path.write_text("b")
            exp.log("saved", {"file": file, "path": path})
            """,
            env={**os.environ, "RANK": "1", "WORLD_SIZE": "2"},
        )

    assert (done.returncode, done.stderr) == (0, "")
    assert list(exp.events("event")) == []
