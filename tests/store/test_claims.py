"""A stream has one writer: claims are taken over from the provably dead alone, and where locks do not work as well."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import filelock
import pytest

from mlv.store import claims, layout
from mlv.store.claims import Claim
from mlv.store.owners import Owner

HERE = Owner.current()
GONE = HERE.replace(start="1")
"""This process ID, used by a process that ended long ago."""


def claimed_by(folder, owner, stream="log", run="rothers123"):
    """Leave a claim as another process would."""
    path = layout.claim_path(folder, stream)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(Claim(owner, run).to_bytes())
    return path


def mine(run="rmine12345"):
    return Claim(HERE, run)


def test_the_first_one(tmp_path):
    """Who comes first gets the stream; asking again changes nothing."""
    for _ in range(2):
        granted = claims.claim(tmp_path, "val", mine())
        assert (granted.stream, granted.was_stale) == ("val", False)
        assert claims.read(tmp_path, "val") == mine()


def test_one_that_lives(tmp_path):
    """Who comes second writes a stream of its own beside it."""
    claimed_by(tmp_path, HERE)

    for _ in range(2):
        granted = claims.claim(tmp_path, "log", mine())
        assert (granted.stream, granted.was_stale) == ("log@rmine12345", False)

    assert claims.read(tmp_path, "log@rmine12345") == mine()


def test_one_that_is_gone(tmp_path):
    """The claim of a process that is gone is taken over."""
    claimed_by(tmp_path, GONE)

    granted = claims.claim(tmp_path, "log", mine())

    assert (granted.stream, granted.was_stale) == ("log", True)
    assert claims.read(tmp_path, "log") == mine()
    assert [path.name for path in layout.claim_path(tmp_path, "log").parent.iterdir() if path.suffix == ".stale"] == []


def test_one_that_died_as_a_process(tmp_path):
    """A real process that has ended is gone, also while its parent has not asked for its status yet."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    from mlv.store.owners import process_start

    claimed_by(tmp_path, HERE.replace(pid=child.pid, start=process_start(child.pid)))
    assert claims.stale(tmp_path) == []

    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    assert claims.stale(tmp_path) == ["log"]
    child.communicate()
    assert claims.stale(tmp_path) == ["log"]


def test_another_boot(tmp_path):
    """A claim from before the machine was started again is taken over, whatever runs under its process ID now."""
    claimed_by(tmp_path, HERE.replace(boot="another"))
    assert claims.claim(tmp_path, "log", mine()).stream == "log"


@pytest.mark.parametrize(
    "owner",
    [
        GONE.replace(machine="another"),
        GONE.replace(machine="another", boot="another"),
        GONE.replace(pidns="pid:[1]"),
        GONE.replace(pidns=""),
    ],
)
def test_one_that_cannot_be_judged(tmp_path, owner):
    """A claim from another machine or process namespace is never taken over: a stream beside it is written."""
    claimed_by(tmp_path, owner)

    assert claims.claim(tmp_path, "log", mine()).stream == "log@rmine12345"
    assert claims.stale(tmp_path) == []


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("unshare"), reason="another process namespace needs root")
def test_a_real_process_namespace(tmp_path):
    """A process in another namespace, dead or alive, keeps its claim as seen from here."""
    source = """if True:
        import sys
        from pathlib import Path
        from mlv.store import claims
        from mlv.store.owners import Owner
        print(claims.claim(Path(sys.argv[1]), "log", claims.Claim(Owner.current(), "rinside123")).stream)
    """
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", source, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    if "unshare" in done.stderr:
        pytest.skip(f"no process namespace can be made here: {done.stderr.strip()}")
    assert done.stdout == "log\n", done.stderr

    assert claims.claim(tmp_path, "log", mine()).stream == "log@rmine12345"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"run":"r1"}', b'{"run":1,"pid":"x"}', b"\xff"])
def test_one_that_cannot_be_read(tmp_path, content):
    """What cannot be read may be somebody's: a stream beside it is written."""
    claimed_by(tmp_path, HERE).write_bytes(content)

    assert claims.claim(tmp_path, "log", mine()).stream == "log@rmine12345"
    assert claims.stale(tmp_path) == []


def test_given_back(tmp_path):
    """A stream given back can be claimed by anybody; one of somebody else is not given back."""
    claims.claim(tmp_path, "log", mine())
    claims.release(tmp_path, "log", mine("rsomebody1"))
    assert claims.read(tmp_path, "log") == mine()

    claims.release(tmp_path, "log", mine())

    assert claims.read(tmp_path, "log") is None
    assert claims.claim(tmp_path, "log", mine("rsomebody1")).stream == "log"


