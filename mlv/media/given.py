"""Values that are files already, given as a path or as bytes: known by how they begin, and stored as they are."""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from mlv.encoding import shown
from mlv.media.jobs import Unusable
from mlv.protocols import Buffer

READ_AT_ONCE = 8 << 20
"""Bytes. What is smaller is read when it is given, so that it may be overwritten afterwards; the rest is copied by a worker."""

_BEGINNING = 64
_PIECE = 1 << 20

Formats = Mapping[str, "re.Pattern[bytes]"]
"""How the files with a suffix begin."""


def formats(**beginnings: bytes) -> Formats:
    """The formats whose files have these suffixes, and begin so; a dot in a pattern stands for any byte."""
    return {f".{suffix}": re.compile(pattern, re.DOTALL) for suffix, pattern in beginnings.items()}


# In the training process.


def given_file(value: Any, known: Formats, kind: str) -> tuple[dict[str, Any], list[Buffer]] | None:
    """What a worker has to know of a file, and its bytes unless it is large; None where the value is no path and no bytes.

    Args:
        value: Anything.
        known: The formats that can be stored.
        kind: Such as `image`, for the texts of errors.

    Raises:
        Unusable: It cannot be read, or is in no known format.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        content = _flat(value)
        return {"suffix": _suffix(bytes(content[:_BEGINNING]), known, f"the {len(content)} bytes given are", kind)}, [content]
    if not isinstance(value, (str, os.PathLike)):
        return None
    try:
        return _read(os.path.abspath(os.fsdecode(value)), known, kind)
    except (OSError, ValueError, TypeError) as error:
        if isinstance(error, Unusable):
            raise
        raise Unusable(f"the file {shown(value)} cannot be read: {_reason(error)}") from error


def _flat(value: bytes | bytearray | memoryview) -> Buffer:
    view = memoryview(value)
    return view.cast("B") if view.c_contiguous and view.nbytes else view.tobytes()


def _read(path: str, known: Formats, kind: str) -> tuple[dict[str, Any], list[Buffer]]:
    if not stat.S_ISREG(os.stat(path).st_mode):  # before it is opened: a named pipe would wait
        raise Unusable(f"{path} is a folder, or no regular file: give the path of one {kind}")
    with open(path, "rb", buffering=0) as file:
        found = os.fstat(file.fileno())
        size = READ_AT_ONCE if found.st_size <= READ_AT_ONCE else _BEGINNING
        content = file.read(size)
    suffix = _suffix(content[:_BEGINNING], known, f"{path} is", kind)
    if found.st_size <= READ_AT_ONCE:
        return {"suffix": suffix}, [content]
    return {"suffix": suffix, "path": path, "size": found.st_size, "mtime_ns": found.st_mtime_ns}, []


def _suffix(beginning: bytes, known: Formats, subject: str, kind: str) -> str:
    for suffix, pattern in known.items():
        if pattern.match(beginning):
            return suffix
    names = ", ".join(suffix[1:].upper() for suffix in known)
    raise Unusable(f"{subject} no {kind} that is known: {names} are, and this begins with {beginning[:12]!r}")


# In a worker.


@dataclass(frozen=True)
class Received:
    """A file that was given, as a worker finds it."""

    suffix: str
    content: Buffer | Callable[[str], object]
    """The bytes, or the function that copies them to a path: for `Target.file`."""
    open: Callable[[], AbstractContextManager[BinaryIO]]
    """Opens it for reading."""
    write: Callable[[str], object]
    """Writes it to a path."""


def received(description: Mapping[str, Any], parts: Iterator[Buffer]) -> Received:
    """What `given_file` described; a file that was too large to be handed over lies where it was, and is read there.

    Raises:
        Unusable: Later, by `open` and `write`: the file changed or vanished since it was given.
    """
    suffix = description["suffix"]
    if "path" not in description:
        content = next(parts)
        return Received(suffix, content, lambda: io.BytesIO(content), lambda path: _write(path, content))
    source = _Source(description["path"], (description["size"], description["mtime_ns"]))
    return Received(suffix, source.copy, source.open, source.copy)


def _write(path: str, content: Buffer) -> None:
    with open(path, "wb") as file:
        file.write(content)


@dataclass(frozen=True)
class _Source:
    path: str
    noted: tuple[int, int]
    """Size, and time of modification in ns, when it was given."""

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        try:
            file = open(self.path, "rb")  # noqa: SIM115  closed below, where errors are those of the reader
        except OSError as error:  # not the disk that refuses: trying again does not help
            raise Unusable(f"the file {self.path} is no longer there to be read: {_reason(error)}") from error
        with file:
            self._check(file)
            yield file

    def copy(self, path: str) -> None:
        with self.open() as reading, open(path, "wb") as writing:
            while piece := self._piece(reading):
                writing.write(piece)
            self._check(reading)

    def _piece(self, reading: BinaryIO) -> bytes:
        try:
            return reading.read(_PIECE)
        except OSError as error:
            raise Unusable(f"the file {self.path} cannot be read: {_reason(error)}") from error

    def _check(self, file: Any) -> None:
        found = os.fstat(file.fileno())
        if (found.st_size, found.st_mtime_ns) != self.noted:
            raise Unusable(f"the file {self.path} changed before it was copied: log it when it is finished")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or shown(error)
