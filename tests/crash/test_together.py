"""Several processes and runs in one experiment: one writer at a time, none while there is work and nobody to do it."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from conftest import wait_until
from contracts.evidence import assert_complete, events, files, payloads, raw_lines

import mlv
from crash.victims import is_there, writer_at_work
from mlv.audit.verify import verify
from mlv.encoding import DATA, head
from mlv.errors import WritingStalled
from mlv.transport import channels
from mlv.transport.ring import Ring

pytestmark = pytest.mark.crash


def one_run(folder, run, count=3):
    """A short run; a ring that is left alone is not written in time."""
    channel = channels.open_channel(folder, "id", run, None)
    assert isinstance(channel, Ring)
    channel.add_cursor(0, ("log", head("metrics", "")))
    for i in range(count):
        channel.put(0, DATA, 0, b'{"i":%d}' % i)
    assert channel.close(20)


def test_runs_that_begin_while_the_writer_leaves(tmp_path):
    """A run that begins just when the last writer leaves gets another one: no ring is ever left alone."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for number in range(60):
        one_run(tmp_path, f"rshort{number:04}")
        time.sleep(chance.random() * 0.01)

    assert [payloads(tmp_path, f"rshort{number:04}") for number in range(60)] == [[0, 1, 2]] * 60
    wait_until(lambda: not any((tmp_path / ".mlv" / "claims").glob("*.json")))
    assert [path.name for path in files(tmp_path)] == ["log.jsonl"]
    assert_complete(tmp_path)


def test_runs_that_begin_and_end_beside_each_other(tmp_path):
    """Runs of several threads overlap at random: one writer serves them all, and hands over when it leaves."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    ended = []

    def go_on(thread):
        chance = random.Random(f"{seed} {thread}")
        for number in range(25):
            one_run(tmp_path, f"rbeside{thread}{number:02}", chance.randrange(1, 50))
            ended.append(number)
            time.sleep(chance.random() * 0.05)

    threads = [threading.Thread(target=go_on, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(ended) == 100
    wait_until(lambda: not any((tmp_path / ".mlv" / "claims").glob("*.json")))
    assert [path.name for path in files(tmp_path)] == ["log.jsonl"]
    assert_complete(tmp_path)


RUN = """
import os, sys, mlv
savedir, ending = sys.argv[1:3]
exp = mlv.Exp(savedir, "exp", on_exists="open", capture=())
for i in range(300):
    exp.log({"i": i})
    exp.logger("val")({"i": 1000 + i})
if ending == "vanishes":
    os._exit(0)
if ending == "killed":
    os.kill(os.getpid(), 9)
exp.close()
"""


def test_processes_that_open_one_experiment_at_once(tmp_path):
    """Processes that make or open the same experiment at once write one run each, through one writer, into the same files."""
    endings = ["closes", "vanishes", "killed"] * 4
    processes = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", RUN, str(tmp_path), ending], stderr=subprocess.DEVNULL)
        for ending in endings
    ]
    codes = [process.wait(60) for process in processes]
    assert codes == [0, 0, -signal.SIGKILL] * 4

    folder = tmp_path / "exp"
    exp = mlv.Exp.open(folder)
    wait_until(lambda: all(_is_sealed(path) for path in files(folder)))
    assert sorted(run.status for run in exp.runs) == ["killed"] * 8 + ["ok"] * 4
    for run in exp.runs:
        assert payloads(folder, run.id, stream="log") == list(range(300))
        assert payloads(folder, run.id, stream="val") == list(range(1000, 1300))
    assert_complete(folder)
    assert verify(folder).verdict == "intact"
    assert [path.name for path in files(folder)] == ["log.jsonl", "val.log.jsonl"]


def test_processes_that_open_a_crashed_experiment_at_once(tmp_path):
    """What a killed process and its writer left is brought in once, however many come at once."""
    with subprocess.Popen([sys.executable, "-c", RUN.replace("exp.close()", "input()"), str(tmp_path), ""], **PIPES) as first:
        folder = tmp_path / "exp"
        wait_until((folder / "val.log.jsonl").exists)
        for pid in (writer_at_work(folder), first.pid):
            subprocess.run(["kill", "-9", str(pid)], check=True)
    ask = "import sys, mlv; print(mlv.Exp.open(sys.argv[1]).status)"
    command = [sys.executable, "-W", "error", "-c", ask, str(folder)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(10)]

    assert [process.communicate(timeout=60)[0] for process in processes] == ["killed\n"] * 10

    assert_complete(folder)
    assert [path.name for path in files(folder)] == ["log.jsonl", "val.log.jsonl"]
    [run] = mlv.Exp.open(folder).runs
    found = payloads(folder, run.id, stream="log")
    assert found == list(range(len(found)))


PIPES = {"stdin": subprocess.PIPE, "stderr": subprocess.DEVNULL}


# A folder that goes away.


@pytest.mark.filterwarnings("ignore:the events of run rdeleted12 wait in memory")  # said first, where the machine is busy
def test_an_experiment_that_is_deleted_while_it_runs(tmp_path):
    """Training goes on without its folder, closing does not hang, and the writer goes away soon afterwards."""
    folder = tmp_path / "exp"
    folder.mkdir()
    channel = channels.open_channel(folder, "id", "rdeleted12", None)
    for index, stream in enumerate(("log", "val")):
        channel.add_cursor(index, (stream, head("metrics", "")))
    channel.put(0, DATA, 0, b'{"i":0}')
    assert channel.flush(20)
    writer = writer_at_work(folder)
    shutil.rmtree(folder)

    with pytest.warns(WritingStalled, match="removed or replaced"):
        assert not _logs_on_and_closes(channel)

    assert not folder.exists()
    wait_until(lambda: not is_there(writer), 30)
    assert not list(channel._spool.parent.glob("*"))


def _logs_on_and_closes(channel):
    channel.put(0, DATA, 0, b'{"i":1}')
    channel.flush(20)  # into the file that has no name any more, unless the writer has seen that already
    channel.put(1, DATA, 0, b'{"i":2}')
    return channel.close(20)


def test_an_experiment_that_is_moved_while_it_runs(tmp_path):
    """All goes on at the new place, also in streams that were not open before."""
    source = """if True:
        import os, sys, mlv
        exp = mlv.Exp(sys.argv[1], "exp", capture=())
        exp.log({"i": 0})
        exp.flush()
        os.rename(exp.path, sys.argv[2])
        for i in range(1, 100):
            exp.log({"i": i})
        print(exp.flush(), flush=True)
        exp.logger("val")({"i": 100})
        os._exit(0)
    """
    moved = tmp_path / "moved"
    command = [sys.executable, "-c", source, str(tmp_path / "runs"), str(moved)]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60).stdout == "True\n"
    [run] = {event["run"] for event in events(moved) if event["type"] == "run_started"}
    assert payloads(moved, run) == list(range(100))

    command = [sys.executable, "-m", "mlv", "recover", str(tmp_path)]
    wait_until(lambda: _recovers(command) and all(_is_sealed(path) for path in files(moved)))

    assert payloads(moved, run) == list(range(101))
    assert_complete(moved)


def _is_sealed(path):
    return b'"type":"seal"' in raw_lines(path)[-1]


def _recovers(command):
    return subprocess.run(command, capture_output=True, timeout=60).returncode == 0
