"""Files of a logger: written whole or not at all, and numbered."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from typing import Any

Told = Callable[[str, dict[str, Any]], None]
"""Takes the path of a file that is complete, and what is added to the logger's meta."""


def write_whole(path: str, write: Callable[[str], None]) -> None:
    """Let `write` make a file of that name in a private folder, and put it in its place when it is on the disk.

    A suffix that a library adds is kept, and so are further files that it makes beside it.

    Raises:
        OSError: It cannot be written; what was there before still is.
        Exception: Whatever `write` raises.
    """
    folder, name = os.path.split(path)
    private = os.path.join(folder, f".tmp-{name}")
    shutil.rmtree(private, ignore_errors=True)  # of a process that was killed
    os.makedirs(private)
    try:
        write(os.path.join(private, name))
        for made in sorted(os.listdir(private)):
            _sync(os.path.join(private, made))
            os.replace(os.path.join(private, made), os.path.join(folder, made))
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _sync(path: str) -> None:
    if os.path.isfile(path):
        with open(path, "rb+") as file:
            os.fsync(file.fileno())


def write_pickle(obj: Any, path: str) -> None:
    """Write a pickle."""
    with open(path, "wb") as file:
        pickle.dump(obj, file, pickle.HIGHEST_PROTOCOL)


class NumberedFiles:
    """Files of one kind: `<prefix>_<n>_<seed>.<ext>`, or names that are given."""

    def __init__(self, folder: str, root: str, pattern: str, key: str, told: Told) -> None:
        """Paths are said as the user gave them: `folder` may be relative to `root`."""
        self._folder, self._root, self._pattern, self._key, self._told = folder, root, pattern, key, told
        self.counter = 0
        self.paths: list[str] = []

    def restore(self, paths: list[str]) -> None:
        """Go on behind these."""
        self.paths = list(paths)
        before, after = self._pattern.split("{}")
        names = [os.path.basename(path) for path in paths]
        numbers = [name[len(before) : -len(after)] for name in names if name.startswith(before) and name.endswith(after)]
        self.counter = max((int(number) for number in numbers if number.isdecimal()), default=0)

    def save(self, name: str | None, write: Callable[[str], None]) -> str:
        """Write the next one; one with a name of its own does not count."""
        number = self.counter + 1
        path = os.path.join(self._folder, self._pattern.format(number) if name is None else os.fspath(name))
        write_whole(os.path.join(self._root, path), write)
        self.counter = number if name is None else self.counter
        self.paths.append(path)
        self._told(path, {self._key: path})
        return path


class FigureLog(NumberedFiles):
    """Figures, in `figures/`."""

    def __init__(self, experiment_dir: str, seed_id: str, root: str, told: Told) -> None:
        """As MLELogger makes it."""
        folder = os.path.join(experiment_dir, "figures/")
        super().__init__(folder, root, f"fig_{{}}_{_plain_name(seed_id)}.png", "fig_storage_paths", told)

    @property
    def fig_storage_paths(self) -> list[str]:
        """The paths, in order."""
        return self.paths

    @property
    def fig_save_counter(self) -> int:
        """How many have a number."""
        return self.counter

    def save_figure(self, fig: Any, name: str | None = None) -> str:
        """Write a matplotlib figure, or whatever has `savefig`."""
        return self.save(name, lambda path: fig.savefig(path, dpi=300))


class ExtraLog(NumberedFiles):
    """Pickles, in `extra/`."""

    def __init__(self, experiment_dir: str, seed_id: str, root: str, told: Told) -> None:
        """As MLELogger makes it."""
        folder = os.path.join(experiment_dir, "extra/")
        super().__init__(folder, root, f"extra_{{}}_{_plain_name(seed_id)}.pkl", "extra_storage_paths", told)

    @property
    def extra_storage_paths(self) -> list[str]:
        """The paths, in order."""
        return self.paths

    @property
    def extra_save_counter(self) -> int:
        """How many have a number."""
        return self.counter

    def save_object(self, obj: Any, name: str | None = None) -> str:
        """Write whatever pickle takes."""
        return self.save(name, lambda path: write_pickle(obj, path))


def _plain_name(seed_id: str) -> str:
    return seed_id.replace("{", "{{").replace("}", "}}")
