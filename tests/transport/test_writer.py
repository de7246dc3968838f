"""The writer brings every event into its stream once, whatever fails in the middle and whenever it is killed."""

from __future__ import annotations

import errno
import itertools
import os
import random
import signal

import pytest
from contracts.evidence import files, lines, payloads
from crash.victims import SEED, scaled
from store.faults import Faulty, error

from mlv.store import claims, layout
from mlv.store.claims import Claim
from mlv.store.owners import Owner
from mlv.store.streams import mend
from mlv.transport import frames as f
from mlv.transport.writer import Endurance
from transport.rig import GONE, HERE, LOG, Rig


def two_runs(folder):
    """Two runs that wait to be written: one that ended, with large events, and one whose process died."""
    rig = Rig(folder)
    ended, killed = rig.ring("rended1234"), rig.ring("rkilled123", GONE)
    rig.log(ended, 9, big=(2, 3, 8))
    rig.log(killed, 4, big=(1,))
    rig.end(ended)
    return rig


STATUSES = {"rended1234": "ok", "rkilled123": "killed"}


def test_two_runs(tmp_path):
    """Without any fault all is there, verdicts and seals too, and the spool is gone."""
    rig = two_runs(tmp_path / "exp")

    assert rig.serve() == 0

    rig.assert_all_there(STATUSES)


# Killed.


def killer(at, half):
    """A fault that kills the process before its n-th system call on a file, or in the middle of that write."""

    def fault(call, name):
        if call == at + half:
            os.kill(os.getpid(), signal.SIGKILL)
        return 40 if half and call == at and name == "write" else None

    return fault


@pytest.mark.parametrize("half", [False, True])
def test_killed_at_every_system_call(tmp_path, half):
    """A writer that is killed before or in the middle of any write, sync or truncation costs and doubles nothing."""
    for at in itertools.count():
        rig = two_runs(tmp_path / str(at))

        status = rig.serve(Faulty(killer(at, half)))
        if status == -signal.SIGKILL:
            assert rig.serve() == 0

        rig.assert_all_there(STATUSES)
        if status == 0:
            assert at > 10
            break


def test_killed_at_many_moments(tmp_path):
    """A writer that is killed anywhere in its code costs and doubles nothing, nor do several that are, one after the other."""
    print(f"MLV_CRASH_SEED={SEED}")
    chance = random.Random(SEED)
    reach = 4000
    for trial in range(scaled(60, soak=500)):
        rig = two_runs(tmp_path / str(trial))
        moments = [chance.randrange(reach) for _ in range(chance.choice([1, 1, 2, 3]))]
        statuses = [rig.serve_until_moment(moment) for moment in moments]
        if rig.place.exists():
            rig.serve()
        reach = max(200, reach - 100) if 0 in statuses else reach + 100  # so that most, and not all, die
        assert set(statuses) <= {0, 9, -signal.SIGKILL}, statuses

        rig.assert_all_there(STATUSES)


def test_killed_while_the_producer_goes_on(tmp_path):
    """Events that come after a writer died are written by the next one, after those that waited."""
    rig = Rig(tmp_path / "exp")
    channel = rig.ring("rended1234")
    for at in range(0, 30, 3):
        rig.log(channel, 5)
        rig.serve(Faulty(killer(at % 7, half=bool(at % 2))))
    rig.end(channel)

    assert rig.serve() == 0

    rig.assert_all_there({"rended1234": "ok"})


# A disk that refuses.


def refusing(at, number, times, half):
    """A fault: a write brings in a few bytes, then so many calls fail."""

    def fault(call, name):
        if half and call == at and name == "write":
            return 40
        if at + half <= call < at + half + times:
            raise error(number)
        return None

    return fault


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(("number", "times"), [(errno.ENOSPC, 1), (errno.EIO, 2), (errno.EDQUOT, 5)])
def test_a_disk_that_refuses_at_every_system_call(tmp_path, number, times, half):
    """Whatever call of the system fails, and some after it: all is there when the disk takes it again."""
    for at in itertools.count():
        rig = two_runs(tmp_path / str(at))
        rig.endurance = Endurance(retry_after_s=0.001)
        layer = Faulty(refusing(at, number, times, half))

        assert rig.serve_here(layer)

        rig.assert_all_there(STATUSES)
        if at > len(layer.calls):
            break


