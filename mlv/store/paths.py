"""Paths that a user gives: accepted, and made absolute."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mlv.errors import InvalidArgument
from mlv.store import layout
from mlv.words import address_problem


def checked_path(path: Any, what: str) -> Path:
    """Accept a path, and make it absolute; `~` is the home folder.

    Raises:
        InvalidArgument: It is no path, or an address.
    """
    try:
        text = os.fsdecode(os.fspath(path))
    except TypeError:
        raise InvalidArgument(f"{what}={path!r} is of type {type(path).__name__}: give a path", path=path) from None
    problem = address_problem(text)
    if problem is not None:
        raise InvalidArgument(f"{what}={text!r} {problem}", path=path)
    if "\0" in text:
        raise InvalidArgument(f"{what}={text!r} holds a NUL character: leave it out", path=path)
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidArgument(f"{what}={text!r} is no text that UTF-8 can hold: give a folder of another name", path=path)
    if problem := layout.problem_of_locale(text):
        raise InvalidArgument(f"{what}={text!r} {problem}", path=path)
    try:
        return layout.absolute(os.path.expanduser(text))
    except FileNotFoundError:
        raise InvalidArgument(f"{what}={text!r} is relative to a folder that is gone: give an absolute path") from None
