"""Work spread over child processes, for work that keeps the interpreter itself busy.

To fork and read a pipe takes 2 ms. `concurrent.futures` takes 20, of which 12 are its import, and would pickle the work.
"""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_processes(
    work: Callable[[Sequence[T]], R], items: Sequence[T], at_least: int, *, processes: int | None = None
) -> list[R]:
    """Split items into equal batches of `at_least` so many, and return the batches' results in order.

    A batch whose process fails is done here. There are at most so many `processes`; None means one for each processor.
    """
    count = max(1, min(processes or _processors(), len(items) // at_least))
    batches = [items[len(items) * number // count : len(items) * (number + 1) // count] for number in range(count)]
    if count == 1 or not hasattr(os, "fork") or threading.active_count() > 1:
        return [work(items)]
    children = [_start(work, batch) for batch in batches[1:]]
    first = work(batches[0])
    return [first, *(_result(child, work, batch) for child, batch in zip(children, batches[1:], strict=True))]


def _processors() -> int:
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _start(work: Callable[[Sequence[T]], R], batch: Sequence[T]) -> tuple[int, int]:
    """Start a child that does a batch; return its process ID, and the pipe that its result comes through."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        with suppress(BaseException), open(writing, "wb") as pipe:  # the parent sees that nothing has come
            pipe.write(pickle.dumps(work(batch)))
        os._exit(0)
    os.close(writing)
    return process, reading


def _result(child: tuple[int, int], work: Callable[[Sequence[T]], R], batch: Sequence[T]) -> R:
    process, reading = child
    with open(reading, "rb") as pipe:
        pickled = pipe.read()
    os.waitpid(process, 0)
    with suppress(EOFError, pickle.UnpicklingError):
        result: R = pickle.loads(pickled)  # noqa: S301 - our own child's
        return result
    return work(batch)
