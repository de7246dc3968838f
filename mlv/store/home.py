"""The folder of an experiment, followed where it is moved: by its path one may meet another experiment meanwhile."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from mlv.store import layout
from mlv.store.files import duplicated


class Home:
    """The current folder of an experiment, as long as this object lives."""

    def __init__(self, folder: Path, exp: str, fd: int | None = None) -> None:
        """Hold the folder of the experiment of that ID; `fd` is a descriptor of it that was open before.

        Where `exp` is no ID, experiments cannot be distinguished: the path alone counts.
        """
        self._folder, self._exp = folder, exp
        self._fd = _directory(folder) if fd is None and layout.holds(folder, exp) else fd

    @property
    def fd(self) -> int | None:
        """A descriptor of the folder; None where there was no such experiment."""
        return self._fd

    def where(self) -> Path | None:
        """Return the folder's present path; None if the experiment is removed, or its path cannot be learned."""
        if self._fd is not None:
            with suppress(OSError):  # a system without these links, or a mount that is gone
                mine = os.fstat(self._fd)
                if _is_at(self._folder, mine):
                    return self._folder
                # The system keeps the present path of an open folder; of a removed one it has an ending that `_is_at` refuses.
                moved = Path(os.readlink(f"/proc/self/fd/{self._fd}"))
                if _is_at(moved, mine):
                    return moved
        # A copy that was put in its place; or a file system that numbers its folders anew now and then.
        return self._folder if not layout.is_id(self._exp) or layout.holds(self._folder, self._exp) else None

    def is_removed(self) -> bool:
        """Return whether the folder provably is gone, and not only elsewhere."""
        try:
            return self._fd is not None and os.fstat(self._fd).st_nlink == 0
        except OSError:
            return False

    def release(self) -> None:
        """Hold the folder no longer, which would keep its disk from being unmounted: from now on the path alone counts."""
        fd, self._fd = getattr(self, "_fd", None), None
        if fd is not None:
            with suppress(OSError):
                os.close(fd)

    __del__ = release


def _directory(folder: Path) -> int | None:
    try:
        fd = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0))
    except OSError:  # also where folders cannot be opened
        return None
    try:
        return duplicated(fd)
    finally:
        os.close(fd)


def _is_at(path: Path, mine: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), mine)
    except OSError:
        return False
