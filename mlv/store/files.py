"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from mlv.digests import sha256
from mlv.interrupts import pass_on
from mlv.store import layout, opening

_UNFINISHED = r"\..*\.[0-9a-f]{12}\.tmp"  # compiled where it is needed: `import mlv` does without


def publish(path: Path, content: bytes, mode: int = 0o666) -> str:
    """Write a new file beside its final path, fsync it, and move it there in one step.

    Returns:
        SHA-256 of the content, in hexadecimal.

    Raises:
        FileExistsError: There is such a file already; it is left as it was.
        OSError: It could not be written; nothing is left behind.
    """
    temporary = temporary_beside(path)
    try:
        with opening.new(temporary, mode) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # Content before name: after a power cut the name would otherwise stand for an empty file.
        move_new(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    # The name as well, before anybody is told that the file is there.
    sync_folder(path.parent)
    return sha256(content).hexdigest()


def replace_file(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a file anew beside its path, fsync it, and replace the old one in one step, with its mode.

    Raises:
        OSError: It could not be written; the old one is as it was, and nothing is left behind.
    """
    temporary = temporary_beside(path)
    try:
        with opening.new(temporary, 0o600) as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
        # Before the move: at its final path it never has a mode that lets others read more.
        os.chmod(temporary, stat.S_IMODE(path.stat().st_mode))
        os.replace(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    # Else a power cut might bring the former content back, which somebody had a reason to replace.
    sync_folder(path.parent)


def temporary_beside(path: Path) -> Path:
    """Return a hidden name in the same folder that nobody else takes or can guess."""
    # As `secrets` makes it, which imports `random`: `import mlv` does without.
    return path.with_name(f".{path.name}.{os.urandom(6).hex()}.tmp")


def is_unfinished(name: str) -> bool:
    """Return whether a name is one that a file has before it is published."""
    return name.startswith(layout.TEMPORARY) or re.fullmatch(_UNFINISHED, name, re.DOTALL) is not None


def move_new(temporary: Path, path: Path) -> None:
    """Rename without replacing.

    Raises:
        FileExistsError: There is such a file already; both are left as they were.
    """
    try:
        os.link(temporary, path)  # unlike rename, link refuses to replace a file
        temporary.unlink()
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if path.exists():
            raise FileExistsError(f"{path} exists") from None
        # Somebody may be faster between the two: such a file system offers nothing better.
        os.rename(temporary, path)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the system can."""
    try:
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        pass_on(error)  # an alarm raises TimeoutError, which is one


def duplicated(fd: int) -> int:
    """Duplicate a descriptor behind those of the standard streams: where these are closed, their numbers are free."""
    try:
        import fcntl
    except ImportError:  # not everywhere; where it is missing nothing is inherited
        return os.dup(fd)
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
