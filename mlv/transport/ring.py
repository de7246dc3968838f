"""The producer's end of a ring: accepting an event costs a copy into shared memory and no system call."""

from __future__ import annotations

import errno
import mmap
import os
import struct
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic, monotonic_ns, sleep, time_ns
from typing import Any
from zlib import crc32

import orjson

from mlv.encoding import TAIL, as_tail, dumps, head
from mlv.errors import WritingStalled
from mlv.events import Dropped
from mlv.notices import warn
from mlv.protocols import Cursor
from mlv.store.owners import Owner, process_start
from mlv.transport import spool
from mlv.transport.frames import (
    BIG,
    CURSOR_OFFSET,
    DATA_OFFSET,
    INFO_OFFSET,
    MAGIC,
    OVERHEAD,
    W_CAPACITY,
    W_CURSOR_BYTES,
    W_DONE,
    W_ENDED,
    W_ERRNO,
    W_HEAD,
    W_INFO_BYTES,
    W_MAGIC,
    W_STAMP,
    W_SYNCED,
    W_TAIL,
    W_WANTED_SYNC,
    W_WRITER_PID,
    W_WRITER_START,
    frame_end,
    next_lap,
    pack_fields,
    pad,
)

CAPACITY = 8 << 20
"""Bytes of frames in a run's ring: 5 s of a hanging disk at some 15,000 events a second."""
CHILD_CAPACITY = 2 << 20
LARGEST_INLINE = 64 << 10
"""Payloads above this go through a file of the spool."""
BIG_BUDGET = 512 << 20
"""Bytes of large events that may wait in the spool."""

_LOOK_EVERY_NS = 1_000_000_000
_STALE_AFTER_S = 2.0
_ATTACH_WITHIN_S = 10.0
_MASK = 0xFFFFFFFF


class NoRoom(OSError):
    """No spool has room for a ring."""


def create(places: list[Path], info: dict[str, Any], capacity: int) -> Path:
    """Make a ring in the first place with room for all of it, and list it in the first place.

    Space is reserved: a page of shared memory that is missing later would be a signal that kills the process.

    Raises:
        NoRoom: There is room nowhere.
    """
    name = info["run"] + spool.RING_SUFFIX
    problem: OSError | None = None
    for place in places:
        temporary = place / (name + ".new")
        try:
            _reserve(temporary, info, capacity)
            os.rename(temporary, place / name)
            if place != places[0]:
                os.symlink(place / name, places[0] / name)
            return place / name
        except OSError as error:
            problem = error
            with suppress(OSError):
                temporary.unlink()
    raise NoRoom(errno.ENOSPC, f"no room for a ring of {capacity} bytes in {', '.join(map(str, places))}: {problem}")


def _reserve(path: Path, info: dict[str, Any], capacity: int) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, DATA_OFFSET + capacity)
        text = orjson.dumps(info)
        words = {W_MAGIC: MAGIC, W_CAPACITY: capacity, W_INFO_BYTES: len(text)}
        for word, value in words.items():
            os.pwrite(fd, struct.pack("<Q", value), word * 8)
        os.pwrite(fd, text, INFO_OFFSET)
    finally:
        os.close(fd)


