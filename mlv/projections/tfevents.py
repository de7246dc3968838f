"""A file of TensorBoard events that grows, and can be taken back to where it was."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from mlv.errors import CannotResume
from mlv.projections.appending import check_in_place, inside
from mlv.projections.tfrecords import framed
from mlv.store import opening
from mlv.store.files import move_new

_SOURCE_METADATA, _WRITER = b"\x52", b"\x0a"
"""Fields of TensorBoard's Event that tensorboardX does not have; they name the writer of the file."""
_MLV = "mlv "
_FILE_VERSION = "brain.Event:2"
_LOOK = 256
_AROUND = 8 + 4 + 4
"""Bytes of the length of a record, and of two checksums."""
_LEVELS = 3  # runs of TensorBoard lie in folders below the one that is shown


class EventFile:
    """Records on their way to one file; those added are in it after `commit`."""

    def __init__(self, path: Path, size: int) -> None:
        """Go on behind the first `size` bytes of a file; bytes that follow are cut off.

        Raises:
            CannotResume: There are fewer.
        """
        self.path = path
        self._waiting: list[bytes] = []
        try:
            self._fd = opening.writing(path, os.O_WRONLY | os.O_APPEND)
        except FileNotFoundError:
            raise CannotResume(f"{path} is gone", path=str(path)) from None
        if os.fstat(self._fd).st_size < size:
            os.close(self._fd)
            raise CannotResume(f"{path} is shorter than the {size} bytes that were written", path=str(path))
        os.ftruncate(self._fd, size)  # records after that commit are written again
        self._size = size
        self._synced = size
        self.add = self._waiting.append

    @classmethod
    def create(cls, path: Path, time_s: float, exp_id: str) -> EventFile:
        """Begin a file, in place of an empty one or of the experiment's own; somebody else's gets a number behind its name."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if not (_is_empty(path) or _is_of(path, exp_id)):
            _set_aside(path)
            opening.new(path).close()
        file = cls(path, 0)
        file.add(first_record(time_s, exp_id))
        return file

    def flush(self) -> None:
        """Hand the added records to the system."""
        if self._waiting:
            content = framed(self._waiting)
            self._waiting.clear()
            view = memoryview(content)
            while view:
                view = view[os.write(self._fd, view) :]
            self._size += len(content)

    def commit(self) -> int:
        """Bring the added records to the disk.

        Returns:
            The size of the file in bytes.

        Raises:
            CannotResume: Somebody removed it, or put another in its place.
        """
        check_in_place(self._fd, self.path)
        self.flush()
        # On the disk before the size is reported: a position ahead of the file could not be resumed from after a crash.
        if self._synced != self._size:
            os.fsync(self._fd)
            self._synced = self._size
        return self._size

    def close(self) -> None:
        """Close the file; records that were not committed are lost."""
        os.close(self._fd)


def reopened(folder: Path, sizes: Mapping[str, int]) -> dict[str, EventFile]:
    """Return files by their paths in a folder, each cut back to its size: all of them, or none is open.

    Raises:
        CannotResume: One is gone, or shorter, or outside of the folder.
    """
    files: dict[str, EventFile] = {}
    try:
        for path, size in sizes.items():
            files[path] = EventFile(inside(folder, path), size)
    except BaseException:
        for file in files.values():
            file.close()
        raise
    return files


def removed(folder: Path, sizes: Mapping[str, int]) -> None:
    """Remove files by their paths in a folder.

    Raises:
        CannotResume: One is outside of the folder.
    """
    for path in sizes:
        inside(folder, path).unlink(missing_ok=True)


def first_record(time_s: float, exp_id: str) -> bytes:
    """Return the record with which a file begins: the version of its format, and that mlv wrote it for an experiment."""
    from tensorboardX.proto.event_pb2 import Event

    writer = (_MLV + exp_id).encode()
    source = _WRITER + bytes([len(writer)]) + writer
    begin: bytes = Event(wall_time=time_s, file_version=_FILE_VERSION).SerializeToString()
    return begin + _SOURCE_METADATA + bytes([len(source)]) + source


def own_files(folder: Path, exp_id: str) -> Iterator[Path]:
    """Return the event files that mlv wrote for an experiment at or below a folder; those of others are not among them."""
    return (path for path in _event_files(folder) if _is_of(path, exp_id))


def empty(path: Path) -> None:
    """Leave the first record of a file, and nothing else."""
    with opening.changing(path) as file:
        length = int.from_bytes(file.read(8), "little")
        file.truncate(length + _AROUND if length else 0)


def _event_files(folder: Path, levels: int = _LEVELS) -> Iterator[Path]:
    """Yield event files at or below a folder, but for those of other outputs, which have folders of their own."""
    yield from sorted(folder.glob("*tfevents*"))
    for inner in sorted(folder.iterdir()) if levels > 1 else ():
        if inner.is_dir() and not inner.is_symlink() and not any(inner.glob(".mlv-*.json")):
            yield from _event_files(inner, levels - 1)


def _is_of(path: Path, exp_id: str) -> bool:
    """Return whether mlv wrote the file for the experiment, or was about to."""
    try:
        with opening.reading(path) as file:
            begin = file.read(_LOOK)
    except OSError:  # a folder, or not ours to read
        return False
    return (_MLV + exp_id).encode() in begin if begin else f".{exp_id[:8]}." in path.name


def _is_empty(path: Path) -> bool:
    return path.is_file() and path.stat().st_size == 0


def _set_aside(path: Path) -> None:
    number = 1
    while path.exists():
        with suppress(FileExistsError):
            move_new(path, path.with_name(f"{path.name}.{number}"))
        number += 1
