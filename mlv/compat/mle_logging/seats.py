"""The right to write as a seed: one process at a time, so that two ranks never overwrite each other's files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from threading import RLock

from filelock import BaseFileLock, FileLock, Timeout

_guard = RLock()  # a logger that the garbage collector takes while a seat is taken leaves its own in the same thread
_held: dict[tuple[int, str], tuple[BaseFileLock, int]] = {}
"""The locks of this process, and how many loggers hold each: later ones of a process take the place of earlier ones."""


class Seat:
    """The right to write as a seed, until it is released or the process is gone."""

    def __init__(self, folder: Path, seed_id: str) -> None:
        """Take the seed's own seat, else that of a `<seed>_rank_<n>` whose seat is free."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in _names(seed_id):
            path = str(folder / f".{name}.lock")
            if _take(path):
                self.seed_id, self._path, self._pid = name, path, os.getpid()
                return

    def release(self) -> None:
        """Leave it to others; a forked child only forgets it."""
        if self._pid == os.getpid():
            _leave(self._path)


def _names(seed_id: str) -> Iterator[str]:
    yield seed_id
    rank = os.environ.get("RANK", "")
    if rank.isdecimal() and int(rank):
        yield f"{seed_id}_rank_{rank}"
    yield from (f"{seed_id}_rank_{number}" for number in count(1))


def _take(path: str) -> bool:
    key = (os.getpid(), path)
    with _guard:
        if key in _held:
            lock, holders = _held[key]
            _held[key] = (lock, holders + 1)
            return True
        lock = FileLock(path, timeout=0, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            return False
        except (OSError, NotImplementedError):  # there are no locks here: nobody is kept out
            pass
        _held[key] = (lock, 1)
        return True


def _leave(path: str) -> None:
    key = (os.getpid(), path)
    with _guard:
        lock, holders = _held.pop(key)
        if holders > 1:
            _held[key] = (lock, holders - 1)
        else:
            with suppress(OSError):
                lock.release()


def safe_name(seed_id: str) -> str:
    """Return a seed's ID as the name of a folder."""
    return re.sub(r"[/\\\x00-\x1f\x7f]", "_", seed_id)


def _after_fork_in_child() -> None:
    global _guard
    _guard = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