def test_one_stream_that_refuses(tmp_path):
    """What one stream refuses does not keep the events of other runs from theirs."""
    rig = Rig(tmp_path / "exp")
    stuck, free = rig.ring("rstuck1234"), rig.ring("rfree12345")
    (rig.folder / "val.log.jsonl").mkdir()
    rig.log(stuck, 9)
    free.put(LOG, 0, 0, b'"type":"event","data":{"i":0}}')
    rig.end(stuck)
    rig.end(free)

    assert not rig.serve_here(until_s=0.5)
    assert payloads(rig.folder, "rfree12345", stream="log") == [0]

    (rig.folder / "val.log.jsonl").rmdir()
    assert rig.serve_here()
    rig.logged["rfree12345"] = [0]
    rig.assert_all_there({"rstuck1234": "ok", "rfree12345": "ok"})


def test_a_dead_writer_and_a_full_disk(tmp_path):
    """A writer that comes after a dead one, and finds the disk full, doubles nothing when there is space again."""
    rig = two_runs(tmp_path / "exp")
    rig.endurance = Endurance(retry_after_s=0.01)
    assert rig.serve(Faulty(killer(8, half=True))) == -signal.SIGKILL
    assert lines(rig.folder, "val") or lines(rig.folder, "log")
    limit = iter(range(100))

    def full(call, name):
        if next(limit, None) is not None:
            raise error(errno.ENOSPC)

    assert rig.serve(Faulty(full)) == 0

    rig.assert_all_there(STATUSES)


# Streams of others.


OTHER = Owner("another", "boot", "pid:[1]", 1, "1")


def claimed(rig, stream, owner=OTHER):
    path = layout.claim_path(rig.folder, stream)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(Claim(owner, "rother1234").to_bytes())


@pytest.mark.parametrize("half", [False, True])
def test_killed_beside_the_stream_of_another(tmp_path, half):
    """Where a stream is somebody else's the lines go into files beside it; a dead writer's are looked at there too."""
    for at in itertools.count():
        rig = two_runs(tmp_path / str(at))
        claimed(rig, "log")

        status = rig.serve(Faulty(killer(at, half)))
        if status == -signal.SIGKILL:
            assert rig.serve() == 0

        rig.assert_all_there(STATUSES)
        assert "log.jsonl" not in [path.name for path in files(rig.folder)]
        if status == 0:
            break


def test_killed_when_the_other_gives_the_stream_back(tmp_path):
    """The next writer may get the stream that the dead one did not: what that one wrote beside it is not doubled."""
    for at in range(4, 14):
        rig = two_runs(tmp_path / str(at))
        claimed(rig, "log")
        claimed(rig, "val")
        assert rig.serve(Faulty(killer(at, half=True))) == -signal.SIGKILL
        layout.claim_path(rig.folder, "log").unlink()

        assert rig.serve() == 0

        rig.assert_all_there(STATUSES)


def test_killed_and_somebody_else_takes_the_stream_over(tmp_path):
    """What a dead writer appended is not doubled beside its stream, should a living process have that by now."""
    for at in range(4, 14):
        rig = two_runs(tmp_path / str(at))
        assert rig.serve(Faulty(killer(at, half=False))) == -signal.SIGKILL
        claimed(rig, "log", HERE)
        mend(rig.folder, "log")  # as whoever takes a stream over does

        assert rig.serve() == 0

        for run, logged in rig.logged.items():
            assert payloads(rig.folder, run) == logged


