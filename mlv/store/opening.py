"""Opening files of a folder that somebody else may have made: a copy that was handed on, or one that others write into.

A hostile entry under an expected name (a pipe, a device, a link to a file of the reader, a file that has no end) costs only
that entry. Reading follows links, and takes only regular files. Writing follows none, neither those of the file nor those of
the folders between it and the experiment, and takes no file that has another name as well.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO, cast

from mlv.encoding import loads

LONGEST_LINE = 1 << 30
"""Bytes of the longest line that is read: longer ones are passed over."""
_LARGEST_JSON = 256 << 20
"""Bytes of a file that is read in one piece."""
_BESIDE = 4096
"""Bytes that are asked for beyond the size of a file: it may have grown, and that of a file in /proc is 0."""


def reading(path: str | os.PathLike[str], buffering: int = -1, *, follows: bool = True) -> BinaryIO:
    """Open a regular file to read; with `follows=False` no link.

    Raises:
        OSError: It cannot be read, or is a pipe, of which nothing may ever come, a device or a folder.
    """
    return open(path, "rb", buffering, opener=_regular if follows else _unlinked)


def _unlinked(path: str, flags: int) -> int:
    return _regular(path, flags | getattr(os, "O_NOFOLLOW", 0))


def _regular(path: str, flags: int) -> int:
    return descriptor(path, flags)[0]


# A pipe would be waited for, and a terminal might become that of this process.
_CAREFULLY = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_TO_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0)


def descriptor(path: str | os.PathLike[str], flags: int = _TO_READ) -> tuple[int, int]:
    """Open a regular file; gives its descriptor, which the caller closes, and its size.

    For a few bytes of many files: a file object asks the system five questions more, and takes 8 us where this takes 3.

    Raises:
        OSError: As `reading`.
    """
    fd = os.open(path, flags | _CAREFULLY)
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "is no regular file", os.fspath(path))
    return fd, status.st_size


def content(path: str | os.PathLike[str], most_bytes: int = _LARGEST_JSON) -> bytes:
    """Read a regular file.

    Raises:
        OSError: It cannot be read, or is larger.
    """
    fd, size = descriptor(path)
    try:
        if size <= most_bytes:
            text = os.read(fd, size + _BESIDE)
            # All that fstat counted, though more was asked for: that is the end, and saves 2 of 9 us per small file.
            return text if len(text) == size > 0 else text + b"".join(iter(lambda: os.read(fd, size + _BESIDE), b""))
    finally:
        os.close(fd)
    raise OSError(errno.EFBIG, f"has more than the {most_bytes} bytes that are read of such a file", os.fspath(path))


def json_content(path: str | os.PathLike[str]) -> Any:
    """Read the value in a JSON file.

    Raises:
        OSError: It cannot be read.
        ValueError: It holds none, or one that is nested too deeply.
    """
    return loads(content(path))


def writing(path: str | os.PathLike[str], flags: int, mode: int = 0o666) -> int:
    """Open a file to write, a regular one that has no other name, and no link; gives the descriptor.

    Raises:
        OSError: It is none, or cannot be opened.
    """
    flags |= sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"))
    # O_TRUNC would empty the file before the checks below.
    fd = os.open(path, flags & ~os.O_TRUNC, mode)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is no regular file", os.fspath(path))
        if status.st_nlink > 1:
            raise OSError(errno.EMLINK, "has another name as well, which would change with it: copy it", os.fspath(path))
        if flags & os.O_TRUNC:
            os.ftruncate(fd, 0)
    except BaseException:
        os.close(fd)
        raise
    return fd


def emptied(path: str | os.PathLike[str]) -> BinaryIO:
    """Open an empty file to write; its former content is gone.

    Raises:
        OSError: As `writing`.
    """
    return cast(BinaryIO, open(writing(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC), "wb"))


def changing(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file that is there to read and change.

    Raises:
        OSError: As `writing`.
    """
    return cast(BinaryIO, open(writing(path, os.O_RDWR), "rb+"))


def new(path: str | os.PathLike[str], mode: int = 0o666, buffering: int = -1) -> BinaryIO:
    """Make a file of a name that is free.

    Raises:
        FileExistsError: It is not, also where a link stands there.
        OSError: It cannot be made.
    """
    return open(writing(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode), "wb", buffering)


def check_writable(path: Path) -> None:
    """Accept a path that a library opens by its name: it is free, or a file that `writing` would open.

    Raises:
        OSError: Something else is.
    """
    try:
        os.close(writing(path, os.O_RDWR))
    except FileNotFoundError:
        return


def check_folders(root: Path, folder: Path) -> None:
    """Accept a folder below another to write into: as far as they are there, those between the two are no links.

    Raises:
        OSError: One is a link, or no folder.
    """
    for below in _between(root, folder):
        try:
            status = os.lstat(below)
        except FileNotFoundError:
            return
        if stat.S_ISLNK(status.st_mode):
            raise OSError(
                errno.ELOOP, "is a link to elsewhere, through which nothing is written: put a folder there", str(below)
            )
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(below))


def make_folders(root: Path, folder: Path) -> None:
    """Make a folder below another that is there, and those between the two.

    Raises:
        OSError: As `check_folders`, or one cannot be made.
    """
    for below in _between(root, folder):
        try:
            os.mkdir(below)
        except FileExistsError:
            check_folders(root, below)


def _between(root: Path, folder: Path) -> list[Path]:
    """Return the folders below the root on the way to a folder, and that one, from above."""
    names = folder.relative_to(root).parts
    return [root.joinpath(*names[:count]) for count in range(1, len(names) + 1)]
