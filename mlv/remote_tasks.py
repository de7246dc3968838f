"""Tasks that run in another process: as bytes on their way there, run, and their answers on the way back."""

from __future__ import annotations

import pickle
import sys
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from mlv.errors import InvalidArgument, TaskNotDone
from mlv.tasks import Warned, running
from mlv.words import printable

_LONGEST_NAME = 300


class TaskAnswer(NamedTuple):
    """What became of a task."""

    result: Any
    error: Exception | None
    warned: Warned


class RemoteTraceback(Exception):
    """The lines of a worker's code where an exception was raised."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def task_bytes(function: Callable[[Any], Any], task: Any) -> bytes:
    """Return a function and its task as bytes.

    Raises:
        InvalidArgument: They cannot be sent.
    """
    try:
        return pickle.dumps((function, task), pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        text = f"{function!r:.100} with {shortened(str(task))} cannot be sent to another process: {line_of(error)}"
        raise InvalidArgument(f"{text}. Give a function of a module, and values that pickle takes", task=task) from error


def answer_elsewhere(version: str, question: bytes) -> bytes:
    """Run a task that another process has sent, if that has this version of mlv."""
    if version != mlv_version():
        return _answered(
            TaskAnswer(None, TaskNotDone(f"a worker has mlv {mlv_version()}: install {version} there, as here"), [])
        )
    try:
        function, task = pickle.loads(question)  # noqa: S301 - of the process that gave this one its work
    except Exception as error:
        text = f"a worker cannot read its task ({line_of(error)}): the function must be one of a module that it can import"
        return _answered(TaskAnswer(None, TaskNotDone(text), []))
    return _answered(answer_here(function, task))


def answer_question(question: bytes) -> bytes:
    """Run a task that another process with this version of mlv has sent."""
    return answer_elsewhere(mlv_version(), question)


def answer_here(function: Callable[[Any], Any], task: Any) -> TaskAnswer:
    """Run a task."""
    with running() as warned:
        try:
            return TaskAnswer(function(task), None, warned)
        except Exception as error:
            return TaskAnswer(None, error, warned)


def _answered(answer: TaskAnswer) -> bytes:
    """Return an answer as bytes: of an error also where it was raised, of what cannot be sent the reason."""
    trace = "".join(traceback.format_exception(answer.error)) if answer.error is not None else ""
    try:
        content = pickle.dumps((answer, trace), pickle.HIGHEST_PROTOCOL)
        if answer.error is not None:
            pickle.loads(content)  # noqa: S301 - just made: many exceptions can be pickled, and not be made again
    except Exception as error:
        reason = line_of(answer.error) if answer.error is not None else f"its result cannot be sent: {line_of(error)}"
        return pickle.dumps((TaskAnswer(None, TaskNotDone(f"a task failed in its worker: {reason}"), answer.warned), trace))
    return content


def answer_of(content: bytes) -> TaskAnswer:
    """Read an answer; its error tells also where it was raised in the worker."""
    answer, trace = pickle.loads(content)  # noqa: S301 - of a worker that has run our own code
    if answer.error is not None:
        answer.error.__cause__ = RemoteTraceback(trace)
    return answer  # type: ignore[no-any-return]


def mlv_version() -> str:
    """Return the version of mlv here."""
    return str(sys.modules["mlv"].__version__)


def line_of(error: BaseException) -> str:
    """Return the type and the text of an error, as far as they fit a line."""
    return shortened(f"{type(error).__name__}: {error}".rstrip(": "))


def shortened(text: str) -> str:
    """Return a text as far as it fits a line."""
    text = printable(text)
    return text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]} ..."
