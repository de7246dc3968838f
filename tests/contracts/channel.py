"""The contract of a `Channel`: what the ring with its writer and the inline twin both promise, and both are held to."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import fork, wait_until

import mlv
from contracts.evidence import arrays, assert_complete, events, lines, payloads
from mlv.encoding import DATA, STEP, TAIL, head
from mlv.errors import RejectedWarning, WritingStalled
from mlv.media.jobs import Job
from mlv.protocols import Channel

RUN = "rproducer1"
LOG, VAL, LOSS, ENDING = range(4)
CURSORS = [("log", b""), ("val", head("metrics", "")), ("log", head("metrics", "train")), ("log", b"")]


def data(i: object, **more: object) -> bytes:
    """A payload of kind DATA."""
    import json

    return json.dumps({"i": i, **more}).encode()


class Interruption(BaseException):
    """What a test lets a signal handler raise; like KeyboardInterrupt, no `except Exception` catches it."""


class Injected:
    """Does something at the n-th point of a call where Python may run a signal handler: at calls and their returns.

    A signal comes at a random one of these points; this comes at each of them, one after the other.
    """

    def __init__(self, point: int, action: Callable[[], None]) -> None:
        self.point, self.action = point, action
        self.seen = 0
        self.is_done = False

    def _profile(self, frame: Any, event: str, argument: object) -> None:
        if not _is_within_mlv(frame):
            return
        self.seen += 1
        if self.seen > self.point and not self.is_done:
            self.is_done = True
            sys.setprofile(None)
            self.action()

    def __enter__(self) -> Injected:
        sys.setprofile(self._profile)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        sys.setprofile(None)
        # What a profile function raises where a with block ends may confuse CPython: the interpreter then calls a traceback.
        if isinstance(error, TypeError) and "'traceback' object is not callable" in str(error):
            raise Interruption from error


def _is_within_mlv(frame: Any) -> bool:
    """Whether the frame, or one that called it, is of the package: elsewhere an exception would prove nothing."""
    while frame is not None and not frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return frame is not None


_PACKAGE = os.path.dirname(mlv.__file__) + os.sep


def interrupt() -> None:
    """What Ctrl-C does."""
    raise Interruption


def job(i: int, size: int = 3) -> list[Any]:
    """A job, packed: an array of bytes, whose step is `i`."""
    options = {"shape": [size], "dtype": "uint8", "descr": "|u1"}
    return Job("array", "maps", "array", options, step=i, buffers=[bytes([i % 256]) * size]).pack()


NO_OPTIONS = Job("array", "maps", "array", {}, buffers=[b"abc"]).pack()


both_ways = pytest.mark.parametrize("size", [0, 300_000], ids=["small", "large"])
"""Small events take a ring's quick way, large ones every other."""


