"""Streams: appending whole lines, mending torn tails, and reading every readable line."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import BinaryIO

import orjson

from mlv.encoding import loads
from mlv.frozen import FrozenRecord
from mlv.protocols import FileLayer
from mlv.store import layout, opening
from mlv.store.files import sync_folder

_LEAST_FROM_END = 64 << 10  # the last lines of most logs, in one read
_CHUNK_BYTES = 1 << 20  # read and written at a time; beside so many bytes, the call itself costs nothing
_BEGINNING = 256  # of a line too long to be read: its run, number, time and type
_SHORT = 64 << 20
"""Files up to this size in bytes are read line by line without a limit on the length of a line."""


class SystemFiles:
    """The real system calls."""

    def open(self, path: str, flags: int) -> int:
        """Open a file as `os.open` does; new files honour the umask."""
        return opening.writing(path, flags)

    write = staticmethod(os.write)
    fsync = staticmethod(os.fsync)
    truncate = staticmethod(os.ftruncate)
    close = staticmethod(os.close)

    def size(self, fd: int) -> int:
        """Return the size of the open file in bytes."""
        return os.fstat(fd).st_size


class StreamFile:
    """The end of one stream, for its only writer: whole lines are added, or none."""

    def __init__(self, folder: Path, stream: str, files: FileLayer | None = None) -> None:
        """Open the stream, mending a torn tail first: a half line left by a crash would swallow the next one.

        Raises:
            OSError: The file cannot be opened, read or mended.
        """
        self._files = files or SystemFiles()
        self.path = folder / layout.stream_file(stream)
        mend(folder, stream)
        is_new = not self.path.exists()
        self._fd = self._files.open(str(self.path), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            self.size = self._files.size(self._fd)
            if is_new:
                # A file whose name is not on the disk is gone after a power cut, with all that was fsynced into it.
                sync_folder(folder)
        except BaseException:
            self._files.close(self._fd)
            raise
        self._torn = False
        self._is_dirty = True  # a writer that died may have left lines here that it had not synced

    def append(self, lines: bytes) -> None:
        """Add whole lines.

        Raises:
            OSError: Not all could be written; those that were are taken back, now or before the next append.
        """
        self.append_chunks([lines])

    def append_chunks(self, chunks: Iterable[bytes]) -> None:
        """Add one line that arrives in chunks; as `append`."""
        self.take_back()
        self._torn = True  # before the write: an exception in the middle of it leaves the mark
        total = 0
        try:
            for chunk in chunks:
                self._write(chunk)
                total += len(chunk)
        except OSError:
            with suppress(OSError):  # else it is done before the next append
                self.take_back()
            raise
        self._torn = False
        self.size += total

    def _write(self, data: bytes) -> None:
        self._is_dirty = True
        written = self._files.write(self._fd, data)
        while written < len(data):
            data = data[written:]
            written = self._files.write(self._fd, data)

    def take_back(self) -> None:
        """Remove the bytes that a failed append has left.

        Raises:
            OSError: It is still there.
        """
        if self._torn:
            # By its size as it was, not as it is now: nobody else appends, and what is behind is half a line.
            self._files.truncate(self._fd, self.size)
            self._torn = False

    def sync(self) -> None:
        """Return when everything appended so far is on the disk."""
        if self._is_dirty:
            self._files.fsync(self._fd)
            self._is_dirty = False

    def close(self) -> None:
        """Give the descriptor back; does not sync."""
        self._files.close(self._fd)

    def is_deleted(self) -> bool:
        """Return whether the file has no name any more."""
        return os.fstat(self._fd).st_nlink == 0

    def abandon(self) -> None:
        """Redirect the file to nothing: in a forked child, an append that the fork cut in two must not go on."""
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, self._fd, inheritable=False)
        os.close(null)


def mend(folder: Path, stream: str) -> Path | None:
    """Move a half line at the end of a stream to a file beside it; a line that lacks only its newline gets it.

    Returns:
        The path of the half line now, None if there was none.
    """
    path = folder / layout.stream_file(stream)
    try:
        file = opening.changing(path)
    except FileNotFoundError:
        return None
    with file:
        size = file.seek(0, os.SEEK_END)
        start = _end_of_last_line(file.seek, file.read, size)
        if start == size:
            return None
        file.seek(start)
        # A longer line would not fit into a writer's memory, and is still in the spool.
        if size - start <= _CHUNK_BYTES and _is_complete(file.read()):
            file.write(b"\n")
            return None
        side = layout.torn_path(folder, stream, start)
        opening.make_folders(folder, side.parent)
        file.seek(start)
        side = _copy_tail(file, side)
        # After the copy is fsynced: until then the half line stands in both, and afterwards in one.
        file.truncate(start)
        return side


def _copy_tail(file: BinaryIO, side: Path) -> Path:
    """Copy a file, from its position on, into a new one, whole or not at all; return its path, numbered if not free."""
    path = next(name for n in count() if not os.path.lexists(name := side.with_name(f"{side.name}.{n}") if n else side))
    try:
        with opening.new(path) as copy:
            while chunk := file.read(_CHUNK_BYTES):
                if chunk.count(0) < len(chunk):
                    copy.write(chunk)
                else:  # a hole, which takes no room in a log, takes none here either
                    copy.truncate(copy.seek(len(chunk), os.SEEK_CUR))
            copy.flush()
            os.fsync(copy.fileno())
    except OSError:
        with suppress(OSError):
            path.unlink()
        raise
    return path


def _end_of_last_line(seek: Callable[[int], int], read: Callable[[int], bytes], size: int) -> int:
    """Return the offset just behind the last newline."""
    end = size
    while end > 0:
        start = max(0, end - _CHUNK_BYTES)
        seek(start)
        newline = read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _is_complete(tail: bytes) -> bool:
    try:
        return isinstance(loads(tail), dict)
    except orjson.JSONDecodeError:
        return False


class Skipped(FrozenRecord):
    """Bytes of a stream that hold no event: `start` included, `end` not."""

    stream: str
    start: int
    end: int
    reason: str

    def __str__(self) -> str:
        return f"{layout.stream_file(self.stream)}, bytes {self.start} to {self.end}: {self.reason}"


class Overlong(bytes):
    """The beginning of a line that is passed over: the line is too long to read, or long and no JSON."""

    size: int
    """Bytes of the line."""


def size_of(lines: bytes) -> int:
    """Return the number of bytes that lines take in their file."""
    return lines.size if isinstance(lines, Overlong) else len(lines)


def read_lines(path: Path, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield offset and bytes of each line from `offset` on, newline included; the last may lack it; `Overlong` if too long."""
    with opening.reading(path) as file:
        file.seek(offset)
        # To call `readline` takes longer than to iterate, and no line is longer than its file.
        is_short = os.fstat(file.fileno()).st_size <= min(_SHORT, opening.LONGEST_LINE)
        for line in file if is_short else iter(partial(file.readline, _CHUNK_BYTES), b""):
            if len(line) == _CHUNK_BYTES and not line.endswith(b"\n"):
                line = whole_line(file, line)
            yield offset, line
            if not line.endswith(b"\n"):
                return  # what was appended since belongs to this line
            offset += len(line) if type(line) is bytes else size_of(line)


