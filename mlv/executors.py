"""Executors: where the tasks of one call are run, in this process, in others, on Dask, or on any `concurrent.futures.Executor`.

Processes are started anew by `mlv.interpreter`, not forked, and not by `multiprocessing`, which would import the script again:
no `__main__` guard is needed, and notebooks may do it. Each answers what comes through its standard input, and ends with that,
whatever has ended this process: nobody is left behind.
"""

from __future__ import annotations

import os
import pickle
import re
import signal
import struct
import subprocess
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from itertools import islice
from typing import IO, Any, NamedTuple, TypeVar, Union

from mlv import settings
from mlv.errors import InvalidArgument, TaskNotDone
from mlv.interpreter import OUR_MLV, is_python, module_path
from mlv.notices import warn
from mlv.optional import package
from mlv.tasks import Warned, running
from mlv.words import printable

T = TypeVar("T")
R = TypeVar("R")

On = Union[Executor, int, str, None]
"""Where tasks are run: None in this process, a number in so many others, or an address."""
TRIES = 3
"""Workers may be killed for reasons of their own, such as too little memory; a task that three were lost with is given up."""
_PROGRAM = f"""
import sys
PATH = sys.argv[1:]
{OUR_MLV}
from mlv.executors import serve
serve()
"""
_MOST_PROCESSES = 1024
"""More are a slip of the finger, which would end with the machine."""
_IN_FLIGHT = 256
"""Tasks that are submitted to an executor of unknown size before the first has its result."""
_LOOK_S = 0.5
"""Between two looks whether those are there that a result is waited for from."""
_ENDING_S = 5.0
_SIZE = struct.Struct("<Q")
_LONGEST_NAME = 300


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


# A task, and its way to a worker and back.


class TaskAnswer(NamedTuple):
    """What became of a task."""

    result: Any
    error: Exception | None
    warned: Warned


class RemoteTraceback(Exception):
    """The lines of a worker's code where an exception was raised."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class _Attempts:
    """A task, submitted again when the worker that had it ends."""

    def __init__(self, executor: Executor, function: Callable[[Any], Any], task: Any) -> None:
        self._executor, self._task = executor, task
        self._is_here = isinstance(executor, ThreadPoolExecutor)
        self._call = (answer, function, task) if self._is_here else (answer_elsewhere, _version(), _sent(function, task))
        self._future = self._submitted()

    def answer(self) -> TaskAnswer:
        """Wait for what becomes of the task.

        Raises:
            TaskNotDone: Its workers end again and again, cannot be reached, or cannot run it.
        """
        for is_last in (*(False,) * (TRIES - 1), True):
            try:
                answer = self._awaited()
                return answer if self._is_here else _received(answer)
            except (BrokenExecutor, CancelledError) as error:
                if is_last:
                    raise self._not_done(f"was lost {TRIES} times with its worker ({_line(error)})") from error
            except TaskNotDone:
                raise
            except Exception as error:  # of the executor: those of the task are in its answer
                raise self._not_done(f"cannot be run by a worker: {_line(error)}") from error
            self._future = self._submitted()
        raise AssertionError  # the last attempt returns or raises

    def cancel(self) -> None:
        """Take the task back, unless it has begun."""
        self._future.cancel()

    def _submitted(self) -> Future[Any]:
        try:
            return self._executor.submit(*self._call)
        except Exception as error:
            raise self._not_done(f"is not taken by the executor ({_line(error)})") from error

    def _awaited(self) -> Any:
        while not wait([self._future], _LOOK_S).done:
            self._check_scheduler()
        return self._future.result()

    def _check_scheduler(self) -> None:
        """See that the scheduler is there that a task was sent to: a client that has lost it leaves its futures open."""
        if getattr(getattr(self._executor, "_client", None), "status", "") == "closed":
            raise self._not_done("waits in vain: the Dask scheduler is gone. Start one, and run this again")

    def _not_done(self, problem: str) -> TaskNotDone:
        name = _shortened(str(self._task))
        return TaskNotDone(f"the task {name} {problem}", task=name)


def answer(function: Callable[[Any], Any], task: Any) -> TaskAnswer:
    """Run a task."""
    with running() as warned:
        try:
            return TaskAnswer(function(task), None, warned)
        except Exception as error:
            return TaskAnswer(None, error, warned)


def answer_elsewhere(version: str, question: bytes) -> bytes:
    """Run a task that another process has sent, if that has this version of mlv."""
    if version != _version():
        return _answered(TaskAnswer(None, TaskNotDone(f"a worker has mlv {_version()}: install {version} there, as here"), []))
    try:
        function, task = pickle.loads(question)  # noqa: S301 - of the process that gave this one its work
    except Exception as error:
        text = f"a worker cannot read its task ({_line(error)}): the function must be one of a module that it can import"
        return _answered(TaskAnswer(None, TaskNotDone(text), []))
    return _answered(answer(function, task))


def _sent(function: Callable[[Any], Any], task: Any) -> bytes:
    try:
        return pickle.dumps((function, task), pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        text = f"{function!r:.100} with {_shortened(str(task))} cannot be sent to another process: {_line(error)}"
        raise InvalidArgument(f"{text}. Give a function of a module, and values that pickle takes", task=task) from error


def _answered(answer: TaskAnswer) -> bytes:
    """Return an answer as bytes: of an error also where it was raised, of what cannot be sent the reason."""
    trace = "".join(traceback.format_exception(answer.error)) if answer.error is not None else ""
    try:
        content = pickle.dumps((answer, trace), pickle.HIGHEST_PROTOCOL)
        if answer.error is not None:
            pickle.loads(content)  # noqa: S301 - just made: many exceptions can be pickled, and not be made again
    except Exception as error:
        reason = _line(answer.error) if answer.error is not None else f"its result cannot be sent: {_line(error)}"
        return pickle.dumps((TaskAnswer(None, TaskNotDone(f"a task failed in its worker: {reason}"), answer.warned), trace))
    return content


def _received(content: bytes) -> TaskAnswer:
    answer, trace = pickle.loads(content)  # noqa: S301 - of a worker that has run our own code
    if answer.error is not None:
        answer.error.__cause__ = RemoteTraceback(trace)
    return answer  # type: ignore[no-any-return]


def _version() -> str:
    return str(sys.modules["mlv"].__version__)


def _line(error: BaseException) -> str:
    return _shortened(f"{type(error).__name__}: {error}".rstrip(": "))


def _shortened(text: str) -> str:
    text = printable(text)
    return text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]} ..."


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
        if not is_python(sys.executable or ""):
            raise InvalidArgument(
                f"on={count}: {sys.executable or 'this program'} is no Python to start processes with", on=count
            )
        self.in_flight = 2 * count
        self._threads = ThreadPoolExecutor(count, "mlv")
        self._own = threading.local()
        self._lock = threading.Lock()
        self._workers: set[_Worker] = set()
        self._is_over = False

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Send a task to a process that has nothing to do, as soon as there is one."""
        return self._threads.submit(self._ask, _sent(_called, (function, args, kwargs)))

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
            answer = _received(worker.ask(question))
        except (OSError, EOFError) as gone:
            del self._own.worker
            with self._lock:
                self._workers.discard(worker)
            raise BrokenProcessPool(worker.end()) from gone
        if answer.error is not None:
            raise answer.error
        return answer.result

    def _started(self) -> _Worker:
        with self._lock:
            if self._is_over:
                raise BrokenProcessPool("the processes are ended")
            self._own.worker = worker = _Worker()
            self._workers.add(worker)
        return worker


