"""Reading of experiments in several processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from logs import line

from mlv.query.digest import Depth
from mlv.web import index, processes
from mlv.web.index import PageIndex
from mlv.web.limits import LIMITS
from mlv.web.processes import Processes
from mlv.web.rows import IndexRow

META = '{"format":1,"name":"%s","created":"2026-01-01T00:00:00.000000Z","params":{"seed":%d}}'
SLOWLY = "workers.serve(processes.answer(lambda folder: __import__('time').sleep(0.1) or rows.read(folder)))"
SERVING = "workers.serve(processes.answer(rows.read))"


@pytest.fixture
def root(tmp_path) -> Path:
    """A folder with forty experiments, one of which is broken, and a copy of one."""
    for number in range(40):
        folder = tmp_path / "runs" / f"exp_{number}"
        folder.mkdir(parents=True)
        (folder / "meta.json").write_text(META % (folder.name, number))
        run = f"r{number}"
        lines = [line(run, 1, "run_started", data={}), line(run, 3, "run_ended", data={"status": "ok"})]
        (folder / "log.jsonl").write_bytes(lines[0] + line(run, 2, "metrics", step=1, data={"loss": 1.5}) + lines[1])
    (tmp_path / "runs" / "exp_3" / "meta.json").write_text("{")
    (tmp_path / "runs" / "exp_8" / "meta.json").write_text(META % ("exp_7", 7))
    return tmp_path / "runs"


@pytest.fixture
def always(monkeypatch) -> None:
    """Let every index be read in two processes."""
    monkeypatch.setattr(LIMITS, "processes_bytes", 0)
    monkeypatch.setattr(processes, "CORES", 2)


def ended_by(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace what a process does."""
    monkeypatch.setattr(processes, "PROGRAM", processes.PROGRAM.replace(SERVING, program))


def rows(page: PageIndex) -> dict[str, tuple[object, ...]]:
    return {
        row.digest.name: (row.status, row.stamp, row.depth, dict(row.digest.params), dict(row.digest.metrics))
        for row in page.rows()
    }


def test_rows_are_those_of_one_process(root, monkeypatch):
    """What other processes read is what this one reads, also of broken experiments and of copies; then they are gone."""
    one, several = PageIndex(root), PageIndex(root)
    one.refresh()
    monkeypatch.setattr(LIMITS, "processes_bytes", 0)
    monkeypatch.setattr(processes, "CORES", 2)
    monkeypatch.setattr("mlv.web.index.read_row", _only_names())
    before = set(psutil.Process().children())
    several.refresh()

    assert rows(several) == rows(one)
    assert len(rows(one)) == 39
    assert set(psutil.Process().children()) <= before
    assert several.waiting is None


def _only_names() -> Callable[..., IndexRow]:
    """Return the function that reads names, which fails where it is asked for more."""
    real = index.read_row

    def read(folder: Path, depth: Depth, stamp: object) -> IndexRow:
        assert depth == Depth.SETTINGS, f"{folder} was read here"
        return real(folder, depth, stamp)

    return read


@pytest.mark.parametrize(
    "program",
    [
        "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
        "count = [0]; workers.serve(processes.answer(lambda folder: count.append(0) or (len(count) > 4 and "
        "__import__('os')._exit(1)) or rows.read(folder)))",
        "import sys; sys.stdout.write('no greeting')",
        "workers.serve(lambda path: processes.pickled(None))",
        "import sys; print('something', flush=True); workers.serve(processes.answer(rows.read))",
        "workers.serve(processes.answer(lambda folder: print('between', flush=True) or rows.read(folder)))",
        "no python",
    ],
)
def test_processes_that_end_or_babble(root, always, monkeypatch, program):
    """Experiments of a process that is killed, fails, or answers with anything else, are read all the same."""
    one = PageIndex(root)
    monkeypatch.setattr(processes, "CORES", 1)
    one.refresh()
    monkeypatch.setattr(processes, "CORES", 2)
    ended_by(program, monkeypatch)
    page = PageIndex(root)
    page.refresh()

    assert rows(page) == rows(one)


def test_interpreter_that_cannot_be_started(root, always, monkeypatch):
    """Where no process can be started, everything is read in this one."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    page = PageIndex(root)
    page.refresh()

    assert len(rows(page)) == 39


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nobody_is_left_behind(root, number):
    """When the server is killed or interrupted in the middle of reading, its processes end as well."""
    program = textwrap.dedent(f"""
        from pathlib import Path
        from mlv.web import processes
        from mlv.web.index import PageIndex
        from mlv.web.limits import LIMITS
        LIMITS.processes_bytes, processes.CORES = 0, 2
        processes.PROGRAM = processes.PROGRAM.replace({SERVING!r}, {SLOWLY!r})
        PageIndex(Path({str(root)!r})).refresh()
    """)
    server = subprocess.Popen([sys.executable, "-c", program], start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: len(psutil.Process(server.pid).children()) == 2)
        readers = psutil.Process(server.pid).children()
        # Ctrl-C reaches all processes of a terminal.
        os.killpg(server.pid, number) if number == signal.SIGINT else server.send_signal(number)
        server.wait(20)
        wait_for(lambda: not any(reader.is_running() and reader.status() != psutil.STATUS_ZOMBIE for reader in readers))
    finally:
        server.kill()
        server.wait()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_the_folder_that_hangs_is_named(root, always, monkeypatch):
    """While a process waits for a disk, the folder that it waits for is the one that the page names."""
    stuck, go = root / "exp_5", root / "go"
    program = f"""
import os, time
def read(folder):
    while folder.name == {stuck.name!r} and not os.path.exists({str(go)!r}):
        time.sleep(0.01)
    return rows.read(folder)
workers.serve(processes.answer(read))"""
    ended_by(program, monkeypatch)
    monkeypatch.setattr(LIMITS, "naming_s", 0.3)
    page = PageIndex(root)
    page.refresh_soon(0)
    wait_for(lambda: (page.waiting or {}).get("folder") == str(stuck))
    answer = page.news("", 0)  # names are there before all numbers
    assert (answer["n"], answer["complete"]) == (39, False)
    go.touch()
    wait_for(lambda: page.is_complete)

    assert page.waiting is None
    assert len(rows(page)) == 39


def test_few_and_short_logs_are_read_here(monkeypatch):
    """Processes are started only where they save time, and only where there are several cores."""
    monkeypatch.setattr(processes, "CORES", 4)

    assert processes.worth([1000] * 100) == 0
    assert processes.worth([150_000] * 10_000) == 4
    assert processes.worth([10_000_000] * 10) == 4
    monkeypatch.setattr(processes, "CORES", 1)
    assert processes.worth([150_000] * 10_000) == 0


def test_rows_that_cannot_be_sent(tmp_path):
    """Params that are nested too deeply to be sent are read by the one who asked."""
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]

    assert processes.pickled(deep) == processes.pickled(None)
    while isinstance(deep, list):  # freed at once it would recurse as deeply
        deep = deep[0]


def test_nothing_to_read():
    """Without experiments nothing remains."""
    assert Processes(2, [], lambda folder, row: None, {}).run() == []