class Ring:
    """A `Channel` through a memory-mapped file, drained by the writer process.

    Threads take turns at a lock that nobody holds while waiting. A call that re-enters (from a signal handler or a
    `__del__`) leaves its event for the outer one, which publishes it before it returns.
    """

    def __init__(self, path: Path, listed_in: Path, launch: Callable[[], None], patience_s: float = 60.0) -> None:
        """Map the ring; `launch` starts a writer and returns at once."""
        with open(path, "r+b") as file:
            flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
            self._map = mmap.mmap(file.fileno(), 0, flags=flags)
        self._words = memoryview(self._map)[:INFO_OFFSET].cast("Q")
        self._crcs = memoryview(self._map).cast("I")
        text = self._map[INFO_OFFSET : INFO_OFFSET + self._words[W_INFO_BYTES]]
        self.run: str = orjson.loads(text)["run"]
        self._path, self._spool, self._launch, self._patience_s = path, listed_in, launch, patience_s
        self._capacity = self._words[W_CAPACITY]
        self._lock = threading.RLock()
        self._busy = False
        self._left_over: deque[tuple[int, int, int, bytes]] = deque()
        self._head = 0
        self._seq = 0
        self._shift = DATA_OFFSET  # file offset = position + shift, in this lap
        self._limit = self._capacity  # no frame may end beyond this position before another look
        self._look_at = time_ns() + _LOOK_EVERY_NS
        self._outage_until: float | None = None
        self._dropped: tuple[int, int] | None = None
        self._big_bytes = 0
        self._launched_at = monotonic()
        self._launches = 1
        self._warned: set[str] = set()
        self._is_closed = False
        launch()

    # Accepting events: the hot path.

    def put(self, cursor: int, kind: int, step: int, payload: bytes) -> None:
        """Accept one event; see `Channel`."""
        with self._lock:
            if self._busy:
                self._left_over.append((cursor, kind, step, payload))
                return
            self._busy = True
            try:
                now = time_ns()
                position = self._head
                end = (position + len(payload) + 43) & -8  # frame_end, without the call
                if end <= self._limit and now < self._look_at:
                    body = pack_fields(self._seq + 1, now, step, cursor << 2 | kind, len(payload)) + payload
                    start = position + self._shift
                    self._map[start + 4 : start + 4 + len(body)] = body
                    self._crcs[start >> 2] = crc32(body, position & 0xFFFFFFFF)
                    self._words[W_HEAD] = end  # publishes the frame
                    self._head = end
                    self._seq += 1
                    accepted = True
                else:
                    accepted = False
            except BaseException:
                self._agree_with_header()
                raise
            finally:
                self._busy = False
        if not accepted:
            self._put_patiently(cursor, kind, step, payload)
        if self._left_over:
            self._publish_left_over()

    def _agree_with_header(self) -> None:
        """After an exception in the middle: what the header says was published counts, and nothing else."""
        if self._words[W_HEAD] != self._head:
            self._head = self._words[W_HEAD]
            self._seq += 1

    def _publish_left_over(self) -> None:
        while self._left_over:
            try:
                event = self._left_over.popleft()
            except IndexError:
                return  # another thread was faster
            self.put(*event)

    def _put_patiently(self, cursor: int, kind: int, step: int, payload: bytes) -> None:
        """Accept an event when the quick way did not do: it is large, a lap ends, or there is no room."""
        if len(payload) > LARGEST_INLINE:
            cursor, kind, step, payload = self._spill(cursor, kind, step, payload)
        pause_s = 0.0002
        while True:
            self._look()
            with self._lock:
                if self._busy:
                    self._left_over.append((cursor, kind, step, payload))
                    return
                self._busy = True
                try:
                    if self._is_closed:
                        self._warn_once("closed", f"logged into run {self.run} while it ended: the event is not stored")
                        return
                    if self._try(cursor, kind, step, payload):
                        self._outage_until = None
                        return
                    if self._outage_until is None:
                        self._outage_until = monotonic() + self._patience_s
                    if monotonic() >= self._outage_until:
                        self._drop()
                        return
                except BaseException:
                    self._agree_with_header()
                    raise
                finally:
                    self._busy = False
            sleep(pause_s)
            pause_s = min(2 * pause_s, 0.02)

    def _try(self, cursor: int, kind: int, step: int, payload: bytes) -> bool:
        """Publish what was dropped, if anything, and the event; False if there is no room. The lock is held."""
        if self._dropped is not None:
            first, last = self._dropped
            record = Dropped(
                first, last, last - first + 1, f"no room for {self._patience_s:g} s: the writer did not write"
            )
            said = head("dropped", "") + b'"data":' + dumps(record.to_data()) + b"}"
            if not self._publish(0, TAIL, 0, said):
                return False
            self._dropped = None
        return self._publish(cursor, kind, step, payload)

    def _publish(self, cursor: int, kind: int, step: int, payload: bytes) -> bool:
        """Publish one frame, beginning another lap where it is needed; False if there is no room. The lock is held."""
        position, tail = self._head, self._words[W_TAIL]
        lap_end = next_lap(position, self._capacity)
        if frame_end(position, len(payload)) > lap_end:
            if frame_end(lap_end, len(payload)) > tail + self._capacity:
                return False
            if lap_end - position >= OVERHEAD:
                start = position + self._shift
                self._map[start : start + OVERHEAD] = pad(position)
            position, lap_end = lap_end, lap_end + self._capacity
            self._shift = DATA_OFFSET - position
        end = frame_end(position, len(payload))
        self._limit = min(lap_end, tail + self._capacity)
        if end > self._limit:
            return False
        body = pack_fields(self._seq + 1, time_ns(), step, cursor << 2 | kind, len(payload)) + payload
        start = position + self._shift
        self._map[start + 4 : start + 4 + len(body)] = body
        self._crcs[start >> 2] = crc32(body, position & _MASK)
        self._words[W_HEAD] = end
        self._head = end
        self._seq += 1
        return True

    def _drop(self) -> None:
        """Count an event that is not accepted. The lock is held."""
        self._seq += 1
        first = self._dropped[0] if self._dropped else self._seq
        self._dropped = (first, self._seq)
        self._warn_once(
            "dropping",
            f"the events of run {self.run} are dropped for now: nothing could be written for {self._patience_s:g} s "
            f"and the queue of {self._capacity >> 20} MiB is full. {self._reason()}",
        )

    def _spill(self, cursor: int, kind: int, step: int, payload: bytes) -> tuple[int, int, int, bytes]:
        """Put a large payload into a file of the spool; gives the small event that stands for it."""
        deadline = monotonic() + self._patience_s
        while self._waiting_big_bytes() + len(payload) > BIG_BUDGET and monotonic() < deadline:
            sleep(0.01)
            self._look()
        name = f"{self.run}.{os.urandom(6).hex()}{spool.BIG_SUFFIX}"
        for place in dict.fromkeys([self._path.parent, self._spool, *(root / self._spool.name for root in _roots())]):
            path = place / name
            try:
                place.mkdir(mode=0o700, exist_ok=True)
                with open(path, "xb", opener=_private_opener) as file:
                    file.write(as_tail(kind, step, payload))
                return cursor, BIG, 0, os.fsencode(path)
            except OSError:
                with suppress(OSError):
                    path.unlink()
        # No spool has room for it: keep what an event is, without its data, rather than nothing.
        reason = f"{len(payload)} bytes found no room in any spool"
        record = {"type": "unknown", "reason": reason}
        return 0, TAIL, 0, head("rejected", "") + b'"data":' + dumps(record) + b"}"

    def _waiting_big_bytes(self) -> int:
        total = 0
        for path in self._path.parent.glob(f"{self.run}.*{spool.BIG_SUFFIX}"):
            with suppress(OSError):
                total += path.stat().st_size
        return total

    # Looking after the writer.

    def _look(self) -> None:
        """See whether the writer lives and writes; start another one, or warn. Called without the lock."""
        self._look_at = time_ns() + _LOOK_EVERY_NS
        problem = self._words[W_ERRNO]
        if problem:
            self._warn_once(
                f"errno {problem}",
                f"the events of run {self.run} wait in memory: {os.strerror(problem)}. They are written as soon as that is "
                f"possible; when {self._capacity >> 20} MiB are full, logging waits, at most {self._patience_s:g} s",
            )
        stamp = self._words[W_STAMP]
        if stamp and (monotonic_ns() - stamp) / 1e9 < _STALE_AFTER_S:
            self._launches = 0
            return
        if self._writer_is_alive():
            return
        # Back off: a writer that cannot start must not be started in a loop.
        wait_s = _ATTACH_WITHIN_S if not stamp else min(60.0, 0.1 * 2**self._launches)
        if monotonic() - self._launched_at > wait_s:
            self.relaunch()

    def relaunch(self) -> None:
        """Start a writer; if one is there already the new one goes away at once."""
        self._launches += 1
        self._launched_at = monotonic()
        try:
            self._launch()
        except OSError as error:
            self._warn_once(
                "launch", f"the writer of run {self.run} cannot be started: {error}. Its events wait in memory"
            )

    def _writer_is_alive(self) -> bool:
        pid, start = self._words[W_WRITER_PID], self._words[W_WRITER_START]
        return pid != 0 and process_start(pid) == str(start)

    def _reason(self) -> str:
        problem = self._words[W_ERRNO]
        if problem:
            return f"The writer says: {os.strerror(problem)}. Make room, or look at the disk"
        return "The disk hangs, or the writer was stopped" if self._writer_is_alive() else "The writer is gone"

    def _warn_once(self, what: str, message: str) -> None:
        if what not in self._warned:
            self._warned.add(what)
            warn(message, WritingStalled)

    # Waiting for the writer.

    def add_cursor(self, index: int, cursor: Cursor) -> None:
        """Announce a cursor; see `Channel`."""
        line = orjson.dumps([cursor[0], cursor[1].decode()]) + b"\n"
        with self._lock:
            used = self._words[W_CURSOR_BYTES]
            self._map[CURSOR_OFFSET + used : CURSOR_OFFSET + used + len(line)] = line
            self._words[W_CURSOR_BYTES] = used + len(line)

    def drain(self, timeout_s: float) -> bool:
        """Wait until all accepted events can be read; see `Channel`."""
        return self._wait(W_TAIL, self._head, timeout_s)

    def flush(self, timeout_s: float) -> bool:
        """Wait until all accepted events are fsynced; see `Channel`."""
        with self._lock:
            self._words[W_WANTED_SYNC] = target = self._head
        return self._wait(W_SYNCED, target, timeout_s)

    def close(self, timeout_s: float) -> bool:
        """Accept no more, and wait for the seals; see `Channel`."""
        with self._lock:
            self._is_closed = True
            self._limit = -1  # a thread that still logs finds out on the slow path
            self._words[W_ENDED] = 1
        return self._wait(W_DONE, 1, timeout_s)

    def _wait(self, word: int, target: int, timeout_s: float) -> bool:
        deadline = monotonic() + timeout_s
        next_look = monotonic() + 0.3
        pause_s = 0.0002
        spool.wake(self._spool)
        while self._words[word] < target:
            now = monotonic()
            if now >= deadline:
                return False
            if now >= next_look:
                self._look()
                spool.wake(self._spool)
                next_look = now + 0.3
            sleep(min(pause_s, max(0.0, deadline - now)))
            pause_s = min(1.5 * pause_s, 0.005)
        return True

    def abandon(self) -> None:
        """Let go of the parent's ring in a forked child; see `Channel`."""
        # A call of the parent's that was cut in two by the fork goes on in the child: it must not reach the shared memory.
        size = DATA_OFFSET + self._capacity
        mine = mmap.mmap(-1, size)
        self._words = memoryview(mine)[:INFO_OFFSET].cast("Q")
        self._crcs = memoryview(mine).cast("I")
        self._map = mine
        self._lock = threading.RLock()


def ring_owner(info: dict[str, Any]) -> Owner:
    """The process that a ring's info names."""
    return Owner.from_data(info["process"])


def _private_opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _roots() -> list[Path]:
    return [spool.root_of(base) for base in spool.bases()]
