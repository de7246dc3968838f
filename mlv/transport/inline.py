"""The inline twin of ring and writer: the same lines in the same files, from the caller's own process.

It serves where no process can be started or no spool be had, and as the reference that the ring is tested against.
"""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path
from time import time_ns

from mlv.encoding import Composer
from mlv.errors import WritingStalled
from mlv.events import Dropped
from mlv.notices import warn
from mlv.protocols import Cursor, FileLayer
from mlv.transport.journal import Journal


class Inline:
    """A `Channel` that appends to the streams before `put` returns, unless the disk refuses; then with a later event."""

    def __init__(self, folder: Path, run: str, files: FileLayer | None = None, waiting_bytes: int = 8 << 20) -> None:
        self.run = run
        self._journal = Journal(folder, files)
        self._composer = Composer(run)
        self._cursors: dict[int, Cursor] = {}
        self._lock = threading.RLock()
        self._busy = False
        self._seq = 0
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._waiting_bytes, self._most_waiting_bytes = 0, waiting_bytes
        self._dropped: tuple[int, int] | None = None
        self._warned = False

    def add_cursor(self, index: int, cursor: Cursor) -> None:
        """Announce a cursor; see `Channel`."""
        self._cursors[index] = cursor

    def put(self, cursor: int, kind: int, step: int, payload: bytes) -> None:
        """Accept one event; see `Channel`."""
        stream, head = self._cursors[cursor]
        with self._lock:
            self._seq += 1
            line = self._composer.line(self._seq, time_ns(), head, kind, step, payload)
            if self._waiting_bytes + len(line) > self._most_waiting_bytes:
                self._dropped = (self._dropped[0] if self._dropped else self._seq, self._seq)
            else:
                self._waiting.append((stream, line))
                self._waiting_bytes += len(line)
            if not self._busy:  # else a call that re-entered: the outer one goes on with it
                self._append()

    def _append(self) -> bool:
        """Append what waits; False if the disk refuses. The lock is held."""
        self._busy = True
        try:
            while self._waiting:
                stream, line = self._waiting[0]
                self._journal.append(self.run, stream, [line])
                self._waiting.popleft()
                self._waiting_bytes -= len(line)
            if self._dropped is not None:
                first, last = self._dropped
                self._journal.say(Dropped(first, last, last - first + 1, "the disk refused for too long", of=self.run))
                self._dropped = None
            return True
        except OSError as error:
            if not self._warned:
                self._warned = True
                warn(
                    f"the events of run {self.run} wait in memory: {error}. They are written when it is possible",
                    WritingStalled,
                )
            return False
        finally:
            self._busy = False

    def drain(self, timeout_s: float) -> bool:
        """See `Channel`."""
        with self._lock:
            return self._busy or self._append()

    def flush(self, timeout_s: float) -> bool:
        """See `Channel`."""
        if not self.drain(timeout_s):
            return False
        try:
            self._journal.sync()
            return True
        except OSError:
            return False

    def close(self, timeout_s: float) -> bool:
        """See `Channel`."""
        if not self.drain(timeout_s):
            return False
        try:
            self._journal.seal(self.run)
            self._journal.close()
            return True
        except OSError:
            return False

    def abandon(self) -> None:
        """See `Channel`."""
        self._lock = threading.RLock()
        self._waiting.clear()
