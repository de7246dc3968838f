"""The backlog: the jobs that a writer has taken from its rings, until a worker has completed them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from mlv.encoding import TAIL, Composer
from mlv.transport.journal import Journal
from mlv.transport.source import Source
from mlv.transport.spool import Queued, enqueue, queued_jobs
from mlv.transport.worker import Answer, Worker


class Backlog:
    """Jobs of the rings of one writer, done in their order beside it; each leaves its line when it is done.

    A job that no line tells of is a file in the spool, whoever dies: the next writer goes on with it.
    """

    def __init__(self, folder: Path, complete: Callable[[Queued], Answer] | None = None) -> None:
        """Do jobs in a process of their own, or with `complete` in this one."""
        self._worker = Worker(folder)
        self._complete = complete
        self._waiting: deque[Queued] = deque()
        self._answers: deque[Answer] = deque()
        self._sources: dict[str, Source] = {}

    def take(self, source: Source, path: Path, seq: int, time_ns: int, cursor: int) -> None:
        """Take over a job from its ring, which may go on without it.

        Raises:
            FileNotFoundError: Its file is gone.
            OSError: It cannot be taken now.
        """
        queued = enqueue(path, source.run, seq, time_ns, cursor)
        if not source.has_job(seq):
            source.begin_job(seq)
            self._add(source, queued)

    def adopt(self, source: Source, last_seqs: Collection[int]) -> None:
        """Go on with the jobs that an earlier writer took; the one whose line was the last that it appended is done."""
        for queued in queued_jobs(source.run, source.path.parent.name):
            if queued.seq in last_seqs:
                _discard(queued)
            elif not source.has_job(queued.seq):
                source.adopt_job(queued.seq)
                self._add(source, queued)

    def _add(self, source: Source, queued: Queued) -> None:
        self._sources[queued.run] = source
        self._waiting.append(queued)

    def work(self, journal: Journal, composers: dict[str, Composer]) -> bool:
        """Append the lines of what is done, and see that the rest goes on; whether lines were appended.

        Raises:
            OSError: A line could not be appended, or the disk refuses a file; the jobs are done again later.
        """
        while self._waiting and self._worker.has_room and self._complete is None:
            self._worker.give(self._waiting.popleft())
        if self._complete is None:
            self._answers.extend(self._worker.answers())
        elif self._waiting and not self._answers:
            self._answers.append(self._complete(self._waiting.popleft()))
        moved = False
        while self._answers and not self._sources[self._answers[0].job.run].already:
            self._finish(self._answers[0], journal, composers)
            moved = True
        return moved

    def _finish(self, answer: Answer, journal: Journal, composers: dict[str, Composer]) -> None:
        queued = answer.job
        if answer.problem:
            self._answers.popleft()
            self._waiting.append(queued)
            raise OSError(answer.problem, "a file cannot be written")
        source = self._sources[queued.run]
        stream, _ = source.cursor(queued.cursor)
        line = composers[queued.run].line(queued.seq, queued.time_ns, b"", TAIL, 0, answer.rest)
        journal.append(queued.run, stream, [line])
        self._answers.popleft()
        _discard(queued)
        source.end_job(queued.seq, answer.is_rejected)

    def close(self) -> None:
        """Let the worker go."""
        self._worker.close()


def _discard(queued: Queued) -> None:
    with suppress(OSError):
        queued.path.unlink()
