"""`mlv.compat.helios` where processes are killed, forked, or are ranks of one training."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_until

pytest.importorskip("tensorboardX")
pytest.importorskip("tensorboard")

BEGIN = """
import os, pathlib, signal, sys, threading, time, warnings
from mlv.compat.helios.core import logging
logging.create_default_loggers()
logging.setup_default_loggers("myrun", pathlib.Path("logs"), pathlib.Path("runs"))
root, writer = logging.get_root_logger(), logging.get_tensorboard_writer()
"""


def script(folder: Path, source: str) -> list[str]:
    path = folder / "script.py"
    path.write_text(BEGIN + textwrap.dedent(source))
    return [sys.executable, str(path)]


def ran(folder: Path, source: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(script(folder, source), cwd=folder, timeout=60, capture_output=True, text=True)


def messages(folder: Path, pattern: str = "*.log") -> list[str]:
    """Messages of the only file, which may be to come, or growing; each line that has an end has to be whole."""
    paths = list((folder / "logs").glob(pattern))
    assert len(paths) < 2
    whole = "".join(path.read_text().rpartition("\n")[0] for path in paths)
    return [re.fullmatch(r"\[[-\d]{10} [:\d]{8},\d{3}\] \[\w+\]: (.*)", line)[1] for line in whole.splitlines()]


def scalars(folder: Path) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    runs = list((folder / "runs").glob("*"))
    assert len(runs) < 2
    if not runs:
        return []
    found: Any = EventAccumulator(str(runs[0]), size_guidance={"scalars": 0})
    found.Reload()
    return [(event.step, event.value) for event in found.Scalars("loss")] if "loss" in found.Tags()["scalars"] else []


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGTERM)", "os.kill(os.getpid(), signal.SIGKILL)", "os._exit(0)"])
def test_ends(tmp_path, end):
    """However the process ends, every message and every scalar is in the files, once."""
    ran(tmp_path, f"for i in range(200):\n    root.info(str(i)); writer.add_scalar('loss', i, i)\n{end}")

    wait_until(lambda: len(messages(tmp_path)) == 200 and len(scalars(tmp_path)) == 200)
    assert messages(tmp_path) == [str(i) for i in range(200)]
    assert scalars(tmp_path) == [(i, float(i)) for i in range(200)]


def test_threads(tmp_path):
    """Threads never tear lines."""
    done = ran(
        tmp_path,
        """
        def work(n):
            for i in range(200): root.info(f"{n} {i}")
        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        """,
    )

    assert done.returncode == 0, done.stderr
    assert sorted(messages(tmp_path)) == sorted(f"{n} {i}" for n in range(8) for i in range(200))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_forks(tmp_path):
    """What was logged before a fork is not doubled by it, and what the child logs is there."""
    done = ran(
        tmp_path,
        """
        root.info("before"); writer.add_scalar("loss", 0, 0)
        pid = os.fork()
        root.info("child" if pid == 0 else "parent"); writer.add_scalar("loss", 1, 1 if pid == 0 else 2)
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        """,
    )

    assert done.returncode == 0, done.stderr
    wait_until(lambda: sorted(messages(tmp_path)) == ["before", "child", "parent"])
    wait_until(lambda: sorted(scalars(tmp_path)) == [(0, 0.0), (1, 1.0), (2, 1.0)])


def test_ranks(tmp_path):
    """Ranks that run at the same time never overwrite each other: one has the run's files, the others their own."""
    command = script(tmp_path, 'for i in range(100): root.info(f"info {i}"); root.error(f"error {i}"); time.sleep(0.001)\n')
    ranks = [
        subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "RANK": str(rank)}, stderr=subprocess.DEVNULL)
        for rank in range(3)
    ]

    assert [rank.wait(60) for rank in ranks] == [0, 0, 0]
    assert len(list((tmp_path / "logs").glob("*.log"))) == 3
    assert messages(tmp_path, "*[0-9][0-9].log") == [f"{kind} {i}" for i in range(100) for kind in ("info", "error")]
    for rank in (1, 2):
        assert messages(tmp_path, f"*_rank{rank}.log") == [f"error {i}" for i in range(100)]


def test_runs_of_one_second(tmp_path):
    """Runs that begin in the same second have files of their own."""
    command = script(tmp_path, "root.info('hello')")
    runs = [subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) for _ in range(4)]

    assert [run.wait(60) for run in runs] == [0, 0, 0, 0]
    files = list((tmp_path / "logs").glob("*.log"))
    assert len(files) == 4
    assert all(path.read_text().endswith("[INFO]: hello\n") for path in files)


def test_console_that_is_closed(tmp_path):
    """A stderr that nobody reads, and a value whose text cannot be had, cost nothing but themselves."""
    done = ran(
        tmp_path,
        """
        os.close(2)
        class Bad:
            def __str__(self): raise ValueError
        root.error("first")
        root.error(Bad())
        root.info("last")
        """,
    )

    assert done.returncode in (0, 120)  # Python's own word for a stderr that could not be flushed
    assert [messages(tmp_path)[0], messages(tmp_path)[-1]] == ["first", "last"]
