"""Full disks and full spools, on real small file systems."""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import wait_until

import mlv
from mlv.audit.verify import verify
from mlv.transport.ring import Ring

EVENTS = 6000
FILLER = "x" * 100


def test_full_disk(small_disk):
    """Training goes on while the disk is full, with one warning; when there is space again, every event arrives."""
    ballast = small_disk / "ballast"
    exp = mlv.Exp(small_disk, "full", capture=())
    assert exp.flush()
    ballast.write_bytes(bytes(free_bytes(small_disk) - 100 * 1024))

    with pytest.warns(mlv.WritingStalled, match="No space left on device") as warned:
        count = train(exp, until=lambda: len(warned))
    ballast.unlink()
    remount_larger(small_disk)
    exp.close()

    assert sum("No space left" in str(warning.message) for warning in warned) == 1
    assert [event.data["number"] for event in exp.events("metrics")] == list(range(count))
    assert verify(exp.path).verdict == "intact"


def test_disk_full_at_the_end(small_disk, python):
    """Where the disk is full when the process ends, the writer stays, and finishes when there is space."""
    script = """
        import os, sys, mlv
        from pathlib import Path
        disk = Path(sys.argv[1])
        exp = mlv.Exp(disk, "end", capture=())
        exp.flush()
        status = os.statvfs(disk)
        (disk / "ballast").write_bytes(bytes(status.f_bavail * status.f_frsize))
        for number in range(1000):
            exp.log({"number": number, "filler": "x" * 100}, step=number)
        os.kill(os.getpid(), 9)
        """
    python(script, small_disk)
    folder = small_disk / "end"
    (small_disk / "ballast").unlink()

    wait_until(lambda: b'"type":"seal"' in (folder / "log.jsonl").read_bytes())

    exp = mlv.Exp.open(folder)
    assert [event.data["number"] for event in exp.events("metrics")] == list(range(1000))
    assert exp.status == "killed"


def test_full_spool(small_disk, tmp_path, monkeypatch):
    """A spool smaller than a ring is passed over: the ring lies in the next place, and nothing is lost."""
    monkeypatch.setenv("MLV_SPOOL", str(small_disk))

    with mlv.Exp(tmp_path, "spooled", capture=()) as exp:
        for number in range(EVENTS):
            exp.log({"number": number}, step=number)
        assert isinstance(exp.log._session.channel, Ring)

    assert [event.data["number"] for event in exp.events("metrics")] == list(range(EVENTS))
    assert verify(exp.path).verdict == "intact"


def train(exp: mlv.Exp, until: Callable[[], object]) -> int:
    """Log many events, and on until something is so: a loop looks after its writer once a second. Gives their number."""
    for number in itertools.count(1):
        exp.log({"number": number - 1, "filler": FILLER}, step=number)
        if number >= EVENTS and until():
            return number
        if number >= EVENTS:
            time.sleep(0.02)
    raise AssertionError


def free_bytes(folder: Path) -> int:
    """Bytes that can still be written."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def remount_larger(folder: Path) -> None:
    """Give the file system room for all events."""
    subprocess.run(["mount", "-o", "remount,size=8m", str(folder)], check=True)
