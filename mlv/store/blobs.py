"""Whole files of an experiment: made beside their place, hashed, fsynced, moved there in one step, linked, copied."""

from __future__ import annotations

import errno
import hashlib
import mimetypes
import os
import secrets
import shutil
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from mlv.encoding import Reference
from mlv.errors import InvalidName
from mlv.store.files import sync_folder

_PIECE = 1 << 20
_PIECES_WAITING = 8
_FICLONE = 0x40049409
TEMPORARY = ".tmp-"
"""Beginning of the names of what is not finished; a killed process leaves it behind."""

_MEDIA_TYPES = {
    ".npy": "application/x-npy", ".npz": "application/x-npz", ".pt": "application/x-pytorch", ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet", ".safetensors": "application/x-safetensors", ".jsonl": "application/x-ndjson",
    ".keras": "application/x-keras", ".joblib": "application/x-joblib", ".pkl": "application/x-pickle", ".wav": "audio/wav",
}  # fmt: skip


class Content(NamedTuple):
    """What a file, or a folder as a whole, holds."""

    sha256: str
    """In hexadecimal; of a folder, that of its manifest: a line `<sha256>  <path>` for each file, in order of path."""
    size: int
    """In bytes; of a folder, that of all its files."""
    is_folder: bool


def content_of(path: Path) -> Content:
    """Hash a file or a folder; nothing is larger in memory than a piece.

    Raises:
        OSError: It cannot be read.
    """
    if path.is_dir():
        rows = [(name, content_of(path / name)) for name in files_in(path)]
        return folder_content([(name, found.sha256, found.size) for name, found in rows])
    digest, size = hashlib.sha256(), 0
    buffer = memoryview(bytearray(_PIECE))
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            size += count
    return Content(digest.hexdigest(), size, is_folder=False)


def folder_content(rows: list[tuple[str, str, int]]) -> Content:
    """The content of a folder whose files, in order of path, have these paths, hashes and sizes."""
    manifest = "".join(f"{sha256}  {name}\n" for name, sha256, _ in rows)
    return Content(hashlib.sha256(os.fsencode(manifest)).hexdigest(), sum(size for _, _, size in rows), is_folder=True)


def files_in(folder: Path) -> list[str]:
    """Relative paths, with `/`, of the files below a folder, in order."""
    return sorted(_files_in(folder, ""))


