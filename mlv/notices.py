"""Messages and warnings for people, on stderr: they never end a training run, even where stderr is closed or broken."""

from __future__ import annotations

import os
import sys
import warnings
from types import CodeType, FrameType
from typing import Union

from mlv.errors import MlvWarning
from mlv.interrupts import pass_on
from mlv.tasks import warnings_of_task
from mlv.words import printable

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_Line = tuple[str, int, Union[CodeType, None]]
lines_warned: set[tuple[_Line, type[MlvWarning]]] = set()
"""Lines of callers that `warn_once` warned about, each with the category."""


def say(text: str) -> None:
    """Print a line on stderr, where there is one."""
    try:
        if sys.stderr is not None:
            print(printable(text, keep="\n"), file=sys.stderr)
    except Exception as error:  # closed, replaced by something that raises, or a pipe that nobody reads
        pass_on(error)


def warn_once(message: str, category: type[MlvWarning]) -> None:
    """Show a warning, the first time that this line of the caller's code gives one of this category."""
    line = _caller()
    if (line, category) not in lines_warned:
        lines_warned.add((line, category))
        _warn_at(message, category, line)


def warn(message: str, category: type[MlvWarning]) -> None:
    """Show a warning at the line of the caller's code; where warnings are turned into errors it goes to stderr instead."""
    _warn_at(message, category, _caller())


def _warn_at(message: str, category: type[MlvWarning], line: _Line) -> None:
    elsewhere = warnings_of_task()
    if elsewhere is not None:  # shown where the task came from, in the order of the tasks
        elsewhere.append((message, category))
        return
    file, number, _ = line
    message = printable(message, keep="\n")
    try:
        # A registry of its own: `warn_once` decides whether to repeat a warning, not the text of the message.
        warnings.warn_explicit(message, category, file, number, registry={})
    except Exception as error:  # warnings are errors here, or showing them fails
        pass_on(error)
        say(f"{file}:{number}: {category.__name__}: {message}")


def _caller() -> _Line:
    """Return file and line of the innermost frame outside mlv; the code too, where file and line are not unique."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    if frame is None:
        return "<mlv>", 0, None
    code = frame.f_code
    return code.co_filename, frame.f_lineno, code if code.co_filename == "<stdin>" else None
