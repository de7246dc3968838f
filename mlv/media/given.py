"""Media files that a user logs by path or as bytes: recognised by their first bytes, and stored as they are."""

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
"""Bytes. A smaller file is read at once, so that it may be overwritten afterwards; a larger one is copied by a worker."""

_BEGINNING = 64  # all marks of formats that are known lie within it
_CHUNK_BYTES = 1 << 20

Formats = Mapping[str, "re.Pattern[bytes]"]
"""The pattern of a file's first bytes, by suffix."""


def formats(**beginnings: bytes) -> Formats:
    """Make formats from suffixes and the first bytes of their files; a dot in a pattern stands for any byte."""
    return {f".{suffix}": re.compile(pattern, re.DOTALL) for suffix, pattern in beginnings.items()}


# In the training process.


def given_file(value: Any, allowed: Formats, kind: str) -> tuple[dict[str, Any], list[Buffer]] | None:
    """Return a file's description for a worker, and its bytes unless it is large; None if the value is no path and no bytes.

    Args:
        value: Anything.
        allowed: The formats that can be stored.
        kind: Such as `image`, for the texts of errors.

    Raises:
        Unusable: It cannot be read, or is in no known format.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        content = _flat(value)
        return {"suffix": _suffix(bytes(content[:_BEGINNING]), allowed, f"the {len(content)} bytes given are", kind)}, [content]
    if not isinstance(value, (str, os.PathLike)):
        return None
    try:
        return _read(os.path.abspath(os.fsdecode(value)), allowed, kind)
    except (OSError, ValueError, TypeError) as error:
        if isinstance(error, Unusable):
            raise
        raise Unusable(f"the file {shown(value)} cannot be read: {_reason(error)}") from error


def _flat(value: bytes | bytearray | memoryview) -> Buffer:
    view = memoryview(value)
    return view.cast("B") if view.c_contiguous and view.nbytes else view.tobytes()


def _read(path: str, allowed: Formats, kind: str) -> tuple[dict[str, Any], list[Buffer]]:
    if not stat.S_ISREG(os.stat(path).st_mode):  # before it is opened: a named pipe would wait
        raise Unusable(f"{path} is a folder, or no regular file: give the path of one {kind}")
    with open(path, "rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        size = READ_AT_ONCE if status.st_size <= READ_AT_ONCE else _BEGINNING
        content = file.read(size)
    suffix = _suffix(content[:_BEGINNING], allowed, f"{path} is", kind)
    if status.st_size <= READ_AT_ONCE:
        return {"suffix": suffix}, [content]
    return {"suffix": suffix, "path": path, "size": status.st_size, "mtime_ns": status.st_mtime_ns}, []


def _suffix(beginning: bytes, allowed: Formats, subject: str, kind: str) -> str:
    for suffix, pattern in allowed.items():
        if pattern.match(beginning):
            return suffix
    names = ", ".join(suffix[1:].upper() for suffix in allowed)
    raise Unusable(f"{subject} no {kind} that is known: {names} are, and this begins with {beginning[:12]!r}")


# In a worker.


@dataclass(frozen=True)
class Received:
    """A user's file, as a worker reads and stores it."""

    suffix: str
    content: Buffer | Callable[[str], object]
    """The bytes, or the function that copies them to a path: for `Target.file`."""
    open: Callable[[], AbstractContextManager[BinaryIO]]
    """Opens it for reading."""
    write: Callable[[str], object]
    """Writes it to a path."""


def received(description: Mapping[str, Any], buffers: Iterator[Buffer]) -> Received:
    """Return the file that `given_file` described; one that was too large to be handed over is read at its own path.

    Raises:
        Unusable: Later, by `open` and `write`: the file changed or vanished since it was given.
    """
    suffix = description["suffix"]
    if "path" not in description:
        content = next(buffers)
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
            while chunk := self._chunk(reading):
                writing.write(chunk)
            self._check(reading)

    def _chunk(self, reading: BinaryIO) -> bytes:
        try:
            return reading.read(_CHUNK_BYTES)
        except OSError as error:
            raise Unusable(f"the file {self.path} cannot be read: {_reason(error)}") from error

    def _check(self, file: Any) -> None:
        status = os.fstat(file.fileno())
        if (status.st_size, status.st_mtime_ns) != self.noted:
            raise Unusable(f"the file {self.path} changed before it was copied: log it when it is finished")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or shown(error)
