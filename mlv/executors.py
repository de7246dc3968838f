"""Executors: where the tasks of one call run, in this process, in others, on Dask, or on any `concurrent.futures.Executor`."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any, TypeVar, Union

from mlv import interpreter, settings
from mlv.errors import InvalidArgument, TaskNotDone
from mlv.notices import warn
from mlv.optional import package
from mlv.remote_tasks import TaskAnswer, answer_elsewhere, answer_here, answer_of, line_of, mlv_version, shortened, task_bytes
from mlv.workers import WorkerProcess

T = TypeVar("T")
R = TypeVar("R")

On = Union[Executor, int, str, None]
"""Where tasks are run: None in this process, a number in so many others, or an address."""
TRIES = 3
"""Workers may be killed for reasons of their own, such as too little memory; a task that three were lost with is given up."""
_PROGRAM = "from mlv import remote_tasks, workers; workers.serve(remote_tasks.answer_question)"
_MOST_PROCESSES = 1024
"""More are a slip of the finger, which would end with the machine."""
_IN_FLIGHT = 256
"""Tasks that are submitted to an executor of unknown size before the first has its result."""
_LOOK_S = 0.5
"""Between two looks whether those are there that a result is waited for from."""
_ENDING_S = 5.0


@contextmanager
def executor_of(on: On) -> Iterator[Executor]:
    """Give the executor that `on` names; it ends with the block, unless it is the caller's own.

    Args:
        on: None for this process; a number, or `processes:N`, for so many others; `dask://HOST:PORT` for the cluster of a Dask
            scheduler; or an executor, which stays open.

    Raises:
        InvalidArgument: It is nothing of these.
        MissingExtra: `distributed` is not installed.
        TaskNotDone: The scheduler does not answer.
    """
    executor = _executor(on)
    if executor is on:
        yield executor
        return
    try:
        yield executor
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def run_tasks(executor: Executor, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
    """Yield the results of a function in the order of its tasks, of which only some are submitted at a time.

    A task whose worker ends is run again, up to three times. Its exception is raised as it is, and its warnings are shown here.
    Whatever ends the iteration: tasks that have not begun are cancelled.

    Raises:
        InvalidArgument: The function or a task cannot be sent to another process.
        TaskNotDone: Workers ended again and again, cannot be reached, or cannot run it.
    """
    if isinstance(executor, _Here):
        yield from map(function, tasks)
        return
    tasks, waiting = iter(tasks), deque[_Attempts]()
    most = getattr(executor, "in_flight", _IN_FLIGHT)
    try:
        while True:
            for own in islice(tasks, most - len(waiting)):
                waiting.append(_Attempts(executor, function, own))
            if not waiting:
                return
            answer = waiting.popleft().answer()
            for message, category in answer.warned:
                warn(message, category)
            if answer.error is not None:
                raise answer.error
            yield answer.result
    finally:
        for attempts in waiting:
            attempts.cancel()


def _executor(on: On) -> Executor:
    if on is None:
        return _Here()
    if isinstance(on, Executor):
        return on
    if isinstance(on, int) and not isinstance(on, bool):
        return WorkerProcesses(on)
    if isinstance(on, str):
        if match := re.fullmatch(r"processes:(\d+)", on):
            return WorkerProcesses(int(match[1]))
        if match := re.fullmatch(r"dask://([^/\s@]+:\d+)/?", on):
            return _Dask(match[1])
    raise InvalidArgument(f"on={on!r:.100}{_advice(on)}: give {_CHOICES}", on=on)


_CHOICES = "a number of processes, 'processes:4', 'dask://host:8786' for a Dask scheduler, or a concurrent.futures.Executor"


def _advice(on: Any) -> str:
    if not isinstance(on, str):
        return f" is of type {type(on).__name__}, {'a class, ' if isinstance(on, type) else ''}and names no executor"
    if on.isdecimal():
        return f" is text; for processes it is 'processes:{on}'"
    scheme, separator, _ = on.partition("://") if "://" in on else on.partition(":")
    if scheme == "dask":
        return " is no address of a scheduler"
    if scheme == "processes":
        return " is no number of processes"
    return f" has the unknown scheme {scheme!r}" if separator else " names no executor"


class _Attempts:
    """A task, submitted again when the worker that had it ends."""

    def __init__(self, executor: Executor, function: Callable[[Any], Any], task: Any) -> None:
        self._executor, self._task = executor, task
        self._is_here = isinstance(executor, ThreadPoolExecutor)
        self._call = (
            (answer_here, function, task) if self._is_here else (answer_elsewhere, mlv_version(), task_bytes(function, task))
        )
        self._future = self._submitted()

    def answer(self) -> TaskAnswer:
        """Wait for what becomes of the task.

        Raises:
            TaskNotDone: Its workers end again and again, cannot be reached, or cannot run it.
        """
        for is_last in (*(False,) * (TRIES - 1), True):
            try:
                answer = self._awaited()
                return answer if self._is_here else answer_of(answer)
            except (BrokenExecutor, CancelledError) as error:
                if is_last:
                    raise self._not_done(f"was lost {TRIES} times with its worker ({line_of(error)})") from error
            except TaskNotDone:
                raise
            except Exception as error:  # of the executor: those of the task are in its answer
                raise self._not_done(f"cannot be run by a worker: {line_of(error)}") from error
            self._future = self._submitted()
        raise AssertionError  # the last attempt returns or raises

    def cancel(self) -> None:
        """Take the task back, unless it has begun."""
        self._future.cancel()

    def _submitted(self) -> Future[Any]:
        try:
            return self._executor.submit(*self._call)
        except Exception as error:
            raise self._not_done(f"is not taken by the executor ({line_of(error)})") from error

    def _awaited(self) -> Any:
        while not wait([self._future], _LOOK_S).done:
            self._check_scheduler()
        return self._future.result()

    def _check_scheduler(self) -> None:
        """See that the scheduler is there that a task was sent to: a client that has lost it leaves its futures open."""
        if getattr(getattr(self._executor, "_client", None), "status", "") == "closed":
            raise self._not_done("waits in vain: the Dask scheduler is gone. Start one, and run this again")

    def _not_done(self, problem: str) -> TaskNotDone:
        name = shortened(str(self._task))
        return TaskNotDone(f"the task {name} {problem}", task=name)


# The executors.


class _Here(Executor):
    """Runs each task when it is submitted: `run_tasks` need not."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a task; its future has the result."""
        future: Future[Any] = Future()
        future.set_result(function(*args, **kwargs))
        return future


