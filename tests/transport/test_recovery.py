"""What killed processes left is finished by whoever comes, and what lives is left to itself."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from conftest import fork, wait_until
from contracts.evidence import assert_complete, events, files, lines, payloads
from store.faults import Faulty

import mlv
from mlv.store import claims, layout
from mlv.store.claims import Claim
from mlv.store.owners import Owner, process_start
from mlv.transport import frames as f
from mlv.transport import recovery, spool
from mlv.transport.source import Source
from transport.rig import GONE, HERE, Rig
from transport.test_writer import STATUSES, killer, two_runs


def test_recover(tmp_path):
    """Rings of the dead are drained, verdicts and seals given, spools removed."""
    rig = two_runs(tmp_path / "exp")
    assert recovery.needs_recovery(rig.folder)

    assert recovery.recover(rig.folder, 20)

    rig.assert_all_there(STATUSES)
    assert not recovery.needs_recovery(rig.folder)
    assert claims.stale(rig.folder) == []


def test_recover_after_a_dead_writer(tmp_path):
    """What the dead writer had appended is neither doubled nor left without a seal, its own lines included."""
    for at in range(0, 20, 3):
        rig = two_runs(tmp_path / str(at))
        assert rig.serve(Faulty(killer(at, half=True))) == -signal.SIGKILL

        assert recovery.recover(rig.folder, 20)

        rig.assert_all_there(STATUSES)


def test_nothing_to_recover(tmp_path):
    """Recovering what is complete changes nothing."""
    rig = two_runs(tmp_path / "exp")
    assert rig.serve() == 0
    before = {path: path.read_bytes() for path in files(rig.folder)}

    assert not recovery.needs_recovery(rig.folder)
    assert recovery.recover(rig.folder)

    assert {path: path.read_bytes() for path in files(rig.folder)} == before


def test_many_at_once(tmp_path):
    """Several that recover the same experiment at once do it once."""
    rig = two_runs(tmp_path / "exp")
    assert rig.serve(Faulty(killer(9, half=False))) == -signal.SIGKILL
    tasks = [subprocess.Popen([sys.executable, "-c", RECOVER, str(rig.folder)], cwd=tmp_path) for _ in range(8)]

    assert [task.wait(60) for task in tasks] == [0] * 8

    rig.assert_all_there(STATUSES)
    assert sorted(path.name for path in files(rig.folder)) == ["log.jsonl", "val.log.jsonl"]


RECOVER = """
import sys
from pathlib import Path
from mlv.transport import recovery
sys.exit(not recovery.recover(Path(sys.argv[1])))
"""


# Beside those that live.


@pytest.fixture
def living():
    """A process that does nothing, and lives."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield HERE.replace(pid=process.pid, start=process_start(process.pid))
    process.communicate()


def test_beside_a_run_that_goes_on(tmp_path, living):
    """The rings of the dead are finished at once; that of the living gets a writer that stays with it."""
    rig = two_runs(tmp_path / "exp")
    goes_on = rig.ring("rgoeson123", living)
    rig.log(goes_on, 5)

    assert recovery.recover(rig.folder, 20)

    for run in STATUSES:
        assert payloads(rig.folder, run) == rig.logged[run]
    assert goes_on._watch.writer_is_alive()
    assert goes_on._words[f.W_WRITER_PID] != os.getpid()
    rig.log(goes_on, 5)
    assert goes_on.drain(10)
    rig.end(goes_on)
    wait_until(lambda: not rig.place.exists())
    rig.assert_all_there({**STATUSES, "rgoeson123": "ok"})


def test_a_run_that_begins_in_the_middle(tmp_path, living):
    """A process that drains what the dead left does not become the writer of a run that begins meanwhile."""
    rig = two_runs(tmp_path / "exp")
    hold = Source(rig.place / "rkilled123.ring")  # keeps it from finishing

    began = threading.Timer(0.3, lambda: rig.log(rig.ring("rgoeson123", living), 5))
    released = threading.Timer(0.6, hold.close)
    began.start()
    released.start()
    assert recovery.recover(rig.folder, 20)

    assert payloads(rig.folder, "rkilled123") == rig.logged["rkilled123"]
    ring = rig.place / "rgoeson123.ring"
    writer = int.from_bytes(ring.read_bytes()[8 * f.W_WRITER_PID :][:8], "little")
    assert writer not in (0, os.getpid())
    os.kill(writer, signal.SIGKILL)


def test_a_writer_at_work(tmp_path, living):
    """Where a living writer is still busy with what the dead left, the recovery waits for it."""
    rig = two_runs(tmp_path / "exp")
    pid = fork(lambda: rig.serve_here(Faulty(lambda call, name: time.sleep(0.02))))
    wait_until(lambda: lines(rig.folder))

    assert recovery.needs_recovery(rig.folder)
    assert recovery.recover(rig.folder, 20)

    for run in STATUSES:
        assert payloads(rig.folder, run) == rig.logged[run]
    os.waitpid(pid, 0)
    rig.assert_all_there(STATUSES)


def test_a_writer_that_is_held_up(tmp_path, monkeypatch):
    """A reader does not wait for a writer that lives and cannot write."""
    rig = Rig(tmp_path / "exp")
    channel = rig.ring("rkilled123", GONE)
    channel._words[f.W_WRITER_PID], channel._words[f.W_WRITER_START] = HERE.pid, int(HERE.start)
    assert recovery.needs_recovery(rig.folder)
    channel._words[f.W_ERRNO] = 28
    assert not recovery.needs_recovery(rig.folder)


# Where it cannot be done.


