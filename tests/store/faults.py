"""A file layer that does to writing what disks do: refuse, write half, or see the process die."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from mlv.store.streams import SystemFiles


class Faulty(SystemFiles):
    """The real system calls, but at some of them, counted over all kinds, something happens first.

    `fault` is asked before each call: by its number and name. It may raise, or return how many bytes of a write arrive.
    """

    def __init__(self, fault: Callable[[int, str], int | None]) -> None:
        self.fault = fault
        self.calls: list[str] = []

    def _next(self, name: str) -> int | None:
        self.calls.append(name)
        return self.fault(len(self.calls) - 1, name)

    def open(self, path: str, flags: int) -> int:
        self._next("open")
        return super().open(path, flags)

    def write(self, fd: int, data: bytes) -> int:
        arriving = self._next("write")
        return os.write(fd, data if arriving is None else data[:arriving])

    def fsync(self, fd: int) -> None:
        self._next("fsync")
        os.fsync(fd)

    def truncate(self, fd: int, size: int) -> None:
        self._next("truncate")
        os.ftruncate(fd, size)

    def size(self, fd: int) -> int:
        self._next("size")
        return super().size(fd)


def error(number: int) -> OSError:
    """An error of the system."""
    return OSError(number, os.strerror(number))


def failing(at: int, number: int = errno.ENOSPC, times: int = 1, half: bool = False) -> Callable[[int, str], int | None]:
    """A fault: calls from `at` on fail, so many times; with `half`, a write puts a few bytes into the file first."""

    def fault(call: int, name: str) -> int | None:
        if half and call == at and name == "write":
            return 7
        if at + half <= call < at + half + times:
            raise error(number)
        return None

    return fault


def short(call: int, name: str) -> int | None:
    """A fault: every write puts only a few bytes into the file."""
    return 11 if name == "write" else None