def test_the_dead_writer_was_on_another_machine(tmp_path):
    """What a process elsewhere left is neither touched nor sealed."""
    rig = two_runs(tmp_path / "exp")
    claimed(rig, "log")
    foreign = b'{"run":"rforeign12","seq":1,"time":"2026-01-01T00:00:00.000000Z","type":"event","data":{}}\n{"run":"rfo'
    (rig.folder / "log.jsonl").write_bytes(foreign)

    assert rig.serve() == 0

    assert (rig.folder / "log.jsonl").read_bytes() == foreign
    assert claims.read(rig.folder, "log").owner == OTHER


# Order, syncing, memory of what was said.


@pytest.mark.parametrize(("interval", "is_synced"), [("0.02", True), ("3600", False)])
def test_interval_of_syncing(tmp_path, monkeypatch, interval, is_synced):
    """What is appended is synced as often as MLV_FSYNC_INTERVAL says, while the run goes on."""
    monkeypatch.setenv("MLV_FSYNC_INTERVAL", interval)
    rig, files = Rig(tmp_path / "exp"), Faulty(lambda call, name: os._exit(11) if name == "fsync" else None)
    rig.log(rig.ring("rgoeson123"), 4)

    status = rig.in_child(lambda: (rig.serve_here(files, until_s=20 if is_synced else 0.3), os._exit(10)))

    assert status == 10 + is_synced


def test_flush_after_a_dead_writer(tmp_path):
    """What a writer appended, and did not sync before it died, is synced before `flush` may return."""
    rig = Rig(tmp_path / "exp")
    channel = rig.ring("rended1234")
    rig.log(channel, 4)
    assert rig.serve(Faulty(lambda call, name: os.kill(os.getpid(), signal.SIGKILL) if name == "fsync" else None)) < 0
    assert payloads(rig.folder, "rended1234") == [0, 1, 2, 3]
    channel.flush(0)

    def task():
        synced = set()
        layer = Faulty(lambda call, name: None)
        layer.fsync = lambda fd: synced.add(os.path.basename(os.readlink(f"/proc/self/fd/{fd}")))
        rig.serve_here(layer, until_s=0.5)
        return synced >= {"log.jsonl", "val.log.jsonl"}

    assert rig.in_child(task) == 0
    assert channel._words[f.W_SYNCED] == channel._words[f.W_HEAD]


def test_flush_waits_for_the_sync(tmp_path):
    """As long as syncing fails, `flush` does not say that all is on the disk."""
    rig = Rig(tmp_path / "exp")
    channel = rig.ring("rended1234")
    rig.log(channel, 4)
    channel.flush(0)

    def refuse(call, name):
        if name == "fsync":
            raise error(errno.EIO)

    rig.in_child(lambda: rig.serve_here(Faulty(refuse), until_s=0.3))

    assert payloads(rig.folder, "rended1234") == [0, 1, 2, 3]
    assert channel._words[f.W_TAIL] == channel._words[f.W_HEAD]
    assert channel._words[f.W_SYNCED] == 0
    assert not channel.flush(0)


def test_a_large_event_whose_file_is_gone(tmp_path):
    """Its number is said to be dropped."""
    rig = Rig(tmp_path / "exp")
    channel = rig.ring("rended1234")
    rig.log(channel, 3, big=(1,))
    rig.end(channel)
    [path] = rig.place.glob("*.big")
    path.unlink()

    assert rig.serve() == 0

    rig.logged["rended1234"] = [0, 2]
    rig.assert_all_there({"rended1234": "ok"})
    [dropped] = [event["data"] for event in lines(rig.folder) if event["type"] == "dropped"]
    assert (dropped["of"], dropped["first"], dropped["last"]) == ("rended1234", 2, 2)


def test_a_large_event_that_was_not_published(tmp_path):
    """A file that a killed process left in the spool, without having logged the event, goes with the ring."""
    rig = Rig(tmp_path / "exp")
    channel = rig.ring("rkilled123", GONE)
    rig.log(channel, 3)
    (rig.place / "rkilled123.abcdef.big").write_bytes(b"half")

    assert rig.serve() == 0

    rig.assert_all_there({"rkilled123": "killed"})


