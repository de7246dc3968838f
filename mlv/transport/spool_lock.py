"""The lock of a spool, which makes a process its writer, and the pipe that wakes that process."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep, time

from mlv.transport import spool
from mlv.transport.header import look
from mlv.transport.new_rings import UNFINISHED

_ATTEND_WITHIN_S = 0.2  # the holder attaches new rings every 50 ms
_RING_MADE_WITHIN_S = 60.0  # a name without a header says nothing of its maker: only its age tells


class Wait:
    """A sleep that ends when somebody writes into the wake-up pipe of a spool, or the time is over."""

    def __init__(self, spool_folder: Path) -> None:
        path = spool_folder / spool.WAKE
        self._fd: int | None = None
        with suppress(OSError):  # a file system without pipes: it sleeps all the time, then
            if not path.exists():
                os.mkfifo(path, 0o600)
            # For writing as well: a pipe that nobody has open to write is at its end, and would not be waited for.
            self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._poll = select.poll()  # unlike select, it takes descriptors above 1,023: `rescue` runs in the user's process
        if self._fd is not None:
            self._poll.register(self._fd, select.POLLIN)

    def __call__(self, timeout_s: float) -> None:
        """Sleep."""
        if self._fd is None:
            sleep(timeout_s)
            return
        if self._poll.poll(timeout_s * 1000):
            with suppress(BlockingIOError):
                os.read(self._fd, 4096)  # all calls since the last time are one

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd is not None:
            os.close(self._fd)


def tidy(spool_folder: Path) -> None:
    """Remove a spool in which nothing waits, unless somebody is at work in it."""
    fd = lock(spool_folder, 0.0) if spool_folder.exists() else None
    if fd is not None:
        remove_idle(spool_folder)
        os.close(fd)


def remove_idle(spool_folder: Path) -> None:
    """Remove a spool that lists no ring, with the unfinished rings of processes that were killed while making one."""
    for path in spool_folder.glob(f"*{spool.RING_SUFFIX}{UNFINISHED}"):
        with suppress(OSError):
            header, age_s = look(path), time() - path.stat().st_mtime
            if header.owner.is_gone() if header is not None else age_s > _RING_MADE_WITHIN_S:
                path.unlink()
    spool.remove(spool_folder)


def lock(spool_folder: Path, wait_s: float) -> int | None:
    """Take the lock that makes a process the writer of a spool; None if another one has it and is at work."""
    import fcntl  # not everywhere; where it is missing there are no spools, and the inline twin serves

    began = monotonic()
    while True:
        try:
            fd = spool.opened(spool_folder / spool.LOCK, os.O_RDWR | os.O_CREAT)
        except OSError:
            return None  # the spool was removed, or is not ours: nothing is left to write
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The file may have been removed, with its spool, between its opening and the lock.
            if os.path.samestat(os.fstat(fd), os.stat(spool_folder / spool.LOCK)):
                return fd
        except OSError:
            pass  # held, or removed by the one who had it
        os.close(fd)
        waited_s = monotonic() - began
        # The rings are read last: of many children each starts a writer that waits here beside the one that works.
        is_given_time = waited_s >= _ATTEND_WITHIN_S
        if waited_s >= wait_s or (is_given_time and not any(is_unattended(path) for path in spool.rings_in(spool_folder))):
            return None
        sleep(0.01)


def is_unattended(path: Path) -> bool:
    """Return whether a ring has no writer that lives."""
    header = look(path)
    return header is not None and not header.is_attended