class ChannelContract:
    """Inherit, and give a fixture `open_channel`: a function from a folder to a channel for the run `RUN`, or another."""

    signals_every_s = 0.0005
    """More often than calls of this channel take."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        made = tmp_path / "exp"
        made.mkdir()
        return made

    @pytest.fixture
    def open_channel(self) -> Callable[..., Channel]:
        raise NotImplementedError

    @pytest.fixture
    def channel(self, folder: Path, open_channel: Callable[..., Channel]) -> Iterator[Channel]:
        made = self.announced(open_channel(folder))
        yield made
        made.close(20)

    def announced(self, channel: Channel) -> Channel:
        for index, cursor in enumerate(CURSORS):
            channel.add_cursor(index, cursor)
        return channel

    def end(self, channel: Channel) -> bool:
        """End a run as a session does."""
        channel.put(LOG, TAIL, 0, head("run_ended", "") + b'"data":{"status":"ok"}}')
        return channel.close(20)

    # Order, once, streams, forms.

    def test_in_order_and_once(self, folder, channel):
        """Events arrive in the order of the calls, each once, numbered from 1."""
        for i in range(3000):
            channel.put(LOSS, DATA, 0, data(i))

        assert self.end(channel)

        assert payloads(folder, RUN) == list(range(3000))
        assert [event["seq"] for event in lines(folder, "log", RUN)] == list(range(1, 3002))
        assert_complete(folder)

    def test_several_streams(self, folder, channel):
        """Each event goes into the stream of its cursor; the numbers count over all streams."""
        for i in range(1000):
            channel.put((LOSS, VAL)[i % 3 == 0], DATA, 0, data(i))

        assert self.end(channel)

        assert payloads(folder, RUN, stream="val") == list(range(0, 1000, 3))
        assert payloads(folder, RUN, stream="log") == [i for i in range(1000) if i % 3]
        assert_complete(folder)

    def test_kinds(self, folder, channel):
        """TAIL holds all behind the head, DATA the data alone, STEP the data beside a step of 64 bits."""
        channel.put(LOG, TAIL, 7, head("event", "a/b") + b'"step":0.5,"at":{"epoch":1},"data":{"x":[1]}}')
        channel.put(LOSS, DATA, 7, b'{"x":1}')
        channel.put(LOSS, STEP, -(2**63), b'{"x":2}')
        channel.put(LOSS, STEP, 2**63 - 1, b'{"x":3}')

        assert self.end(channel)

        expected = [
            {"type": "event", "name": "a/b", "step": 0.5, "at": {"epoch": 1}, "data": {"x": [1]}},
            {"type": "metrics", "name": "train", "data": {"x": 1}},
            {"type": "metrics", "name": "train", "step": -(2**63), "data": {"x": 2}},
            {"type": "metrics", "name": "train", "step": 2**63 - 1, "data": {"x": 3}},
        ]
        found = [{key: event[key] for key in event if key not in ("run", "seq", "time")} for event in lines(folder, run=RUN)]
        assert found[:-1] == expected

    def test_cursors_that_come_later(self, folder, channel):
        """A cursor may be announced between events."""
        channel.put(LOG, TAIL, 0, head("event", "x") + b'"data":{"i":0}}')
        channel.add_cursor(len(CURSORS), ("late", head("metrics", "é\n\u2028\x00")))
        channel.put(len(CURSORS), DATA, 0, data(1))

        assert self.end(channel)

        [late] = lines(folder, "late", RUN)
        assert (late["name"], late["data"], late["seq"]) == ("é\n\u2028\x00", {"i": 1}, 2)

    @pytest.mark.parametrize("step", [2**63, -(2**63) - 1])
    def test_a_step_beyond_64_bits(self, folder, channel, step):
        """It is refused by an error that the logger expects, and leaves no trace."""
        import struct

        channel.put(LOSS, STEP, 1, data(0))
        with pytest.raises((OverflowError, struct.error)):
            channel.put(LOSS, STEP, step, data(1))
        channel.put(LOSS, STEP, 2, data(2))

        assert self.end(channel)

        assert payloads(folder, RUN) == [0, 2]
        assert_complete(folder)

    @pytest.mark.parametrize("around", [65536, 131072, 196608, 262144 - 40, 524288, 5_000_000])
    def test_large_payloads(self, folder, channel, around):
        """Payloads of any size arrive whole and in order, also around the sizes from which on they travel otherwise."""
        sizes = [around + d for d in (-9, -1, 0, 1, 8)]
        for i, size in enumerate(sizes):
            channel.put(LOSS, DATA, 0, data(i))
            channel.put(LOSS, STEP, i, b'{"x":"%s"}' % (b"x" * (size - 8)))

        assert self.end(channel)

        found = lines(folder, run=RUN)[:-1]
        assert [event["data"].get("i") for event in found] == [i for n in range(5) for i in (n, None)]
        assert [len(event["data"].get("x", "")) + 8 for event in found[1::2]] == sizes
        assert [event.get("step") for event in found[1::2]] == list(range(5))
        assert_complete(folder)

    # Threads and calls within calls.

    def test_threads(self, folder, channel):
        """Of events from several threads none is lost, and those of each thread stay in order."""

        def produce(thread: int) -> None:
            for i in range(2000):
                channel.put((LOSS, VAL)[i % 2], DATA, 0, data([thread, i]))

        threads = [threading.Thread(target=produce, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert self.end(channel)

        found = payloads(folder, RUN)
        for thread in range(8):
            assert [i for t, i in found if t == thread] == list(range(2000))
        assert_complete(folder)

    def test_calls_from_signal_handlers(self, folder, channel):
        """An event logged in a signal handler, in the middle of another call, is there, once and in its order."""
        from_handler: list[int] = []
        is_handling = False

        def handle(*_: object) -> None:
            nonlocal is_handling
            if not is_handling:  # a handler within a handler would make the order a matter of taste
                is_handling = True
                channel.put(VAL, DATA, 0, data(len(from_handler)))
                from_handler.append(len(from_handler))
                is_handling = False

        with storm(handle, self.signals_every_s):
            for i in range(5000):
                channel.put(LOSS, DATA, 0, data(i))

        assert self.end(channel)

        assert payloads(folder, RUN, stream="log") == list(range(5000))
        assert payloads(folder, RUN, stream="val") == from_handler
        assert_complete(folder)

    def test_calls_from_destructors(self, folder, channel):
        """An event logged by an object that the garbage collector removes, in the middle of another call, is there."""
        count = 0

        class Cyclic:
            def __init__(self) -> None:
                self.me = self

            def __del__(self) -> None:
                nonlocal count
                channel.put(VAL, DATA, 0, data(count))
                count += 1

        threshold = gc.get_threshold()
        gc.set_threshold(5)
        try:
            for i in range(2000):
                Cyclic()
                channel.put(LOSS, DATA, 0, data(i))
        finally:
            gc.set_threshold(*threshold)
        gc.collect()

        assert self.end(channel)

        assert payloads(folder, RUN, stream="log") == list(range(2000))
        assert payloads(folder, RUN, stream="val") == list(range(2000))
        assert_complete(folder)

    @both_ways
    def test_a_call_within_a_call_at_every_point(self, folder, channel, size):
        """Wherever one call is interrupted by another, both events arrive, once."""
        counter = iter(range(10**6))
        logged, point = [], 0
        while True:

            def action() -> None:
                logged.append(next(counter))
                channel.put(VAL, DATA, 0, data(logged[-1]))

            outer = next(counter)
            with Injected(point, action) as injected:
                channel.put(LOSS, DATA, 0, data(outer, x="x" * size))
            logged.append(outer)
            point += 1
            if not injected.is_done:
                break

        assert self.end(channel)

        assert point > 5
        assert sorted(payloads(folder, RUN)) == sorted(logged)
        assert_complete(folder)

    @both_ways
    @pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
    def test_an_exception_at_every_point(self, folder, channel, size):
        """Wherever Ctrl-C ends a call: calls that returned are there, once and in order, and the numbers have no gap."""
        returned, interrupted, point, misses = [], [], 0, 0
        while misses < 3:
            i = 2 * point
            with Injected(point, interrupt) as injected:
                try:
                    channel.put(LOSS, DATA, 0, data(i, x="x" * size))
                    returned.append(i)
                except Interruption:
                    interrupted.append(i)
            channel.put(VAL, DATA, 0, data(i + 1))
            returned.append(i + 1)
            misses += not injected.is_done
            point += 1

        assert self.end(channel)

        found = payloads(folder, RUN)
        assert interrupted
        assert [i for i in found if i not in interrupted] == sorted(returned)
        assert len(found) == len(set(found))
        assert_complete(folder)

    @both_ways
    @pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
    def test_a_handler_that_logs_and_raises(self, folder, channel, size):
        """What a signal handler logs before it raises is there, wherever it interrupted a call, with no call after it."""
        said, point, misses = [], 0, 0
        while misses < 3:

            def action(i: int = point) -> None:
                channel.put(VAL, DATA, 0, data(i))
                said.append(i)
                raise Interruption

            with Injected(point, action) as injected:
                try:
                    channel.put(LOSS, DATA, 0, data(-1, x="x" * size))
                except Interruption:
                    wait_until(lambda: payloads(folder, RUN, stream="val") == said)
            misses += not injected.is_done
            point += 1

        assert self.end(channel)
        assert_complete(folder)

    # What an exception between `open` and `with` leaves is closed by the garbage collector, which says so.
    @pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
    def test_ctrl_c_all_the_time(self, folder, channel):
        """A storm of signals whose handler raises costs no event whose call had returned, and doubles none."""
        returned = [-2, -1]
        for i in returned:
            channel.put((LOSS, VAL)[i % 2], DATA, 0, data(i))

        def handle(*_: object) -> None:
            raise Interruption

        with storm(handle, self.signals_every_s):
            for i in range(2000):
                try:
                    channel.put((LOSS, VAL)[i % 2], DATA, 0, data(i))
                    returned.append(i)
                except Interruption:
                    pass

        assert self.end(channel)

        found = payloads(folder, RUN)
        assert found == sorted(set(found))
        assert set(returned) <= set(found)
        assert_complete(folder)

    @both_ways
    def test_closing_within_a_call_at_every_point(self, folder, open_channel, size, capsys):
        """A signal handler may end the run in the middle of a call: what it said is there, and the run is sealed.

        The event of that call is there too, or it is said that it is not.
        """
        keeper = self.announced(open_channel(folder, "rkeeper123"))  # one writer, if there is any, serves all runs
        keeper.put(LOSS, DATA, 0, data(0))
        point = 0
        while True:
            run = f"rclosing{point:03}"
            channel = self.announced(open_channel(folder, run))
            channel.put(LOSS, DATA, 0, data(0))
            with Injected(point, lambda channel=channel: self.end(channel)) as injected:
                channel.put(LOSS, DATA, 0, data(1, x="x" * size))
            if not injected.is_done:
                self.end(channel)
            channel.close(20)

            is_refused = "the event is not stored" in capsys.readouterr().err
            assert [e["data"]["status"] for e in lines(folder, run=run) if e["type"] == "run_ended"] == ["ok"], point
            assert payloads(folder, run) == ([0] if is_refused else [0, 1]), (point, is_refused)
            point += 7 if size and injected.seen > 100 else 1
            if not injected.is_done:
                break

        assert self.end(keeper)
        assert_complete(folder)

    # What a worker completes.

    def test_handed_over(self, folder, channel):
        """What is handed over raw becomes a file, and an event that refers to it; events beside it arrive in their order."""
        for i in range(300):
            if i % 3 == 0:
                channel.hand_over(LOG, job(i))
            else:
                channel.put(LOSS, DATA, 0, data(i))

        assert self.end(channel)

        assert arrays(folder, RUN) == list(range(0, 300, 3))
        assert payloads(folder, RUN) == [i for i in range(300) if i % 3]
        assert_complete(folder)

    def test_draining_waits_for_what_is_handed_over(self, folder, channel):
        """After `drain` or `flush` an event that was handed over can be read, and its file is there."""
        for i in range(10):
            channel.hand_over(LOG, job(i, size=200_000))
            assert (channel.drain if i % 2 else channel.flush)(20)
            assert arrays(folder, RUN) == list(range(i + 1))

    @pytest.mark.parametrize("parts", [NO_OPTIONS, [b"no job at all"]], ids=["options", "bytes"])
    def test_what_cannot_be_encoded(self, folder, channel, parts):
        """W17: what cannot be encoded is stored as rejected, said once with its reason; its neighbours are as they should."""
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            for i in (0, 2):
                channel.hand_over(LOG, job(i))
                channel.hand_over(LOG, parts)
            assert self.end(channel)

        assert [warning.category for warning in warned] == [RejectedWarning]
        assert arrays(folder, RUN) == [0, 2]
        rejected = [event for event in events(folder, RUN) if event["type"] == "rejected"]
        assert len(rejected) == 2
        assert rejected[0]["data"]["reason"] in str(warned[0].message)
        assert rejected[0].get("name", "") in str(warned[0].message)
        assert_complete(folder)

    def test_handing_over_after_close(self, folder, channel):
        """What is handed over after the end is not stored, which is said."""
        assert self.end(channel)

        with pytest.warns(WritingStalled, match="not stored"):
            channel.hand_over(LOG, job(1))

        assert arrays(folder, RUN) == []

    def test_handing_over_within_a_call_at_every_point(self, folder, channel):
        """A signal handler may hand over in the middle of any call; both events arrive, once."""
        handed, point, misses = [], 0, 0
        while misses < 1:
            with Injected(point, lambda point=point: channel.hand_over(LOG, job(2 * point))) as injected:
                channel.hand_over(LOG, job(2 * point + 1))
            handed += [2 * point, 2 * point + 1] if injected.is_done else [2 * point + 1]
            misses += not injected.is_done
            point += 1

        assert self.end(channel)

        assert sorted(arrays(folder, RUN)) == sorted(handed)
        assert_complete(folder)

    # Waiting and ending.

    def test_drain(self, folder, channel):
        """After `drain` every event accepted so far can be read."""
        for i in range(500):
            channel.put(LOSS, DATA, 0, data(i))
            if i % 100 == 0:
                assert channel.drain(10)
                assert payloads(folder, RUN) == list(range(i + 1))

    def test_flush(self, folder, channel):
        """After `flush` every event accepted so far can be read, and flushing again does no harm."""
        for i in range(10):
            channel.put((LOSS, VAL)[i % 2], DATA, 0, data(i))
            assert channel.flush(10)
            assert channel.flush(10)
            assert payloads(folder, RUN) == list(range(i + 1))

    def test_close_seals(self, folder, channel):
        """After `close` every stream of the run is sealed."""
        channel.put(LOSS, DATA, 0, data(0))
        channel.put(VAL, DATA, 0, data(1))

        assert self.end(channel)

        seals = [event["data"] for event in events(folder) if event["type"] == "seal" and event["data"]["of"] == RUN]
        assert sorted((seal["stream"], seal["lines"]) for seal in seals) == [("log", 2), ("val", 1)]

    def test_closing_twice(self, folder, channel):
        """Closing again does nothing."""
        channel.put(LOSS, DATA, 0, data(0))
        assert self.end(channel)
        before = [path.read_bytes() for path in sorted(folder.glob("*.jsonl"))]

        assert channel.close(5)

        assert [path.read_bytes() for path in sorted(folder.glob("*.jsonl"))] == before

    def test_logging_after_close(self, folder, channel):
        """An event that comes after the end is not stored, which is said once."""
        channel.put(LOSS, DATA, 0, data(0))
        assert self.end(channel)

        with pytest.warns(WritingStalled, match="not stored"):
            channel.put(LOSS, DATA, 0, data(1))
        channel.put(LOSS, DATA, 0, data(2) + b" " * 100_000)

        assert payloads(folder, RUN) == [0]

    def test_closing_while_threads_log(self, folder, channel):
        """Threads that log while the run is closed do no harm: their events are there, or it is said that they are not."""
        last: dict[int, int] = {}
        begun = threading.Barrier(5)

        def produce(thread: int) -> None:
            begun.wait()
            for i in range(100_000):
                channel.put(LOSS, DATA, 0, data([thread, i]))
                last[thread] = i
                if stop.is_set():
                    return

        stop = threading.Event()
        threads = [threading.Thread(target=produce, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        begun.wait()
        with pytest.warns(WritingStalled, match="not stored"):
            self.end_meanwhile(channel, stop, threads)

        found = payloads(folder, RUN)
        for thread in range(4):
            numbers = [i for t, i in found if t == thread]
            assert numbers == list(range(len(numbers)))
        assert_complete(folder)

    def end_meanwhile(self, channel: Channel, stop: threading.Event, threads: list[threading.Thread]) -> None:
        assert self.end(channel)
        channel.put(LOSS, DATA, 0, data([9, 9]))
        stop.set()
        for thread in threads:
            thread.join()

    def test_nothing_logged(self, folder, channel):
        """A run without events can be closed."""
        assert channel.drain(5)
        assert channel.flush(5)
        assert channel.close(20)

    # Forks.

    @both_ways
    def test_a_fork_within_a_call_at_every_point(self, folder, channel, size):
        """A fork in a signal handler cuts a call in two: its event is there once, written by the parent alone."""
        point, misses, expected = 0, 0, []
        while misses < 2:
            children: list[int] = []

            def action(children: list[int] = children) -> None:
                children.append(os.fork())  # first of all: no child may go on as the test runner
                if children == [0]:
                    channel.abandon()

            try:
                with Injected(point, action) as injected:
                    channel.put(LOSS, DATA, 0, data(point, x="x" * size))
            finally:
                if children == [0]:
                    error = sys.exc_info()[0]
                    if error is not None:
                        traceback.print_exc()
                    os._exit(error is not None)
            for pid in children:
                assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            expected.append(point)
            misses += not injected.is_done
            point += 1

        assert self.end(channel)

        assert payloads(folder, RUN) == expected
        assert_complete(folder)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Python warns of forks beside threads; that is the point
    def test_forks_while_threads_log(self, folder, channel):
        """A fork in the middle of other threads' calls leaves a child that can let go, and a parent that lost nothing."""
        stop = threading.Event()
        counts = [0] * 4

        def produce(thread: int) -> None:
            while not stop.is_set():
                channel.put((LOSS, VAL)[thread % 2], DATA, 0, data([thread, counts[thread]]))
                counts[thread] += 1

        threads = [threading.Thread(target=produce, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()

        def log_elsewhere() -> None:
            signal.alarm(60)
            channel.abandon()
            channel.put(LOSS, DATA, 0, data([9, 9]))

        # A fork of a large process on a loaded machine takes a second, in which the threads log hundreds of thousands of lines.
        end = time.monotonic() + 5
        for number in range(30):
            pid = fork(log_elsewhere)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            if number >= 5 and time.monotonic() > end:
                break
        stop.set()
        for thread in threads:
            thread.join()

        assert self.end(channel)

        found = payloads(folder, RUN)
        for thread in range(4):
            assert [i for t, i in found if t == thread] == list(range(counts[thread]))
        assert len(found) == sum(counts)
        assert_complete(folder)


class storm:
    """Signals every few hundred microseconds."""

    def __init__(self, handler: Callable[..., None], interval_s: float) -> None:
        self.handler, self.interval_s = handler, interval_s

    def __enter__(self) -> None:
        self.before = signal.signal(signal.SIGALRM, self._guarded)
        self.is_on = True
        signal.setitimer(signal.ITIMER_REAL, self.interval_s, self.interval_s)

    def _guarded(self, *arguments: object) -> None:
        if self.is_on and _is_within_mlv(arguments[1]):
            self.handler()

    def __exit__(self, *_: object) -> None:
        self.is_on = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.before)
