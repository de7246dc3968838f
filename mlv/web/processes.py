"""Processes that read experiments side by side: the first reading of thousands would keep one interpreter busy for long.

They are no executor of `mlv.executors`, whose threads an interpreter awaits at its end: a server ends at once, also while a
disk hangs that a process waits for.
"""

from __future__ import annotations

import os
import pickle
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any

from mlv import interpreter
from mlv.query.metrics.parse import CORES
from mlv.web.limits import LIMITS
from mlv.workers import WorkerProcess

PROGRAM = "from mlv import workers; from mlv.web import processes, rows; workers.serve(processes.answer(rows.read))"
_MOST = 8
_FIXED_BYTES = 100_000
"""The meta.json of an experiment takes as long as so many bytes of its log."""
_AHEAD = 8
"""Paths that wait in a process for those before them: it never waits for a question."""


def worth(sizes: Collection[int]) -> int:
    """Return the number of processes to read experiments with, by the sizes of their logs; 0 where it is done sooner here."""
    is_little = sum(sizes) + _FIXED_BYTES * len(sizes) < LIMITS.processes_bytes
    return 0 if is_little or CORES < 2 or not interpreter.is_available() else min(CORES, _MOST)


class Processes:
    """Some processes that share the reading of experiments; they are gone when it is done."""

    def __init__(
        self, count: int, folders: Iterable[Path], take: Callable[[Path, Any], None], at: dict[int, tuple[Path, float]]
    ) -> None:
        """Prepare them.

        Args:
            count: The number of processes.
            folders: The experiments.
            take: Called in several threads with each folder and the answer about it.
            at: Holds the folder that is waited for in each thread, and since when.
        """
        self._count, self._take, self._at = count, take, at
        self._folders = iter(list(folders))
        self._unread: list[Path] = []
        self._lock = threading.Lock()

    def run(self, meanwhile: Callable[[], object] = lambda: None) -> list[Path]:
        """Read all experiments, and do something else meanwhile; return those that remain, as processes have ended before."""
        threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(self._count)]
        for thread in threads:
            thread.start()
        meanwhile()
        for thread in threads:
            thread.join()
        return [*self._unread, *self._folders]

    def _serve(self) -> None:
        """Give folders to a process of its own, as fast as it answers."""
        own, waiting = threading.get_ident(), deque[Path]()
        try:
            # Whatever becomes of a process, such as a kill: the experiments that it had are read elsewhere.
            with suppress(OSError, EOFError), _started() as worker:
                worker.await_ready()  # no folder is waited for before
                while self._ask(worker, waiting):
                    self._at[own] = waiting[0], monotonic()
                    self._take(waiting[0], pickle.loads(worker.receive()))  # noqa: S301 - our own child's
                    waiting.popleft()
        finally:
            self._at.pop(own, None)
            with self._lock:
                self._unread += waiting

    def _ask(self, worker: WorkerProcess, waiting: deque[Path]) -> bool:
        """Send further folders, up to some that wait; return whether any does."""
        while len(waiting) < _AHEAD:
            with self._lock:
                folder = next(self._folders, None)
            if folder is None:
                break
            waiting.append(folder)
            worker.send(os.fsencode(folder))
        return bool(waiting)


@contextmanager
def _started() -> Iterator[WorkerProcess]:
    """Start a process, and end it afterwards.

    Raises:
        OSError: It cannot be started.
    """
    worker = WorkerProcess(PROGRAM, folder="/", is_quiet=True)
    try:
        yield worker
    finally:
        worker.end()


def answer(read: Callable[[Path], Any]) -> Callable[[bytes], bytes]:
    """Return the function that answers a path with what another one gives of it; with None where that cannot be sent."""
    return lambda path: pickled(read(Path(os.fsdecode(path))))


def pickled(row: Any) -> bytes:
    """Return a row as a process sends it; None as such for one that cannot be sent."""
    try:
        return pickle.dumps(row, pickle.HIGHEST_PROTOCOL)
    except RecursionError:  # params that are nested too deeply
        return pickle.dumps(None, pickle.HIGHEST_PROTOCOL)
