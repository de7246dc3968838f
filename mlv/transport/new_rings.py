"""Making a ring: the file of shared memory into which a run puts its events."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from mlv.transport import spool
from mlv.transport.frames import CURSOR_OFFSET, DATA_OFFSET, INFO_OFFSET, MAGIC, W_CAPACITY, W_INFO_BYTES, W_MAGIC

CAPACITY = 8 << 20
"""Bytes of frames in a run's ring: 5 s of a hanging disk at some 15,000 events a second."""
CHILD_CAPACITY = 2 << 20  # a job may have dozens of children, such as loaders of data, in the same shared memory
UNFINISHED = ".new"
"""Behind the name of a ring that is being made."""


class NoRoom(OSError):
    """No spool has room for a ring."""


def create(candidates: Iterable[Path], info: dict[str, Any], capacity: int) -> tuple[Path, Path]:
    """Make a ring in the first spool with room for all of it, and list it in the first that can be used at all.

    Space is reserved: a page of shared memory that is missing later would be a signal that kills the process.

    Returns:
        The ring, and the spool that lists it.

    Raises:
        NoRoom: There is room nowhere.
    """
    name: str = info["run"] + spool.RING_SUFFIX
    listed_in: Path | None = None
    problems = []
    for spool_folder in candidates:
        temporary = spool_folder / (name + UNFINISHED)
        try:
            spool.prepare(spool_folder)
        except OSError as error:
            problems.append(f"{spool_folder.parent}: {error.strerror or error}")
            continue
        try:
            listed_in = listed_in or spool_folder
            reserve(temporary, info, capacity)
            # Its name last: a writer that lists the spool sees whole rings only.
            os.rename(temporary, spool_folder / name)
            if spool_folder != listed_in:
                # After the ring: a writer removes a link that leads nowhere.
                os.symlink(spool_folder / name, listed_in / name)
            return spool_folder / name, listed_in
        except OSError as error:
            problems.append(f"{spool_folder.parent}: {error.strerror or error}")
            for path in (temporary, spool_folder / name):
                with suppress(OSError):
                    path.unlink()
    reasons = "; ".join(problems) or "no local folder is there"
    raise NoRoom(errno.ENOSPC, f"no room for a ring of {capacity} bytes ({reasons}). Set MLV_SPOOL to a local folder")


def reserve(path: Path, info: dict[str, Any], capacity: int) -> None:
    """Make the file of a ring, with all of its space.

    Raises:
        OSError: There is no room, no lock, or the run's description is too long.
    """
    import fcntl  # not everywhere; where it is missing there are no rings

    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # without locks no writer takes it: better to know it now
        os.posix_fallocate(fd, 0, DATA_OFFSET + capacity)
        text = orjson.dumps(info)
        if len(text) > CURSOR_OFFSET - INFO_OFFSET:
            raise OSError(errno.ENAMETOOLONG, "path and patterns of the run are too long for a ring")
        words = {W_MAGIC: MAGIC, W_CAPACITY: capacity, W_INFO_BYTES: len(text)}
        for word, value in words.items():
            os.pwrite(fd, struct.pack("<Q", value), word * 8)
        os.pwrite(fd, text, INFO_OFFSET)
    finally:
        os.close(fd)
