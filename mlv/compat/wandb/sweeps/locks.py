"""Locks that a process holds on a file until it ends, however it ends, or until all that it gave them to have ended."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

_BUSY = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


class HeldLock:
    """A lock that is held."""

    def __init__(self, path: Path, fd: int, is_certain: bool) -> None:
        """Keep a lock. Not called by others: `hold` gives locks."""
        self._path, self.fd = path, fd
        self.is_certain = is_certain
        """Whether it keeps others out: the file system has locks."""

    def release(self) -> None:
        """Let go of it, and remove its file."""
        with suppress(OSError):  # while it is held: whoever opens the file next makes a new one
            self._path.unlink()
        self.drop()

    def drop(self) -> None:
        """Let go of it, and leave its file."""
        with suppress(OSError):
            os.close(self.fd)


def hold(path: Path) -> HeldLock | None:
    """Hold the lock of a file; None if another one holds it.

    A child that inherits `fd` holds it, too: so the work of a process that was killed is not begun again beside it.

    Raises:
        OSError: The file cannot be opened.
    """
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        is_certain = _locked(fd)
        if is_certain is None:
            os.close(fd)
            return None
        if not is_certain or _is_file_of(path, fd):
            return HeldLock(path, fd, is_certain)
        os.close(fd)  # its holder removed the file between the two


def is_held(path: Path) -> bool:
    """Return whether some process holds the lock of a file; where locks do not work, whether the file is there."""
    try:
        fd = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        return not _locked(fd)
    finally:
        os.close(fd)


def _locked(fd: int) -> bool | None:
    """Return True if the lock is held now, None if another one holds it, False where there are no locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return None if error.errno in _BUSY else False
    return True


def _is_file_of(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except OSError:
        return False
