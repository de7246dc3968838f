"""The files of a source, as the formats look at them: each takes those that it knows."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

from mlv.errors import InvalidArgument
from mlv.importers.own_files import ROOM
from mlv.importers.reading import Options

_HIDDEN = (".git", ".mlv", ROOM, "__pycache__")
"""Folders in which nobody keeps experiments of other tools."""


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
        self.outside: list[Path] = []
        """Links that lead out of the source, and are not followed."""
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
        links = SourceLinks(source)
        for folder, inner, names in os.walk(source, followlinks=self.options.follows_links):
            at = Path(folder)
            inner[:] = [
                name for name in sorted(inner) if name not in _HIDDEN and self._is_descended(os.path.join(folder, name), links)
            ]
            self._inner[at] = [at / name for name in inner]
            self.folders[at] = [
                name
                for name in sorted(names)
                if os.path.isfile(path := os.path.join(folder, name)) and self._is_inside(path, links)
            ]

    # Of texts, as are all below: a source may have hundreds of thousands of files.
    def _is_descended(self, folder: str, links: SourceLinks) -> bool:
        """Return whether a folder is looked into: one that a link leads to within the source is there by itself."""
        if not os.path.islink(folder):
            return True
        return self._is_inside(folder, links) and links.is_new(folder)

    def _is_inside(self, path: str, links: SourceLinks) -> bool:
        if self.options.follows_links or not os.path.islink(path) or not links.lead_out(path):
            return True
        self.outside.append(Path(path))
        return False

    def files(self) -> Iterator[Path]:
        """Yield the files that no format has taken yet."""
        for folder, names in self.folders.items():
            for name in names:
                path = folder / name
                if path not in self.taken:
                    yield path

    def within(self, folder: Path) -> Iterator[Path]:
        """Yield the files of a folder itself that no format has taken yet."""
        return (path for name in self.folders.get(folder, ()) if (path := folder / name) not in self.taken)

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
        """Return the folders and the name of the experiment that a file or folder becomes; around the source there are none."""
        if path != self.root and self.root not in path.parents:
            return (), path.resolve().name or "imported"
        relative = path.relative_to(self.root).parts
        return (relative[:-1], relative[-1]) if relative else ((), self._root_name)

    @cached_property
    def _root_name(self) -> str:
        return self.root.resolve().name or "imported"


class SourceLinks:
    """Symbolic links in a source: what they lead to may be anything, such as the keys of whoever imports."""

    def __init__(self, root: Path) -> None:
        self._root = os.path.realpath(root)
        self._visited: set[str] = set()

    def lead_out(self, path: str) -> bool:
        """Return whether a path leads out of the source."""
        real = os.path.realpath(path)
        return real != self._root and not real.startswith(self._root.rstrip(os.sep) + os.sep)

    def is_new(self, folder: str) -> bool:
        """Return whether a folder lies outside of the source, and no other link led there: links may go in circles."""
        real = os.path.realpath(folder)
        is_new = self.lead_out(folder) and real not in self._visited
        self._visited.add(real)
        return is_new


def begins_with(path: Path, magic: bytes) -> bool:
    """Return whether a file begins with the bytes that tell its form."""
    try:
        with open(path, "rb") as file:
            return file.read(len(magic)) == magic
    except OSError:
        return False


def size_of(paths: Iterable[Path]) -> int:
    """Return the bytes of files; those that are gone have none."""
    total = 0
    for path in paths:
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total
