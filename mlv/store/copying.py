"""Copies of files and folders: hashed on the way, linked, or sharing blocks where the file system can."""

from __future__ import annotations

import errno
import os
import sys
from collections import deque
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from threading import Semaphore, Thread
from typing import Any

from mlv.digests import sha256
from mlv.store import opening
from mlv.store.blobs import refuse_taken, remove
from mlv.store.contents import CHUNK_BYTES, Content, content_of, files_in, folder_content, opened, refuse_changed

_CHUNKS_WAITING = 8  # smooths the pace of disk and hash, in 8 MiB of memory
_FICLONE = 0x40049409  # of Linux, the same on all its file systems; Python does not name it
_HASH_WITHIN_S = 60.0  # for one chunk: only a suspended process takes as long


def copy_hashed(source: Path, target: Path) -> Content:
    """Copy a file or folder to a new path and hash it on the way; sharing its blocks where the file system can.

    Symbolic links within a folder become what they point at; empty folders are left out.

    Raises:
        OSError: It cannot be read or written, or changed meanwhile; nothing is left at the target.
    """
    refuse_taken(target)
    try:
        return _copy_folder(source, target) if source.is_dir() else _copy_file(source, target)
    except BaseException:
        remove(target)
        raise


def _copy_folder(source: Path, target: Path) -> Content:
    target.mkdir()
    rows = []
    for name in files_in(source):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        content = _copy_file(source / name, target / name)
        rows.append((name, content.sha256, content.size))
    return folder_content(rows)


def _copy_file(source: Path, target: Path) -> Content:
    with opened(source) as reading, opening.new(target, buffering=0) as writing:
        before = os.fstat(reading.fileno())
        if _shares_blocks(reading.fileno(), writing.fileno()):
            content = content_of(target)
        else:
            content = _copy_bytes(reading, writing, before.st_size)
        refuse_changed(source, before, os.fstat(reading.fileno()), content.size)
    _take_mode(before, target)
    return content


def _take_mode(source: os.stat_result, target: Path) -> None:
    with suppress(OSError):  # file systems without modes
        os.chmod(target, 0o600 | source.st_mode & 0o777)


def _shares_blocks(source: int, target: int) -> bool:
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        fcntl.ioctl(target, _FICLONE, source)
        return True
    except OSError:
        return False


def _copy_bytes(reading: Any, writing: Any, size: int) -> Content:
    """Copy, and hash in a thread beside it: both let go of the interpreter, so the slower one sets the pace."""
    length = min(CHUNK_BYTES, size + 1)  # no buffer is empty: reading into one would look like the end of the file
    buffers = [memoryview(bytearray(length)) for _ in range(min(_CHUNKS_WAITING, size // length + 1))]
    with _Hasher(len(buffers)) as hasher:
        for buffer in cycle(buffers):
            hasher.wait_for_room()
            count = reading.readinto(buffer)
            if not count:
                break
            written = 0
            while written < count:
                written += writing.write(buffer[written:count])
            hasher.update(buffer[:count])
    return Content(hasher.hexdigest(), reading.tell(), is_folder=False)


class _Hasher:
    """Hashes chunks in a thread of its own, in order; in the caller's where the interpreter ends, and no thread begins."""

    def __init__(self, most_waiting: int) -> None:
        self._digest = sha256()
        self._chunks: deque[memoryview | None] = deque()
        self._waiting, self._room = Semaphore(0), Semaphore(most_waiting)
        self._thread = Thread(target=self._hash_all, name="mlv-hash", daemon=True)

    def __enter__(self) -> _Hasher:
        with suppress(RuntimeError):
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.ident is not None:
            self._put(None)
            self._thread.join(_HASH_WITHIN_S)

    def wait_for_room(self) -> None:
        """Return when another chunk may wait; it is hashed without being copied."""
        if not self._room.acquire(timeout=_HASH_WITHIN_S):
            raise OSError(errno.ETIMEDOUT, f"was not hashed within {_HASH_WITHIN_S:g} s")

    def update(self, chunk: memoryview) -> None:
        """Take the next chunk."""
        if self._thread.ident is not None:
            self._put(chunk)
        else:
            self._digest.update(chunk)
            self._room.release()

    def hexdigest(self) -> str:
        """Return the hash of all chunks."""
        if self._thread.is_alive():
            raise OSError(errno.ETIMEDOUT, f"was not hashed within {_HASH_WITHIN_S:g} s")
        return self._digest.hexdigest()

    def _put(self, chunk: memoryview | None) -> None:
        self._chunks.append(chunk)
        self._waiting.release()

    def _hash_all(self) -> None:
        while self._waiting.acquire() and (chunk := self._chunks.popleft()) is not None:
            self._digest.update(chunk)
            self._room.release()


def link_or_copy(source: Path, target: Path, *, reflink: bool = False) -> bool:
    """Link a file, or every file of a folder, or copy where links are impossible; return whether all are links.

    With `reflink`, where the file system can, it is a file of its own that shares the blocks: also a link in this sense.

    Raises:
        OSError: The target is there, or neither could be made; nothing is left at the target.
    """
    refuse_taken(target)
    try:
        return _link_folder(source, target, reflink) if source.is_dir() else _link_file(source, target, reflink)
    except BaseException:
        remove(target)
        raise


def _link_folder(source: Path, target: Path, reflink: bool) -> bool:
    target.mkdir()
    are_links = []
    for name in files_in(source):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        are_links.append(_link_file(source / name, target / name, reflink))
    return all(are_links)


def _link_file(source: Path, target: Path, reflink: bool) -> bool:
    if reflink and _reflink(source, target):
        return True
    try:
        os.link(os.path.realpath(source), target)  # of a symbolic link, some systems would link the link
        return True
    except FileExistsError:
        raise
    except OSError:
        _copy_file(source, target)
        return False


def _reflink(source: Path, target: Path) -> bool:
    with opened(source) as reading, opening.new(target, buffering=0) as writing:
        is_shared = _shares_blocks(reading.fileno(), writing.fileno())
        status = os.fstat(reading.fileno())
    if is_shared:
        _take_mode(status, target)
    else:
        target.unlink()  # it is empty, and in the way of the link or the copy that follows
    return is_shared
