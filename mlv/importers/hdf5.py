"""Files of HDF5, read without changing or locking them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlv.importers.listing import begins_with
from mlv.importers.reading import SourceReading
from mlv.optional import package

_MOST_COMPRESSED = 2000
"""Bytes that a byte of gzip can stand for, and some more."""
_MAGIC = b"\x89HDF\r\n\x1a\n"


def is_hdf5(path: Path) -> bool:
    """Return whether a file is one of HDF5, or the beginning of one."""
    return begins_with(path, _MAGIC)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a file for reading.

    Whoever writes it is not kept from that by a lock, which would end a training. So a file that was written meanwhile is
    refused at the end, when all of it was read.

    Raises:
        MissingExtra: h5py is not installed.
        OSError: It cannot be read.
        ValueError: It was being written, or is damaged.
    """
    h5py, before = package("h5py", "hdf5"), _state(path)
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except RuntimeError as error:  # as h5py says of a damaged file, now and then
        raise ValueError(str(error)) from error
    finally:
        changed = _state(path) != before
    if changed:
        raise ValueError("it is being written: import it again")


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def groups(group: Any) -> Iterator[tuple[str, Any]]:
    """Yield name and content of the groups within a group, in alphabetical order."""
    return ((name, item) for name, item in _members(group) if hasattr(item, "keys"))


def datasets(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield path and dataset of all that lies below a group, in alphabetical order, as far as its values are in the file."""
    for name, item in _members(group):
        if hasattr(item, "keys"):
            yield from datasets(item, f"{prefix}{name}/")
        elif item.external is None and not item.is_virtual:
            yield f"{prefix}{name}", item


def _members(group: Any) -> Iterator[tuple[str, Any]]:
    """Yield the members that lie in the file: a link may lead into any other file, or in circles.

    Names of folders follow from theirs, so that `..` is none.
    """
    h5py = package("h5py", "hdf5")
    for name in sorted(group):
        if name != ".." and isinstance(group.get(name, getlink=True), h5py.HardLink):
            yield name, group[name]


def blocks(dataset: Any, rows: int, reading: SourceReading) -> Iterator[Any]:
    """Yield the rows of a dataset, some at a time; none where it claims more than its file can hold."""
    if dataset.nbytes > most_bytes(dataset):
        reading.leave("datasets that claim more values than their file holds")
        return
    for begin in range(0, len(dataset), rows):
        yield dataset[begin : begin + rows]


def most_bytes(dataset: Any) -> int:
    """Return how many bytes the values of a dataset can take, by what the file has of it."""
    return int(_MOST_COMPRESSED * max(dataset.id.get_storage_size(), 1024))


def text_of(value: Any) -> str:
    """Return a text of a dataset, which is bytes there."""
    return value.decode("utf-8", "backslashreplace").rstrip("\0") if isinstance(value, bytes) else str(value)
