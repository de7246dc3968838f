"""Every status that an experiment can have, each shown with a real process; none is running for ever."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from conftest import wait_until

import mlv
from mlv.events import STATUSES
from mlv.query.runs import latest_status
from mlv.state import LOST_AFTER
from mlv.store.reading import read_state

SCRIPT = """
import mlv, os, sys, time
exp = mlv.Exp("runs", "exp", capture=())
exp.log({"a": 1})
print("ready", flush=True)
"""
WAIT = "while True:\n    time.sleep(0.01)\n"
ENDINGS = {
    "ok": ("", None),
    "failed": ("raise ValueError('no')", None),
    "interrupted": (WAIT, signal.SIGINT),
    "preempted": (WAIT, signal.SIGTERM),
    "killed": (WAIT, signal.SIGKILL),
    "ended": ("raise SystemExit(3)", None),
}


def begun(folder: Path, rest: str) -> subprocess.Popen[bytes]:
    path = folder / "script.py"
    path.write_text(SCRIPT + rest)
    process = subprocess.Popen([sys.executable, str(path)], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def ended(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate(timeout=60)


def status_in(folder: Path, after: timedelta = timedelta(0)) -> str:
    """The status, as a reader sees it who looks after some time."""
    exp = folder / "runs" / "exp"
    created = json.loads((exp / "meta.json").read_bytes())["created"]
    return latest_status(read_state(exp), created, datetime.now(timezone.utc) + after)


def elsewhere(folder: Path) -> None:
    """Make the log that of a process on a machine that cannot be judged from here."""
    path = folder / "runs" / "exp" / "log.jsonl"
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    lines[0]["data"]["process"]["machine"] = "elsewhere"
    path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))


@pytest.mark.parametrize("status", ENDINGS)
def test_ended(tmp_path, status):
    """How a process ends is the status of its run, and stays it."""
    rest, number = ENDINGS[status]
    process = begun(tmp_path, rest)
    if number is not None:
        process.send_signal(number)
    process.communicate(timeout=60)

    wait_until(lambda: status_in(tmp_path) != "running")
    assert status_in(tmp_path) == status_in(tmp_path, timedelta(days=9)) == status
    assert mlv.Exp.open(tmp_path / "runs" / "exp").status == status


def test_running(tmp_path):
    """A run whose process is there is running."""
    process = begun(tmp_path, WAIT)
    try:
        wait_until(lambda: (tmp_path / "runs" / "exp" / "log.jsonl").exists())

        assert status_in(tmp_path) == "running"
    finally:
        ended(process)


def test_all_are_shown():
    """These, running and lost are all there are."""
    assert {*ENDINGS, "running", "lost"} == set(STATUSES)


def test_killed_with_its_writer(tmp_path):
    """Where nobody was left to say a word, whoever looks on that machine sees that the process is gone."""
    process = begun(
        tmp_path, "import psutil\n[child.kill() for child in psutil.Process().children()]\nos.kill(os.getpid(), 9)\n"
    )
    process.communicate(timeout=60)

    wait_until(lambda: status_in(tmp_path) == "killed")


def test_lost_and_found(tmp_path):
    """Of a machine that is silent for five minutes a run is lost; what its process says next revokes that."""
    (tmp_path / "go").touch()
    process = begun(tmp_path, "while os.path.exists('go'):\n    time.sleep(0.01)\nexp.log({'b': 1})\nexp.flush()\n" + WAIT)
    try:
        log = tmp_path / "runs" / "exp" / "log.jsonl"
        wait_until(lambda: log.exists() and log.read_bytes().count(b"\n") == 2)
        whole = log.read_bytes()
        elsewhere(tmp_path)
        assert status_in(tmp_path) == "running"
        assert status_in(tmp_path, LOST_AFTER + timedelta(seconds=5)) == "lost"

        log.write_bytes(whole)
        (tmp_path / "go").unlink()
        wait_until(lambda: log.read_bytes().count(b"\n") == 3)
        elsewhere(tmp_path)
        assert status_in(tmp_path, LOST_AFTER - timedelta(seconds=60)) == "running"
    finally:
        ended(process)


@pytest.mark.parametrize("rest", ["os._exit(3)", "import faulthandler\nfaulthandler._sigsegv()", "os.abort()"])
def test_without_a_word(tmp_path, rest):
    """A process that ends without a word, however it does, was killed."""
    begun(tmp_path, rest).communicate(timeout=60)

    wait_until(lambda: status_in(tmp_path) == "killed")


def test_before_the_first_line(tmp_path):
    """An experiment whose process died between meta.json and its first event is lost in the end."""
    exp = mlv.Exp(tmp_path / "runs", "exp", capture=())
    exp.close()
    for path in exp.path.glob("*.jsonl"):
        os.unlink(path)

    assert status_in(tmp_path) == "running"
    assert status_in(tmp_path, LOST_AFTER + timedelta(seconds=5)) == "lost"