def read_blocks(path: Path, offset: int, size: int) -> Iterator[tuple[int, bytes]]:
    """Yield offset and bytes of blocks of whole lines (the last may end with a half line); an `Overlong` line stands alone."""
    with opening.reading(path) as file:
        while True:
            file.seek(offset + size)
            # The end first: then the block need not be copied to complete its last line.
            length = size + len(file.readline(_CHUNK_BYTES))
            file.seek(offset)
            block = file.read(length)
            if not block:
                return
            if not block.endswith(b"\n"):
                block = _ended(file, block)
            yield offset, block
            if not block.endswith(b"\n"):
                return  # what was appended since belongs to this line
            offset += size_of(block)


def _ended(file: BinaryIO, block: bytes) -> bytes:
    """Complete the last line of a block; without that line where it is long, and not alone."""
    tail = file.readline(_CHUNK_BYTES)
    if tail.endswith(b"\n") or len(tail) < _CHUNK_BYTES:
        return block + tail
    end = block.rfind(b"\n") + 1
    return block[:end] if end else whole_line(file, block + tail)


def whole_line(file: BinaryIO, line: bytes) -> bytes:
    """Read a long line to its end, from its beginning; a file that has no end costs no memory."""
    chunks, size = [line], len(line)
    may_be_read = b"\0" not in line
    while not chunks[-1].endswith(b"\n") and (chunk := file.readline(_CHUNK_BYTES)):
        size += len(chunk)
        may_be_read = may_be_read and size <= opening.LONGEST_LINE and b"\0" not in chunk
        if may_be_read:
            chunks.append(chunk)
        else:
            chunks = [line[:_BEGINNING], chunk]
            size += _pass_hole(file) if chunk.count(0) == len(chunk) else 0
    if may_be_read:
        return b"".join(chunks)
    overlong = Overlong(line[:_BEGINNING] + chunks[-1][-1:])
    overlong.size = size
    return overlong


