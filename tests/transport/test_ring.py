"""The producer's end of a ring where something is amiss: no room, no writer, no end of it."""

from __future__ import annotations

import os
import random
import threading
import time
import warnings
from contextlib import nullcontext

import pytest
from conftest import wait_until
from contracts.channel import Injected, Interruption, interrupt
from contracts.evidence import lines, payloads

from mlv.encoding import DATA
from mlv.errors import WritingStalled
from mlv.transport import channels, new_rings, ring, spool
from mlv.transport.inline import Inline
from mlv.transport.ring import Ring
from mlv.transport.source import Source
from mlv.transport.spills import Spills
from transport.rig import GONE, HERE, LATE, Rig


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path / "exp")


def put(channel, count, size=100):
    """Log so many events; gives the longest time that a call took."""
    longest_s = 0.0
    for i in range(count):
        began = time.monotonic()
        channel.put(LATE, DATA, 0, b'{"i":%d,"x":"%s"}' % (i, b"x" * size))
        longest_s = max(longest_s, time.monotonic() - began)
    return longest_s


# A full ring.


def test_a_full_ring(rig, monkeypatch):
    """A full ring makes callers wait, once; then calls return at once, not accepted, with one warning that says why."""
    channel = rig.ring("rfull12345", capacity=1 << 14, patience_s=0.4)
    with pytest.warns(WritingStalled, match="dropped") as warned:
        longest_s = put(channel, 300)

    assert longest_s >= 0.4
    assert len(warned) == 1
    monkeypatch.setattr("mlv.transport.ring.sleep", lambda seconds: pytest.fail(f"slept {seconds} s"))
    put(channel, 300)


def test_what_was_dropped_is_said(rig):
    """When writing goes on, a `dropped` event gives the range before anything else."""
    channel = rig.ring("rfull12345", capacity=1 << 14, patience_s=0)
    with pytest.warns(WritingStalled, match="dropped"):
        put(channel, 300)
    with rig_writer(rig):
        assert channel.drain(20)
        put(channel, 3)
        rig.end(channel)

    found = payloads(rig.folder, "rfull12345")
    kept = len(found) - 3
    assert found == [*range(kept), 0, 1, 2]
    [dropped] = [event for event in lines(rig.folder) if event["type"] == "dropped"]
    assert dropped["data"]["first"] == kept + 1
    assert (dropped["data"]["last"], dropped["data"]["count"]) == (300, 300 - kept)
    assert dropped["seq"] == 301


class rig_writer:
    """A writer in a thread of this process."""

    def __init__(self, rig):
        self.thread = threading.Thread(target=rig.serve_here)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.thread.join()


def test_every_outage_has_a_warning(rig):
    """The next outage is waited for, and warned of, again."""
    channel = rig.ring("rfull12345", capacity=1 << 14, patience_s=0.05)
    for _ in range(2):
        with pytest.warns(WritingStalled, match="dropped"):
            put(channel, 300)
        thread = threading.Thread(target=lambda: rig.serve_here(until_s=0.5))
        thread.start()
        assert channel.drain(20)
        put(channel, 1)
        thread.join()


def test_room_in_time(rig):
    """Where there is room again before the patience is over, nothing is lost, and nothing said."""
    channel = rig.ring("rfull12345", capacity=1 << 14, patience_s=20)
    started = threading.Timer(0.3, rig.serve_here)
    started.start()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        put(channel, 1000)
    rig.end(channel)
    started.join()

    assert payloads(rig.folder, "rfull12345") == list(range(1000))


