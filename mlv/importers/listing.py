"""The files of a source, as the formats look at them: each takes those that it knows."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

from mlv.errors import InvalidArgument
from mlv.importers.reading import Options

_HIDDEN = (".git", ".mlv", "__pycache__")
"""Folders in which nobody keeps experiments."""


class SourceListing:
    """The files at and below a source, by folder; a source that is a file has itself alone."""

    def __init__(self, source: Path, options: Options | None = None) -> None:
        """List them; pipes and devices, of which nothing may ever come, are none.

        Raises:
            InvalidArgument: The source is neither a file nor a folder.
            OSError: It is not there, or cannot be read.
        """
        self.source = source
        self.options = options or Options()
        self.is_file = not source.is_dir()
        self.root = source.parent if self.is_file else source
        self.taken: set[Path] = set()
        self.folders: dict[Path, list[str]] = {}
        """Names of the files of each folder, sorted."""
        self._inner: dict[Path, list[Path]] = {}
        """The folders in each folder, sorted."""
        if self.is_file:
            if not stat.S_ISREG(os.stat(source).st_mode):
                raise InvalidArgument(f"{source} is neither a file nor a folder: name one", source=str(source))
            self.folders[self.root] = [source.name]
            self._inner[self.root] = []
            return
        os.listdir(source)
        for folder, inner, names in os.walk(source):
            inner[:] = sorted(name for name in inner if name not in _HIDDEN)
            self._inner[Path(folder)] = [Path(folder, name) for name in inner]
            self.folders[Path(folder)] = sorted(name for name in names if os.path.isfile(os.path.join(folder, name)))

    def files(self) -> Iterator[Path]:
        """Yield the files that no format has taken yet."""
        for folder, names in self.folders.items():
            for name in names:
                path = folder / name
                if path not in self.taken:
                    yield path

    def take(self, paths: Iterable[Path]) -> None:
        """Take files: no other format looks at them."""
        self.taken.update(paths)

    def below(self, folder: Path) -> Iterator[Path]:
        """Yield all files at and below a folder."""
        # Not by a look at all folders: each of thousands of runs asks for its own.
        waiting = [folder]
        while waiting:
            inside = waiting.pop()
            yield from (inside / name for name in self.folders.get(inside, ()))
            waiting += reversed(self._inner.get(inside, ()))

    def place(self, path: Path) -> tuple[tuple[str, ...], str]:
        """Return the folders and the name of the experiment that a file or folder of the source becomes."""
        relative = path.relative_to(self.root).parts
        return (relative[:-1], relative[-1]) if relative else ((), self._root_name)

    @cached_property
    def _root_name(self) -> str:
        return self.root.resolve().name or "imported"


def size_of(paths: Iterable[Path]) -> int:
    """Return the bytes of files; those that are gone have none."""
    total = 0
    for path in paths:
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total
