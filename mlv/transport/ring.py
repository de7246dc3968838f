"""The producer's end of a ring: accepting an event costs a copy into shared memory and no system call."""

from __future__ import annotations

import errno
import mmap
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from pathlib import Path
from time import monotonic, sleep, time_ns
from typing import NamedTuple
from zlib import crc32

import orjson

from mlv import settings, wire
from mlv.encoding import DATA, TAIL, as_tail, dumps, head
from mlv.events import Dropped, Rejected
from mlv.protocols import Buffer, Cursor
from mlv.transport import spool
from mlv.transport.frames import (
    BIG,
    CURSOR_OFFSET,
    DATA_OFFSET,
    INFO_OFFSET,
    LAST,
    LONGEST,
    OVERHEAD,
    W_CAPACITY,
    W_COMPLETE,
    W_CURSOR_BYTES,
    W_DONE,
    W_DROPPED_FIRST,
    W_DROPPED_LAST,
    W_ENDED,
    W_ERRNO,
    W_HEAD,
    W_INFO_BYTES,
    W_SYNCED,
    W_TAIL,
    W_WANTED_SYNC,
    frame_end,
    lap_start,
    next_lap,
    pack_fields,
    pad,
)
from mlv.transport.spills import BIG_BUDGET, Spills
from mlv.transport.writer_watch import BEGINS_WITHIN_S, WriterWatch, loss_text

LARGEST_INLINE = 64 << 10
"""Payloads above this go through a file of the spool."""
_RESERVE = 2 * (LARGEST_INLINE + 64) + 4096
"""Bytes of a ring that only the end of its run may use, so that it finds room however full the ring is."""

_LOOK_EVERY_NS = 1_000_000_000  # a look asks the system for the writer: too much for each event
_MASK = 0xFFFFFFFF
_DROPPED_BYTES = 512
"""No `dropped` event is longer."""


class _QueuedEvent(NamedTuple):
    """An event that waits to be published."""

    cursor: int
    kind: int
    step: int
    payload: bytes
    time_ns: int

    @property
    def is_end(self) -> bool:
        """Whether it ends the run."""
        return self.payload.startswith(wire.RUN_ENDED) if self.kind == TAIL else self.kind == BIG and self.step == LAST