def test_a_large_end(tmp_path):
    """The end of a run that failed with a long traceback is its end."""
    rig = Rig(tmp_path / "exp")
    channel = rig.ring("rfailed123")
    text = b"x" * 200_000
    channel.put(LOG, 0, 0, b'"type":"run_ended","data":{"status":"failed","exception":{"message":"%s"}}}' % text)
    channel.close(0)

    assert rig.serve() == 0

    rig.assert_all_there({"rfailed123": "failed"})


def test_dropped_events_of_a_process_that_died(tmp_path, recwarn):
    """Events that found no room are told by number, also when the process died before it could say so itself."""
    rig = Rig(tmp_path / "exp")
    channel = rig.ring("rkilled123", GONE, capacity=4096, patience_s=0)
    rig.log(channel, 200)

    assert rig.serve() == 0

    found = payloads(rig.folder, "rkilled123")
    assert 0 < len(found) < 200
    rig.logged["rkilled123"] = list(range(len(found)))
    rig.assert_all_there({"rkilled123": "killed"})
    [dropped] = [event["data"] for event in lines(rig.folder) if event["type"] == "dropped"]
    assert (dropped["first"], dropped["last"], dropped["of"]) == (len(found) + 1, 200, "rkilled123")


def test_the_end_finds_room_in_a_full_ring(tmp_path, recwarn):
    """However full the ring is, the run's end and what was dropped are told."""
    rig = Rig(tmp_path / "exp")
    channel = rig.ring("rended1234", capacity=4096, patience_s=0)
    rig.log(channel, 200)
    rig.end(channel)

    assert rig.serve() == 0

    rig.logged["rended1234"] = list(range(len(payloads(rig.folder, "rended1234"))))
    rig.assert_all_there({"rended1234": "ok"})


# Leaving.


def test_a_folder_that_is_gone(tmp_path):
    """A writer whose experiment was deleted goes away when its producers have, and leaves the events where they are."""
    rig = two_runs(tmp_path / "exp")
    rig.endurance = Endurance(linger_without_folder_s=0.3)
    rig.folder.rmdir()

    assert not rig.serve_here(until_s=10)

    rig.folder.mkdir()
    assert rig.serve() == 0
    rig.assert_all_there(STATUSES)


def test_a_disk_that_never_takes_it(tmp_path):
    """A writer that can write nothing goes away some time after its producers have."""
    rig = two_runs(tmp_path / "exp")
    rig.endurance = Endurance(linger_s=0.5, linger_without_folder_s=0.1)

    def refuse(call, name):
        if name == "write":
            raise error(errno.ENOSPC)

    assert not rig.serve_here(Faulty(refuse), until_s=10)

    assert rig.serve() == 0
    rig.assert_all_there(STATUSES)


def test_a_disk_that_refuses_the_last_seal(tmp_path):
    """What a writer could not finish is finished by the next one, though the process that was the first lives."""
    rig = two_runs(tmp_path / "exp")
    is_full = False

    def fault(call, name):
        nonlocal is_full
        is_full = is_full or call > 14
        if is_full and name == "write":
            raise error(errno.ENOSPC)

    assert not rig.serve_here(Faulty(fault), until_s=0.4)
    assert claims.stale(rig.folder)

    assert rig.serve() == 0
    rig.assert_all_there(STATUSES)


def test_a_ring_that_is_none(tmp_path):
    """A file that is no ring does not keep the others from being drained."""
    rig = two_runs(tmp_path / "exp")
    (rig.place / "rnone12345.ring").write_bytes(b"none")
    (rig.place / "rlink12345.ring").symlink_to(rig.place / "nowhere")

    assert rig.serve() == 0

    assert payloads(rig.folder, "rended1234") == rig.logged["rended1234"]
    assert [path.name for path in rig.place.iterdir()] == ["rnone12345.unreadable"]
    assert HERE.is_gone() is False
