"""An HDF5 file with tables that grow, changed such that a kill never leaves a broken one unnoticed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from errno import EAGAIN
from pathlib import Path
from typing import Any, NoReturn

import mlv
from mlv.projections import set_aside

EXPERIMENT = "mlv_experiment"
"""The file's attribute that says whose it is."""

_COPIED_BYTES = 4 << 20
"""Up to this size a file is copied, changed and replaced, so that no reader ever waits; a larger one is changed in place."""
_CHUNK_BYTES = 32 << 10
_REUSE_SPACE = {"fs_strategy": "fsm", "fs_persist": True, "fs_threshold": 1}
"""A compressed chunk that grows moves: without this, the place where it was is lost, which over hours costs gigabytes."""


def change(path: Path, work: Callable[[Any], None]) -> None:
    """Let `work` change the file, which is made if it is missing; afterwards it is on the disk.

    Raises:
        OSError: It cannot be written.
    """
    if not path.exists() or path.stat().st_size <= _COPIED_BYTES or not _changed_in_place(path, work):
        _replaced(path, work)


def append(file: Any, path: str, before: int, rows: Sequence[tuple[Any, ...]], shape: tuple[int, ...]) -> str:
    """Add rows to a table of which the first `before` count, or begin one where there are none.

    Returns:
        The path, which for a new table gains a `%` where another one has it.
    """
    import numpy

    kind = numpy.dtype([("step", "i8"), ("time", "f8"), ("walltime", "f8"), ("value", "f8", shape)])
    table: Any = numpy.empty(len(rows), kind)
    for column, values in zip(kind.names or (), zip(*rows, strict=True), strict=True):
        table[column] = numpy.array(values).reshape(table[column].shape)
    if before:
        dataset = file[path]
        dataset.resize(before + len(rows), 0)
        dataset[before:] = table
        return path
    group, name = _free_link(file, path)
    chunk = max(1, min(1024, _CHUNK_BYTES // kind.itemsize))
    dataset = group.create_dataset(name, data=table, maxshape=(None,), chunks=(chunk,), compression="gzip")
    return str(dataset.name).removeprefix("/")


def check(path: Path, rows: Mapping[str, int]) -> None:
    """See that a file has at least these rows; what is more is removed: it comes again.

    Raises:
        CannotResume: It has not; a broken one was set aside as `NAME.broken-1`.
    """
    import h5py

    if _marker(path).exists():  # a kill in the middle of a change
        _break(path, "was left half written")
    if not path.exists():
        if not rows:
            return
        raise mlv.CannotResume(f"{path} is gone", path=str(path))
    try:
        with h5py.File(path, "r") as file:
            found = _rows_in(file)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        _break(path, f"cannot be read: {error}")
    if any(found.get(name, -1) < count for name, count in rows.items()):
        raise mlv.CannotResume(f"{path} has lost rows", path=str(path))
    if found != rows:
        change(path, lambda file: _cut(file, found, rows))


def experiment_of(path: Path) -> str | None:
    """Whose file it is, empty for those of others; None, and it was set aside, if it is broken."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return str(file.attrs.get(EXPERIMENT, ""))
    except (OSError, RuntimeError, KeyError, ValueError):
        set_aside(path, "broken")
        return None


def _rows_in(file: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    file.visititems(lambda name, item: found.update({name: len(item)}) if hasattr(item, "dtype") else None)
    return found


def _cut(file: Any, found: Mapping[str, int], rows: Mapping[str, int]) -> None:
    for name, count in found.items():
        if name not in rows:
            del file[name]
        elif count > rows[name]:
            file[name].resize(rows[name], 0)


def _free_link(file: Any, path: str) -> tuple[Any, str]:
    """The group for a new table, and its name there."""
    group = file
    *above, last = path.split("/")
    for part in above:
        while part in group and not hasattr(group[part], "keys"):
            part += "%"
        group = group.require_group(part)
    while last in group:
        last += "%"
    return group, last


def _changed_in_place(path: Path, work: Callable[[Any], None]) -> bool:
    """Change the file itself; False if another program has it open."""
    import h5py

    marker = _marker(path)
    try:
        file = h5py.File(path, "r+")
    except OSError as error:
        if error.errno != EAGAIN:
            raise
        return False
    with file:
        marker.touch()
        work(file)
    _sync(path)
    marker.unlink()
    return True


def _replaced(path: Path, work: Callable[[Any], None]) -> None:
    import h5py

    temporary = path.with_name(f".{path.name}.tmp")
    if path.exists():
        shutil.copyfile(path, temporary)
        file = h5py.File(temporary, "r+")
    else:
        file = h5py.File(temporary, "w", **_REUSE_SPACE)
    with file:
        work(file)
    _sync(temporary)
    os.replace(temporary, path)


def _break(path: Path, reason: str) -> NoReturn:
    """Set a broken file aside.

    Raises:
        CannotResume: Always.
    """
    set_aside(path, "broken")
    _marker(path).unlink(missing_ok=True)
    raise mlv.CannotResume(f"{path} {reason}", path=str(path))


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDWR)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _marker(path: Path) -> Path:
    """A file that is there while the other one is changed in place."""
    return path.with_name(f".{path.name}.changing")
