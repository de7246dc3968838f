"""Whole files of an experiment: made beside their final path, fsynced, moved there in one step, removed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from mlv.digests import sha256
from mlv.protocols import Buffer
from mlv.store import layout, opening
from mlv.store.contents import opened
from mlv.store.files import move_new, sync_folder
from mlv.store.owners import Owner

_EXCHANGE, _AT_FDCWD = 2, -100  # RENAME_EXCHANGE and AT_FDCWD of Linux, which Python does not name
_SMALL_FOLDER = 64  # up to here a folder is scanned for each new file: that takes less than its fsync
TEMPORARY = layout.TEMPORARY


def temporary_beside(path: Path) -> Path:
    """Return a free path in the same folder (made if it is missing), with the same suffix.

    Its name holds the process it belongs to. Files that ended processes left in the folder are removed.
    """
    make_folders(path.parent)
    remove_left_over(path.parent)
    suffix = path.suffix if len(os.fsencode(path.suffix)) <= 30 else ""
    return path.parent / f"{TEMPORARY}{_owner_text(Owner.current())}-{os.urandom(6).hex()}{suffix}"


def replace_whole(path: Path, content: Buffer | Callable[[BinaryIO], object]) -> None:
    """Replace a file, whole or not at all, without fsync; the content may be a function that writes it.

    Raises:
        OSError: It cannot be written; the old one stands.
    """
    temporary = temporary_beside(path)
    try:
        with opening.new(temporary) as file:
            content(file) if callable(content) else file.write(content)
        # In one step for every reader; but a power cut may take the file, whose readers do without it then.
        os.replace(temporary, path)
    except BaseException:
        remove(temporary)
        raise


def make_folders(folder: Path) -> None:
    """Make a folder and those above it, durably."""
    missing = [ancestor for ancestor in (folder, *folder.parents) if not ancestor.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for ancestor in missing:
        sync_folder(ancestor.parent)  # else a power cut takes the new folder, with all that was fsynced in it


_next_look: dict[str, int] = {}
"""Files to create before a folder is scanned again; grows with its size, so that clean-up is amortised O(1)."""


def remove_left_over(folder: Path) -> None:
    """Remove the unfinished files of processes of this host that have provably ended from a folder."""
    wait = _next_look.get(str(folder), 0)
    if wait > 0:
        _next_look[str(folder)] = wait - 1
        return
    names = os.listdir(folder)
    _next_look[str(folder)] = len(names) // _SMALL_FOLDER
    for name in names:
        if name.startswith(TEMPORARY) and _is_left_over(name):
            remove(folder / name)


def _is_left_over(name: str) -> bool:
    fields = name.removeprefix(TEMPORARY).split("-")
    if len(fields) < 6 or not fields[3].isdigit() or not fields[4]:
        return False
    current = Owner.current()
    texts = (current.machine, current.boot, current.pidns)
    machine, boot, pidns = (mine if field == _digest(mine) else field for field, mine in zip(fields, texts, strict=False))
    return Owner(machine, boot, pidns, int(fields[3]), fields[4]).is_gone()


def _owner_text(owner: Owner) -> str:
    """Return a text for a process that is short enough for a file name."""
    return "-".join((_digest(owner.machine), _digest(owner.boot), _digest(owner.pidns), str(owner.pid), owner.start))


@lru_cache(maxsize=16)  # for each new file the same three texts
def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:10]


def settle(temporary: Path, path: Path) -> None:
    """Make a finished file or folder durable and read-only, and move it to its final path, replacing what is there.

    A file replaces a file in one step. So does a folder where the system can exchange names (Linux, on local disks);
    elsewhere neither the old nor the new one exists for a moment.

    Raises:
        OSError: It could not be done; the old file or folder is still there.
    """
    make_durable(temporary)  # before it has its name: after a power cut that name leads to all of it, or to the earlier one
    move_into_place(temporary, path)


def move_into_place(temporary: Path, path: Path, *, is_new: bool = False) -> None:
    """Move a durable file or folder to its final path: the second half of `settle`. With `is_new`, replace nothing.

    Raises:
        FileExistsError: Something is there, and `is_new` is asked for.
        OSError: As `settle`.
    """
    if is_new:
        move_new(temporary, path)
    elif temporary.is_dir() or (path.is_dir() and not path.is_symlink()):
        _replace_folder(temporary, path)
    else:
        os.replace(temporary, path)
    sync_folder(path.parent)


def _replace_folder(temporary: Path, path: Path) -> None:
    """Move where either of the two is a folder, which `os.replace` does not do."""
    if not os.path.lexists(path):
        os.rename(temporary, path)
    elif exchange(temporary, path):
        remove(temporary)
    else:
        old = temporary_beside(path)
        os.rename(path, old)  # first: no rename replaces a folder that holds something
        try:
            os.rename(temporary, path)
        except BaseException:
            os.rename(old, path)
            raise
        remove(old)


def exchange(a: Path, b: Path) -> bool:
    """Exchange two names in one step; False, and nothing done, where the system cannot."""
    import ctypes  # seldom needed: folders are seldom published again

    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    return bool(call(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _EXCHANGE) == 0)


def make_durable(path: Path, *, read_only: bool = True) -> None:
    """Fsync a file, or all that a folder holds, and make it read-only; a file with other names keeps its mode.

    Raises:
        OSError: The disk refuses.
    """
    if not path.is_dir():
        _make_file_durable(path, read_only)
        return
    for parent, _, names in os.walk(path, topdown=False):  # the names of a folder after what they lead to
        for file in (Path(parent, name) for name in names):
            if not file.is_symlink():
                _make_file_durable(file, read_only)
        sync_folder(Path(parent))


def _make_file_durable(path: Path, read_only: bool) -> None:
    with opened(path) as file:
        os.fsync(file.fileno())
        status = os.fstat(file.fileno())
    if read_only and status.st_nlink == 1 and status.st_mode & 0o222:
        with suppress(OSError):  # file systems without modes
            os.chmod(path, stat.S_IMODE(status.st_mode) & ~0o222)


def unlock_folders(path: Path) -> None:
    """Let the owner change a folder and those below it: one that is read-only can be neither moved nor removed."""
    below = (Path(parent, name) for parent, names, _ in os.walk(path) for name in names)
    for folder in chain([path], below) if not path.is_symlink() else ():
        with suppress(OSError):  # of another owner: the change in it fails with its own error
            status = folder.lstat()
            if stat.S_ISDIR(status.st_mode) and status.st_mode & 0o700 != 0o700:
                os.chmod(folder, stat.S_IMODE(status.st_mode) | 0o700)


def link_or_move(path: Path, target: Path) -> bool:
    """Give a file a second name, or move it where that is impossible, as for a folder; return whether both names exist.

    Raises:
        OSError: The target is taken, or neither could be done.
    """
    refuse_taken(target)
    try:
        os.link(path, target, follow_symlinks=False)  # rather than a move: at no moment is the content without its name
        return True
    except (OSError, NotImplementedError):
        os.rename(path, target)
        return False


def has_links(path: Path) -> bool:
    """Return whether a path is a symbolic link, or a folder that holds one."""
    if path.is_symlink():
        return True
    below = (Path(parent, name) for parent, folders, names in os.walk(path) for name in (*folders, *names))
    return any(entry.is_symlink() for entry in below)


def remove(path: Path) -> None:
    """Remove a file or a folder, also a half removed one."""
    if path.is_dir() and not path.is_symlink():
        import shutil

        unlock_folders(path)
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def refuse_taken(target: Path) -> None:
    """Refuse a path at which something is, be it a link to nothing.

    Raises:
        FileExistsError: It is taken.
    """
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
