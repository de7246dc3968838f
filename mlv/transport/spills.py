"""Spilled payloads: events too large for a ring lie in files of the spools, up to a budget."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from mlv.interrupts import pass_on
from mlv.protocols import Buffer
from mlv.transport import spool

BIG_BUDGET = 512 << 20
"""Bytes of large events that may wait in the spools."""


class Spills:
    """The files of one run in the spools; the first spool that takes a file gets it."""

    def __init__(self, run: str, folders: Iterable[Path], budget_bytes: int) -> None:
        self._run, self._folders, self._budget_bytes = run, dict.fromkeys(folders), budget_bytes
        self._bytes = 0
        """Bytes put into the spools since the waiting bytes were last counted."""
        self._private: set[Path] = set()
        """Spools that were checked: only this user can enter them."""
        self.is_abandoned = False
        """Whether the files belong to the process that this one was forked from."""

    def add(self, buffers: Sequence[Buffer], suffix: str) -> Path | None:
        """Write a file that holds the buffers, and return its path; None where no spool has room."""
        size = sum(map(len, buffers))
        if not self._is_within_budget(size):
            return None
        name = f"{self._run}.{os.urandom(6).hex()}{suffix}"
        for folder in self._folders:
            path = folder / name
            try:
                if folder not in self._private:
                    spool.prepare(folder)
                    self._private.add(folder)  # nobody else can make it theirs
                _write_new(path, buffers)
                self._bytes += size
                return path
            except OSError as error:
                self._private.discard(folder)  # removed, perhaps
                self.remove(path)
                pass_on(error)  # a TimeoutError of a signal handler, for one
        return None

    def remove(self, path: Path) -> None:
        """Remove a file, unless the process that this one was forked from goes on with it."""
        if not self.is_abandoned:
            with suppress(OSError):
                path.unlink()

    def _is_within_budget(self, size_bytes: int) -> bool:
        """Return whether so many bytes more may wait in the spools: any number, where nothing else does."""
        if self._bytes + size_bytes > self._budget_bytes:
            # Counting reads folders, so it is put off until the sum of all that was ever spilled is too much.
            self._bytes = spool.waiting_bytes(self._run, self._folders)  # a writer renames the jobs that it takes
        return not self._bytes or self._bytes + size_bytes <= self._budget_bytes


def _write_new(path: Path, buffers: Sequence[Buffer]) -> None:
    """Write a file that only this user can read.

    Should a fork in a signal handler cut this in two, both sides write the same bytes to the same offsets of one file.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        offset = 0
        for buffer in buffers:
            unwritten = memoryview(buffer)
            while unwritten:
                written = os.pwrite(fd, unwritten, offset)
                offset += written
                unwritten = unwritten[written:]
    finally:
        os.close(fd)