def _files_in(folder: Path, prefix: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in list(entries):
            if entry.is_dir():
                yield from _files_in(Path(entry.path), f"{prefix}{entry.name}/")
            else:
                yield prefix + entry.name


def temporary_beside(path: Path) -> Path:
    """A path in the same folder (made if it is missing) that is not taken, with the same suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.parent / f"{TEMPORARY}{secrets.token_hex(6)}{path.suffix}"


def settle(temporary: Path, path: Path) -> None:
    """Make a finished file or folder durable and read-only, and move it to its place in one step, replacing a file there.

    Raises:
        OSError: It could not be done; what was at the place is still there.
    """
    make_durable(temporary)
    if temporary.is_dir() and path.is_dir():
        old = temporary_beside(path)
        os.rename(path, old)  # a folder cannot be replaced in one step: the old one steps aside for a moment
        os.rename(temporary, path)
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.replace(temporary, path)
    sync_folder(path.parent)


def make_durable(path: Path) -> None:
    """Fsync a file, or every file of a folder, and make it read-only."""
    files = [path / name for name in files_in(path)] if path.is_dir() else [path]
    for file in files:
        fd = os.open(file, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        with suppress(OSError):  # file systems without modes
            os.chmod(file, stat.S_IMODE(file.stat().st_mode) & ~0o222)
    if path.is_dir():
        sync_folder(path)


def remove(path: Path) -> None:
    """Remove a file or a folder, whatever is left of it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def copy_hashed(source: Path, target: Path) -> Content:
    """Copy a file or folder to a new place and hash it on the way; sharing its blocks where the file system can.

    Raises:
        OSError: It cannot be read or written, or changed meanwhile; nothing is left at the target.
    """
    try:
        if not source.is_dir():
            return _copy_file(source, target)
        target.mkdir()
        rows = []
        for name in files_in(source):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            found = _copy_file(source / name, target / name)
            rows.append((name, found.sha256, found.size))
        return folder_content(rows)
    except BaseException:
        remove(target)
        raise


def _copy_file(source: Path, target: Path) -> Content:
    with open(source, "rb", buffering=0) as reading, open(target, "xb", buffering=0) as writing:
        before = os.fstat(reading.fileno())
        is_shared = _shares_blocks(reading.fileno(), writing.fileno())
        content = content_of(target) if is_shared else _copy_bytes(reading, writing)
        after = os.fstat(reading.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or content.size != after.st_size:
        raise OSError(errno.EBUSY, "it changed while it was copied: attach it when it is finished", str(source))
    return content


def _shares_blocks(source: int, target: int) -> bool:
    """Make the target a reflink of the source, if the file system has them."""
    try:
        import fcntl

        fcntl.ioctl(target, _FICLONE, source)
        return True
    except (ImportError, OSError):
        return False


def _copy_bytes(reading: Any, writing: Any) -> Content:
    """Copy, and hash in a thread beside it: both let go of the interpreter, so the slower one sets the pace."""
    from queue import Queue  # here, since a `queue.py` beside the script may hide it

    digest = hashlib.sha256()
    free: Queue[bytearray] = Queue()
    read: Queue[tuple[bytearray, int] | None] = Queue()
    for _ in range(_PIECES_WAITING):
        free.put(bytearray(_PIECE))

    def hash_all() -> None:
        while (piece := read.get()) is not None:
            whole, count = piece
            digest.update(memoryview(whole)[:count])
            free.put(whole)

    thread = threading.Thread(target=hash_all, daemon=True)
    thread.start()
    size = 0
    try:
        while True:
            buffer = free.get(timeout=60)
            count = reading.readinto(buffer)
            if not count:
                break
            written = 0
            while written < count:
                written += writing.write(memoryview(buffer)[written:count])
            size += count
            read.put((buffer, count))
    finally:
        read.put(None)
        thread.join(60)
    return Content(digest.hexdigest(), size, is_folder=False)


def link_or_copy(source: Path, target: Path) -> bool:
    """Make another name for a file, or for every file of a folder; a copy where links are impossible. Whether it is a link.

    Raises:
        FileExistsError: The target is there.
        OSError: Neither could be made; nothing is left at the target.
    """
    if source.is_dir():
        target.mkdir()
        try:
            linked = []
            for name in files_in(source):
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                linked.append(link_or_copy(source / name, target / name))
            return all(linked)
        except BaseException:
            remove(target)
            raise
    try:
        os.link(source, target)
        return True
    except FileExistsError:
        raise
    except OSError:
        copy_hashed(source, target)
        return False


def checked_inside(folder: Path, name: Any) -> Path:
    """Accept a relative path below a folder of an experiment: `model.npz`, `tables/final.csv`.

    Raises:
        InvalidName: It is none, is empty, absolute, or leads out of the folder, also through a symbolic link.
    """
    try:
        text = os.fsdecode(os.fspath(name))
    except TypeError:
        raise InvalidName(f"file name {name!r:.100} is of type {type(name).__name__}: give a text", name=name) from None
    parts = text.replace("\\", "/").split("/")
    if not text or os.path.isabs(text) or any(part in ("", ".", "..") for part in parts):
        raise InvalidName(
            f"file name {text!r} is empty, absolute or leads out of {folder}: give a path below it, such as 'model.npz'",
            name=text,
        )
    if any(ord(character) < 32 or "\ud800" <= character <= "\udfff" for character in text):
        raise InvalidName(f"file name {text!r} holds a control character, or is no text that UTF-8 can hold", name=text)
    if any(part.startswith(TEMPORARY) or len(os.fsencode(part)) > 200 for part in parts):
        raise InvalidName(f"file name {text!r} is reserved, or a part of it is longer than 200 bytes", name=text)
    path = folder.joinpath(*parts)
    real, top = os.path.realpath(path.parent), os.path.realpath(folder)
    if real != top and not real.startswith(top + os.sep):
        raise InvalidName(f"file name {text!r} leads out of {folder} through a symbolic link: {real}", name=text)
    return path


def media_type(name: str) -> str:
    """Guess the media type of a file by its suffix."""
    return _MEDIA_TYPES.get(Path(name).suffix.lower()) or mimetypes.guess_type(name)[0] or "application/octet-stream"


def reference(folder: Path, path: Path, content: Content) -> Reference:
    """What an event says about a file of the experiment in a folder."""
    kind = "inode/directory" if content.is_folder else media_type(path.name)
    return Reference({
        "_mlv": "file", "path": path.relative_to(folder).as_posix(), "size": content.size, "sha256": content.sha256,
        "media_type": kind,
    })  # fmt: skip
