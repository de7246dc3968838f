"""Text files that are only appended to, and cut back to where they were committed."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import BinaryIO

from mlv.errors import CannotResume
from mlv.store.opening import changing


def reopened(path: Path, size: int) -> BinaryIO:
    """Return a file cut back to its committed size, open at its end.

    Raises:
        CannotResume: It is shorter, or gone.
        OSError: It cannot be opened.
    """
    try:
        file = changing(path)
    except FileNotFoundError:
        raise CannotResume(f"{path} is gone", path=str(path)) from None
    if os.fstat(file.fileno()).st_size < size:
        file.close()
        raise CannotResume(f"{path} has lost what was written", path=str(path))
    file.truncate(size)  # what was written after that commit is written again
    file.seek(size)
    return file


def inside(folder: Path, name: str) -> Path:
    """Return the path of an output's file by the name in its position file, which may come from anywhere.

    Raises:
        CannotResume: It leads out of the output's folder.
    """
    top, real = os.path.realpath(folder), os.path.realpath((folder / name).parent)
    is_below = real == top or real.startswith(os.path.join(top, ""))
    if os.path.isabs(name) or ".." in Path(name).parts or not is_below:
        raise CannotResume(f"{name!r} leads out of {folder}", path=str(folder))
    return folder / name


def check_in_place(fd: int, path: Path) -> None:
    """See that a file which is open still is the one of its name.

    Raises:
        CannotResume: Somebody removed it, or put another in its place.
    """
    try:
        is_in_place = os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        is_in_place = False
    if not is_in_place:
        raise CannotResume(f"{path} was removed or replaced", path=str(path))


def set_aside(path: Path, word: str = "before") -> Path | None:
    """Move a file that is in the way to a name of its own beside it; gives that name, None where nothing is in the way."""
    name = next(name for n in count(1) if not (name := path.with_name(f"{path.name}.{word}-{n}")).exists())
    with suppress(FileNotFoundError):
        path.rename(name)
        return name
    return None
