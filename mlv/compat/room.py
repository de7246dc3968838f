"""The hidden folder for everything that a drop-in keeps beside the files of its original."""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from pathlib import Path

ROOM = ".mlv-experiments"
"""No listing that leaves out dot files shows it, and it shares no beginning, ending or word with a file of the originals."""
REPLACED = ".replaced"
"""Folder in it for files whose names were wanted for new ones."""


def room_in(folder: Path) -> Path:
    """Return the path of the hidden folder in a folder, without making it."""
    return folder / ROOM


def put_away(path: Path, room: Path) -> Path | None:
    """Move a file or folder into `.replaced` of a hidden folder, with a number behind its name.

    Returns:
        Where it is now; None where it is gone already.

    Raises:
        OSError: It cannot be moved, and is where it was.
    """
    folder = room / REPLACED
    folder.mkdir(parents=True, exist_ok=True)
    target = next(free for n in count(1) if not (free := folder / f"{path.name}.{n}").exists())
    with suppress(FileNotFoundError):
        path.rename(target)
        return target
    return None
