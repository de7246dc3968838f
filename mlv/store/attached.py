"""Files that events name: the only module that turns a path from data into a file of an experiment."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from mlv.digests import sha256
from mlv.errors import FileUnusable
from mlv.store import layout

if TYPE_CHECKING:
    from typing import TypeGuard

_CHUNK_BYTES = 1 << 20  # a file may be larger than memory
_LONGEST = 255
"""Of a name in bytes, in all common file systems."""
# No child inherits it, and Windows changes no line ends.
_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
# A pipe may never deliver anything; a link leads wherever its maker wants.
_CAREFUL = _FLAGS | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
_FOLDER = getattr(os, "O_DIRECTORY", 0)


bring_absent: Callable[[Path, str], object] | None = None
"""Brings a file into a mirror of a bucket, where it is not yet; set by the module that makes mirrors."""


def is_attachable(path: object) -> bool:
    """Return whether an experiment keeps attached files at a path: below `files`, or `PORTFOLIO/SECTION/NAME`.

    A file of the store itself never is. Only the text is examined.
    """
    names = path.split("/") if is_inside(path) else []
    if len(names) < 2 or names[0] == layout.FILES:
        return len(names) > 1
    is_portfolio = names[0] == layout.MODELS or layout.is_label(names[0])
    is_own = names[-1] in (layout.META, *layout.KEEPING) or any(layout.stream_of(name) is not None for name in names)
    return is_portfolio and len(names) == 3 and names[1] in layout.SECTIONS and not is_own


def is_inside(path: object) -> TypeGuard[str]:
    """Return whether a path leads to a file anywhere within an experiment that is not the store's own."""
    names = path.split("/") if isinstance(path, str) else [""]
    is_own = names[0] in (layout.META, layout.HOUSEKEEPING) or layout.stream_of(names[0]) is not None
    return all(map(_is_name, names)) and not is_own and names != [layout.FILES]


def _is_name(name: str) -> bool:
    if not name.strip(". ") or "\\" in name or os.path.splitdrive(name)[0]:
        return False
    if name.startswith(layout.TEMPORARY) or layout.is_position(name):
        return False
    if len(name.encode("utf-8", "surrogatepass")) > _LONGEST:
        return False
    # Most names are printable, which is one look: a save of a checkpoint examines dozens.
    return name.isprintable() or not any(map(_is_unprintable, name))


def _is_unprintable(character: str) -> bool:
    return ord(character) < 32 or ord(character) == 127 or "\ud800" <= character <= "\udfff"


def checked(folder: Path, path: object, *, anywhere: bool = False) -> Path:
    """Return the path of a file that an event names; the file need not exist.

    With `anywhere`, for callers that only compare files, it may be any file that is not the store's own.

    Raises:
        FileUnusable: The path is none of an attachment, or a symbolic link or another experiment is on the way; or the file
            of an experiment in a bucket was not shipped.
    """
    if not (is_inside(path) if anywhere else is_attachable(path)):
        text = f"{path!r:.300} names no file of {folder}: those lie below files/ or in the folders of a portfolio"
        raise FileUnusable(text, path=path)
    if (link := link_on_the_way(folder, str(path))) is not None:
        raise FileUnusable(f"{link} is a symbolic link: what it leads to is no part of the experiment", path=path)
    names = str(path).split("/")
    if names[0] != layout.FILES:  # below which a folder may hold anything
        around = folder
        for name in names[:-1]:
            around = around / name
            if layout.is_experiment(around):  # of the name of a section, perhaps
                raise FileUnusable(f"{around} is an experiment of its own, and no folder of checkpoints", path=path)
    file = folder.joinpath(*names)
    if bring_absent is not None and not anywhere and not file.exists():
        bring_absent(folder, str(path))
    return file


def link_on_the_way(folder: Path, path: str) -> Path | None:
    """Return the first symbolic link on the way from a folder down to a path below it, its end included."""
    entry = str(folder)  # a save of a checkpoint examines a dozen: as `Path` they cost twice as much as the looks themselves
    for name in path.split("/"):
        entry = os.path.join(entry, name)
        if os.path.islink(entry):
            return Path(entry)
    return None


@contextmanager
def held(folder: Path, path: str) -> Iterator[Path]:
    """Yield a name for a file below a folder that stays the name of this very file, where the system has such names.

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
    descriptor = _opened(folder, path)
    try:
        _refuse_other(descriptor, folder, reference)
        with open(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def open_unchecked(folder: Path, path: object) -> BinaryIO:
    """Open a regular file that an event names, whatever it holds now: to show it, and not to rely on it.

    Raises:
        FileUnusable: It is gone, is none of the experiment's, or is no regular file.
    """
    descriptor = _opened(folder, path)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileUnusable(f"{folder}/{path} is no regular file", path=path)
    return open(descriptor, "rb")


def read(folder: Path, reference: Mapping[str, Any]) -> bytes:
    """Read the content of a file that an event refers to.

    Raises:
        FileUnusable: As `open_attached`.
    """
    with open_attached(folder, reference) as file:
        return file.read()


def _opened(folder: Path, path: object) -> int:
    checked(folder, path)
    try:
        return _descriptor(folder, str(path).split("/"))
    except OSError as error:
        raise FileUnusable(f"{folder}/{path} cannot be read: {error.strerror}", path=path) from None


def _descriptor(folder: Path, names: list[str]) -> int:
    """Open a file from folder to folder, so that no link made between the check and the opening is followed."""
    if os.open not in os.supports_dir_fd:
        return os.open(folder.joinpath(*names), _CAREFUL)
    inner = os.open(folder, _FLAGS | _FOLDER)
    try:
        for name in names[:-1]:
            outer, inner = inner, os.open(name, _CAREFUL | _FOLDER, dir_fd=inner)
            os.close(outer)
        return os.open(names[-1], _CAREFUL, dir_fd=inner)
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
    while chunk := os.read(descriptor, _CHUNK_BYTES):
        digest.update(chunk)
    if digest.hexdigest() != reference.get("sha256"):
        raise FileUnusable(f"{folder}/{path} holds other bytes than were recorded", path=path)
    os.lseek(descriptor, 0, os.SEEK_SET)
