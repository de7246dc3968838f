"""Answers that read a disk, with a deadline: where a disk hangs, the page goes on, and says what it waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from mlv.errors import MlvError

T = TypeVar("T")
_SECONDS = 20.0


class Waiting(MlvError, TimeoutError):
    """A disk does not answer."""


class Patience:
    """Waits for readings for some time each; of one that hangs there is only one thread, however often it is asked for."""

    def __init__(self, seconds: float | None = None) -> None:
        self._seconds = seconds
        self._hanging: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()

    def answer(self, subject: str, read: Callable[[], T], seconds: float | None = None, key: str | None = None) -> T:
        """Return what a reading gives.

        Args:
            subject: The folder, or another name, that is waited for.
            read: The reading; it runs in a thread of its own.
            seconds: The deadline, if it is another one than usual.
            key: What is the same in two readings of which the second need not be tried while the first hangs; without it the
                subject.

        Raises:
            Waiting: It, or a former one of the same subject, takes too long.
        """
        key = subject if key is None else key
        with self._lock:
            former = self._hanging.get(key)
            if former is not None and former.is_alive():
                raise Waiting(_sentence(subject), path=subject)
            self._hanging.pop(key, None)
        result: list[Any] = []
        failure: list[BaseException] = []

        def run() -> None:
            try:
                result.append(read())
            except BaseException as error:  # raised again where it is waited for
                failure.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(next(limit for limit in (seconds, self._seconds, _SECONDS) if limit is not None))
        if thread.is_alive():
            with self._lock:
                self._hanging[key] = thread
            raise Waiting(_sentence(subject), path=subject)
        if failure:
            raise failure[0]
        answer: T = result[0]
        return answer


def _sentence(subject: str) -> str:
    return f"the disk of {subject} does not answer: the page asks again"
