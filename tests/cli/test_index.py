"""The index of a folder never tells anything but what the folder holds."""

from __future__ import annotations

import gc
import json
import os
import shutil
import threading
from contextlib import redirect_stdout
from datetime import datetime, timezone
from functools import partial
from io import StringIO

import pytest
from logs import line, write

from mlv.cli import index, ls
from mlv.cli.forks import in_processes
from mlv.cli.index import Index, IndexLimits, path_of
from mlv.cli.overview import read_row
from mlv.store import layout

pytest.importorskip("hypothesis")
from hypothesis import given, settings
from hypothesis import strategies as st

NOW = datetime(2026, 11, 21, tzinfo=timezone.utc)
EAGER = IndexLimits(worth=1, settled_ns=-(10**12))


@pytest.fixture(autouse=True)
def eager(monkeypatch, tmp_path_factory):
    """Keep an index of few experiments, however recent they are."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(ls, "Index", partial(Index, limits=EAGER))


def experiment(folder, value=1.0, *, is_over=True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    meta = {"format": 1, "name": folder.name, "kind": None, "created": "2026-01-01T00:00:00Z", "params": {"value": value}}
    (folder / "meta.json").write_text(json.dumps(meta))
    ends = [line("r1", 3, "run_ended", 2.0, data={"status": "ok"})] if is_over else []
    write(folder, line("r1", 1, "run_started", 0.0, data={}), line("r1", 2, "metrics", 1.0, data={"loss": value}), *ends)


def look(folder, files):
    return read_row(folder, files, NOW)


def listed(root, limits=EAGER):
    return list(index.rows(root, look, limits))


def as_it_is(root):
    return [read_row(folder, None, NOW) for folder in layout.walk(root)]


def looks_of(root, limits=EAGER) -> list[str]:
    """The experiments that are looked at when the folder is listed."""
    looked = []
    list(index.rows(root, lambda folder, files: looked.append(os.path.basename(folder)) or look(folder, files), limits))
    return sorted(looked)


def printed(root) -> str:
    with redirect_stdout(StringIO()) as out:
        ls.run(root, as_json=False)
    gc.enable()  # which the command does without
    return out.getvalue()


def outside(root, number):
    """A folder beside the tree."""
    folder = root.with_name(f"{root.name}-disk") / f"d{number % 2}"
    if not folder.exists():
        experiment(folder / "first", number)
    return folder


def linked(path, target):
    if not path.is_symlink() and path.parent.is_dir():
        path.symlink_to(target)


def replaced(path, number):
    """Put an experiment in place of what may be a link."""
    if path.is_symlink():
        path.unlink()
    experiment(path, number)


CHANGES = {
    "a new one": lambda root, n: experiment(root / f"new{n}", n),
    "a sub-experiment": lambda root, n: experiment(root / "a" / "squeeze" / f"sub{n}", n),
    "one below a folder": lambda root, n: experiment(root / "group" / f"x{n}", n),
    "one that goes on": lambda root, n: write(root / "a", line("r9", n + 1, "run_started", 50.0 + n, data={}), stream=f"s{n}"),
    "one edited": lambda root, n: (root / "a" / "meta.json").write_text('{"format":1,"params":{}}' + "\n" * n),
    "one removed": lambda root, n: shutil.rmtree(root / "b", ignore_errors=True),
    "one running": lambda root, n: experiment(root / f"run{n}", n, is_over=False),
    "broken": lambda root, n: (root / "a" / "meta.json").write_text("{" * (n + 1)),
    "no log": lambda root, n: (root / "a" / "log.jsonl").unlink(missing_ok=True),
    "a file": lambda root, n: (root / f"file{n}").write_text("x"),
    "a link out": lambda root, n: linked(root / f"{'am'[n % 2]}-link{n}", outside(root, n)),
    "a deep link out": lambda root, n: linked(root / "a" / f"link{n}", outside(root, n).parent),
    "a link inside": lambda root, n: linked(root / f"in{n}", root / "a"),
    "a link in circles": lambda root, n: linked(outside(root, n) / "up", outside(root, n).parent),
    "a link to nothing": lambda root, n: linked(root / f"none{n}", root / "none"),
    "one behind links": lambda root, n: experiment(outside(root, n) / f"x{n}", n),
    "a folder for a link": lambda root, n: replaced(root / "a-link0", n),
}  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(changes=st.lists(st.sampled_from(sorted(CHANGES)), max_size=6))
def test_an_index_tells_what_is_there(tmp_path_factory, changes):
    """After any changes a listing with the index equals one without."""
    root = tmp_path_factory.mktemp("runs")
    experiment(root / "a")
    experiment(root / "b")
    assert listed(root) == as_it_is(root)

    for number, change in enumerate(changes):
        CHANGES[change](root, number)
        assert listed(root) == as_it_is(root)

    assert listed(root) == as_it_is(root)


@settings(deadline=None, max_examples=40)
@given(changes=st.lists(st.sampled_from(sorted(CHANGES)), max_size=6))
def test_a_kept_text_tells_what_is_there(tmp_path_factory, changes):
    """After any changes the command prints what it would print without its index."""
    root = tmp_path_factory.mktemp("runs")
    experiment(root / "a")
    experiment(root / "b")

    for number, change in enumerate([None, None, *changes, None]):
        if change:
            CHANGES[change](root, number)
        first = printed(root)
        again = printed(root)
        path_of(root).unlink(missing_ok=True)
        assert first == again == printed(root)


def test_a_text_is_told_again_as_it_was_made(tmp_path, monkeypatch):
    """While nothing changes, neither in the folder nor in how times are told, no row is made again."""
    experiment(tmp_path / "a")
    first = printed(tmp_path)
    made = []
    monkeypatch.setattr(ls, "plain_lines", lambda branches: made.append(len(branches)) or ["another text"])

    assert printed(tmp_path) == first
    assert made == []

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert printed(tmp_path) == "another text\n"


def test_only_what_changed_is_read_again(tmp_path):
    """A finished experiment is read once, one that goes on each time."""
    for name in "abc":
        experiment(tmp_path / name, is_over=name != "c")

    assert [looks_of(tmp_path) for _ in range(3)] == [["a", "b", "c"], ["c"], ["c"]]

    experiment(tmp_path / "b", 22.5)
    assert looks_of(tmp_path) == ["b", "c"]


def test_what_changed_just_now_is_not_believed(tmp_path):
    """A file that was written within the last moments may change once more without a sign: it is read again."""
    experiment(tmp_path / "a")

    assert [looks_of(tmp_path, EAGER._replace(settled_ns=10**12)) for _ in range(2)] == [["a"], ["a"]]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version":1}', b'{"version":99,"folders":{}}', b"\xff"])
def test_a_damaged_index(tmp_path, content):
    """An index that cannot be read is made anew."""
    experiment(tmp_path / "a")
    listed(tmp_path)
    path_of(tmp_path).write_bytes(content)

    assert listed(tmp_path) == as_it_is(tmp_path)
    assert looks_of(tmp_path) == []


def test_few_experiments_need_no_index(tmp_path):
    """A folder that is read in no time leaves no file behind."""
    experiment(tmp_path / "a")

    listed(tmp_path, EAGER._replace(worth=2))

    assert not path_of(tmp_path).exists()


def test_nowhere_to_keep_it(tmp_path, monkeypatch):
    """Where no index can be written, the listing is the same."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    experiment(tmp_path / "runs" / "a")

    assert listed(tmp_path / "runs") == as_it_is(tmp_path / "runs")


