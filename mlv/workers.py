"""Worker processes: interpreters with our mlv that answer one message after the other.

They are started anew by `mlv.interpreter`, not forked: whoever starts one may have threads. And not by `multiprocessing`, which
would import the script again: no `__main__` guard is needed, and notebooks may do it. Each answers in the order of its
questions, and ends with its input, whatever has ended the process that asks: nobody is left behind.
"""

from __future__ import annotations

import os
import signal
import struct
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO

from mlv.interpreter import command

_GREETING = b"mlv\x00\n\xff\xfe\x01"
"""Sent before any answer: a process that was not made by us, or printed while it began, has sent something else."""
_SIZE = struct.Struct("<Q")
_ENDING_S = 5.0


class WorkerProcess:
    """A process that answers questions."""

    def __init__(
        self, program: str, *, environment: Mapping[str, str] | None = None, folder: str | None = None, is_quiet: bool = False
    ) -> None:
        """Start it.

        Args:
            program: Its code, which calls `serve`.
            environment: Its variables; None for those of this process.
            folder: Its current folder; None for that of this process.
            is_quiet: Discard what it prints to stderr.

        Raises:
            OSError: It cannot be started.
        """
        # A session of its own: Ctrl-C ends the process that waits for it, and with that this one.
        self._process = subprocess.Popen(
            command(program), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL if is_quiet else None,
            env=environment, cwd=folder, start_new_session=True,
        )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._questions, self._answers = self._process.stdin, self._process.stdout
        self._is_ready = False

    def await_ready(self) -> None:
        """Wait until it has imported all that it needs.

        Raises:
            OSError, EOFError: It has ended, or is none of ours.
        """
        if not self._is_ready:
            if self._answers.read(len(_GREETING)) != _GREETING:
                raise EOFError
            self._is_ready = True

    def send(self, question: bytes) -> None:
        """Send a question, which waits until those before it are answered.

        Raises:
            OSError: The process has ended.
        """
        _write(self._questions, question)

    def receive(self) -> bytes:
        """Wait for the next answer.

        Raises:
            OSError, EOFError: The process has ended.
        """
        self.await_ready()
        return _read(self._answers)

    def kill(self) -> None:
        """End the process in the middle of an answer: the thread that waits for it notices."""
        self._process.kill()

    def end(self) -> str:
        """End the process, which has nothing to do, and return how it ended, in words."""
        for pipe in (self._questions, self._answers):
            with suppress(OSError):  # it is gone
                pipe.close()
        try:
            code = self._process.wait(_ENDING_S)
        except subprocess.TimeoutExpired:  # a disk that hangs holds it
            self._process.kill()
            code = self._process.wait()
        return f"a process ended by {signal.Signals(-code).name}" if code < 0 else f"a process ended with status {code}"


def serve(answer: Callable[[bytes], bytes]) -> None:
    """Serve answers to the questions that come through the standard input, until it ends."""
    # What an answer reads or prints must not come between the questions and the answers.
    with open(os.dup(0), "rb") as questions, open(os.dup(1), "wb") as answers, open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(2, 1)
        with suppress(EOFError, BrokenPipeError):
            answers.write(_GREETING)
            answers.flush()
            while True:
                _write(answers, answer(_read(questions)))


def _write(file: IO[bytes], content: bytes) -> None:
    file.write(_SIZE.pack(len(content)))
    file.write(content)
    file.flush()


def _read(file: IO[bytes]) -> bytes:
    head = file.read(_SIZE.size)
    content = file.read(*_SIZE.unpack(head)) if len(head) == _SIZE.size else None
    if content is None or len(content) < _SIZE.unpack(head)[0]:
        raise EOFError
    return content
