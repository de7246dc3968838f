"""Files of a logger: written whole or not at all, and numbered."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlv.compat.room import room_in

Report = Callable[[str, dict[str, Any]], None]
"""Takes the path of a complete file, and the additions to the logger's meta."""


def write_whole(path: str, write: Callable[[str], None], room: str | os.PathLike[str] | None = None) -> None:
    """Let `write` make a file of that name in a private folder, and move it to its path when it is on the disk.

    A suffix that a library adds is kept, and so are further files that it makes beside it. A file that a kill leaves half
    written has the name of a checkpoint: in a hidden `room` of the same file system nobody takes it for one.

    Raises:
        OSError: It cannot be written; the earlier file is still there.
        Exception: Whatever `write` raises.
    """
    folder, name = os.path.split(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    digest = hashlib.sha256(os.fsencode(os.path.join(folder, name))).hexdigest()[:16]
    private = os.path.join(_beside(folder, room), f".tmp-{digest}")
    shutil.rmtree(private, ignore_errors=True)  # of a process that was killed
    os.makedirs(private)
    try:
        write(os.path.join(private, name))
        for file_name in sorted(os.listdir(private)):
            _sync(os.path.join(private, file_name))
            os.replace(os.path.join(private, file_name), os.path.join(folder, file_name))
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _beside(folder: str, room: str | os.PathLike[str] | None) -> str:
    """Return the hidden room where it is on the file system of the folder, so that a rename works; else the folder itself."""
    if room is None:
        return folder
    os.makedirs(room, exist_ok=True)
    return os.fspath(room) if os.stat(room).st_dev == os.stat(folder).st_dev else folder


def _sync(path: str) -> None:
    if os.path.isfile(path):
        with open(path, "rb+") as file:
            os.fsync(file.fileno())


def write_pickle(obj: Any, path: str) -> None:
    """Write a pickle."""
    with open(path, "wb") as file:
        pickle.dump(obj, file, pickle.HIGHEST_PROTOCOL)


class NumberedFiles:
    """Files of one kind: `<prefix>_<n>_<seed>.<ext>`, or names of the user's."""

    def __init__(self, experiment_dir: str, name: str, root: str, pattern: str, key: str, report: Report) -> None:
        """Begin to count; paths are kept as the user wrote them: `experiment_dir` may be relative to `root`."""
        self._folder, self._root, self._pattern, self._key, self._report = (
            os.path.join(experiment_dir, name), root, pattern, key, report,
        )  # fmt: skip
        self._room = room_in(Path(root, experiment_dir))
        self.counter = 0
        self.paths: list[str] = []

    def restore(self, paths: list[str]) -> None:
        """Go on behind earlier paths."""
        self.paths = list(paths)
        before, after = self._pattern.split("{}")
        names = [os.path.basename(path) for path in paths]
        numbers = [name[len(before) : -len(after)] for name in names if name.startswith(before) and name.endswith(after)]
        self.counter = max((int(number) for number in numbers if number.isdecimal()), default=0)

    def save(self, name: str | None, write: Callable[[str], None]) -> str:
        """Write the next file; one with a name of its own does not count."""
        number = self.counter + 1
        path = os.path.join(self._folder, self._pattern.format(number) if name is None else os.fspath(name))
        write_whole(os.path.join(self._root, path), write, self._room)
        self.counter = number if name is None else self.counter
        self.paths.append(path)
        self._report(path, {self._key: path})
        return path


def plain_name(seed_id: str) -> str:
    """Return the ID of a seed within a pattern of `str.format`."""
    return seed_id.replace("{", "{{").replace("}", "}}")
