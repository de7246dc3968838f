"""Files that events name: the one place where a path from data becomes a file of an experiment."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from mlv.digests import sha256
from mlv.errors import FileUnusable
from mlv.store import layout

if TYPE_CHECKING:
    from typing import TypeGuard

_PIECE = 1 << 20
_LONGEST = 255
"""Of a name in bytes, in all common file systems."""
_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
# Of a pipe nothing may ever come; a link leads wherever who made it wants.
_CAREFUL = _FLAGS | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
_FOLDER = getattr(os, "O_DIRECTORY", 0)


def is_attachable(path: object) -> bool:
    """Whether a path is one at which an experiment keeps files: below `files`, or `PORTFOLIO/SECTION/NAME`.

    Never a file of the store itself. Only the text is looked at.
    """
    parts = path.split("/") if is_inside(path) else []
    if len(parts) < 2 or parts[0] == layout.FILES:
        return len(parts) > 1
    is_portfolio = parts[0] == layout.MODELS or layout.is_label(parts[0])
    is_own = parts[-1] in (layout.META, *layout.KEEPING) or any(layout.stream_of(part) is not None for part in parts)
    return is_portfolio and len(parts) == 3 and parts[1] in layout.SECTIONS and not is_own


def is_inside(path: object) -> TypeGuard[str]:
    """Whether a path leads to something within an experiment that is not the store's own, wherever it lies there."""
    parts = path.split("/") if isinstance(path, str) else [""]
    is_own = parts[0] in (layout.META, layout.HOUSEKEEPING) or layout.stream_of(parts[0]) is not None
    return all(map(_is_name, parts)) and not is_own and parts != [layout.FILES]


def _is_name(part: str) -> bool:
    if not part.strip(". ") or "\\" in part or os.path.splitdrive(part)[0]:
        return False
    if part.startswith(layout.TEMPORARY) or layout.is_position(part):
        return False
    return len(part.encode("utf-8", "surrogatepass")) <= _LONGEST and not any(map(_is_unprintable, part))


def _is_unprintable(character: str) -> bool:
    return ord(character) < 32 or ord(character) == 127 or "\ud800" <= character <= "\udfff"


def checked(folder: Path, path: object, *, anywhere: bool = False) -> Path:
    """Where a file lies that an event names; it need not be there.

    With `anywhere`, for those who only compare what is there, it may be whatever is not the store's own.

    Raises:
        FileUnusable: The path is none of an attachment, or a symbolic link or another experiment is on the way.
    """
    if not (is_inside(path) if anywhere else is_attachable(path)):
        text = f"{path!r:.300} names no file of {folder}: those lie below files/ or in the folders of a portfolio"
        raise FileUnusable(text, path=path)
    if (link := link_on_the_way(folder, str(path))) is not None:
        raise FileUnusable(f"{link} is a symbolic link: what it leads to is no part of the experiment", path=path)
    place = folder.joinpath(*str(path).split("/"))
    for around in place.parents[: len(place.parts) - len(folder.parts) - 1]:
        if layout.is_experiment(around) and not str(path).startswith(f"{layout.FILES}/"):  # of the name of a section, perhaps
            raise FileUnusable(f"{around} is an experiment of its own, and no folder of checkpoints", path=path)
    return place


def link_on_the_way(folder: Path, path: str) -> Path | None:
    """The first symbolic link on the way from a folder down to a path below it, its end included."""
    place = folder
    for part in path.split("/"):
        place = place / part
        if place.is_symlink():
            return place
    return None


@contextmanager
def held(folder: Path, path: str) -> Iterator[Path]:
    """A name for a file below a folder that stays the name of this very file, where the system has such names.

    Raises:
        OSError: It cannot be opened, or a symbolic link is on the way.
    """
    descriptor = _descriptor(folder, path.split("/"))
    try:
        name = Path(f"/dev/fd/{descriptor}")
        yield name if sys.platform == "linux" and name.exists() else folder / path
    finally:
        os.close(descriptor)


@contextmanager
def open_attached(folder: Path, reference: Mapping[str, Any]) -> Iterator[BinaryIO]:
    """Open a file that an event refers to, for reading; it has the size and the SHA-256 of the reference.

    Raises:
        FileUnusable: It is gone, is none of the experiment's, is no regular file, or holds something else.
    """
    path = reference.get("path")
    checked(folder, path)
    try:
        descriptor = _descriptor(folder, str(path).split("/"))
    except OSError as error:
        raise FileUnusable(f"{folder}/{path} cannot be read: {error.strerror}", path=path) from None
    try:
        _refuse_other(descriptor, folder, reference)
        with open(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def read(folder: Path, reference: Mapping[str, Any]) -> bytes:
    """The content of a file that an event refers to.

    Raises:
        FileUnusable: As `open_attached`.
    """
    with open_attached(folder, reference) as file:
        return file.read()


def _descriptor(folder: Path, parts: list[str]) -> int:
    """Open a file from folder to folder: no link is followed that somebody makes between a look and the opening."""
    if os.open not in os.supports_dir_fd:
        return os.open(folder.joinpath(*parts), _CAREFUL)
    inner = os.open(folder, _FLAGS | _FOLDER)
    try:
        for part in parts[:-1]:
            outer, inner = inner, os.open(part, _CAREFUL | _FOLDER, dir_fd=inner)
            os.close(outer)
        return os.open(parts[-1], _CAREFUL, dir_fd=inner)
    finally:
        os.close(inner)


def _refuse_other(descriptor: int, folder: Path, reference: Mapping[str, Any]) -> None:
    """Compare an open file with its reference, and go back to its beginning."""
    path, status = reference.get("path"), os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise FileUnusable(f"{folder}/{path} is no regular file", path=path)
    if status.st_size != reference.get("size", status.st_size):
        text = f"{folder}/{path} is of size {status.st_size}, and {reference.get('size')!r:.40} was recorded"
        raise FileUnusable(text, path=path)
    digest = sha256()
    while piece := os.read(descriptor, _PIECE):
        digest.update(piece)
    if digest.hexdigest() != reference.get("sha256"):
        raise FileUnusable(f"{folder}/{path} holds other bytes than were recorded", path=path)
    os.lseek(descriptor, 0, os.SEEK_SET)
