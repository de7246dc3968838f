"""What `flush()` promises, shown by the system calls of the writer."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import wait_until

import mlv
from crash.victims import writer_at_work


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_lines_are_fsynced_when_flush_returns(tmp_path):
    """When `flush()` returns, the writer has called fsync on the stream after the last of its lines was written."""
    exp = mlv.Exp(tmp_path, "flushed", capture=())
    exp.flush()
    trace = tmp_path / "trace"
    strace = traced(writer_at_work(exp.path), trace)

    exp.log("marker", {"text": "the last line"})
    assert exp.flush()
    returned_at = time.time()
    strace.send_signal(signal.SIGINT)
    strace.wait(60)
    exp.close()

    log = rf"\(\d+<{re.escape(str(exp.path))}/log.jsonl>"
    written = call(trace, rf"write{log}.*marker")
    synced = [moment for moment in calls(trace, rf"f(data)?sync{log}") if moment > written]
    assert synced
    assert synced[0] < returned_at


def traced(pid: int, trace: Path) -> subprocess.Popen[bytes]:
    """strace on the writer, once it is attached."""
    what = "trace=write,fsync,fdatasync"
    command = ["strace", "-f", "-y", "-s", "4096", "-ttt", "-e", what, "-p", str(pid), "-o", str(trace)]
    said = trace.with_suffix(".err")
    with open(said, "wb") as stderr:
        process = subprocess.Popen(command, stderr=stderr)
    wait_until(lambda: said.stat().st_size)
    if b"attached" not in said.read_bytes():
        process.wait(60)
        pytest.skip(f"strace may not trace here: {said.read_text()}")
    return process


def calls(trace: Path, pattern: str) -> list[float]:
    """When the calls were made that a pattern describes, in seconds since the epoch."""
    lines = trace.read_text("utf-8", "replace").splitlines()
    return [float(line.split()[1]) for line in lines if re.search(pattern, line)]


def call(trace: Path, pattern: str) -> float:
    """When the only such call was made."""
    [moment] = calls(trace, pattern)
    return moment
