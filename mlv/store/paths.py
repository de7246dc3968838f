"""Paths that a user gives: accepted, and made absolute, or kept inside an experiment."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mlv.errors import InvalidArgument, InvalidName
from mlv.store import layout
from mlv.words import address_problem, url_without_secrets

BUCKETS = ("s3", "gs", "az", "file")
"""Schemes of the URLs of buckets."""


def bucket_url(path: Any) -> str | None:
    """Return a text that is the URL of a bucket, None for any path of this machine.

    A folder of that name, which programs make that take the URL for a path, is none to keep experiments in: `./s3:/lab` is.
    """
    return path if isinstance(path, str) and path.partition("://")[0] in BUCKETS and "://" in path else None


def unread_address(path: Any) -> str | None:
    """Return the advice for an address in place of experiments to read whose scheme is not that of a bucket; None for others.

    A path object has made one slash of two: where nothing is there, a folder whose name ends with a colon is none.
    """
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    scheme = _SCHEME.match(text) if isinstance(text, str) else None
    if scheme is None or scheme[1] in BUCKETS:
        return None
    is_path = text is not path and not os.path.lexists(text)
    if address_problem(text) is None and not is_path:
        return None
    schemes = ", ".join(f"{bucket}://" for bucket in BUCKETS)
    return f"is an address, and its scheme is none of {schemes}: give the URL of a bucket, or a local or mounted folder"


_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")  # a single letter is a drive


def checked_path(path: Any, what: str, *, is_read: bool = False) -> Path:
    """Accept a path, and make it absolute; `~` is the home folder.

    Args:
        path: The path.
        what: The argument that it was.
        is_read: Whether the URL of a bucket might stand there as well.

    Raises:
        InvalidArgument: It is no path, or an address.
    """
    try:
        text = os.fsdecode(os.fspath(path))
    except TypeError:
        raise InvalidArgument(f"{what}={path!r} is of type {type(path).__name__}: give a path", path=path) from None
    problem = (unread_address(path) if is_read else None) or address_problem(text)
    if problem is not None:
        shown = url_without_secrets(text)
        raise InvalidArgument(f"{what}={shown!r} {problem}", path=shown)
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


def checked_inside(folder: Path, name: Any) -> Path:
    """Accept a relative path below a folder of an experiment: `model.npz`, `tables/final.csv`.

    Raises:
        InvalidName: It is none, is empty, absolute, or leads out of the folder, also through a symbolic link.
    """
    try:
        text = os.fsdecode(os.fspath(name))
    except TypeError:
        raise InvalidName(f"file name {name!r:.100} is of type {type(name).__name__}: give a text", name=name) from None
    segments = text.replace("\\", "/").split("/")
    if any(segment in ("", ".", "..") for segment in segments) or os.path.isabs(text) or os.path.splitdrive(text)[0]:
        raise InvalidName(
            f"file name {text!r} is empty, absolute, or leads out of {folder}: give a path below it, such as 'model.npz'",
            name=text,
        )
    if any(ord(character) < 32 or ord(character) == 127 or "\ud800" <= character <= "\udfff" for character in text):
        raise InvalidName(f"file name {text!r} holds a control character, or is no text that UTF-8 can hold", name=text)
    if any(segment.startswith(layout.TEMPORARY) or len(segment.encode()) > 200 for segment in segments):
        raise InvalidName(
            f"file name {text!r} has a part that begins with {layout.TEMPORARY!r} or is longer than 200 bytes: choose another",
            name=text,
        )
    if problem := layout.problem_of_locale(text):
        raise InvalidName(f"file name {text!r} {problem}", name=text)
    path = folder.joinpath(*segments)
    real, top = os.path.realpath(path.parent), os.path.join(os.path.realpath(folder.parent), folder.name)
    if real != top and not real.startswith(top + os.sep):
        raise InvalidName(
            f"file name {text!r} leads out of {folder} through a symbolic link, to {real}: files of an experiment lie in its "
            f"own folder",
            name=text,
        )
    return path
