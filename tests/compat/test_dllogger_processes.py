"""`mlv.compat.dllogger` where processes are killed, forked, or have many threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from conftest import wait_until

BEGIN = """
import os, signal, threading
import mlv.compat.dllogger as DLLogger
from mlv.compat.dllogger import JSONStreamBackend, Verbosity
DLLogger.init([JSONStreamBackend(Verbosity.VERBOSE, "log.json")])
"""


def ran(folder: Path, source: str, **options: object) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text(BEGIN + textwrap.dedent(source))
    return subprocess.run([sys.executable, str(script)], cwd=folder, timeout=60, capture_output=True, text=True, **options)


def steps(folder: Path) -> list[object]:
    """The steps of all lines, each of which has to be whole; the file may be to come, or growing."""
    whole = (folder / "log.json").read_text().rpartition("\n")[0] if (folder / "log.json").exists() else ""
    return [json.loads(line.removeprefix("DLLL "))["step"] for line in whole.splitlines()]


@pytest.mark.parametrize(
    "end", ["os.kill(os.getpid(), signal.SIGTERM)", "os.kill(os.getpid(), signal.SIGKILL)", "os._exit(0)", ""]
)
def test_ends(tmp_path, end):
    """However the process ends, every record is in the file, once, and without anybody's help."""
    ran(tmp_path, f"for i in range(500): DLLogger.log(i, {{'loss': i}})\n{end}")

    wait_until(lambda: len(steps(tmp_path)) == 500)
    assert steps(tmp_path) == list(range(500))


def test_next_run_after_a_kill(tmp_path):
    """A script that was killed, and is started again, begins its file anew; one that appends goes on with it."""
    for _ in range(2):
        ran(tmp_path, "for i in range(50): DLLogger.log(i, {})\nos.kill(os.getpid(), signal.SIGKILL)")
    wait_until(lambda: steps(tmp_path) == list(range(50)))
    source = BEGIN.replace('"log.json")', '"log.json", append=True)') + "DLLogger.log(50, {})\n"
    subprocess.run([sys.executable, "-c", source], cwd=tmp_path, timeout=60, check=True, capture_output=True)

    assert steps(tmp_path) == list(range(51))


def test_threads(tmp_path):
    """Threads never tear lines."""
    done = ran(
        tmp_path,
        """
        def work(n):
            for i in range(500):
                DLLogger.log((n, i), {"text": "x" * 200})
        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        """,
    )

    assert done.returncode == 0, done.stderr
    assert sorted(steps(tmp_path)) == [[n, i] for n in range(8) for i in range(500)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_forks(tmp_path):
    """Records before a fork are not doubled by it, and those of the child are in the file, with times that go on."""
    done = ran(
        tmp_path,
        """
        DLLogger.log("before", {})
        pid = os.fork()
        DLLogger.log("child" if pid == 0 else "parent", {})
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        """,
    )

    assert done.returncode == 0, done.stderr
    wait_until(lambda: sorted(steps(tmp_path)) == ["before", "child", "parent"])
    found = [json.loads(line[5:]) for line in (tmp_path / "log.json").read_text().splitlines()]
    assert all(0 < float(line["elapsedtime"]) < 60 for line in found)


def test_two_processes_of_one_file(tmp_path):
    """Two ranks that name the same file share it: neither overwrites the other."""
    source = BEGIN + textwrap.dedent("""
        import sys, time, pathlib
        rank = int(sys.argv[1])
        DLLogger.log("first", {"rank": rank})
        pathlib.Path(f"ready{rank}").touch()
        while not pathlib.Path(f"ready{1 - rank}").exists(): time.sleep(0.01)
        for i in range(200): DLLogger.log(i, {"rank": rank})
        """)
    ranks = [subprocess.Popen([sys.executable, "-c", source, str(rank)], cwd=tmp_path) for rank in range(2)]

    assert [rank.wait(60) for rank in ranks] == [0, 0]
    wait_until(lambda: len([step for step in steps(tmp_path) if step != "first"]) == 400)
    found = [json.loads(line[5:]) for line in (tmp_path / "log.json").read_text().splitlines()]
    for rank in range(2):
        assert [line["step"] for line in found if line["data"]["rank"] == rank and line["step"] != "first"] == list(range(200))


def test_killed_output(tmp_path):
    """SIGKILL of the process that keeps the file costs nothing: each record is there once."""
    done = ran(
        tmp_path,
        """
        import psutil, time
        def followers():
            for process in psutil.process_iter():
                try:
                    if any(f.path.endswith("log.json") for f in process.open_files()) and process.pid != os.getpid():
                        yield process
                except psutil.Error:
                    pass
        for i in range(300):
            DLLogger.log(i, {})
            if i == 100:
                DLLogger.flush()
                for process in followers(): process.kill()
        """,
    )

    assert done.returncode == 0, done.stderr
    assert steps(tmp_path) == list(range(300))
