"""Answers that read a disk, with a deadline: where a disk hangs, the page goes on, and says what it waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from time import monotonic
from typing import Generic, TypeVar

from mlv.errors import MlvError
from mlv.web.limits import LIMITS

T = TypeVar("T")


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
        [result] = self._answers({subject if key is None else key: subject}, lambda _: read(), seconds)
        return result

    def answers(self, subjects: Iterable[str], read: Callable[[str], T]) -> list[T]:
        """Return what a reading gives of each subject, one after the other; the deadline is that of each.

        Raises:
            Waiting: That of one, which is named, takes too long.
        """
        return self._answers({subject: subject for subject in subjects}, read, None)

    def _answers(self, subjects: Mapping[str, str], read: Callable[[str], T], seconds: float | None) -> list[T]:
        """Read by keys, in one thread for all: to start one for each of hundreds of curves takes longer than to read them."""
        with self._lock:
            for key, subject in subjects.items():
                former = self._hanging.get(key)
                if former is not None and former.is_alive():
                    raise Waiting(_sentence(subject), path=subject)
                self._hanging.pop(key, None)
        limit = next(each for each in (seconds, self._seconds, LIMITS.answer_s) if each is not None)
        task = _Task(subjects, read)
        while task.thread.is_alive():
            key, since = task.at
            if (left := since + limit - monotonic()) > 0:
                task.thread.join(left)
                continue
            task.is_over = True
            with self._lock:
                self._hanging[key] = task.thread
            raise Waiting(_sentence(subjects[key]), path=subjects[key])
        if task.failure is not None:
            raise task.failure
        return task.results


class _Task(Generic[T]):
    """A thread that reads, and how far it is."""

    def __init__(self, keys: Iterable[str], read: Callable[[str], T]) -> None:
        self.results: list[T] = []
        self.failure: BaseException | None = None
        self.is_over = False
        """Whether nobody waits any more."""
        self.at = "", monotonic()
        """The key of the reading, and when it began."""
        self._keys, self._read = list(keys), read
        self.thread = threading.Thread(target=self._run, daemon=True)
        if self._keys:
            self.at = self._keys[0], monotonic()
            self.thread.start()

    def _run(self) -> None:
        try:
            for key in self._keys:
                if self.is_over:
                    return
                self.at = key, monotonic()
                self.results.append(self._read(key))
        except BaseException as error:  # raised again where it is waited for
            self.failure = error


def _sentence(subject: str) -> str:
    return f"the disk of {subject} does not answer: the page asks again"
