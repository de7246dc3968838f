"""Files of a folder that somebody else may have made are opened in one place, safely."""

from __future__ import annotations

import ast
import os
import socket
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

import mlv
from mlv.encoding import BadLine, event_from_line, is_too_deep
from mlv.store import opening
from mlv.store.reading import Lines
from mlv.store.streams import Overlong, StreamFile, lines_from_end, mend, read_blocks, read_lines

PACKAGE = Path(mlv.__file__).parent
LINE = b'{"run":"r1","seq":%d,"time":"2026-11-21T03:03:00.123456Z","type":"event"}\n'
ODD = ("pipe", "socket", "folder", "device", "link to a device", "link to a pipe", "link to itself")
NOT_WRITTEN = (*ODD, "link", "link to nothing", "hard link")


def make(kind: str, path: Path) -> Path:
    """Put something at a path; gives the file of somebody else's that it leads to."""
    victim = path.parent / "victim"
    victim.write_bytes(b"precious")
    targets = {
        "link": victim,
        "link to nothing": path.parent / "nothing",
        "link to itself": path,
        "link to a device": Path("/dev/zero"),
    }
    if kind in targets:
        path.symlink_to(targets[kind])
    elif kind == "link to a pipe":
        os.mkfifo(path.parent / "pipe")
        path.symlink_to(path.parent / "pipe")
    elif kind == "hard link":
        os.link(victim, path)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(path))
    elif kind == "device":
        try:
            os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))
        except PermissionError:
            pytest.skip("only root can make a device")
    return victim


@pytest.fixture
def short(monkeypatch) -> Iterator[Path]:
    """A folder with a short path: the name of a socket may not be long."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="mlv-") as folder:
        yield Path(folder)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_file_is_not_read(short, kind):
    """B7: of a pipe or a device nothing is read, and nobody waits for it."""
    make(kind, short / "x")
    for read in (opening.reading, opening.content, opening.json_content):
        with pytest.raises(OSError):
            read(short / "x")


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", NOT_WRITTEN)
def test_what_is_no_file_of_its_own_is_not_written(short, kind):
    """B3: nothing is written, cut off or made through a link, and a file that has another name is left alone."""
    victim = make(kind, short / "x")
    for write in (
        opening.emptied,
        opening.changing,
        opening.new,
        opening.check_writable,
        lambda path: opening.writing(path, os.O_WRONLY),
    ):
        with pytest.raises(OSError):
            write(short / "x")
    assert victim.read_bytes() == b"precious"
    assert not (short / "nothing").exists()


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", ["pipe", "link", "link to nothing", "hard link", "link to a device"])
def test_streams_are_not_written_through_links(short, kind):
    """H1, H2: neither mending nor appending touches what a stream's name leads to."""
    victim = make(kind, short / "log.jsonl")
    for work in (lambda: mend(short, "log"), lambda: StreamFile(short, "log")):
        with pytest.raises(OSError):
            work()
    assert victim.read_bytes() == b"precious"
    assert not (short / ".mlv").exists()
    assert not (short / "nothing").exists()


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_folders_are_no_links(tmp_path, depth):
    """H3: no folder is made, and none is accepted, behind a link between the experiment and a file of it."""
    parts = ("a", "b", "c")
    (tmp_path / "outside").mkdir()
    root = tmp_path / "exp"
    root.joinpath(*parts[: depth - 1]).mkdir(parents=True)
    root.joinpath(*parts[:depth]).symlink_to(tmp_path / "outside")

    for work in (opening.make_folders, opening.check_folders):
        with pytest.raises(OSError, match="is a link"):
            work(root, root.joinpath(*parts))
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", ["pipe", "link to nothing", "folder", "link to a device"])
def test_what_is_no_stream_is_told(short, monkeypatch, kind):
    """B7, H12: what has the name of a stream and is no file is not read, and `mlv verify` says so."""
    from mlv.audit.verify import verify

    monkeypatch.setenv("MLV_INLINE", "1")
    with mlv.Exp(short, "a", capture=()) as exp:
        exp.log({"loss": 0.5})
    assert verify(exp.path).verdict == "intact"
    make(kind, exp.path / "x.log.jsonl")

    assert [event.data for event in mlv.Exp.open(exp.path).events(type="metrics")] == [{"loss": 0.5}]
    assert "x.log.jsonl is no regular file" in str(verify(exp.path).findings)


def test_folders_are_made(tmp_path):
    """What is missing is made, and what is there stays."""
    opening.check_folders(tmp_path, tmp_path / "a" / "b")
    opening.make_folders(tmp_path, tmp_path / "a" / "b")
    opening.make_folders(tmp_path, tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "c").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        opening.make_folders(tmp_path, tmp_path / "c" / "b")