def _called(call: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]) -> Any:
    function, args, kwargs = call
    return function(*args, **kwargs)


class _Worker:
    """A process that answers one question after the other."""

    def __init__(self) -> None:
        # A session of its own: Ctrl-C ends the process that waits for it, and with that this one.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _PROGRAM, *module_path()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
            env={**_KEPT_MEMORY, **os.environ, **settings.as_environment(), **_ONE_THREAD},
        )  # fmt: skip

    def ask(self, question: bytes) -> bytes:
        """Send a question, and wait for its answer.

        Raises:
            OSError, EOFError: The process has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        _write(self._process.stdin, question)
        return _read(self._process.stdout)

    def kill(self) -> None:
        """End the process in the middle of a task: the thread that waits for its answer notices."""
        self._process.kill()

    def end(self) -> str:
        """End the process, which has nothing to do, and return how it ended, in words."""
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # it is gone
                pipe.close()  # type: ignore[union-attr]
        try:
            code = self._process.wait(_ENDING_S)
        except subprocess.TimeoutExpired:  # a disk that hangs holds it
            self._process.kill()
            code = self._process.wait()
        return f"a process ended by {signal.Signals(-code).name}" if code < 0 else f"a process ended with status {code}"


_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "ARROW_IO_THREADS": "1"}
"""Variables by which numpy and Arrow begin with one thread: every core has a process already."""
_KEPT_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}
"""Variables by which glibc keeps the memory of one task for the next.

Else each array of a task is mapped and unmapped anew, and the kernel, which clears each page, takes a tenth of the time of a
build: all processes wait for the same memory.
"""


def serve() -> None:
    """Run the tasks that come through the standard input, until it ends."""
    # What a task reads or prints must not come between the questions and the answers.
    with open(os.dup(0), "rb") as questions, open(os.dup(1), "wb") as answers, open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(2, 1)
        with suppress(EOFError, BrokenPipeError):
            while True:
                _write(answers, answer_elsewhere(_version(), _read(questions)))


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
            text = f"no Dask scheduler answers at dask://{address} ({_line(error)}): start one, or give its address"
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
