"""Work in processes of their own, for what keeps Python itself busy."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_processes(work: Callable[[Sequence[T]], R], items: Sequence[T], at_least: int) -> list[R]:
    """The results for equal parts of some items, in their order; each part has `at_least` so many.

    A part whose process fails is done here.
    """
    count = max(1, min(_processors(), len(items) // at_least))
    parts = [items[len(items) * number // count : len(items) * (number + 1) // count] for number in range(count)]
    if count == 1 or not hasattr(os, "fork") or threading.active_count() > 1:
        return [work(items)]
    children = [_begun(work, part) for part in parts[1:]]
    first = work(parts[0])
    return [first, *(_ended(child, work, part) for child, part in zip(children, parts[1:], strict=True))]


def _processors() -> int:
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _begun(work: Callable[[Sequence[T]], R], part: Sequence[T]) -> tuple[int, int]:
    """Process ID of a child that does a part, and the pipe that its result comes through."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        with suppress(BaseException), open(writing, "wb") as pipe:  # the parent sees that nothing has come
            pipe.write(pickle.dumps(work(part)))
        os._exit(0)
    os.close(writing)
    return process, reading


def _ended(child: tuple[int, int], work: Callable[[Sequence[T]], R], part: Sequence[T]) -> R:
    process, reading = child
    with open(reading, "rb") as pipe:
        said = pipe.read()
    os.waitpid(process, 0)
    with suppress(EOFError, pickle.UnpicklingError):
        result: R = pickle.loads(said)  # noqa: S301 - our own child's
        return result
    return work(part)
