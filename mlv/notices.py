"""Warnings that can never end a training run, each shown once, at the line of the caller's code that it is about."""

from __future__ import annotations

import os
import sys
import warnings
from types import FrameType

from mlv.errors import MlvWarning

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_shown: set[tuple[str, int, type[MlvWarning]]] = set()


def warn_once(message: str, category: type[MlvWarning]) -> None:
    """Show a warning, the first time that this line of the caller's code gives one of this category."""
    file, line = _caller()
    if (file, line, category) not in _shown:
        _shown.add((file, line, category))
        _warn_at(message, category, file, line)


def warn(message: str, category: type[MlvWarning]) -> None:
    """Show a warning; where warnings are turned into errors it goes to stderr instead."""
    _warn_at(message, category, *_caller())


def _warn_at(message: str, category: type[MlvWarning], file: str, line: int) -> None:
    try:
        # A registry of its own: whether something was said before is decided above, not by the text of the message.
        warnings.warn_explicit(message, category, file, line, registry={})
    except MlvWarning:
        if sys.stderr is not None:
            print(f"{file}:{line}: {category.__name__}: {message}", file=sys.stderr)


def _caller() -> tuple[str, int]:
    """File and line of the innermost frame outside mlv."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return (frame.f_code.co_filename, frame.f_lineno) if frame else ("<mlv>", 0)