class WorkerProcesses(Executor):
    """Runs tasks in processes, as many as have something to do, up to a number; a task whose process ends is lost alone."""

    def __init__(self, count: int) -> None:
        """Prepare them: none is started before there is a task for it.

        Raises:
            InvalidArgument: The number is not positive, or no process can be started.
        """
        if not 1 <= count <= _MOST_PROCESSES:
            text = f"on={count}: give a number of processes, 1 or more and at most {_MOST_PROCESSES}; None is this process"
            raise InvalidArgument(text, on=count)
        if not interpreter.is_available():
            raise InvalidArgument(
                f"on={count}: {sys.executable or 'this program'} is no Python to start processes with", on=count
            )
        self.in_flight = 2 * count
        self._threads = ThreadPoolExecutor(count, "mlv")
        self._own = threading.local()
        self._lock = threading.Lock()
        self._workers: set[WorkerProcess] = set()
        self._is_over = False

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Send a task to a process that has nothing to do, as soon as there is one."""
        return self._threads.submit(self._ask, task_bytes(_called, (function, args, kwargs)))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes; where tasks are cancelled, those that have begun end with them."""
        if cancel_futures:
            with self._lock:
                self._is_over = True  # no thread that is just starting a process keeps it
                for worker in self._workers:
                    worker.kill()
        self._threads.shutdown(wait=wait or cancel_futures, cancel_futures=cancel_futures)
        if wait or cancel_futures:
            for worker in self._workers:
                worker.end()

    def _ask(self, question: bytes) -> Any:
        worker = getattr(self._own, "worker", None) or self._started()
        try:
            worker.send(question)
            answer = answer_of(worker.receive())
        except (OSError, EOFError) as gone:
            del self._own.worker
            with self._lock:
                self._workers.discard(worker)
            raise BrokenProcessPool(worker.end()) from gone
        if answer.error is not None:
            raise answer.error
        return answer.result

    def _started(self) -> WorkerProcess:
        with self._lock:
            if self._is_over:
                raise BrokenProcessPool("the processes are ended")
            environment = {**_KEPT_MEMORY, **os.environ, **settings.as_environment(), **_ONE_THREAD}
            self._own.worker = worker = WorkerProcess(_PROGRAM, environment=environment)
            self._workers.add(worker)
        return worker


def _called(call: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]) -> Any:
    function, args, kwargs = call
    return function(*args, **kwargs)


_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "ARROW_IO_THREADS": "1"}
"""Variables by which numpy and Arrow begin with one thread: every core has a process already."""
_KEPT_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}
"""Variables by which glibc keeps the memory of one task for the next.

Else each array of a task is mapped and unmapped anew, and the kernel, which clears each page, takes a tenth of the time of a
build: all processes wait for the same memory.
"""


class _Dask(Executor):
    """Runs tasks on the workers of a Dask scheduler."""

    def __init__(self, address: str) -> None:
        """Open a connection to the scheduler.

        Raises:
            MissingExtra: `distributed` is not installed.
            TaskNotDone: It does not answer.
        """
        distributed = package("distributed", "dask")
        try:
            self._client = distributed.Client(f"tcp://{address}", set_as_default=False, name="mlv")
        except (OSError, TimeoutError) as error:
            text = f"no Dask scheduler answers at dask://{address} ({line_of(error)}): start one, or give its address"
            raise TaskNotDone(text, on=f"dask://{address}") from error
        self._executor = self._client.get_executor(pure=False)
        self.in_flight = max(_IN_FLIGHT, 2 * sum(self._client.nthreads().values()))

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Send a task to the scheduler."""
        return self._executor.submit(function, *args, **kwargs)  # type: ignore[no-any-return]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Close the connection; tasks are cancelled, also those that have begun."""
        # The scheduler may be gone: then nothing is left to cancel.
        with suppress(Exception):
            self._executor.shutdown(wait=wait and not cancel_futures)
        with suppress(Exception):
            self._client.close(_ENDING_S)
