"""Tasks over experiments, for the executors of `mlv.executors`: a worker has to see the folders that are here."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from mlv.errors import TaskNotDone
from mlv.executors import run_tasks
from mlv.query.digest import Digest, fingerprint
from mlv.store import layout
from mlv.words import counted

T = TypeVar("T")
R = TypeVar("R")

MOST = 32
"""Experiments in a task: to send one takes as long as to read a short log."""
MOST_BYTES = 64 << 20
"""Bytes of logs from which on a task has no more experiments."""


class OverExperiments(Protocol):
    """A task that reads experiments."""

    @property
    def folders(self) -> Sequence[Path]:
        """Their folders."""


Task = TypeVar("Task", bound=OverExperiments)


@dataclass(frozen=True)
class TaskBatch(Generic[T]):
    """A task: some experiments, and something about each."""

    folders: tuple[Path, ...]
    items: tuple[T, ...]

    def __str__(self) -> str:
        return named(self.folders)


def named(folders: Sequence[Path]) -> str:
    """Return the name of a task over experiments."""
    return f"of {counted(len(folders), 'experiment')} from {folders[0]} on" if folders else "of no experiment"


def batches(items: Iterable[T], folder_of: Callable[[T], Path], most: int = MOST) -> Iterator[TaskBatch[T]]:
    """Yield tasks of some experiments each, fewer where their logs are long."""
    batch: list[T] = []
    size = 0
    for item in items:
        batch.append(item)
        size += size_bytes(folder_of(item))
        if len(batch) >= most or size >= MOST_BYTES:
            yield TaskBatch(tuple(map(folder_of, batch)), tuple(batch))
            batch, size = [], 0
    if batch:
        yield TaskBatch(tuple(map(folder_of, batch)), tuple(batch))


def size_bytes(folder: Path) -> int:
    """Return the bytes of the logs of an experiment; of one that cannot be read, as is told by whoever reads it, none."""
    with suppress(OSError):
        return sum(size for _, size, _ in fingerprint(folder))
    return 0


def light(digest: Digest) -> Digest:
    """Return a digest without its meta.json, which is most of it: all that the reading of a log needs."""
    return replace(digest, meta={})


def run_on_experiments(executor: Executor, function: Callable[[Task], R], tasks: Iterable[Task]) -> Iterator[R]:
    """Yield the results of tasks over experiments, as `run_tasks`.

    Raises:
        TaskNotDone: A worker does not see an experiment that is here: it has no share of the disk; or as `run_tasks`.
    """
    for answer in run_tasks(executor, partial(_with_unseen, function), tasks):
        if not isinstance(answer, _Unseen):
            yield answer
            continue
        for folder in answer.folders:
            if layout.is_experiment(folder):
                text = (
                    f"a worker on {answer.host} does not see {folder}: workers need the experiments at the same paths as here"
                )
                raise TaskNotDone(text, path=str(folder), host=answer.host)
        yield function(answer.task)  # gone here, too: what becomes of it does not depend on executors


@dataclass(frozen=True)
class _Unseen(Generic[Task]):
    """A task that was not run, as some of its folders are no experiments for the worker."""

    task: Task
    folders: list[Path]
    host: str


def _with_unseen(function: Callable[[Task], R], task: Task) -> R | _Unseen[Task]:
    unseen = [folder for folder in task.folders if not layout.is_experiment(folder)]
    return _Unseen(task, unseen, socket.gethostname()) if unseen else function(task)
