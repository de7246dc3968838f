"""Processes that read experiments side by side: the first reading of thousands would keep one interpreter busy for long.

They are started anew, not forked: a server has threads. Each reads the paths that come through its standard input, answers in
their order, and ends with its input, whatever has ended the server: nobody is left behind.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import IO, Any

from mlv.interpreter import OUR_MLV, is_python, module_path
from mlv.query.metrics.parse import CORES
from mlv.web.limits import LIMITS

PROGRAM = f"""
import sys
PATH = sys.argv[1:]
{OUR_MLV}
from mlv.web import processes, rows
processes.answer(rows.read)
"""
_MOST = 8
_FIXED_BYTES = 100_000
"""The meta.json of an experiment takes as long as so many bytes of its log."""
_AHEAD = 8
"""Paths that wait in a process for those before them: it never waits for a question."""
_ENDING_WITHIN_S = 5.0


def worth(sizes: Collection[int]) -> int:
    """Return the number of processes to read experiments with, by the sizes of their logs; 0 where it is done sooner here."""
    is_little = sum(sizes) + _FIXED_BYTES * len(sizes) < LIMITS.processes_bytes
    return 0 if is_little or CORES < 2 or not is_python(sys.executable or "") else min(CORES, _MOST)


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
            with suppress(OSError, EOFError, pickle.UnpicklingError), _started() as (questions, answers):
                pickle.load(answers)  # noqa: S301 - our own child's: it has imported all that it needs
                while self._ask(questions, waiting):
                    self._at[own] = waiting[0], monotonic()
                    self._take(waiting[0], pickle.load(answers))  # noqa: S301 - our own child's
                    waiting.popleft()
        finally:
            self._at.pop(own, None)
            with self._lock:
                self._unread += waiting

    def _ask(self, questions: IO[bytes], waiting: deque[Path]) -> bool:
        """Send further folders, up to some that wait; return whether any does."""
        while len(waiting) < _AHEAD:
            with self._lock:
                folder = next(self._folders, None)
            if folder is None:
                break
            waiting.append(folder)
            pickle.dump(os.fspath(folder), questions)
        questions.flush()
        return bool(waiting)


@contextmanager
def _started() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Start a process; gives the pipes of its questions and of its answers, and ends it afterwards.

    Raises:
        OSError: It cannot be started.
    """
    command = [sys.executable, "-I", "-S", "-c", PROGRAM, *module_path()]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/")
    questions, answers = process.stdin, process.stdout
    assert questions is not None
    assert answers is not None
    try:
        yield questions, answers
    finally:
        with suppress(OSError):  # it is gone
            questions.close()
        answers.close()
        try:
            process.wait(_ENDING_WITHIN_S)
        except subprocess.TimeoutExpired:  # a disk that hangs holds it
            process.kill()
            process.wait()


def answer(read: Callable[[Path], Any]) -> None:
    """Send what a function gives of each path that comes through the standard input, until the input ends.

    None comes first, and where an answer cannot be sent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal: this one ends with its input
    with open(os.dup(1), "wb") as answers, open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 1)  # what anything prints must not come between the answers
        answers.write(pickled(None))
        answers.flush()
        while True:
            try:
                path = pickle.load(sys.stdin.buffer)  # noqa: S301 - of the process that started this one
            except EOFError:
                return
            answers.write(pickled(read(Path(path))))
            answers.flush()


def pickled(row: Any) -> bytes:
    """Return a row as a process sends it; None as such for one that cannot be sent."""
    try:
        return pickle.dumps(row, pickle.HIGHEST_PROTOCOL)
    except RecursionError:  # params that are nested too deeply
        return pickle.dumps(None, pickle.HIGHEST_PROTOCOL)
