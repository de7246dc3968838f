"""The inline twin of ring and writer: the same lines in the same files, from the caller's own process.

It serves where no process can be started or no spool be had, and as the reference that the ring is tested against.
"""

from __future__ import annotations

import errno
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic, sleep, time_ns
from typing import NamedTuple

from mlv import wire, words
from mlv.encoding import TAIL, Composer
from mlv.errors import MlvWarning, RedactedWarning, RejectedWarning, WritingStalled
from mlv.events import Dropped
from mlv.interrupts import interruption_in, pass_on
from mlv.media.jobs import Job, Unusable, perform, rejected, rejected_text, rejection
from mlv.media.target import FolderTarget
from mlv.notices import warn
from mlv.protocols import Buffer, Cursor, FileLayer
from mlv.store.home import Home
from mlv.store.layout import DEFAULT_STREAM
from mlv.transport.censor import Censor, redacted_text
from mlv.transport.job_censor import clean_job
from mlv.transport.journal import Journal
from mlv.transport.writer_watch import loss_text

_RETRY_AFTER_S = 0.01  # the thread that holds up the other one may go on at any moment


class _PendingEvent(NamedTuple):
    """An event that waits for its line to be written."""

    stream: str
    head: bytes
    time_ns: int
    kind: int
    step: int
    payload: bytes


