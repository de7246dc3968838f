"""The consumer's end of a ring: reads frames, never more than are whole, and gives the space back."""

from __future__ import annotations

import errno
import mmap
import os
import struct
from contextlib import suppress
from pathlib import Path
from time import monotonic, monotonic_ns
from typing import Any

import orjson

from mlv.store.owners import Owner
from mlv.transport import frames as f
from mlv.transport.frames import Frame

_LONGEST = 256 << 10
_GIVE_UP_AFTER_S = 5.0


class Source:
    """One ring, as its writer sees it. Data are read with `pread`: what is gone is an error then, not a signal."""

    def __init__(self, path: Path) -> None:
        """Open the ring.

        Raises:
            OSError, ValueError: It is none, or is gone.
        """
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            header = os.pread(self._fd, f.DATA_OFFSET, 0)
            magic, self.capacity, info_bytes = struct.unpack_from("<QQQ", header)
            if magic != f.MAGIC or os.fstat(self._fd).st_size != f.DATA_OFFSET + self.capacity:
                raise ValueError(f"{path} is no ring of this version")
            self.info: dict[str, Any] = orjson.loads(header[f.INFO_OFFSET : f.INFO_OFFSET + info_bytes])
            self.owner = Owner.from_data(self.info["process"])
            self._map = mmap.mmap(self._fd, f.INFO_OFFSET)
        except BaseException:
            os.close(self._fd)
            raise
        self._words = memoryview(self._map).cast("Q")
        self.run: str = self.info["run"]
        self.last_seq = 0
        self.said_end = False
        """Whether the run's own `run_ended` has passed."""
        self.already: set[int] = set()
        """Numbers of events from the tail on that are in their streams: appended before a crash or an error."""
        self._cursors: list[tuple[str, bytes]] = []
        self._cursor_bytes = 0
        self._stuck_since: float | None = None

    def attach(self, owner: Owner) -> bool:
        """Sign as the writer of the ring; whether another one had begun to write its events."""
        was_touched = bool(self._words[f.W_TOUCHED])
        self._words[f.W_TOUCHED] = 1
        self._words[f.W_WRITER_START] = int(owner.start) if owner.start.isdigit() else 0
        self._words[f.W_WRITER_PID] = owner.pid
        return was_touched

    def stamp(self, problem: int) -> None:
        """Show that the writer is at work, and the `errno` of what keeps it from writing, or 0."""
        self._words[f.W_STAMP] = monotonic_ns()
        self._words[f.W_ERRNO] = problem

    @property
    def tail(self) -> int:
        """Position up to which all is in the streams."""
        return self._words[f.W_TAIL]

    @property
    def is_ended(self) -> bool:
        """Whether the producer has said that nothing follows."""
        return bool(self._words[f.W_ENDED])

    @property
    def is_empty(self) -> bool:
        """Whether all that was published is in the streams."""
        return self._words[f.W_TAIL] >= self._words[f.W_HEAD]

    @property
    def wants_sync(self) -> bool:
        """Whether somebody waits in `flush()` for what is in the streams already."""
        return self._words[f.W_SYNCED] < min(self._words[f.W_WANTED_SYNC], self._words[f.W_TAIL])

    def next_piece(self) -> tuple[list[Frame], int]:
        """Frames that follow the tail, and the position behind them; ([], tail) when nothing whole is there.

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
        piece = f.parse(data, tail, self.capacity, self.last_seq)
        if piece.end == tail and self._is_stuck():
            return self._skip_to(head)
        if piece.frames:
            self.last_seq = piece.frames[-1].seq
        return piece.frames, piece.end

    def _is_stuck(self) -> bool:
        """Whether a frame that was published has failed to appear for longer than any store takes to arrive."""
        now = monotonic()
        if self._stuck_since is None:
            self._stuck_since = now
        return now - self._stuck_since > _GIVE_UP_AFTER_S

    def _skip_to(self, head: int) -> tuple[list[Frame], int]:
        self._stuck_since = None
        return [], head

    def rewind(self, last_seq: int) -> None:
        """Forget what was read behind the tail: it could not be appended, and will be read again."""
        self.last_seq = last_seq

    def advance(self, position: int) -> None:
        """Give the space up to a position back to the producer."""
        self._stuck_since = None
        self._words[f.W_TAIL] = position

    def synced(self, position: int) -> None:
        """Tell that everything up to a position is on the disk."""
        self._words[f.W_SYNCED] = position

    def cursor(self, index: int) -> tuple[str, bytes]:
        """Stream and head of a cursor.

        Raises:
            IndexError: It was not announced.
        """
        if index >= len(self._cursors):
            end = self._words[f.W_CURSOR_BYTES]
            start = f.CURSOR_OFFSET + self._cursor_bytes
            for line in os.pread(self._fd, end - self._cursor_bytes, start).splitlines():
                stream, head = orjson.loads(line)
                self._cursors.append((stream, head.encode()))
            self._cursor_bytes = end
        return self._cursors[index]

    def finish(self) -> None:
        """Remove the ring, and tell the producer that its run is sealed."""
        with suppress(OSError):
            target = os.path.realpath(self.path)
            self.path.unlink()
            os.unlink(target)
        self._words[f.W_SYNCED] = self._words[f.W_HEAD]
        self._words[f.W_DONE] = 1

    def close(self) -> None:
        """Let go of the ring."""
        self._words.release()
        self._map.close()
        os.close(self._fd)


def is_gone_error(error: OSError) -> bool:
    """Whether the error says that the experiment's folder is not there any more."""
    return error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)