def test_surrendered(tmp_path):
    """A stream left unfinished is one that the next process takes over, though this one lives."""
    claims.claim(tmp_path, "log", mine())

    claims.surrender(tmp_path, "log", mine())

    assert claims.stale(tmp_path) == ["log"]
    assert claims.claim(tmp_path, "log", mine("rsomebody1")) == claims.Granted("log", was_stale=True)


def test_a_folder_that_is_gone(tmp_path):
    """A deleted experiment is not made again by its writer."""
    with pytest.raises(FileNotFoundError):
        claims.claim(tmp_path / "gone", "log", mine())
    assert not (tmp_path / "gone").exists()


def test_nothing_is_left_by_a_full_disk(tmp_path, monkeypatch):
    """A claim that cannot be written leaves neither a claim nor a file beside it."""
    monkeypatch.setattr(claims.os, "fsync", _raising(OSError(errno.ENOSPC, "full")))

    with pytest.raises(OSError, match="full"):
        claims.claim(tmp_path, "log", mine())

    assert list(layout.claim_path(tmp_path, "log").parent.iterdir()) == []


# Locks and links that do not work.


def _raising(error):
    def call(*_, **__):
        raise error

    return call


BROKEN = [
    NotImplementedError("no locks here"),
    OSError(errno.ENOLCK, "no locks"),
    OSError(errno.ENOSYS, "no locks"),
    PermissionError(errno.EACCES, "no locks"),
]


@pytest.mark.parametrize("error", BROKEN, ids=repr)
def test_locks_that_do_not_work(tmp_path, monkeypatch, error):
    """Where locks do not work, the claim of the dead is taken over all the same."""
    monkeypatch.setattr(filelock.FileLock, "acquire", _raising(error))
    claimed_by(tmp_path, GONE)

    assert claims.claim(tmp_path, "log", mine()) == claims.Granted("log", was_stale=True)


def test_a_lock_that_somebody_holds(tmp_path):
    """A lock that is never given back delays a take-over, and does not prevent it."""
    path = claimed_by(tmp_path, GONE)

    with filelock.FileLock(path.parent / ".lock"):
        assert claims.claim(tmp_path, "log", mine()) == claims.Granted("log", was_stale=True)


@pytest.mark.parametrize("is_done", [False, True])
def test_a_successor_that_died(tmp_path, is_done):
    """Who dies while taking a claim over, before or after it did, is succeeded in turn."""
    path = claimed_by(tmp_path, GONE)
    first = Claim(GONE.replace(start="2"), "rfirst1234")
    held = claims.read(tmp_path, "log")
    marker = path.with_name(f".{hashlib.sha256(held.to_bytes()).hexdigest()[:16]}.successor")
    marker.write_bytes(first.to_bytes())
    if is_done:
        path.write_bytes(first.to_bytes())

    assert claims.claim(tmp_path, "log", mine()) == claims.Granted("log", was_stale=True)


@pytest.mark.parametrize("has_locks", [True, False])
@pytest.mark.parametrize("state", ["free", "stale"])
def test_many_at_once(tmp_path, monkeypatch, has_locks, state):
    """Of many that claim at once, one gets the stream, also where locks do not work."""
    if not has_locks:
        monkeypatch.setattr(filelock.FileLock, "acquire", _raising(NotImplementedError()))
    for attempt in range(8):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        if state == "stale":
            claimed_by(folder, GONE)
        begin = threading.Barrier(8)

        def claim(number, folder=folder, begin=begin):
            begin.wait()
            return claims.claim(folder, "log", mine(f"rnumber{number}")).stream

        with ThreadPoolExecutor(8) as pool:
            streams = list(pool.map(claim, range(8)))

        assert streams.count("log") == 1
        assert len(set(streams)) == 8


@pytest.mark.parametrize("state", ["free", "stale", "living"])
def test_a_file_system_without_links(tmp_path, monkeypatch, state):
    """Where hard links do not work, exclusive creation serves."""
    monkeypatch.setattr(claims.os, "link", _raising(PermissionError(errno.EPERM, "no links")))
    if state != "free":
        claimed_by(tmp_path, GONE if state == "stale" else HERE)

    stream, run = ("log@rmine12345", "rothers123") if state == "living" else ("log", "rmine12345")
    assert claims.claim(tmp_path, "log", mine()).stream == stream
    assert json.loads(layout.claim_path(tmp_path, "log").read_bytes())["run"] == run