def test_two_readers_at_once(tmp_path):
    """Readers may build the index at the same time; it is whole at any moment."""
    for number in range(20):
        experiment(tmp_path / f"e{number:02d}")
    found = []
    readers = [threading.Thread(target=lambda: found.append(listed(tmp_path))) for _ in range(4)]

    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(timeout=60)

    assert found == [as_it_is(tmp_path)] * 4
    assert os.listdir(path_of(tmp_path).parent) == [path_of(tmp_path).name]


def test_several_processes_tell_the_same(tmp_path):
    """The rows come in the order of the folders, whichever process read them."""
    limits = EAGER._replace(read_batch=3, check_batch=3)
    for number in range(25):
        experiment(tmp_path / f"e{number % 7}" / f"sub{number}", number)

    assert listed(tmp_path, limits) == as_it_is(tmp_path)
    assert listed(tmp_path, limits) == as_it_is(tmp_path)


def test_batches():
    """The batches are equal, in order, and none is lost; one whose process dies is done here."""
    here = os.getpid()

    def doubled(numbers):
        if 7 in numbers and os.getpid() != here:
            os._exit(1)
        return [2 * number for number in numbers]

    batches = in_processes(doubled, range(10), 2, processes=3)
    assert [number for batch in batches for number in batch] == [2 * number for number in range(10)]
    assert in_processes(doubled, range(3), 2, processes=3) == [[0, 2, 4]]


@pytest.mark.parametrize("whose", ["changed", "another key", "no key"])
def test_an_index_of_somebody_else(tmp_path, monkeypatch, whose):
    """B4: what another user may have written is not told: neither another name nor another status."""
    experiment(tmp_path / "a")
    expected = listed(tmp_path)
    path = path_of(tmp_path)
    assert looks_of(tmp_path) == []
    if whose == "changed":
        path.write_bytes(path.read_bytes().replace(b'"ok"', b'"failed"'))
    else:
        key = path.parent.parent / "key"
        key.unlink()
        if whose == "another key":
            key.write_bytes(bytes(32))
            key.chmod(0o600)
        else:
            key.mkdir()

    assert looks_of(tmp_path) == ["a"]
    assert listed(tmp_path) == expected
