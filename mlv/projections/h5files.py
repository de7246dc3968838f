"""HDF5 files that are changed such that a kill never leaves a broken one unnoticed, and others can read them meanwhile."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from errno import EAGAIN
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NoReturn

from mlv.errors import CannotResume, FileUnusable
from mlv.store import opening
from mlv.store.blobs import temporary_beside
from mlv.store.files import move_new

EXPERIMENT, COMMIT = "mlv_experiment", "mlv_commit"
"""Attributes of the file: ID of its experiment, and number of its changes."""
REPLACED_BYTES = 4 << 20
"""Files up to this size are copied, changed and replaced, so that a reader never waits; larger ones are changed in place."""
WAIT_S = 60.0  # a program that reads it holds the lock for as long as it has it open
_POLL_S = 0.05


def change_h5(path: Path, exp: str, commit: int, work: Callable[[Any], None], wait_s: float = WAIT_S, /, **making: Any) -> None:
    """Let `work` change a file, or make a new one; afterwards it is on the disk, with the number of this commit.

    Another program that reads the file keeps the one that it has opened: that is replaced, not changed. `making` are options of
    h5py for a new file.

    Raises:
        FileUnusable: Another program writes into it, and has not finished after `wait_s`.
        OSError: It cannot be written. After a change in place, `opened` knows that the file is not whole.
    """

    def change_all(file: Any) -> None:
        work(file)
        # Each replacement of an attribute costs 4 KiB for ever; changing the value of one costs nothing.
        if COMMIT in file.attrs:
            file.attrs.modify(COMMIT, commit)
        else:
            file.attrs[EXPERIMENT], file.attrs[COMMIT] = exp, commit

    if not path.exists() or path.stat().st_size <= REPLACED_BYTES or not _changed_in_place(path, change_all, wait_s):
        _replaced(path, change_all, making, wait_s)


def check_h5(path: Path, commit: int) -> None:
    """See that a file is whole, and as it was after a commit.

    Raises:
        CannotResume: It is not; a broken one was set aside as `NAME.broken-1`.
        FileUnusable: Another program writes into it, and has not finished after a minute.
    """
    if _commit_of(path)[1] != commit:
        raise CannotResume(f"{path} is not what was written last", path=str(path))


def clear_h5(path: Path) -> None:
    """Make room for a new file: ours is removed, a broken one or that of others set aside."""
    if path.exists():
        try:
            exp, _ = _commit_of(path)
        except CannotResume:
            return
        if exp is None:
            _set_aside(path, "")
        else:
            path.unlink()


def _commit_of(path: Path) -> tuple[str | None, int | None]:
    import h5py

    if _marker(path).exists():  # a kill in the middle of a change
        _break(path, "it was left half written")
    try:
        opening.reading(path).close()  # a pipe would be waited for
        with _when_free(path, WAIT_S), h5py.File(path, "r") as file:
            return file.attrs.get(EXPERIMENT), file.attrs.get(COMMIT)
    except FileNotFoundError:
        raise CannotResume(f"{path} is gone", path=str(path)) from None
    except FileUnusable:
        raise
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        _break(path, str(error))


def _break(path: Path, reason: str) -> NoReturn:
    """Set a broken file aside.

    Raises:
        CannotResume: Always.
    """
    if path.exists():
        _set_aside(path, "broken-")
    _marker(path).unlink(missing_ok=True)
    raise CannotResume(f"{path} is broken: {reason}", path=str(path))


def _set_aside(path: Path, word: str) -> None:
    number = 1
    while True:
        try:
            move_new(path, path.with_name(f"{path.name}.{word}{number}"))
            return
        except FileExistsError:
            number += 1


def _changed_in_place(path: Path, work: Callable[[Any], None], wait_s: float) -> bool:
    """Change the file itself; False if another program reads it."""
    import h5py

    deadline, marker = monotonic() + wait_s, _marker(path)
    opening.check_writable(path)
    while True:
        try:
            file = h5py.File(path, "r+")
            break
        except OSError as error:
            if _is_free(path):
                return False
            if error.errno != EAGAIN:
                raise FileUnusable(f"{path} cannot be changed: {error}", path=str(path)) from error
        _wait(path, deadline, wait_s)
    with file:
        # The marker exists before the first change, and goes only when all are on the disk: a kill in between is noticed.
        opening.emptied(marker).close()
        work(file)
    _sync(path)
    marker.unlink()
    return True


def _replaced(path: Path, work: Callable[[Any], None], making: Mapping[str, Any], wait_s: float) -> None:
    import h5py

    temporary = temporary_beside(path)
    try:
        if path.exists():
            with _when_free(path, wait_s), opening.reading(path) as before, opening.new(temporary) as copy:
                shutil.copyfileobj(before, copy)
            file = h5py.File(temporary, "r+")
        else:
            file = h5py.File(temporary, "x", **making)
        with file:
            work(file)
        _sync(temporary)  # before the replacement: after a crash the name leads to a whole file
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def _when_free(path: Path, wait_s: float) -> Iterator[None]:
    """Wait until nobody writes into a file."""
    deadline = monotonic() + wait_s
    while not _is_free(path):
        _wait(path, deadline, wait_s)
    yield


def _is_free(path: Path) -> bool:
    """Return whether nobody writes into a file; readers share its lock."""
    import h5py

    try:
        with h5py.File(path, "r"):
            return True
    except OSError as error:
        return error.errno != EAGAIN  # a broken file is not locked


def free_link(file: Any, names: Iterable[str]) -> tuple[Any, str]:
    """Return the group for a new dataset, and its name in it; a `%` follows a name that is taken."""
    group = file
    *above, last = names
    for name in above:
        while name in group and not hasattr(group[name], "keys"):
            name += "%"
        group = group.require_group(name)
    while last in group:
        last += "%"
    return group, last


def _wait(path: Path, deadline: float, wait_s: float) -> None:
    if monotonic() > deadline:
        text = f"{path} is locked by another program for more than {wait_s:g} s: close it there. The log is complete"
        raise FileUnusable(text, path=str(path))
    sleep(_POLL_S)


def _sync(path: Path) -> None:
    fd = opening.writing(path, os.O_RDWR)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _marker(path: Path) -> Path:
    """Return the path of a file that exists while the other one is changed in place."""
    return path.with_name(f".{path.name}.changing")
