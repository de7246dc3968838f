"""What `mlv recover` does with what killed processes left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import mlv
from mlv.audit.verify import verify

KILLED = """
    import os, signal, sys, mlv
    from mlv.store.owners import Owner
    from mlv.transport import frames, spool

    exp = mlv.Exp(sys.argv[1], "killed", capture=())
    exp.log({"loss": 1})
    exp.flush()
    [ring] = [ring for place in spool.find(exp.path, Owner.current()) for ring in spool.rings_in(place)]
    writer = int.from_bytes(ring.read_bytes()[frames.W_WRITER_PID * 8 :][:8], "little")
    assert writer  # 0, where it is not there yet, would stop pytest as well
    os.kill(writer, signal.SIGSTOP)
    for step in range(10):
        exp.log({"loss": step}, step=step)
    os.kill(writer, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
"""
"""A script that dies with its writer while ten events are in the ring and not in the log."""


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """An experiment whose processes were killed."""
    script = tmp_path / "killed.py"
    script.write_text(textwrap.dedent(KILLED))
    done = subprocess.run([sys.executable, script, tmp_path / "runs"], cwd=tmp_path, capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return tmp_path / "runs" / "killed"


def test_nothing_to_do(command, runs):
    """Where all is well it says so, and changes nothing."""
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}

    done = command("recover", "runs")

    assert (done.returncode, done.stdout) == (0, "nothing to finish at or below runs\n")
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == before


def test_what_it_did(command, killed):
    """Waiting events come into the log, the run gets its verdict and its seals, and all of it is told."""
    done = command("recover", "runs")

    assert (done.returncode, done.stderr) == (0, "")
    run = mlv.Exp.open(killed).runs[0]
    assert done.stdout.startswith("runs/killed: brought 10 events into log.jsonl, wrote ")
    assert f"ended run {run.id} as killed" in done.stdout
    assert run.status == "killed"
    assert verify(killed).findings == ()


def test_again(command, killed):
    """What was finished is not finished again."""
    command("recover", "runs")

    assert command("recover", "runs").stdout == "nothing to finish at or below runs\n"


def test_elsewhere(command, killed, runs):
    """What lies elsewhere is left alone."""
    assert command("recover", "runs/digits").stdout == "nothing to finish at or below runs/digits\n"
    assert verify(killed).verdict == "unproven"


def test_moved_meanwhile(command, killed, tmp_path):
    """An experiment that was moved since it was killed is found by its ID."""
    moved = killed.rename(tmp_path / "moved")

    assert command("recover", "moved").stdout.startswith("moved: brought 10 events into log.jsonl")
    assert verify(moved).findings == ()


def test_json(command, killed):
    """Each experiment that was finished is a JSON object on a line; none is none."""
    done = json.loads(command("recover", "--json", "runs").stdout)

    assert (done["path"], done["done"], done["events"], done["error"]) == ("runs/killed", True, {"log.jsonl": 10}, None)
    assert list(done["verdicts"].values()) == ["killed"]
    assert command("recover", "--json", "runs").stdout == ""


def test_a_running_one_is_left_alone(command, tmp_path):
    """A run that goes on is looked after by its writer."""
    exp = mlv.Exp(tmp_path / "runs", "exp", capture=())
    exp.log({"loss": 1})
    exp.flush()

    assert command("recover", "runs").stdout == "nothing to finish at or below runs\n"
    exp.log({"loss": 2})
    exp.close()
    assert verify(exp.path).findings == ()


def test_what_cannot_be_finished(command, killed):
    """Where the log cannot be written it is said within a deadline, the status is 1, and nothing is lost."""
    log = killed / "log.jsonl"
    aside = log.rename(killed / "aside")
    log.mkdir()

    failed = command("recover", "runs", "--timeout", "1")

    assert failed.returncode == 1
    assert failed.stdout == "runs/killed: not finished: Is a directory. Make room, or the folder writable, and run it again\n"
    log.rmdir()
    aside.rename(log)
    assert command("recover", "runs").returncode == 0
    assert verify(killed).findings == ()


def test_what_cannot_be_read(command, runs):
    """An experiment whose state cannot be read is no finished one: it is named with the reason, and the status is 1."""
    meta = runs / "digits" / "meta.json"
    meta.chmod(0o644)
    os.truncate(meta, 1 << 30)

    failed = command("recover", "runs")

    assert failed.returncode == 1
    assert failed.stdout.startswith("runs/digits: not finished: meta.json cannot be read: has more than ")
    assert failed.stdout.endswith("Give yourself the right to read it, or restore it, and run it again\n")
    assert json.loads(command("recover", "--json", "runs").stdout)["done"] is False


@pytest.mark.parametrize("timeout", ["-1", "nan", "inf", "-inf"])
def test_no_length_of_time(command, runs, timeout):
    """A time limit that is none is refused."""
    refused = command("recover", "runs", f"--timeout={timeout}")

    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == f"mlv: --timeout {timeout} is no length of time: give seconds, 0 or more\n"