class Ring:
    """A `Channel` through a memory-mapped file, drained by the writer process.

    Threads take turns at a lock that nobody holds while waiting. A call that re-enters (from a signal handler or a
    `__del__`) leaves its event for the outer one, which publishes it before it returns, also if it returns by an exception.
    """

    def __init__(
        self,
        path: Path,
        listed_in: Path,
        launch: Callable[[], None],
        candidates: Sequence[Path] = (),
        patience_s: float = settings.PATIENCE.default,
        spill_bytes: int = BIG_BUDGET,
        begins_within_s: float = BEGINS_WITHIN_S,
    ) -> None:
        """Map the ring; `launch` starts a writer and returns at once, the candidates may take large events as well."""
        with open(spool.opened(path, os.O_RDWR), "r+b") as file:
            flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
            self._map = mmap.mmap(file.fileno(), 0, flags=flags)
        self._words = memoryview(self._map)[:INFO_OFFSET].cast("Q")
        self._crcs = memoryview(self._map).cast("I")
        text = self._map[INFO_OFFSET : INFO_OFFSET + self._words[W_INFO_BYTES]]
        info = orjson.loads(text)
        self.run: str = info["run"]
        self._folder: str = info["exp"]
        self._spool, self._patience_s = listed_in, patience_s
        self._capacity = self._words[W_CAPACITY]
        self._reserve = min(_RESERVE, self._capacity // 8)
        self._largest_inline = min(LARGEST_INLINE, self._capacity // 8)
        self._lock = threading.RLock()
        self._busy = False
        self._left_over: deque[_QueuedEvent] = deque()
        self._head = 0
        self._seq = 0
        self._shift = DATA_OFFSET  # file offset = position + shift, in this lap
        self._limit = -1  # no frame may end beyond this position before another look; none ends before the first
        self._looked_at = time_ns()
        self._outage_until: float | None = None
        self._dropped: tuple[int, int] | None = None
        self._crowded_until: float | None = None
        self._is_ending = self._is_closed = self._is_abandoned = False
        self._spills = Spills(self.run, [path.parent, listed_in, *candidates], spill_bytes)
        self._watch = WriterWatch(
            self._map, self._words, path, listed_in, self._folder, self.run, launch, patience_s, begins_within_s
        )
        launch()

    # Accepting events: the hot path.

    def put(self, cursor: int, kind: int, step: int, payload: bytes) -> None:
        """Accept one event; see `Channel`."""
        with self._lock:
            if self._busy:
                self._left_over.append(self._event(cursor, kind, step, payload, 0.0))
                return
            try:
                self._busy = True
                now = time_ns()
                position = self._head
                size = len(payload)
                end = (position + size + 43) & -8  # frame_end, without the call
                if end <= self._limit and 0 <= now - self._looked_at < _LOOK_EVERY_NS:  # below: the clock was set back
                    body = pack_fields(self._seq + 1, now, step, cursor << 2 | kind, size) + payload
                    start = position + self._shift
                    self._map[start + 4 : start + size + 36] = body  # 36 is OVERHEAD
                    self._crcs[start >> 2] = crc32(body, position & 0xFFFFFFFF)
                    self._words[W_HEAD] = end  # publishes the frame
                    self._head = end
                    self._seq += 1
                    accepted = True
                else:
                    accepted = False
            except BaseException:
                self._after_exception()
                raise
            finally:
                self._busy = False
        if not accepted:
            self._put_patiently(cursor, kind, step, payload)
        if self._left_over:
            self._publish_left_over()

    def hand_over(self, cursor: int, buffers: Sequence[Buffer]) -> None:
        """Accept one event that a worker completes; see `Channel`."""
        with self._lock:
            if self._busy:
                self._left_over.append(self._spilled_event(cursor, 0, buffers, time_ns(), 0.0, spool.JOB_SUFFIX))
                return
        self._accept(self._spilled_event(cursor, 0, buffers, time_ns(), self._patience_s, spool.JOB_SUFFIX))

    # Accepting events that took no quick way.

    def _put_patiently(self, cursor: int, kind: int, step: int, payload: bytes) -> None:
        """Accept an event when the quick way did not do: it is large, a lap ends, there is no room, or a look is due."""
        self._accept(self._event(cursor, kind, step, payload, self._patience_s))

    def _accept(self, event: _QueuedEvent) -> None:
        try:
            self._left_over.append(event)
            self._publish_left_over()
        except BaseException:
            with suppress(ValueError):  # unless it is published, it shall not come after the next event
                self._left_over.remove(event)
                self._forget(event)
            raise

    def _event(self, cursor: int, kind: int, step: int, payload: bytes, patience_s: float) -> _QueuedEvent:
        """Make the event that waits to be published: a large payload goes into a file of the spool at once."""
        step.to_bytes(8, "little", signed=True)  # raises where a frame would: each waiting event can be published
        event = _QueuedEvent(cursor, kind, step, payload, time_ns())
        return self._spill(event, patience_s) if len(payload) > self._largest_inline else event

    def _publish_left_over(self, until: float = inf) -> None:
        """Publish the waiting events, in order; without room, wait for it, and drop them when the patience is over."""
        pause_s = 0.0002
        while self._left_over:
            if not 0 <= time_ns() - self._looked_at < _LOOK_EVERY_NS:
                self._look()
            with self._lock:
                if self._busy:
                    return  # the outer call goes on with it
                try:
                    self._busy = True
                    warning = self._publish_or_drop()
                except BaseException:
                    self._after_exception()
                    raise
                finally:
                    self._busy = False
            if warning:
                self._watch.warn_once(*warning)
            if not self._left_over or monotonic() >= until:
                return
            self._look()
            sleep(pause_s)
            pause_s = min(2 * pause_s, 0.02)  # the pause of the writer itself, which makes room

    def _publish_or_drop(self) -> tuple[str, str] | None:
        """Try once to publish; return topic and message of a warning, if any. The lock is held."""
        if self._is_closed:
            return self._refuse()
        if self._pump():
            self._outage_until = None
            self._watch.is_over("dropping")
            if self._is_ending:
                self._end()
            return None
        if self._outage_until is None:
            self._outage_until = monotonic() + self._patience_s
        is_lost = self._words[W_ERRNO] == errno.ESTALE  # then there is nothing to wait for
        if monotonic() < self._outage_until and not is_lost:
            return None
        while self._left_over:
            self._drop_first()
        if is_lost:
            return "loss", loss_text(Path(self._folder), self.run)
        return "dropping", (
            f"the events of run {self.run} are dropped for now: nothing could be written for {self._patience_s:g} s "
            f"and the queue of {self._capacity >> 20} MiB is full. {self._watch.reason()}"
        )

    def _pump(self) -> bool:
        """Publish the waiting events, in order, while there is room; return whether those are all. The lock is held."""
        while self._left_over:
            event = self._left_over[0]
            spare = 0 if event.is_end else self._reserve
            if not self._say_dropped(event, spare) or not self._publish_first(event, spare):
                return False
        return True

    def _publish_first(self, event: _QueuedEvent, spare: int) -> bool:
        """Publish the first event that waits and take it away: both or neither, also if an exception comes between."""
        before = self._words[W_HEAD]
        try:
            if not self._publish(event, spare):
                return False
            self._take(event)
            return True
        except BaseException:
            self._agree_with_header()
            if self._head != before:
                self._take(event)
            raise

    def _take(self, event: _QueuedEvent) -> None:
        if self._left_over and self._left_over[0] is event:
            self._left_over.popleft()

    def _publish(self, event: _QueuedEvent, spare: int) -> bool:
        """Publish one frame, beginning another lap where it is needed; False if there is no room. The lock is held.

        Nothing that the quick way relies on changes before the frame is published.
        """
        head, tail = self._head, self._words[W_TAIL]
        is_wrapping = frame_end(head, len(event.payload)) > next_lap(head, self._capacity)
        position = next_lap(head, self._capacity) if is_wrapping else head
        end = frame_end(position, len(event.payload))
        if end > tail + self._capacity - spare:
            return False
        if position - head >= OVERHEAD:
            start = head + DATA_OFFSET - lap_start(head, self._capacity)
            # A reader at the head would else wait for a frame in the remainder of the lap.
            self._map[start : start + OVERHEAD] = pad(head)
        shift = DATA_OFFSET - lap_start(position, self._capacity)
        start = position + shift
        code = event.cursor << 2 | event.kind
        body = pack_fields(self._seq + 1, event.time_ns, event.step, code, len(event.payload)) + event.payload
        self._map[start + 4 : start + 4 + len(body)] = body
        self._crcs[start >> 2] = crc32(body, position & _MASK)
        limit = min(next_lap(position, self._capacity), tail + self._capacity - self._reserve, end + LONGEST)
        self._words[W_HEAD] = end  # publishes the frame: after its bytes and its CRC
        self._head = end
        self._seq += 1
        self._shift, self._limit = shift, limit
        return True

    def _after_exception(self) -> None:
        """Leave the ring as if the call that an exception ended had not been, and go on with what re-entered it."""
        self._agree_with_header()
        if self._left_over and self._pump() and self._is_ending:
            self._end()

    def _agree_with_header(self) -> None:
        """Take the state from the header, after an exception in the middle: only published events count."""
        if self._words[W_HEAD] != self._head:
            self._head = self._words[W_HEAD]
            self._seq += 1
        self._shift = DATA_OFFSET - lap_start(self._head, self._capacity)
        self._limit = -1

    # Dropping events.

    def _drop_first(self) -> None:
        """Give up the first event that waits: it is not accepted. The lock is held."""
        event = next(iter(self._left_over), None)
        if event is None:
            return  # this is a forked child, which let go of it meanwhile
        self._forget(event)
        self._take(event)
        self._seq += 1
        first = self._dropped[0] if self._dropped else self._seq
        self._dropped = (first, self._seq)
        self._limit = -1  # before the next event, that has to be said
        # For the writer, should this process end before it can say so itself. The first number comes last: where it is 0, the
        # writer reads neither.
        self._words[W_DROPPED_LAST] = self._seq
        self._words[W_DROPPED_FIRST] = first

    def _say_dropped(self, event: _QueuedEvent, spare: int) -> bool:
        """Publish a `dropped` event, if one is due, before an event; False without room for both. The lock is held."""
        if self._dropped is None:
            return True
        free = self._words[W_TAIL] + self._capacity - spare - self._head
        if not event.is_end and free < 2 * frame_end(_DROPPED_BYTES, len(event.payload)):  # twice: a lap may end
            return False
        first, last = self._dropped
        record = Dropped(first, last, last - first + 1, f"no room for {self._patience_s:g} s: the writer did not write")
        if not self._publish(_QueuedEvent(0, TAIL, 0, _record_tail(record), time_ns()), spare):
            return False
        self._dropped = None
        self._words[W_DROPPED_FIRST] = self._words[W_DROPPED_LAST] = 0
        return True

    def _refuse(self) -> tuple[str, str] | None:
        """Discard the waiting events, as the run has ended. The lock is held."""
        if self._is_abandoned:
            self._left_over.clear()  # they are the parent's, which publishes them
            return None
        waiting = list(self._left_over)
        for event in waiting:
            self._forget(event)  # its file first: the event alone knows the path
            self._take(event)
        # None where the end of the run, said in a signal handler, has published them meanwhile.
        return ("closed", f"logged into run {self.run} while it ended: the event is not stored") if waiting else None

    def _forget(self, event: _QueuedEvent) -> None:
        if event.kind == BIG:
            self._spills.remove(Path(os.fsdecode(event.payload)))

    # Large events.

    def _spill(self, event: _QueuedEvent, patience_s: float) -> _QueuedEvent:
        content = as_tail(event.kind, event.step, event.payload)
        step = LAST if event.is_end else 0
        return self._spilled_event(event.cursor, step, [content], event.time_ns, patience_s, spool.BIG_SUFFIX)

    def _spilled_event(
        self, cursor: int, step: int, buffers: Sequence[Buffer], moment_ns: int, patience_s: float, suffix: str
    ) -> _QueuedEvent:
        """Put a large payload into a file of the spool; return the small event that stands for it."""
        deadline = monotonic() + patience_s
        while True:
            path = self._spills.add(buffers, suffix)
            if path is not None:
                self._crowded_until = None
                return _QueuedEvent(cursor, BIG, step, os.fsencode(path), moment_ns)
            if self._crowded_until is None and patience_s:
                self._crowded_until = deadline  # it is waited once per outage, not for each event
            if monotonic() >= min(deadline, self._crowded_until or deadline) or self._is_abandoned:
                break
            self._look()
            sleep(0.01)
        # Keep a record of the event, without its data, rather than nothing.
        reason = f"{sum(map(len, buffers))} bytes found no room in any spool"
        self._watch.warn_once("spill", f"an event of run {self.run} is stored without its data: {reason}")
        return _QueuedEvent(0, TAIL, 0, _record_tail(Rejected("unknown", reason)), moment_ns)

    # Waiting for the writer.

    def _look(self, is_waiting: bool = False) -> None:
        """See to it that a writer writes; see `WriterWatch`. Called without the lock."""
        if not self._is_abandoned:
            self._looked_at = time_ns()
            self._watch.look(is_waiting)

    def outlook(self) -> str:
        """Describe the fate of the waiting events; see `Channel`."""
        return self._watch.outlook()

    def add_cursor(self, index: int, cursor: Cursor) -> None:
        """Announce a cursor; see `Channel`."""
        line = orjson.dumps([index, cursor[0], cursor[1].decode()]) + b"\n"
        with self._lock:
            used = self._words[W_CURSOR_BYTES]
            self._map[CURSOR_OFFSET + used : CURSOR_OFFSET + used + len(line)] = line
            self._words[W_CURSOR_BYTES] = used + len(line)

    @property
    def free_bytes(self) -> int:
        """Room for frames: events of less than that are accepted without a wait."""
        return int(self._words[W_TAIL] + self._capacity - self._words[W_HEAD])

    def drain(self, timeout_s: float) -> bool:
        """Wait until all accepted events can be read; see `Channel`."""
        return self._wait_for_published(W_COMPLETE, timeout_s)

    def flush(self, timeout_s: float) -> bool:
        """Wait until all accepted events are fsynced; see `Channel`."""
        return self._wait_for_published(W_SYNCED, timeout_s)

    def close(self, timeout_s: float) -> bool:
        """Accept no more, and wait for the seals; see `Channel`."""
        with self._lock:
            if self._busy:  # called from a signal handler in the middle of `put`, which ends the run when it goes on
                self._is_ending = True
                return False
            try:
                self._busy = True
                self._end()
            except BaseException:
                self._after_exception()
                raise
            finally:
                self._busy = False
        is_done = self._wait(W_DONE, 1, timeout_s)
        if self._words[W_ERRNO] == errno.ESTALE and timeout_s > 0:
            self._watch.warn_of_loss()
        self._watch.warn_of_changed()
        return is_done

    def _end(self) -> None:
        """Publish the waiting events, or drop them, and let the writer know that nothing follows. The lock is held."""
        while not self._is_closed and not self._pump():
            self._drop_first()
        # Before the word that ends it: no event may be published that nobody will read.
        self._is_closed = True
        self._limit = -1  # a thread that still logs finds out on the slow path
        self._words[W_ENDED] = 1

    def _wait_for_published(self, word: int, timeout_s: float) -> bool:
        """Wait until a word of the writer reaches the position accepted now."""
        deadline = monotonic() + timeout_s
        self._publish_left_over(deadline)
        with self._lock:
            target = self._words[W_HEAD]
            is_inner = self._busy
            if word == W_SYNCED:
                self._words[W_WANTED_SYNC] = target
        # From a signal handler in the middle of `put`: events logged in the handler can be published only after it.
        return self._wait(word, target, deadline - monotonic()) and not (is_inner and self._left_over)

    def _wait(self, word: int, target: int, timeout_s: float) -> bool:
        deadline = monotonic() + timeout_s
        next_look = monotonic() + 0.3
        pause_s = 0.0002
        spool.wake(self._spool)
        while self._words[word] < target:
            now = monotonic()
            is_in_vain = self._words[W_ERRNO] == errno.ESTALE
            if now >= deadline or self._is_abandoned or is_in_vain:
                return False
            if now >= next_look:
                self._look(is_waiting=True)
                spool.wake(self._spool)
                next_look = now + 0.3
            sleep(min(pause_s, max(0.0, deadline - now)))
            pause_s = min(1.5 * pause_s, 0.005)
        return not self._is_abandoned

    def abandon(self) -> None:
        """Let go of the parent's ring in a forked child; see `Channel`."""
        # A call of the parent's that was cut in two by the fork goes on in the child: it must not reach the shared memory.
        mine = mmap.mmap(-1, DATA_OFFSET + self._capacity)
        self._words = memoryview(mine)[:INFO_OFFSET].cast("Q")
        self._crcs = memoryview(mine).cast("I")
        self._map = mine
        self._watch.abandon(mine, self._words)
        self._lock = threading.RLock()
        self._left_over = deque()  # another one: a call that was cut in two may be taking from the old one
        self._is_closed = self._is_abandoned = self._spills.is_abandoned = True
        self._limit = -1


def _record_tail(record: Dropped | Rejected) -> bytes:
    return head(record.TYPE, "") + as_tail(DATA, 0, dumps(record.to_data()))