def test_a_deadline(tmp_path):
    """A folder that refuses ends the attempt at its deadline, and leaves everything to the next one."""
    rig = two_runs(tmp_path / "exp")
    (rig.folder / "val.log.jsonl").mkdir()
    began = time.monotonic()

    assert not recovery.recover(rig.folder, 0.5)

    assert time.monotonic() - began >= 0.4
    (rig.folder / "val.log.jsonl").rmdir()
    assert recovery.recover(rig.folder, 20)
    rig.assert_all_there(STATUSES)


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("mount"), reason="needs the right to mount")
def test_a_folder_that_may_only_be_read(tmp_path):
    """An experiment on a read-only file system can be read; what waits for it goes on waiting."""
    rig = two_runs(tmp_path / "exp")
    bind = ["mount", "--bind", str(rig.folder), str(rig.folder)]
    if subprocess.run(bind, capture_output=True).returncode:
        pytest.skip("may not mount here")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(rig.folder)], check=True)
        assert not recovery.recover(rig.folder, 0.5)
    finally:
        subprocess.run(["umount", str(rig.folder)], check=True)

    assert recovery.recover(rig.folder, 20)
    rig.assert_all_there(STATUSES)


def test_streams_that_others_left(tmp_path):
    """Runs that had no ring, and whose process died, get their verdicts and seals too."""
    folder = tmp_path / "exp"
    exp = _killed_inline(folder)
    assert recovery.needs_recovery(exp)

    assert recovery.recover(exp, 20)

    assert_complete(exp)
    [ended] = [event for event in events(exp) if event["type"] == "run_ended"]
    assert ended["data"]["status"] == "killed"
    assert mlv.Exp.open(exp).status == "killed"


def _killed_inline(savedir):
    source = """if True:
        import os, sys, mlv
        exp = mlv.Exp(sys.argv[1], "exp", capture=())
        for i in range(100):
            exp.log({"i": i})
            exp.logger("val")({"i": i})
        os.kill(os.getpid(), 9)
    """
    subprocess.run([sys.executable, "-c", source, str(savedir)], env={**os.environ, "MLV_INLINE": "1"}, capture_output=True)
    return savedir / "exp"


def test_streams_that_the_living_hold(tmp_path):
    """The streams of a process that lives, or may live elsewhere, are left alone."""
    rig = Rig(tmp_path / "exp")
    for stream, owner in (("log", HERE), ("val", Owner("another", "b", "p", 1, "1"))):
        path = layout.claim_path(rig.folder, stream)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(Claim(owner, "rother1234").to_bytes())

    assert not recovery.needs_recovery(rig.folder)
    assert recovery.recover(rig.folder)
    assert files(rig.folder) == []


# Moved, copied, removed.


def crashed(savedir, name="exp"):
    """An experiment whose process and writer were killed before anything was written."""
    exp = mlv.Exp(savedir, name, capture=())
    exp.log({"i": 0})
    channel = exp.log._session.channel
    wait_until(lambda: channel._watch.writer_is_alive())
    assert exp.flush()
    os.kill(channel._words[f.W_WRITER_PID], signal.SIGSTOP)
    for i in range(1, 50):
        exp.log({"i": i})
    os.kill(channel._words[f.W_WRITER_PID], signal.SIGKILL)
    [path] = [ring for place in spool.find(exp.path, HERE) for ring in spool.rings_in(place)]
    content = path.read_bytes()
    text = content[f.INFO_OFFSET : f.CURSOR_OFFSET].replace(b'"start":"%s"' % HERE.start.encode(), b'"start":"1"')
    size = len(text.rstrip(b"\0"))
    wait_until(lambda: not channel._watch.writer_is_alive())
    channel.abandon()
    with open(path, "r+b") as file:  # as if this process had died, too
        file.seek(f.INFO_OFFSET)
        file.write(text.ljust(f.CURSOR_OFFSET - f.INFO_OFFSET, b"\0")[: f.CURSOR_OFFSET - f.INFO_OFFSET])
        file.seek(8 * f.W_INFO_BYTES)
        file.write(size.to_bytes(8, "little"))
    return exp.path


def waiting_below(root):
    return {(folder.name, len(spool.rings_in(place))) for folder, place in recovery.spools_below(root)}


def test_a_moved_experiment(tmp_path):
    """What waits for an experiment finds it where it was moved to."""
    folder = crashed(tmp_path / "runs")
    assert waiting_below(tmp_path) == {("exp", 1)}
    moved = tmp_path / "elsewhere" / "moved"
    moved.parent.mkdir()
    folder.rename(moved)

    assert waiting_below(tmp_path / "runs") == set()
    [(found, place)] = recovery.spools_below(tmp_path)
    assert found == moved
    assert recovery.drain_spool(found, place, 20)

    [run] = {event["run"] for event in events(moved) if event["type"] == "run_started"}
    assert payloads(moved, run) == list(range(50))


def test_an_experiment_made_anew(tmp_path):
    """What waits for an experiment that was removed never gets into another one that took its name."""
    folder = crashed(tmp_path)
    shutil.rmtree(folder)
    with mlv.Exp(tmp_path, "exp", {"other": 1}, capture=()) as again:
        again.log({"i": -1})

    assert again.path == folder
    assert waiting_below(tmp_path) == set()
    mlv.Exp.open(folder)
    assert_complete(folder)
    assert len({event["run"] for event in events(folder) if event["type"] == "run_started"}) == 1


def test_an_edited_meta(tmp_path):
    """An experiment whose meta.json was edited still gets what waits for it."""
    folder = crashed(tmp_path)
    (folder / "meta.json").chmod(0o644)
    (folder / "meta.json").write_bytes((folder / "meta.json").read_bytes() + b" ")

    assert waiting_below(tmp_path) == {("exp", 1)}