def test_threads_at_a_full_ring(rig):
    """Threads that wait for room all go on when there is some, each in its order."""
    channel = rig.ring("rfull12345", capacity=1 << 14, patience_s=20)

    def produce(thread):
        for i in range(300):
            channel.put(LATE, DATA, 0, b'{"i":[%d,%d],"x":"%s"}' % (thread, i, b"x" * 100))

    threads = [threading.Thread(target=produce, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(channel._left_over) >= 6)
    with rig_writer(rig):
        for thread in threads:
            thread.join()
        rig.end(channel)

    found = payloads(rig.folder, "rfull12345")
    for thread in range(6):
        assert [i for t, i in found if t == thread] == list(range(300))


@pytest.mark.parametrize("patience_s", [0.0, 30.0])
def test_closing_a_full_ring(rig, recwarn, patience_s):
    """`close` returns at its deadline, also while threads wait for room; what they could not log is said to be dropped."""
    channel = rig.ring("rfull12345", capacity=1 << 14, patience_s=patience_s)
    thread = threading.Thread(target=put, args=(channel, 300))
    thread.start()
    wait_until(lambda: channel._left_over or not thread.is_alive())

    assert not channel.close(0.3)
    thread.join(5)
    assert not thread.is_alive()

    assert rig.serve_here()
    found = payloads(rig.folder, "rfull12345")
    assert found == list(range(len(found)))
    [dropped] = [event for event in lines(rig.folder) if event["type"] == "dropped"]
    assert dropped["data"]["first"] == len(found) + 1


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("seed", range(20))
def test_interrupted_at_the_ends_of_laps(tmp_path, seed):
    """Exceptions at random points of calls, also where a lap ends, leave a ring from which all that was logged is read."""
    chance = random.Random(seed)
    rig = Rig(tmp_path / "exp")
    channel = rig.ring("rtorn12345", capacity=4096 + 8 * chance.randrange(30))
    source = Source(rig.place / "rtorn12345.ring")
    logged, interrupted, found = [], set(), []
    for i in range(600):
        payload = b"%d " % i + b"x" * chance.randrange(300)
        try:
            with Injected(chance.randrange(30), interrupt) if chance.random() < 0.5 else nullcontext():
                channel.put(LATE, DATA, 0, payload)
        except Interruption:
            interrupted.add(payload)
        logged.append(payload)
        while not source.is_empty:
            frames, end = source.next_frames()
            assert end > source.tail
            source.advance(end)
            found += frames
    channel.close(0)
    found += source.next_frames()[0]

    assert [frame.seq for frame in found] == list(range(1, len(found) + 1))
    seen = [frame.payload for frame in found]
    assert [payload for payload in seen if payload not in interrupted] == [p for p in logged if p not in interrupted]
    assert [payload for payload in logged if payload in seen] == seen
    assert interrupted


# Large events.


def test_large_events_wait_for_their_budget(rig):
    """More large events than the spool may hold wait for the writer; none is lost."""
    channel = rig.ring("rlarge1234", patience_s=20, spill_bytes=250_000)
    started = threading.Timer(0.2, rig.serve_here)
    started.start()
    put(channel, 20, size=100_000)
    rig.end(channel)
    started.join()

    assert payloads(rig.folder, "rlarge1234") == list(range(20))


def test_jobs_wait_for_their_budget(rig, monkeypatch):
    """What a writer has taken from the ring waits in the spool all the same; the patience is used up once, not for each."""
    channel = rig.ring("rlarge1234", patience_s=0.1, spill_bytes=250_000)
    for seq in (1, 2):
        channel.hand_over(0, [bytes(100_000)])
        [path] = [path for path in rig.place.glob("*.job") if spool.Queued.of_path(path) is None]
        spool.enqueue(path, "rlarge1234", seq, 0, 0)
    slept = []
    monkeypatch.setattr(ring, "sleep", lambda seconds: slept.append(seconds) or time.sleep(seconds))
    with pytest.warns(WritingStalled, match="no room in any spool"):
        channel.hand_over(0, [bytes(100_000)])
    assert slept
    slept.clear()

    channel.hand_over(0, [bytes(100_000)])

    assert len(list(rig.place.glob("*.job"))) == 2
    assert not slept


def test_a_large_event_above_the_budget(rig, monkeypatch):
    """One that is larger than all that may wait is taken where nothing else waits, at once."""
    monkeypatch.setattr(ring, "sleep", None)
    channel = rig.ring("rlarge1234", spill_bytes=250_000)

    channel.hand_over(0, [bytes(300_000)])

    assert len(list(rig.place.glob("*.job"))) == 1


def test_large_events_without_room(rig, monkeypatch):
    """Where no spool takes it, what can be kept of a large event is stored, with one warning."""
    channel = rig.ring("rlarge1234", patience_s=0.1)
    monkeypatch.setattr(Spills, "add", lambda self, *content: None)
    with pytest.warns(WritingStalled, match="no room in any spool") as warned:
        put(channel, 2, size=100_000)
    rig.end(channel)

    assert rig.serve_here()
    rejected = [event["data"] for event in lines(rig.folder) if event["type"] == "rejected"]
    assert [set(data) for data in rejected] == [{"type", "reason"}] * 2
    assert len(warned) == 1


# Writers that do not come, or go.


def test_a_writer_that_cannot_be_started(tmp_path, monkeypatch):
    """Where no writer can be started the run is inline, which is said; no ring is left behind."""

    def refuse(folder, place, home):
        raise OSError("no more processes")

    monkeypatch.setattr(channels, "launch", refuse)
    (tmp_path / "exp").mkdir()
    with pytest.warns(WritingStalled, match="no more processes"):
        channel = channels.open_channel(tmp_path / "exp", "id", "rinline123", None)
    channel.add_cursor(0, ("log", b""))
    channel.put(0, 0, 0, b'"type":"event","data":{"i":1}}')
    assert channel.close(5)

    assert isinstance(channel, Inline)
    assert payloads(tmp_path / "exp", "rinline123") == [1]
    assert [ring for place in spool.candidates(tmp_path / "exp", HERE) for ring in spool.rings_in(place)] == []


def test_a_writer_that_does_not_begin(rig):
    """A writer that is started and never comes is started again, now and then; that it does not come is said."""
    launches = []
    channel = rig.ring("ralone1234", launch=lambda: launches.append(time.monotonic()), begins_within_s=0.2)
    launches.clear()
    put(channel, 10)

    with pytest.warns(WritingStalled, match="does not begin"):
        assert not channel.flush(2)
    assert len(launches) == 2

    assert not channel.close(0.5)
    assert rig.serve_here()
    assert payloads(rig.folder, "ralone1234") == list(range(10))


@pytest.mark.parametrize("wait", ["drain", "flush", "close"])
def test_deadlines(rig, wait):
    """Whatever waits for a writer returns at its deadline."""
    channel = rig.ring("ralone1234")
    put(channel, 3)
    began = time.monotonic()
    assert not getattr(channel, wait)(0.2)
    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize("wait", ["drain", "flush", "close"])
def test_no_time_at_all(rig, monkeypatch, wait):
    """With no time given, nothing is waited for."""
    channel = rig.ring("ralone1234")
    put(channel, 3)
    monkeypatch.setattr("mlv.transport.ring.sleep", lambda seconds: seconds <= 0 or pytest.fail(f"slept {seconds} s"))

    assert not getattr(channel, wait)(0)


def test_a_full_disk_is_said_once(rig):
    """The error that keeps the writer from writing is said once, in words."""
    import errno

    from mlv.transport import frames as f

    channel = rig.ring("rfull12345")
    channel._words[f.W_ERRNO] = errno.ENOSPC
    with pytest.warns(WritingStalled, match="No space left on device"):
        channel._look()
    channel._look()


# Making a ring.


def info(run="rtest12345", process=HERE):
    return {"run": run, "exp": "/", "id": "", "process": process.to_data()}


def test_a_ring_larger_than_the_space(tmp_path):
    """Where there is room nowhere, it is said for every place why, and nothing is left there."""
    candidates = [tmp_path / "a" / "key", tmp_path / "b" / "key"]
    for place in candidates:
        place.parent.mkdir(mode=0o700)
    with pytest.raises(new_rings.NoRoom, match=r"no room for a ring of .* bytes") as raised:
        new_rings.create(candidates, info(), 1 << 50)
    for place in candidates:
        assert str(place.parent) in str(raised.value)
        assert list(place.iterdir()) == []


def test_a_ring_is_reserved(tmp_path):
    """Every page of a ring has its place in memory from the beginning: none is missing later."""
    (tmp_path / "a").mkdir(mode=0o700)
    path, place = new_rings.create([tmp_path / "a" / "key"], info(), 1 << 20)
    assert place == tmp_path / "a" / "key"
    assert path.stat().st_blocks * 512 >= (1 << 20)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_ring_in_the_second_place(tmp_path, monkeypatch):
    """A ring that found room in the second place only is listed in the first; both names go when it is finished."""
    rig = Rig(tmp_path / "exp")
    reserve = new_rings.reserve

    def full(path, *rest):
        if path.parent == rig.place:
            raise OSError(28, "No space left on device")
        reserve(path, *rest)

    monkeypatch.setattr(new_rings, "reserve", full)
    channel = rig.ring("rsecond123")
    assert (rig.place / "rsecond123.ring").is_symlink()
    put(channel, 5)
    rig.end(channel)

    assert rig.serve_here()

    assert payloads(rig.folder, "rsecond123") == list(range(5))
    for place in rig.candidates:
        assert not place.exists()


def test_one_ring_has_one_writer(tmp_path):
    """A ring that two spools list is drained by one writer, whoever else sees it."""
    rig = Rig(tmp_path / "exp")
    rig.ring("rtwice1234")
    first = Source(rig.place / "rtwice1234.ring")
    with pytest.raises(BlockingIOError):
        Source(rig.place / "rtwice1234.ring")
    first.close()
    Source(rig.place / "rtwice1234.ring").close()


def test_a_place_that_vanishes_in_the_middle(tmp_path, monkeypatch):
    """A spool that the last writer removes while a ring is being made is made again."""
    folder = tmp_path / "exp"
    folder.mkdir()
    monkeypatch.setattr(spool, "bases", lambda environ=os.environ: [spool.chosen()])
    reserve, times = new_rings.reserve, []

    def removed(path, *rest):
        if not times:
            times.append(path)
            path.parent.rmdir()
        reserve(path, *rest)

    monkeypatch.setattr(new_rings, "reserve", removed)
    channel = channels.open_channel(folder, "id", "rrace12345", None)

    assert isinstance(channel, Ring)
    assert channel.close(20)


def test_the_header(tmp_path):
    """A ring says, also to who only looks, whose it is, and whether it is over."""
    from mlv.transport.header import look

    rig = Rig(tmp_path / "exp")
    channel = rig.ring("rliving123")
    rig.ring("rdead12345", GONE)
    living, dead = look(rig.place / "rliving123.ring"), look(rig.place / "rdead12345.ring")

    assert (living.owner, living.is_over, living.is_attended) == (HERE, False, False)
    assert (dead.owner, dead.is_over) == (GONE, True)
    channel.close(0)
    assert look(rig.place / "rliving123.ring").is_over
    (rig.place / "none").write_bytes(b"x")
    assert look(rig.place / "none") is None
    assert look(rig.place / "nowhere") is None