# Lines.


@pytest.mark.timeout(60)
@pytest.mark.parametrize("read", [read_lines, lambda path: read_blocks(path, 0, 1 << 16)])
def test_a_file_without_end(tmp_path, read):
    """H14: a sparse file takes neither memory nor time, and what stands behind the hole is read."""
    path = tmp_path / "log.jsonl"
    with open(path, "wb") as file:
        file.write(LINE % 1)
        file.seek(20 << 30)
        file.write(b"\n" + LINE % 2 + LINE % 3)
    tracemalloc.start()
    found = [(start, piece) for start, piece in read(path)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    text = b"".join(piece for _, piece in found if not isinstance(piece, Overlong))
    assert text == LINE % 1 + LINE % 2 + LINE % 3
    assert peak < 64 << 20
    lines = Lines(tmp_path, ["log"])
    assert [event.seq for event in lines] == [1, 2, 3]
    [hole] = lines.skipped
    assert (hole.start, hole.end) == (len(LINE % 1), (20 << 30) + 1)
    assert "no JSON" in hole.reason


@pytest.mark.parametrize("line", [b"x" * (3 << 20), b"\0" * (2 << 20), b'{"a":"' + b"x" * (5 << 20) + b'"}'])
@pytest.mark.parametrize("ends", [b"\n", b""])
def test_lines_that_are_too_long(tmp_path, monkeypatch, line, ends):
    """B7: a line that is longer than what is read costs itself, from either end."""
    monkeypatch.setattr(opening, "LONGEST_LINE", 4 << 20)
    path = tmp_path / "log.jsonl"
    path.write_bytes(LINE % 1 + line + ends + (LINE % 2 if ends else b""))

    lines = Lines(tmp_path, ["log"])
    assert [event.seq for event in lines] == ([1, 2] if ends else [1])
    assert [(hole.start, hole.end) for hole in lines.skipped] == [(len(LINE % 1), len(LINE % 1 + line + ends))]
    from_end = [piece for _, piece in lines_from_end(path) if len(piece) < 1000]
    assert from_end == ([LINE % 2, LINE % 1] if ends else [LINE % 1])


def test_long_lines_are_whole(tmp_path):
    """A line of many pieces is given as it stands, by lines and by blocks."""
    long = b'{"a":"' + b"x" * (3 << 20) + b'"}\n'
    content = LINE % 1 + long + LINE % 2 + long
    (tmp_path / "log.jsonl").write_bytes(content)
    for size in (1 << 10, 1 << 20, 2 << 20, 1 << 23):
        blocks = list(read_blocks(tmp_path / "log.jsonl", 0, size))
        assert b"".join(block for _, block in blocks) == content
        assert [start for start, _ in blocks] == [
            sum(len(block) for _, block in blocks[:number]) for number in range(len(blocks))
        ]
    assert [line for _, line in read_lines(tmp_path / "log.jsonl")] == [LINE % 1, long, LINE % 2, long]


# Depth.


def test_depth():
    """B7: the depth of a text is that of its brackets outside of strings."""
    hypothesis = pytest.importorskip("hypothesis")
    strategies = hypothesis.strategies
    texts = strategies.text('"[]{}\\ a', max_size=8)
    values = strategies.recursive(
        strategies.none() | texts,
        lambda inner: strategies.lists(inner, max_size=3) | strategies.dictionaries(texts, inner, max_size=3),
    )

    def depth(value: object) -> int:
        items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if items is None else 1 + max(map(depth, items), default=0)

    @hypothesis.given(values, strategies.integers(0, 130))
    @hypothesis.settings(max_examples=200, deadline=None, derandomize=True)
    def check(value: object, around: int) -> None:
        text = b'{"a":' * (around // 2) + b"[" * (around - around // 2) + orjson.dumps(value)
        text += b"]" * (around - around // 2) + b"}" * (around // 2)
        assert is_too_deep(text) == (depth(value) + around > 108)

    check()


def test_what_was_stored_is_read():
    """The deepest value that is stored is not too deep for a reader."""
    from mlv.encoding import DEEPEST, Conversion, dumps

    value: object = {"a": 2**80, "b": b"x"}
    for _ in range(DEEPEST - 1):
        value = [value]
    conversion = Conversion()
    line = (LINE % 1)[:-2] + b',"data":' + dumps({"v": conversion.value(value)}) + b"}\n"
    assert event_from_line(line, "log").data is not None
    with pytest.raises(BadLine, match="deeply"):
        event_from_line((LINE % 1)[:-2] + b',"data":' + b"[" * 200 + b"]" * 200 + b"}\n", "log")


# The source.

OPENING = {"open", "fdopen"}
METHODS = {
    "CSVWriter", "File", "OSFile", "ParquetFile", "ParquetWriter", "TemporaryFile", "ZipFile", "copy2", "copyfile", "memmap",
    "mkstemp", "read_bytes", "read_table", "read_text", "touch", "write_bytes", "write_table", "write_text",
}  # fmt: skip
ELSEWHERE = {
    "mlv/bucket/mirrored_lines.py": "the mirror, in the user's own cache",
    "mlv/bucket/published.py": "files that `attached` holds",
    "mlv/bucket/store.py": "files that `attached` holds, and temporaries",
    "mlv/capture": "files of the system, and of the script that runs",
    "mlv/compat": "files that the script names, as it did for the original",
    "mlv/hdf.py": "a file that the user names",
    "mlv/lake/tasks.py": "pyarrow writes to memory, and to temporaries",
    "mlv/settings.py": "the user's own pyproject.toml",
    "mlv/cli/application.py": "/dev/null",
    "mlv/cli/examine.py": "a folder that the command makes, and removes",
    "mlv/cli/forks.py": "pipes of the process",
    "mlv/cli/plot.py": "a file that the user names",
    "mlv/query/sql/export.py": "a folder that the export makes",
    "mlv/query/logged_tables.py": "pyarrow reads what was opened before",
    "mlv/query/metrics/cache_files.py": "pyarrow reads and writes what was opened before",
    "mlv/media": "the user's own files, and temporaries that `FolderTarget` makes",
    "mlv/experiment/files/attachments.py": "a folder that the call makes",
    "mlv/experiment/files/objects.py": "checkpoints, whose content was compared, and temporaries",
    "mlv/experiment/checkpoints/savers.py": "checkpoints, whose content was compared, and temporaries",
    "mlv/experiment/importing/writing.py": "a folder that the import makes",
    "mlv/importers": "files of other tools, which the user named: `SourceListing` has regular ones only",
    "mlv/experiment/page.py": "a folder that the call makes",
    "mlv/integrations/checkpoints.py": "a folder of the framework's, which it named",
    "mlv/integrations/mlflow/folders.py": "meta.json where it is a regular file, below the root that the script named",
    "mlv/integrations/ray.py": "a file that Tune wrote, and named",
    "mlv/web/built.py": "the page in the package",
    "mlv/web/export.py": "a folder that the export makes",
    "mlv/web/server.py": "a temporary file that the command makes",
    "mlv/store/trees.py": "checkpoints, whose content was compared, and temporaries",
    "mlv/store/opening.py": "the place itself",
    "mlv/store/attached.py": "files that events name, from folder to folder",
    "mlv/store/home.py": "a folder, to follow it",
    "mlv/store/owners.py": "files of the system",
    "mlv/store/locks.py": "a folder, to lock it",
    "mlv/store/files.py": "a folder, to sync it",
    "mlv/store/streams.py": "/dev/null",
    "mlv/projections/parquet.py": "pyarrow reads and writes what was opened before",
    "mlv/projections/h5files.py": "h5py opens by name what was looked at before",
    "mlv/projections/hdf5.py": "an attachment, which `attached` opened",
    "mlv/transport/spool.py": "the spool, which has rules of its own",
    "mlv/transport/appending.py": "the spool",
    "mlv/workers.py": "the pipes to processes",
    "mlv/transport/new_rings.py": "the spool",
    "mlv/transport/ring.py": "the spool",
    "mlv/transport/spills.py": "the spool",
    "mlv/transport/spool_lock.py": "the spool",
    "mlv/transport/worker.py": "the spool",
    "mlv/transport/job_censor.py": "pyarrow writes to memory",
    "mlv/transport/launch.py": "the spool",
    "mlv/transport/orders.py": "the spool",
}
"""Where files are opened that are none of an experiment somebody else may have made, or that were looked at before."""


def opens(path: Path) -> Iterator[int]:
    """The lines on which a module opens a file by itself."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        if isinstance(function, ast.Name) and function.id in OPENING:
            yield node.lineno
        elif isinstance(function, ast.Attribute):
            owner = function.value.id if isinstance(function.value, ast.Name) else ""
            if (function.attr in OPENING and owner in ("os", "io", "Image", "pillow", "wave")) or function.attr in METHODS:
                yield node.lineno


def test_files_are_opened_in_one_place():
    """B3, B7: whoever opens a file of an experiment does it through `mlv.store.opening`."""
    wrong, used = [], set()
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE.parent).as_posix()
        found = [f"{name}:{line}" for line in opens(path)]
        reasons = {one for one in ELSEWHERE if name == one or name.startswith(f"{one}/")}
        if found:
            used |= reasons
        if not reasons:
            wrong += found
    assert wrong == []
    assert used == set(ELSEWHERE)  # whoever needs no reason any more has none
