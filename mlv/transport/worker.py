"""The worker: a process of the writer's own that completes jobs, so that no encoder can hold it up or bring it down."""

from __future__ import annotations

import os
import struct
import sys
from collections import Counter, deque
from contextlib import suppress
from errno import EIO
from mmap import ACCESS_READ, mmap
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from mlv import wire
from mlv.interpreter import command
from mlv.media.jobs import Job, Unusable, perform, rejected
from mlv.media.target import FolderTarget
from mlv.transport import spool
from mlv.transport.job_censor import clean_job
from mlv.transport.spool import Queued

if TYPE_CHECKING:
    from subprocess import Popen

AHEAD = 8
"""Jobs that are given to the worker before it has answered the first."""
DEADLINE_S = 900.0
"""How long one job may take."""
_MOST_DEATHS = 3
"""Workers may be killed for reasons of their own, such as too little memory; a job that three died of is given up."""
_DYING_WITHIN_S = 5.0  # the writer has other rings to drain
_NICENESS = 5
"""Training goes first where there are fewer processors than work."""
_PROGRAM = "from mlv.transport.worker import main; main()"
_HEAD = struct.Struct("<iQ")
"""Of an answer: 0, REJECTED, or the negative `errno` that kept the job from being done; the bytes of the line's text."""
_DONE, _REJECTED = 0, 1


class Answer(NamedTuple):
    """The result of a job."""

    job: Queued
    payload: bytes
    """The line's text from its type on."""
    is_rejected: bool
    problem: int
    """`errno` of the error that kept it from being done now; then `payload` is empty, and the job is as it was."""


def complete(folder: Path, queued: Queued) -> Answer:
    """Complete a job in this process."""
    try:
        job = read_job(queued.path)
    except FileNotFoundError as error:
        return _lost(queued, f"its spool file is gone: {error.filename}")
    except ValueError as error:
        return _lost(queued, f"its spool file {error}")
    except OSError as error:
        return Answer(queued, b"", False, error.errno or EIO)
    try:
        job = clean_job(job)
    except Unusable as error:
        return Answer(queued, rejected(Job(job.type, job.name, "", {}), str(error)), True, 0)
    try:
        payload = perform(job, FolderTarget(folder, job.name, job.step, f"{queued.run}-{queued.seq}"))
    except OSError as error:
        return Answer(queued, b"", False, error.errno or EIO)
    return Answer(queued, payload, payload.startswith(wire.REJECTED), 0)


def read_job(path: Path) -> Job:
    """Read the job in a spool file; its buffers are views of the file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no job.
    """
    with open(spool.opened(path, os.O_RDONLY), "rb") as file:
        return Job.unpack(memoryview(mmap(file.fileno(), 0, access=ACCESS_READ)))


def _lost(queued: Queued, reason: str) -> Answer:
    return Answer(queued, rejected(Job("unknown", "", "", {}), reason), True, 0)


