"""A lock on a folder, between the processes of a host."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

_WITHIN_S = 10.0  # the holder moves or links one file, and fsyncs it
_POLL_S = 0.001  # the block that the other one runs is short


@contextmanager
def alone_in(folder: Path, within_s: float = _WITHIN_S) -> Iterator[None]:
    """Let one process after the other run the block for a folder; the lock leaves nothing on the disk.

    Threads of one process are not kept apart, and a caller in the block already, such as a signal handler, may enter it
    again. Where the system has no such locks, or another process does not come to its end in time, nobody is kept out.
    """
    mine = os.getpid(), folder
    fd = _opened(folder) if mine not in _held else None
    if fd is None:
        yield
        return
    _held.add(mine)
    try:
        _lock(fd, monotonic() + within_s)
        yield
    finally:
        _held.discard(mine)
        _unlock(fd)


_held: set[tuple[int, Path]] = set()
"""By process: a forked child starts anew."""


def _opened(folder: Path) -> int | None:
    try:
        return os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return None


def _lock(fd: int, deadline: float) -> None:
    import fcntl

    while True:  # the call that waits by itself knows no deadline
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if monotonic() > deadline:
                return
            sleep(_POLL_S)
        except OSError:  # a file system without locks
            return


def _unlock(fd: int) -> None:
    import fcntl

    with suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_UN)  # a child forked meanwhile has the lock as well, until it is given up
    os.close(fd)