def _pass_hole(file: BinaryIO) -> int:
    """Skip zeros that were never written, where the system reports them; return their number."""
    if not hasattr(os, "SEEK_DATA"):
        return 0
    fd, before = file.fileno(), file.tell()
    buffered = os.lseek(fd, 0, os.SEEK_CUR)
    try:
        after = os.lseek(fd, before, os.SEEK_DATA)
    except OSError as error:
        after = os.fstat(fd).st_size if error.errno == errno.ENXIO else before  # no data follow
    os.lseek(fd, buffered, os.SEEK_SET)  # the position that the buffer assumes
    file.seek(max(before, after))
    return max(before, after) - before


def lines_with(path: Path, text: bytes, block_bytes: int = _CHUNK_BYTES) -> Iterator[bytes]:
    """Yield the lines that hold a text; the others cost little more than reading them from the disk."""
    for _, block in read_blocks(path, 0, block_bytes):
        if text in block:
            yield from (line for line in block.splitlines(keepends=True) if text in line)


def read_digests(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield each line, cut off after 1 MiB, and the SHA-256 of all of it: takes little memory, however long a line is."""
    from hashlib import sha256  # `import mlv` does without OpenSSL; `mlv.digests` would ask for it line by line

    with opening.reading(path) as file:
        while line := file.readline(_CHUNK_BYTES):
            digest, chunk = sha256(line), line
            while not chunk.endswith(b"\n") and (chunk := file.readline(_CHUNK_BYTES)):
                digest.update(chunk)
            yield line, digest.digest()


def read_beginnings_from_end(path: Path) -> Iterator[bytes]:
    """Yield the first bytes of each line, the last line first: the latest lines are read without all those before."""
    with opening.reading(path, buffering=0) as file:
        end = block_start = file.seek(0, os.SEEK_END)
        block = b""
        while end > 0:
            newline = block.rfind(b"\n", 0, max(0, end - 1 - block_start))
            if newline < 0 and block_start > 0:
                block_end, block_start = block_start, max(0, block_start - _CHUNK_BYTES)
                block = os.pread(file.fileno(), block_end - block_start, block_start)
                continue
            start = block_start + newline + 1
            yield os.pread(file.fileno(), min(_BEGINNING, end - start), start)
            end = start


def whole_end(path: Path, least_bytes: int = _LEAST_FROM_END) -> int:
    """Return the offset behind the last whole line of a file."""
    return next((start + len(line) for start, line in lines_from_end(path, least_bytes=least_bytes)), 0)


def lines_from_end(path: Path, end: int | None = None, *, least_bytes: int = _LEAST_FROM_END) -> Iterator[tuple[int, bytes]]:
    """Yield offset and bytes of the whole lines of a file up to `end`, the last one first; a half line is passed over.

    `least_bytes` are read at once, more where a line is longer.
    """
    with opening.reading(path) as file:
        position = file.seek(0, os.SEEK_END) if end is None else end
        chunk_bytes, remainder, is_readable = least_bytes, b"", True
        while position > 0:
            position, block_end = max(0, position - chunk_bytes), position
            file.seek(position)
            block = file.read(block_end - position)
            if not is_readable:  # up to the end of the line before one that is too long, or holds what JSON does not
                end_of_line = block.rfind(b"\n") + 1
                if not end_of_line:
                    continue
                block, is_readable = block[:end_of_line], True
            block += remainder
            begins = block.find(b"\n") + 1 if position > 0 else 0
            if position > 0 and begins in (0, len(block)):
                is_readable = len(block) <= opening.LONGEST_LINE and b"\0" not in block
                chunk_bytes = 2 * chunk_bytes if is_readable else least_bytes  # a long line: its beginning is still to come
                remainder = block if is_readable else b""
                continue
            yield from _backwards(block[begins:], position + begins)
            remainder = block[:begins]


def stream_sizes(folder: Path, looks: int = 20) -> dict[str, int]:
    """Return the sizes of all streams at one moment; of streams that grow at every look, at almost one moment."""
    sizes = _sizes_now(folder)
    for _ in range(looks):
        if (again := _sizes_now(folder)) == sizes:
            break
        sizes = again
    return sizes


def stream_size(folder: Path, stream: str) -> int:
    """Return the size of a stream's file in bytes, 0 if it is not there."""
    try:
        return os.path.getsize(folder / layout.stream_file(stream))
    except FileNotFoundError:
        return 0


def _backwards(block: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    end = start + len(block)
    for line in reversed(BytesIO(block).readlines()):
        end -= len(line)
        if line.endswith(b"\n"):
            yield end, line


def _sizes_now(folder: Path) -> dict[str, int]:
    return {name: stream_size(folder, name) for name in layout.streams_in(folder)}
