"""The files of an experiment that are shipped: published attachments and checkpoints, the most wanted first."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from mlv.digests import sha256
from mlv.store import attached, layout
from mlv.store.files import is_unfinished

_SMALL = 1 << 20
"""Bytes up to which a file goes before the checkpoints: a figure is seen at once."""
_CHUNK_BYTES = 1 << 20


class File(NamedTuple):
    """A published file."""

    path: str
    """Below the experiment, with `/`."""
    size: int
    modified_ns: int
    inode: int
    is_writable: bool
    """Whether its mode lets somebody write it: mlv's own are read-only from the moment that they have their name."""

    @property
    def stamp(self) -> tuple[int, int, int]:
        """The values that change with the content."""
        return self.size, self.modified_ns, self.inode

    @property
    def urgency(self) -> tuple[int, int]:
        """The order of shipping: small files, the latest checkpoints, the best, all others; the newest first."""
        section = self.path.split("/")[1:2]
        rank = 0 if self.size <= _SMALL else {layout.LATEST: 1, layout.TOP: 2}.get(section[0] if section else "", 3)
        return rank, -self.modified_ns


def files(folder: Path) -> Iterator[File]:
    """Yield the files below `files`, `models` and other portfolios; unfinished ones and links are left out."""
    for name in _folders(folder):
        for around, folders, file_names in os.walk(folder / name):
            folders[:] = sorted(inner for inner in folders if not inner.startswith(layout.TEMPORARY))
            for file_name in sorted(file_names):
                if not is_unfinished(file_name) and not layout.is_position(file_name):
                    yield from _file(folder, os.path.join(around, file_name))


def _folders(folder: Path) -> list[str]:
    """List the folders of an experiment that hold published files."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []
    return [name for name in names if name in (layout.FILES, layout.MODELS) or _is_portfolio(folder / name)]


def _is_portfolio(folder: Path) -> bool:
    is_label = layout.is_label(folder.name) and not folder.name.startswith(layout.TEMPORARY)
    sections = [folder / name for name in layout.SECTIONS if os.path.isdir(folder / name)] if is_label else []
    return any(not layout.is_experiment(section) for section in sections) and not layout.is_experiment(folder)


def _file(folder: Path, path: str) -> Iterator[File]:
    with suppress(OSError):  # let go meanwhile
        status = os.lstat(path)
        if stat.S_ISREG(status.st_mode):
            below = os.path.relpath(path, folder).replace(os.sep, "/")
            yield File(below, status.st_size, status.st_mtime_ns, status.st_ino, bool(status.st_mode & 0o222))


def problem_of_name(path: str) -> str:
    """Return the reason why no object can have the name of a file; empty where one can."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return "its name is no text"
    return "its name holds a control character" if any(ord(character) < 32 for character in path) else ""


@contextmanager
def opened(folder: Path, file: File) -> Iterator[Path]:
    """Yield a name that stays that of this very file while it is read.

    Raises:
        FileNotFoundError: It is gone, or another one.
        OSError: It cannot be read, or a link is on the way.
    """
    with attached.held(folder, file.path) as path:
        status = path.stat()
        if (status.st_size, status.st_mtime_ns, status.st_ino) != file.stamp:
            raise FileNotFoundError(file.path)
        yield path


def is_there(folder: Path, file: File) -> bool:
    """Return whether a file is still the one that it was."""
    return any(now.stamp == file.stamp for now in _file(folder, str(folder / file.path)))


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb") as file:
        return digest_of(iter(lambda: file.read(_CHUNK_BYTES), b""))


def digest_of(chunks: Iterable[bytes]) -> str:
    """Return the SHA-256 of some bytes."""
    hash_ = sha256()
    for chunk in chunks:
        hash_.update(chunk)
    return hash_.hexdigest()
