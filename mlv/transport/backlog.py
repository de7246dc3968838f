"""The backlog: the jobs that a writer has taken from its rings, until a worker has completed them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from time import monotonic

from mlv.encoding import TAIL, Composer
from mlv.media.jobs import rejection
from mlv.transport.journal import Journal
from mlv.transport.source import Source
from mlv.transport.spool import Queued, enqueue, queued_jobs
from mlv.transport.worker import Answer, Worker

_RETRY_AFTER_S = 0.5
"""A file that is refused may fill the disk each time it is tried."""


class Backlog:
    """Jobs of the rings of one writer, done in their order beside it; each leaves its line when it is done.

    A job without a line is a file in the spool, whichever process dies: the next writer goes on with it.
    """

    def __init__(self, folder: Path, complete: Callable[[Queued], Answer] | None = None) -> None:
        """Do jobs in a process of their own, or with `complete` in this one."""
        self._worker = Worker(folder)
        self._complete = complete
        self._waiting: deque[Queued] = deque()
        self._answers: deque[Answer] = deque()
        self._sources: dict[str, Source] = {}
        self._refusal: OSError | None = None
        """The disk's error for the last file."""
        self._next_try = 0.0

    def move_to(self, folder: Path) -> None:
        """Send the files of further jobs to the folder that the experiment is in by now."""
        self._worker.folder = folder

    def take(self, source: Source, path: Path, seq: int, time_ns: int, cursor: int) -> None:
        """Take over a job from its ring, which may go on without it.

        Raises:
            FileNotFoundError: Its file is gone.
            OSError: It cannot be taken now.
        """
        # Renamed first: the name holds what the ring forgets, so that a next writer can go on.
        queued = enqueue(path, source.run, seq, time_ns, cursor)
        if not source.has_job(seq):
            source.begin_job(seq)
            self._add(source, queued)

    def adopt(self, source: Source, first: int, last_seqs: Collection[int]) -> None:
        """Go on with the jobs that an earlier writer took; the one whose line was the last that it appended is done.

        Those from `first` on, the ring will bring once more: they were taken, but not yet let go of.
        """
        jobs = [queued for queued in queued_jobs(source.run, source.path.parent.name) if queued.seq < first]
        for queued in jobs:
            if queued.seq in last_seqs:
                _discard(queued)
        waiting = [queued for queued in jobs if queued.seq not in last_seqs]
        source.adopt_jobs([queued.seq for queued in waiting])
        for queued in waiting:
            self._add(source, queued)

    def _add(self, source: Source, queued: Queued) -> None:
        self._sources[queued.run] = source
        self._waiting.append(queued)

    def work(self, journal: Journal, composers: dict[str, Composer]) -> bool:
        """Append the lines of finished jobs, and let the others go on; return whether lines were appended.

        Raises:
            OSError: A line could not be appended, or the disk refuses a file; the jobs are done again later.
        """
        if not self._answers:  # answers that cannot be appended must not pile up
            self._go_on()
        moved = False
        # Not while the ring has yet to learn of appended events: by the last numbers in a stream the next writer tells which.
        while self._answers and not self._sources[self._answers[0].job.run].already:
            self._finish(self._answers[0], journal, composers)
            moved = True
        if self._refusal is not None:
            raise self._refusal  # as long as it is not known to be over
        return moved

    def _go_on(self) -> None:
        """Start jobs, after a refusal not at once, and collect answers."""
        is_time = monotonic() >= self._next_try
        if self._complete is None:
            while is_time and self._waiting and self._worker.has_room:
                self._worker.give(self._waiting.popleft())
            self._answers.extend(self._worker.answers())
        elif is_time and self._waiting:
            self._answers.append(self._complete(self._waiting.popleft()))

    def _finish(self, answer: Answer, journal: Journal, composers: dict[str, Composer]) -> None:
        queued = answer.job
        if answer.problem:
            self._answers.popleft()
            self._waiting.append(queued)
            self._refusal = OSError(answer.problem, "a file cannot be written")
            self._next_try = monotonic() + _RETRY_AFTER_S
            return
        source = self._sources[queued.run]
        stream, _ = source.cursor(queued.cursor)
        line = composers[queued.run].line(queued.seq, queued.time_ns, b"", TAIL, 0, answer.payload)
        # The line before the removal of the job: a writer that dies between the two finds its number at the end of the stream.
        journal.append(queued.run, stream, [line])
        self._answers.popleft()
        _discard(queued)
        source.end_job(queued.seq, rejection(line) if answer.is_rejected else None)
        self._refusal = None

    def close(self) -> None:
        """Let the worker go."""
        self._worker.close()


def _discard(queued: Queued) -> None:
    with suppress(OSError):
        queued.path.unlink()
