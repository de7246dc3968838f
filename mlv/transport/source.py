"""The consumer's end of a ring: reads frames, never more than are whole, and gives the space back."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from time import monotonic, monotonic_ns

import orjson

from mlv.store import layout
from mlv.store.owners import Owner
from mlv.transport import frames as f
from mlv.transport import spool
from mlv.transport.frames import Frame
from mlv.transport.header import parse_header

_LONGEST = 2 * f.LONGEST  # so that every read has a whole frame
_GIVE_UP_AFTER_S = 5.0  # a store that another processor made is seen within microseconds, on any machine


class Source:
    """One ring, as its writer sees it. Data are read with `pread`: a page that is gone is an error then, not a signal."""

    def __init__(self, path: Path) -> None:
        """Open the ring, and keep all others from draining it.

        Raises:
            BlockingIOError: Another writer has it.
            OSError, ValueError: It is none, or is gone.
        """
        import fcntl  # not everywhere; where it is missing there are no rings

        self.path = path
        self._fd = spool.opened(spool.target_of(path), os.O_RDWR)
        try:
            # It lasts as long as the descriptor: that of a writer that is killed is free at once.
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            header = parse_header(os.pread(self._fd, f.CURSOR_OFFSET, 0), path)
            self.info, self.owner = header.info, header.owner
            self.run: str = self.info["run"]
            self.capacity = os.fstat(self._fd).st_size - f.DATA_OFFSET
            self._map = mmap.mmap(self._fd, f.INFO_OFFSET)  # the words and the reason, which the writer changes
        except BaseException:
            os.close(self._fd)
            raise
        self._words = memoryview(self._map).cast("Q")
        self.last_seq = 0
        self.is_new = True
        """Whether no writer before this one has drained it; if one has, the streams hold events that the ring does not show."""
        self.said_end = bool(self._words[f.W_SAID_END])
        """Whether the end of the run is written, by itself or by a writer."""
        self.said_dropped = False
        """Whether this writer has written the `dropped` event."""
        self.already: set[int] = set()
        """Numbers of events from the tail on that were in their streams, or taken as jobs, before a crash or an error."""
        self._jobs: dict[int, int] = {}
        """A position before the frame of each event that a worker completes, by the event's number."""
        self._cursors: dict[int, tuple[str, bytes]] = {}
        self._cursor_bytes = 0
        self._stuck_since: float | None = None

    def attach(self, owner: Owner) -> None:
        """Sign as the writer of the ring."""
        self.is_new = not self._words[f.W_TOUCHED]
        # Before anything is read: a next writer then looks into the streams for what this one appended.
        self._words[f.W_TOUCHED] = 1
        # Before the pid, which tells the producer that both are there.
        self._words[f.W_WRITER_START] = int(owner.start) if owner.start.isdigit() else 0
        self._words[f.W_WRITER_PID] = owner.pid
        self.stamp(0)

    def detach(self) -> None:
        """Take the signature back: the process may live on, and is the writer no more."""
        self._words[f.W_WRITER_PID] = 0

    def stamp(self, problem: int) -> None:
        """Show that the writer is at work, and the `errno` of the error that keeps it from writing, or 0."""
        self._words[f.W_STAMP] = monotonic_ns()
        self._words[f.W_ERRNO] = problem

    @property
    def tail(self) -> int:
        """Position up to which all events are in the streams."""
        return self._words[f.W_TAIL]

    @property
    def is_ended(self) -> bool:
        """Whether the producer has said that nothing follows."""
        return bool(self._words[f.W_ENDED])

    @property
    def is_empty(self) -> bool:
        """Whether all published events are in the streams."""
        return self._words[f.W_TAIL] >= self._words[f.W_HEAD]

    @property
    def dropped(self) -> tuple[int, int] | None:
        """First and last number of events that were not accepted, unless an event of the run records them."""
        first, last = self._words[f.W_DROPPED_FIRST], self._words[f.W_DROPPED_LAST]
        return (first, last) if first else None

    @property
    def wants_sync(self) -> bool:
        """Whether somebody waits in `flush()` for events that are in the streams already."""
        return self._words[f.W_SYNCED] < min(self._words[f.W_WANTED_SYNC], self._words[f.W_COMPLETE])

    @property
    def complete(self) -> int:
        """Position up to which all events are in the streams, also those that a worker completes."""
        return self._words[f.W_COMPLETE]

    @property
    def has_jobs(self) -> bool:
        """Whether a worker is to complete events of the ring."""
        return bool(self._jobs)

    def has_job(self, seq: int) -> bool:
        """Return whether a worker is to complete that event."""
        return seq in self._jobs

    def begin_job(self, seq: int) -> None:
        """Note that the line of an event comes later: until then the ring is not complete beyond this position."""
        self._jobs[seq] = self.tail

    def end_job(self, seq: int, rejection: str | None) -> None:
        """Note that the line of such an event is in its stream; `rejection` names a rejected one, and the reason."""
        del self._jobs[seq]
        if rejection is not None:
            if not self._words[f.W_REASON_BYTES]:
                text = rejection.encode(errors="backslashreplace")[: f.INFO_OFFSET - f.REASON_OFFSET]
                self._map[f.REASON_OFFSET : f.REASON_OFFSET + len(text)] = text
                self._words[f.W_REASON_BYTES] = len(text)
            self._words[f.W_REJECTED] += 1  # after its reason: the producer looks at this one
        self.publish_complete()

    def note_redacted(self, count: int) -> None:
        """Tell the producer from how many events this writer took credentials."""
        self._words[f.W_REDACTED] = max(self._words[f.W_REDACTED], count)

    def adopt_jobs(self, seqs: Iterable[int]) -> None:
        """Note the jobs of an earlier writer, all there are: nobody knows where their frames were."""
        self._jobs = dict.fromkeys(seqs, self._words[f.W_COMPLETE])
        self.publish_complete()  # it may have died before it did so

    def publish_complete(self) -> None:
        """Tell the producer up to which position everything is done, jobs included."""
        self._words[f.W_COMPLETE] = min(self._jobs.values(), default=self._words[f.W_TAIL])

    def next_frames(self) -> tuple[list[Frame], int]:
        """Read the frames that follow the tail, and the position behind them; ([], tail) when no whole frame is there.

        Raises:
            OSError: The ring cannot be read.
        """
        tail, head = self.tail, self._words[f.W_HEAD]
        if tail >= head:
            self._stuck_since = None
            return [], tail
        stop = min(head, f.next_lap(tail, self.capacity), tail + _LONGEST)
        data = os.pread(self._fd, stop - tail, f.DATA_OFFSET + tail % self.capacity)
        lap_end = f.next_lap(tail, self.capacity)
        if stop == lap_end and lap_end - tail < f.OVERHEAD:
            return [], lap_end
        stretch = f.parse(data, tail, self.capacity, self.last_seq)
        if stretch.end == tail and self._is_stuck():
            return self._skip_to(head)
        if stretch.frames:
            self.last_seq = stretch.frames[-1].seq
        return stretch.frames, stretch.end

    def _is_stuck(self) -> bool:
        """Return whether a published frame has failed to appear for longer than any store takes to arrive."""
        now = monotonic()
        if self._stuck_since is None:
            self._stuck_since = now
        return now - self._stuck_since > _GIVE_UP_AFTER_S

    def _skip_to(self, head: int) -> tuple[list[Frame], int]:
        self._stuck_since = None
        return [], head

    def rewind(self, last_seq: int) -> None:
        """Forget the frames read behind the tail: they could not be appended, and will be read again."""
        self.last_seq = last_seq

    def advance(self, position: int) -> None:
        """Give the space up to a position back to the producer."""
        self._stuck_since = None
        # Before the tail: a next writer begins there, and would not see the end of the run any more.
        self._words[f.W_SAID_END] = self.said_end
        self._words[f.W_TAIL] = position
        self.publish_complete()

    def synced(self, position: int) -> None:
        """Record that everything up to a position is on the disk."""
        self._words[f.W_SYNCED] = position

    def cursor(self, index: int) -> tuple[str, bytes]:
        """Return stream and head of a cursor.

        Raises:
            KeyError: It was not announced, or names no stream.
        """
        if index not in self._cursors:
            self._read_cursors()
        return self._cursors[index]

    def streams(self) -> list[str]:
        """List the streams that the run may have written."""
        self._read_cursors()
        return list(dict.fromkeys(stream for stream, _ in self._cursors.values()))

    @property
    def home(self) -> str:
        """The stream in which the run began: the writer's own events about the run go there."""
        streams = self.streams()
        return streams[0] if streams else layout.DEFAULT_STREAM

    def _read_cursors(self) -> None:
        end = self._words[f.W_CURSOR_BYTES]
        start = f.CURSOR_OFFSET + self._cursor_bytes
        for line in os.pread(self._fd, end - self._cursor_bytes, start).split(b"\n")[:-1]:
            with suppress(ValueError, TypeError, AttributeError):  # whose events are named as lost
                index, stream, head = orjson.loads(line)
                layout.check_stream(stream)
                self._cursors[index] = (stream, head.encode())
        self._cursor_bytes = end

    def say_end(self) -> None:
        """Note, for later writers too, that the end of the run is written."""
        self.said_end = True
        self._words[f.W_SAID_END] = 1

    def finish(self) -> None:
        """Remove the ring with all that belongs to it, and tell the producer that its run is sealed."""
        with suppress(OSError):  # its list may have gone, or point to a path outside all spools
            # The ring before its list: what is listed is looked for, and nothing lists a ring that is left over.
            os.unlink(spool.target_of(self.path))
        for path in (self.path, *spool.big_files(self.run, self.path.parent.name)):
            with suppress(OSError):
                os.unlink(path)
        # Before the last word: nobody who waits for an fsync shall find the run done and that not.
        self._words[f.W_SYNCED] = self._words[f.W_COMPLETE] = self._words[f.W_HEAD]
        self._words[f.W_DONE] = 1  # last: the producer's `close` returns at it

    def close(self) -> None:
        """Let go of the ring."""
        self._words.release()
        self._map.close()
        os.close(self._fd)
