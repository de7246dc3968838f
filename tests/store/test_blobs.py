"""Files and folders are hashed, copied, linked and moved whole, or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mlv.errors import InvalidName
from mlv.store import blobs, contents, copying
from mlv.store.blobs import TEMPORARY, has_links, make_durable, remove, settle, temporary_beside
from mlv.store.contents import content_of, files_in, media_type, reference
from mlv.store.copying import copy_hashed, link_or_copy
from mlv.store.owners import process_start
from mlv.store.paths import checked_inside

SIZES = [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 20_000_001]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write_tree(folder: Path) -> Path:
    """A folder with files at two levels."""
    (folder / "sub").mkdir(parents=True)
    (folder / "b.txt").write_text("b")
    (folder / "sub" / "a.txt").write_text("a")
    return folder


def entries(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def refuse(number: int = errno.EXDEV):
    """A system call that is refused."""

    def call(*_, **__):
        raise OSError(number, os.strerror(number))

    return call


class TestContent:
    @pytest.mark.parametrize("size", SIZES)
    def test_file(self, tmp_path, size):
        """Hash and size of a file are those of its bytes."""
        content = os.urandom(size)
        (tmp_path / "a").write_bytes(content)

        assert content_of(tmp_path / "a") == (sha256(content), size, False)

    def test_folder(self, tmp_path):
        """The hash of a folder is that of the lines that sha256sum prints, in order of path."""
        folder = write_tree(tmp_path / "folder")

        manifest = f"{sha256(b'b')}  b.txt\n{sha256(b'a')}  sub/a.txt\n"
        assert content_of(folder) == (sha256(manifest.encode()), 2, True)

    def test_sha256sum_prints_the_manifest(self, tmp_path):
        """Whoever has sha256sum can check a folder, whatever its files are called."""
        folder = write_tree(tmp_path / "folder")
        for name in ("a b", "line\nbreak", "back\\slash", "ä", "B"):
            (folder / name).write_text(name)
        command = "find * -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum --"
        try:
            done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], cwd=folder, capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("needs bash, GNU find and sha256sum")

        assert content_of(folder).sha256 == sha256(done.stdout)

    def test_names_do_not_pass_for_lines(self, tmp_path):
        """A name with a line break in it is not taken for two files."""
        two, one = tmp_path / "two", tmp_path / "one"
        two.mkdir()
        one.mkdir()
        (two / "a").write_text("x")
        (two / "b").write_text("x")
        (one / f"a\n{sha256(b'x')}  b").write_text("x")

        assert content_of(one).sha256 != content_of(two).sha256

    def test_symbolic_links_are_followed(self, tmp_path):
        """A link counts as what it points at, be it a file or a folder."""
        folder = write_tree(tmp_path / "folder")
        linked = tmp_path / "linked"
        linked.mkdir()
        (linked / "b.txt").symlink_to(folder / "b.txt")
        (linked / "sub").symlink_to(folder / "sub")

        assert content_of(linked) == content_of(folder)

    def test_links_in_a_circle(self, tmp_path):
        """A link to a folder around it ends with an error."""
        folder = write_tree(tmp_path / "folder")
        (folder / "sub" / "up").symlink_to(folder)

        with pytest.raises(OSError, match="symbolic link to a folder around it"):
            files_in(folder)

    def test_the_same_folder_twice(self, tmp_path):
        """Two links to one folder are no circle."""
        folder = write_tree(tmp_path / "folder")
        (folder / "again").symlink_to(folder / "sub")

        assert files_in(folder) == ["again/a.txt", "b.txt", "sub/a.txt"]

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
    def test_a_pipe(self, tmp_path):
        """Nothing waits for a pipe into which nobody writes."""
        os.mkfifo(tmp_path / "pipe")

        with pytest.raises(OSError, match="is no regular file"):
            content_of(tmp_path / "pipe")

    @pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc")
    def test_files_of_the_system(self, tmp_path):
        """What the system makes up as it is read says that it is empty, and is read nevertheless."""
        assert content_of(Path("/proc/version")).size > 0


class TestCopying:
    @pytest.mark.parametrize("size", SIZES)
    def test_file(self, tmp_path, size):
        """The copy has the bytes, and their hash is that of the source."""
        (tmp_path / "a").write_bytes(os.urandom(size))

        found = copy_hashed(tmp_path / "a", tmp_path / "b")

        assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()
        assert found == content_of(tmp_path / "a") == content_of(tmp_path / "b")

    def test_folder(self, tmp_path):
        """The copy of a folder holds files only: links are followed."""
        folder = write_tree(tmp_path / "folder")
        (folder / "link").symlink_to(folder / "b.txt")
        (folder / "empty").mkdir()

        found = copy_hashed(folder, tmp_path / "copy")

        assert found == content_of(folder) == content_of(tmp_path / "copy")
        assert not has_links(tmp_path / "copy")

    @pytest.mark.parametrize("mode", [0o600, 0o644, 0o755, 0o440])
    def test_mode(self, tmp_path, mode):
        """What others may not read they may not read in the copy; what can be executed still can."""
        (tmp_path / "a").write_bytes(b"a")
        (tmp_path / "a").chmod(mode)

        copy_hashed(tmp_path / "a", tmp_path / "b")

        assert (tmp_path / "b").stat().st_mode & 0o577 == mode & 0o577

    @pytest.mark.skipif(sys.platform != "linux", reason="blocks are shared on Linux only")
    def test_shared_blocks(self, tmp_path, monkeypatch):
        """Where the file system shares blocks nothing is copied; the hash is the same."""
        (tmp_path / "a").write_bytes(b"content")

        def clone(target, request, source):
            os.pwrite(target, b"shared!", 0)  # what a copy would not write

        monkeypatch.setattr("fcntl.ioctl", clone)

        assert copy_hashed(tmp_path / "a", tmp_path / "b") == content_of(tmp_path / "b")
        assert (tmp_path / "b").read_bytes() == b"shared!"
        assert link_or_copy(tmp_path / "a", tmp_path / "c", reflink=True)
        assert not os.path.samefile(tmp_path / "a", tmp_path / "c")

    @pytest.mark.parametrize("make", [copy_hashed, link_or_copy])
    def test_target_is_there(self, tmp_path, make):
        """What is at the target stays."""
        (tmp_path / "a").write_bytes(b"a")
        (tmp_path / "b").write_bytes(b"b")

        with pytest.raises(FileExistsError):
            make(tmp_path / "a", tmp_path / "b")

        assert (tmp_path / "b").read_bytes() == b"b"

    def test_broken_link(self, tmp_path):
        """A folder with a link to nowhere is not copied in part."""
        folder = write_tree(tmp_path / "folder")
        (folder / "nowhere").symlink_to(tmp_path / "gone")

        with pytest.raises(FileNotFoundError, match="nowhere"):
            copy_hashed(folder, tmp_path / "copy")

        assert entries(tmp_path) == ["folder"]

    @pytest.mark.parametrize("change", ["longer", "shorter", "touched"])
    @pytest.mark.parametrize("read", [content_of, lambda path: copy_hashed(path, path.with_name("copy"))])
    def test_a_file_that_changes(self, tmp_path, monkeypatch, change, read):
        """A file that changes while it is read is refused, and nothing is left."""
        path = tmp_path / "a"
        path.write_bytes(bytes(3 << 20))
        sha = hashlib.sha256

        class Changing:
            """Something else happens to the file, between two pieces."""

            def __init__(self):
                self._digest = sha()

            def update(self, piece):
                if change == "touched":
                    os.utime(path, ns=(1, 1))
                else:
                    os.truncate(path, 4 << 20 if change == "longer" else 1 << 20)
                self._digest.update(piece)

            def hexdigest(self):
                return self._digest.hexdigest()

        for module in (contents, copying):
            monkeypatch.setattr(module, "sha256", Changing)

        with pytest.raises(OSError, match="changed while it was read"):
            read(path)

        assert entries(tmp_path) == ["a"]

    def test_without_threads(self, tmp_path, python):
        """When the interpreter ends no thread begins: a copy is made all the same."""
        (tmp_path / "a").write_bytes(os.urandom(3_000_000))
        script = """
            import atexit, sys
            from pathlib import Path
            from mlv.store.contents import content_of
            from mlv.store.copying import copy_hashed
            a = Path(sys.argv[1])
            atexit.register(lambda: print(copy_hashed(a, a.with_name("b")) == content_of(a)))
            """

        done = python(script, tmp_path / "a")

        assert (done.stdout, done.stderr) == ("True\n", "")

    def test_memory(self, tmp_path):
        """Copying takes no more memory for a large file."""
        tracemalloc = pytest.importorskip("tracemalloc")
        with open(tmp_path / "a", "wb") as file:
            file.truncate(200 << 20)

        tracemalloc.start()
        copy_hashed(tmp_path / "a", tmp_path / "b")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert peak < 16 << 20


class TestLinking:
    def test_file(self, tmp_path):
        """A link is another name of the same file."""
        (tmp_path / "a").write_bytes(b"a")

        assert link_or_copy(tmp_path / "a", tmp_path / "b")

        assert os.path.samefile(tmp_path / "a", tmp_path / "b")

    def test_folder(self, tmp_path):
        """Of a folder every file is linked."""
        folder = write_tree(tmp_path / "folder")

        assert link_or_copy(folder, tmp_path / "linked")

        assert content_of(folder) == content_of(tmp_path / "linked")
        assert os.path.samefile(folder / "sub" / "a.txt", tmp_path / "linked" / "sub" / "a.txt")

    def test_of_a_symbolic_link(self, tmp_path):
        """The file is linked, not the link."""
        (tmp_path / "a").write_bytes(b"a")
        (tmp_path / "link").symlink_to("a")

        assert link_or_copy(tmp_path / "link", tmp_path / "b")

        assert os.path.samefile(tmp_path / "a", tmp_path / "b")
        assert not (tmp_path / "b").is_symlink()

    def test_without_links(self, tmp_path, monkeypatch):
        """Where there are no links it is a copy, and said to be none."""
        folder = write_tree(tmp_path / "folder")
        monkeypatch.setattr(blobs.os, "link", refuse(errno.EPERM))

        assert not link_or_copy(folder, tmp_path / "copy")

        assert content_of(folder) == content_of(tmp_path / "copy")
        assert not os.path.samefile(folder / "b.txt", tmp_path / "copy" / "b.txt")


class TestSettling:
    def test_file(self, tmp_path):
        """A file appears at its place, read-only, and replaces the earlier one."""
        for content in (b"one", b"two"):
            temporary = temporary_beside(tmp_path / "new" / "a.txt")
            temporary.write_bytes(content)
            settle(temporary, tmp_path / "new" / "a.txt")

        assert entries(tmp_path / "new") == ["a.txt"]
        assert (tmp_path / "new" / "a.txt").read_bytes() == b"two"
        assert (tmp_path / "new" / "a.txt").stat().st_mode & 0o222 == 0

    @pytest.mark.parametrize("can_exchange", [True, False])
    @pytest.mark.parametrize(("before", "after"), [("folder", "folder"), ("folder", "file"), ("file", "folder")])
    def test_folders(self, tmp_path, monkeypatch, can_exchange, before, after):
        """A folder replaces a folder or a file, and is replaced by either."""
        if not can_exchange:
            monkeypatch.setattr(blobs, "exchange", lambda a, b: False)
        made = {"folder": write_tree(tmp_path / "f"), "file": tmp_path / "g"}
        made["file"].write_text("file")
        (tmp_path / "out").mkdir()
        copy_hashed(made[before], tmp_path / "out" / "x")
        temporary = temporary_beside(tmp_path / "out" / "x")
        copy_hashed(made[after], temporary)

        settle(temporary, tmp_path / "out" / "x")

        assert content_of(tmp_path / "out" / "x") == content_of(made[after])
        assert entries(tmp_path / "out") == ["x"]

    @pytest.mark.skipif(sys.platform != "linux", reason="names are exchanged on Linux only")
    def test_a_folder_is_never_missing(self, tmp_path):
        """Where names can be exchanged, a reader always finds one of both folders."""
        path = write_tree(tmp_path / "x")
        other = write_tree(tmp_path / "y")
        if not blobs.exchange(path, other):
            pytest.skip("this file system cannot exchange names")
        missing, stop = [], threading.Event()

        def look():
            while not stop.is_set():
                missing.extend([1] if not (path / "b.txt").exists() else [])

        thread = threading.Thread(target=look)
        thread.start()
        for _ in range(100):
            temporary = temporary_beside(path)
            copy_hashed(other, temporary)
            settle(temporary, path)
        stop.set()
        thread.join()

        assert not missing

    @pytest.mark.parametrize("call", ["fsync", "replace"])
    def test_a_disk_that_refuses(self, tmp_path, monkeypatch, call):
        """What was at the place is still there."""
        (tmp_path / "a").write_bytes(b"old")
        (tmp_path / "new").write_bytes(b"new")
        monkeypatch.setattr(blobs.os, call, refuse(errno.EIO))

        with pytest.raises(OSError, match="Input/output"):
            settle(tmp_path / "new", tmp_path / "a")

        assert (tmp_path / "a").read_bytes() == b"old"

    def test_a_disk_that_refuses_a_folder(self, tmp_path, monkeypatch):
        """The earlier folder is put back where the new one cannot be moved."""
        path, new = write_tree(tmp_path / "x"), write_tree(tmp_path / "new")
        (new / "more").write_text("more")
        rename = os.rename
        monkeypatch.setattr(blobs, "exchange", lambda a, b: False)
        monkeypatch.setattr(blobs.os, "rename", lambda a, b: refuse(errno.EIO)() if a == new else rename(a, b))

        with pytest.raises(OSError, match="Input/output"):
            settle(new, path)

        assert files_in(path) == ["b.txt", "sub/a.txt"]

    def test_a_symbolic_link_at_the_place(self, tmp_path):
        """A link is replaced itself: nothing is written to where it leads."""
        write_tree(tmp_path / "outside")
        (tmp_path / "a").symlink_to(tmp_path / "outside")
        (tmp_path / "new").write_text("new")

        settle(tmp_path / "new", tmp_path / "a")

        assert (tmp_path / "a").read_text() == "new"
        assert files_in(tmp_path / "outside") == ["b.txt", "sub/a.txt"]

    def test_a_file_with_other_names_keeps_its_mode(self, tmp_path):
        """A file that somebody else has under a name is not made read-only for them."""
        (tmp_path / "mine").write_text("mine")
        mode = (tmp_path / "mine").stat().st_mode
        link_or_copy(tmp_path / "mine", tmp_path / "theirs")

        make_durable(tmp_path / "theirs")

        assert (tmp_path / "mine").stat().st_mode == mode

    def test_remove_what_is_read_only(self, tmp_path):
        """A folder in which nothing may be changed is removed as well; what a link in it points at stays as it is."""
        outside = tmp_path / "outside"
        outside.mkdir(0o555)
        folder = tmp_path / "folder"
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / "file").touch()
        (folder / "link").symlink_to(outside)
        (folder / "sub").chmod(0o555)

        blobs.unlock_folders(folder)

        assert [path.stat().st_mode & 0o777 for path in (folder / "sub", outside)] == [0o755, 0o555]
        blobs.remove(folder)
        assert not folder.exists()

    def test_remove(self, tmp_path):
        """Files, folders and links go; what a link leads to stays; what is not there is no error."""
        write_tree(tmp_path / "folder")
        (tmp_path / "link").symlink_to(tmp_path / "folder")
        (tmp_path / "file").write_text("file")

        for name in ("link", "file", "gone"):
            remove(tmp_path / name)
        assert entries(tmp_path) == ["folder"]

        remove(tmp_path / "folder")
        assert entries(tmp_path) == []


class TestTemporaries:
    def test_name(self, tmp_path):
        """The name has the suffix of what it becomes, and is another one each time."""
        names = {temporary_beside(tmp_path / "new" / "weights.pt") for _ in range(100)}

        assert len(names) == 100
        assert all(path.name.startswith(TEMPORARY) and path.suffix == ".pt" for path in names)
        assert entries(tmp_path / "new") == []

    @pytest.mark.parametrize("name", ["a." + "b" * 190, "ä" * 100, "." + "c" * 199])
    def test_long_names(self, tmp_path, name):
        """Names that are allowed have a temporary beside them that the system allows."""
        temporary = temporary_beside(tmp_path / name)
        temporary.write_text("")

        assert entries(tmp_path) == [temporary.name]

    def test_those_of_the_dead_are_removed(self, tmp_path, python):
        """What a killed process left, file or folder, is removed by the next one."""
        script = """
            import os, sys
            from pathlib import Path
            from mlv.store.blobs import temporary_beside
            path = Path(sys.argv[1])
            temporary_beside(path).write_text("half")
            (temporary_beside(path) / "sub").mkdir(parents=True)
            os.kill(os.getpid(), 9)
            """
        python(script, tmp_path / "out" / "a")
        assert len(entries(tmp_path / "out")) == 2

        temporary_beside(tmp_path / "out" / "a")

        assert entries(tmp_path / "out") == []

    def test_those_of_the_living_stay(self, tmp_path):
        """What another process is making, here or on another host, is left alone."""
        mine = temporary_beside(tmp_path / "a").name
        host, boot, pidns, pid, _, token = mine.removeprefix(TEMPORARY).split("-")
        parent = str(os.getppid()), str(process_start(os.getppid()))
        for parts in [
            (host, boot, pidns, *parent, token),
            ("0" * 10, boot, pidns, pid, "1", token),
            (host, boot, "0" * 10, pid, "1", token),
            (host, boot, pidns, pid, "", token),
        ]:
            (tmp_path / f"{TEMPORARY}{'-'.join(parts)}").write_text("")
        for name in (mine, f"{TEMPORARY}something", f"{TEMPORARY}r12345678-0123ab"):
            (tmp_path / name).write_text("")

        before = entries(tmp_path)
        temporary_beside(tmp_path / "a")

        assert entries(tmp_path) == before

    def test_those_of_before_the_boot_are_removed(self, tmp_path):
        """After a start of the machine nobody is left who could be making them."""
        host, _, pidns, pid, start, token = temporary_beside(tmp_path / "a").name.removeprefix(TEMPORARY).split("-")
        (tmp_path / f"{TEMPORARY}{host}-000000-{pidns}-{pid}-{start}-{token}").write_text("")

        temporary_beside(tmp_path / "a")

        assert entries(tmp_path) == []

    def test_a_full_folder_is_seldom_looked_through(self, tmp_path, monkeypatch):
        """Of a folder of n files about n/64 are published between two looks: the time for each does not grow."""
        for number in range(800):
            (tmp_path / str(number)).touch()
        looked = []
        listdir = os.listdir
        monkeypatch.setattr(blobs.os, "listdir", lambda folder: looked.append(folder) or listdir(folder))

        for _ in range(26):
            temporary_beside(tmp_path / "a")

        assert len(looked) == 2


class TestNames:
    @pytest.mark.parametrize(
        "name", ["model.npz", "tables/final.csv", Path("a") / "b", b"bytes", ".hidden", "a..b", "ä/ö", "x" * 200]
    )
    def test_inside(self, tmp_path, name):
        """A relative path below the folder is accepted."""
        assert checked_inside(tmp_path / "files", name) == tmp_path / "files" / os.fsdecode(name)

    @pytest.mark.parametrize(
        "name",
        ["", ".", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/", "a\\..\\..\\x", "a\0b", "a\nb", "\ud800", ".tmp-x",
         "a/.tmp-x/b", "x" * 201, "ä" * 101, None, 3, ["a"]],
    )  # fmt: skip
    def test_none(self, tmp_path, name):
        """Anything else is refused, and the error carries it."""
        with pytest.raises(InvalidName) as caught:
            checked_inside(tmp_path / "files", name)

        assert caught.value.name == name

    @pytest.mark.parametrize("link", ["files", "files/sub", "files/sub/sub"])
    def test_symbolic_links_out(self, tmp_path, link):
        """No link leads out of the folder, not even the folder itself."""
        outside, exp = tmp_path / "outside", tmp_path / "exp"
        (outside / "sub").mkdir(parents=True)
        (exp / link).parent.mkdir(parents=True)
        (exp / link).symlink_to(outside)

        with pytest.raises(InvalidName, match="through a symbolic link"):
            checked_inside(exp / "files", "sub/sub/x")

    def test_symbolic_links_inside(self, tmp_path):
        """A link within the folder is fine, and so is one around it."""
        (tmp_path / "real" / "files" / "sub").mkdir(parents=True)
        (tmp_path / "real" / "files" / "link").symlink_to("sub")
        (tmp_path / "exp").symlink_to("real")

        assert checked_inside(tmp_path / "exp" / "files", "link/x").name == "x"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", "image/png"), ("a.PNG", "image/png"), ("model.npz", "application/x-npz"), ("a.csv", "text/csv"),
        ("a.json", "application/json"), ("a.tar.gz", "application/gzip"), ("a", "application/octet-stream"),
        ("data:text/html,x", "application/octet-stream"), ("a.unknown", "application/octet-stream"), ("a.webp", "image/webp"),
    ],
)  # fmt: skip
def test_media_type(name, expected):
    """The suffix says what a file is; what the machine has configured does not matter."""
    assert media_type(name) == expected


def test_reference(tmp_path):
    """A reference says where a file is, seen from the experiment, and what it holds."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.txt").write_text("a")

    found = reference(tmp_path, tmp_path / "files" / "a.txt", content_of(tmp_path / "files" / "a.txt"))

    assert found == {"_mlv": "file", "path": "files/a.txt", "size": 1, "sha256": sha256(b"a"), "media_type": "text/plain"}