class Inline:
    """A `Channel` that appends to the streams before `put` returns, unless the disk refuses; then with a later event.

    An exception may end a call at any point, such as KeyboardInterrupt: the next call reads the written lines from the file.
    """

    def __init__(
        self,
        folder: Path,
        run: str,
        files: FileLayer | None = None,
        waiting_bytes: int = 8 << 20,
        censor: Censor | None = None,
        home: Home | None = None,
    ) -> None:
        self.run, self._folder = run, folder
        self._journal = Journal(folder, files, home)
        self._censor = censor
        self._composer = Composer(run, censor.event if censor is not None else None)
        self._cursors: dict[int, Cursor] = {}
        self._lock = threading.RLock()
        self._busy = False
        self._seq = 0
        self._waiting: deque[_PendingEvent] = deque()
        self._waiting_bytes, self._most_waiting_bytes = 0, waiting_bytes
        self._appending: tuple[int, _PendingEvent] | None = None
        self._dropped = 0
        self._is_ending = self._is_closed = self._is_abandoned = False
        self._warned: set[str] = set()
        self._refusal: OSError | None = None
        self._jobs = 0

    def add_cursor(self, index: int, cursor: Cursor) -> None:
        """Announce a cursor; see `Channel`."""
        self._cursors[index] = cursor

    def put(self, cursor: int, kind: int, step: int, payload: bytes) -> None:
        """Accept one event; see `Channel`."""
        step.to_bytes(8, "little", signed=True)  # raises OverflowError where a ring's frame would have no room either
        event = _PendingEvent(*self._cursors[cursor], time_ns(), kind, step, payload)
        with self._lock:
            if self._busy:
                self._accept(event)  # a call that re-entered: the outer one goes on with it
            else:
                self._go_on(event)

    def hand_over(self, cursor: int, buffers: Sequence[Buffer]) -> None:
        """Complete an event and accept it; see `Channel`."""
        if self._is_closed:
            self.put(cursor, TAIL, 0, b"")  # says that it is not stored
            return
        with self._lock:
            self._jobs += 1
            key = f"{self.run}-m{self._jobs}"
        payload = self._completed(b"".join(buffers), key)
        if payload.startswith(wire.REJECTED):
            self._warn("rejected", rejected_text(self.run, rejection(payload)), RejectedWarning)
        self.put(cursor, TAIL, 0, payload)

    def _completed(self, content: bytes, key: str) -> bytes:
        try:
            job = Job.unpack(content)
        except ValueError as error:
            return rejected(Job("unknown", "", "", {}), f"what was handed over {error}")
        try:
            job = clean_job(job)
        except Unusable as error:
            return rejected(Job(job.type, job.name, "", {}), str(error))
        try:
            return perform(job, FolderTarget(self._journal.folder, job.name, job.step, key))
        except OSError as error:
            return rejected(job, f"its file could not be written: {error}")

    def _accept(self, event: _PendingEvent) -> None:
        size = len(event.payload)
        if self._is_abandoned:
            return  # it is the parent's, which writes it
        if self._is_closed:
            self._warn("closed", f"logged into run {self.run} after it ended: the event is not stored")
        elif self._dropped or self._waiting_bytes + size > max(self._most_waiting_bytes, size):
            self._dropped += 1
        else:
            self._waiting.append(event)
            self._waiting_bytes += size

    def _go_on(self, event: _PendingEvent | None = None) -> bool:
        """Accept an event and append the waiting ones; False if the disk refuses. The lock is held."""
        try:
            self._busy = True
            if event is not None:
                self._accept(event)
            return self._append()
        except BaseException:
            self._append()  # the events that a signal handler logged before it raised
            raise
        finally:
            self._busy = False
            if self._is_ending and not self._is_closed:
                self._end()

    def _append(self) -> bool:
        try:
            self._find_what_is_there()
            while self._waiting:
                self._append_first(self._waiting[0])
            self._waiting_bytes = 0
            if self._dropped:
                first, last = self._seq + 1, self._seq + self._dropped
                event = Dropped(first, last, self._dropped, "the disk refused for too long", of=self.run)
                self._journal.say(event, self._cursors.get(0, (DEFAULT_STREAM, b""))[0])
                self._seq, self._dropped = last, 0
            return True
        except OSError as error:
            pass_on(error)  # a TimeoutError of a signal handler, for one
            self._warn_of(error)
            return False

    def _append_first(self, event: _PendingEvent) -> None:
        """Append the first event that waits.

        Raises:
            OSError: It was not appended.
        """
        seq = self._seq + 1
        # Before the append: if an exception ends it, the next call looks for this number in the file.
        self._appending = seq, event
        state = self._censor.state if self._censor is not None else None
        line = self._composer.line(seq, event.time_ns, event.head, event.kind, event.step, event.payload)
        try:
            self._journal.append(self.run, event.stream, [line])
        except OSError as error:
            if interruption_in(error) is None:  # else it may have come after the line was written
                self._appending = None
                if self._censor is not None and state is not None:
                    self._censor.state = state
            raise
        self._seq = seq
        self._take(event)
        self._appending = None  # last: wherever an exception comes between, the file decides

    def _take(self, event: _PendingEvent) -> None:
        if self._waiting and self._waiting[0] is event:
            self._waiting.popleft()

    def _find_what_is_there(self) -> None:
        """Go on from the lines in the file, after an exception in the middle of an append.

        Raises:
            OSError: It cannot be read or mended.
        """
        if self._appending is None:
            return
        seq, event = self._appending
        self._journal.reopen()
        is_there = seq in self._journal.resume(self.run, {stream for stream, _ in self._cursors.values()}, seq)
        self._seq = seq if is_there else seq - 1
        if is_there:
            self._take(event)
        self._appending = None

    def outlook(self) -> str:
        """Describe the fate of the waiting events: they are lost, which is warned of; see `Channel`."""
        return "" if "loss" in self._warned else "its seals are missing"

    def _warn_of(self, error: OSError) -> None:
        self._refusal = error
        if error.errno == errno.ESTALE:
            self._warn("loss", loss_text(self._folder, self.run))
            return
        self._warn("error", f"the events of run {self.run} wait in memory: {error}. They are written when it is possible")

    def _warn(self, topic: str, message: str, category: type[MlvWarning] = WritingStalled) -> None:
        if topic not in self._warned:
            self._warned.add(topic)
            warn(message, category)

    def drain(self, timeout_s: float) -> bool:
        """See `Channel`."""
        deadline = monotonic() + timeout_s
        while True:
            with self._lock:
                if self._busy:
                    return False  # called from a signal handler in the middle of `put`, which goes on afterwards
                if self._go_on():
                    return True
            if monotonic() >= deadline:
                return False
            sleep(_RETRY_AFTER_S)

    def flush(self, timeout_s: float) -> bool:
        """See `Channel`."""
        return self.drain(timeout_s) and self._does(self._journal.sync)

    def close(self, timeout_s: float) -> bool:
        """See `Channel`."""
        with self._lock:
            if self._busy:
                self._is_ending = True  # called from a signal handler in the middle of `put`, which goes on with it
                return False
        self.drain(timeout_s)
        return self._end()

    def _end(self) -> bool:
        """Accept no more, and seal the written lines; return whether those are all. Others are lost."""
        self._is_closed = True
        if self._censor is not None and self._censor.redacted:
            self._warn("redacted", redacted_text(self.run, self._censor.redacted), RedactedWarning)
        if lost := len(self._waiting) + self._dropped:
            self._warn(
                "loss", f"{words.counted(lost, 'event')} of run {self.run} cannot be written, and are lost: {self._refusal}"
            )
            return False
        return self._does(self._seal)

    def _seal(self) -> None:
        self._journal.seal(self.run)
        self._journal.close()

    def _does(self, task: Callable[[], None]) -> bool:
        with self._lock:
            try:
                task()
                return True
            except OSError as error:
                self._warn_of(error)
                return False

    def abandon(self) -> None:
        """See `Channel`."""
        self._lock = threading.RLock()
        self._journal.abandon()
        self._waiting = deque()  # another one: a call that was cut in two by the fork may be taking from the old one
        self._is_closed = self._is_abandoned = True