class Worker:
    """A worker process, started with the first job, and again when it is gone; a job that three died of is rejected."""

    def __init__(self, folder: Path) -> None:
        """Prepare for jobs of the experiment in a folder."""
        self.folder = folder
        self._process: Popen[bytes] | None = None
        self._assigned: deque[Queued] = deque()
        self._received = bytearray()
        self._began = 0.0
        self._deaths: Counter[Queued] = Counter()
        """How many workers ended while they had a job in hand."""

    @property
    def has_room(self) -> bool:
        """Whether another job may be given."""
        return len(self._assigned) < AHEAD

    def give(self, job: Queued) -> None:
        """Give a job; its answer comes after those of the jobs before it."""
        if not self._assigned:
            self._began = monotonic()
        self._assigned.append(job)
        if self._process is not None:
            self._send(job)
        elif self._start():
            for waiting in self._assigned:  # also those that were to be done in this process
                self._send(waiting)

    def answers(self) -> list[Answer]:
        """Return the answers that have arrived, in the order of the jobs."""
        if not self._assigned:
            return []
        if self._process is None:
            # One at a time: the writer drains its rings in between.
            return [complete(self.folder, self._assigned.popleft())]
        is_gone = not self._receive()
        answers = []
        while (answer := self._next()) is not None:
            answers.append(answer)
            self._began = monotonic()
        if self._assigned and (is_gone or monotonic() - self._began > DEADLINE_S):
            answers += self._after_death()
        return answers

    def close(self) -> None:
        """Let the worker go; its jobs stay in the spool."""
        from subprocess import TimeoutExpired

        process, self._process = self._process, None
        self._assigned.clear()
        self._received.clear()
        if process is not None and process.stdin is not None and process.stdout is not None:
            process.kill()
            with suppress(TimeoutExpired):  # a disk that hangs holds it
                process.wait(_DYING_WITHIN_S)
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):
                    pipe.close()

    def _send(self, job: Queued) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):  # gone: noticed when its answer is awaited
                self._process.stdin.write(orjson.dumps([str(self.folder), job.run, job.seq, str(job.path)]) + b"\n")

    def _start(self) -> bool:
        """Start the process; False where that is impossible: then jobs are done in this one."""
        from subprocess import PIPE, Popen  # only where there is a job

        try:
            self._process = Popen(command(_PROGRAM), stdin=PIPE, stdout=PIPE, bufsize=0, cwd="/", close_fds=True)
        except OSError:
            return False
        if self._process.stdout is not None:
            # The writer drains its rings meanwhile, and never waits for an encoder.
            os.set_blocking(self._process.stdout.fileno(), False)
        return True

    def _receive(self) -> bool:
        """Read the bytes that have arrived; return whether the worker is still there."""
        if self._process is None or self._process.stdout is None:
            return False
        try:
            while chunk := os.read(self._process.stdout.fileno(), 1 << 20):
                self._received += chunk
        except BlockingIOError:
            return True
        return False

    def _next(self) -> Answer | None:
        if len(self._received) < _HEAD.size:
            return None
        code, size = _HEAD.unpack_from(self._received)
        if len(self._received) < _HEAD.size + size:
            return None
        payload = bytes(self._received[_HEAD.size : _HEAD.size + size])
        del self._received[: _HEAD.size + size]
        return Answer(self._assigned.popleft(), payload, code == _REJECTED, -min(code, 0))

    def _after_death(self) -> list[Answer]:
        """Give all jobs to another worker, but the one that seems to be the reason."""
        assigned, reason = list(self._assigned), self._why_gone()
        self.close()
        self._deaths[assigned[0]] += 1
        is_guilty = self._deaths[assigned[0]] >= _MOST_DEATHS
        for job in assigned[is_guilty:]:
            self.give(job)
        return [_rejected(assigned[0], reason)] if is_guilty else []

    def _why_gone(self) -> str:
        code = self._process.poll() if self._process is not None else None
        return f"the process that encoded it ended with status {code}" if code is not None else "encoding it took too long"


def _rejected(queued: Queued, reason: str) -> Answer:
    try:
        return Answer(queued, rejected(clean_job(read_job(queued.path)), reason), True, 0)
    except (OSError, ValueError):  # `Unusable` is one
        return _lost(queued, reason)


def main() -> None:
    """Run as the worker process: a line of JSON for each job comes in, an answer goes out."""
    with suppress(OSError):
        os.nice(_NICENESS)
    # The output of a library must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        folder, run, seq, path = orjson.loads(line)
        answer = complete(Path(folder), Queued(run, seq, 0, 0, Path(path)))
        code = -answer.problem or (_REJECTED if answer.is_rejected else _DONE)
        try:
            _write(answers, code, answer.payload)
        except BrokenPipeError:
            os._exit(0)  # the writer is gone; the next one gives this job again, and those still in the pipe


def _write(answers: Any, code: int, payload: bytes) -> None:
    answers.write(_HEAD.pack(code, len(payload)))
    answers.write(payload)
    answers.flush()
