"""Processes that are kept apart."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import wait_until

from mlv.store.locks import alone_in

pytest.importorskip("fcntl", reason="the system has no locks on folders")

COUNTING = """
import sys, time
from pathlib import Path
from mlv.store.locks import alone_in
folder = Path(sys.argv[1])
for _ in range(20):
    with alone_in(folder):
        count = int((folder / "count").read_text())
        time.sleep(0.002)
        (folder / "count").write_text(str(count + 1))
"""

HOLDING = """
import sys, time
from pathlib import Path
from mlv.store.locks import alone_in
folder = Path(sys.argv[1])
with alone_in(folder):
    (folder / "held").touch()
    time.sleep(60)
"""


def test_one_process_after_the_other(tmp_path):
    """What is read and written within the block is not changed by another process in between."""
    (tmp_path / "count").write_text("0")

    processes = [subprocess.Popen([sys.executable, "-c", COUNTING, str(tmp_path)]) for _ in range(3)]

    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "60"
    assert [path.name for path in tmp_path.iterdir()] == ["count"]


def test_who_does_not_come_to_an_end(tmp_path):
    """A process that hangs in the block does not hold up the others for ever, and one that is killed not at all."""
    process = subprocess.Popen([sys.executable, "-c", HOLDING, str(tmp_path)])
    wait_until((tmp_path / "held").exists)

    with alone_in(tmp_path, within_s=0.05):
        process.kill()
        process.wait(60)
    with alone_in(tmp_path):
        assert True


def test_within_itself(tmp_path):
    """A signal handler that interrupts the block may enter it as well, also where the folder is gone."""
    with alone_in(tmp_path), alone_in(tmp_path), alone_in(Path(tmp_path / "gone")):
        assert True


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(tmp_path, monkeypatch, number):
    """Where the system has no locks on folders, nobody is kept out, and nothing fails."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)

    with alone_in(tmp_path):
        assert True
