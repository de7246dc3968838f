"""Streams: appending whole lines, mending torn tails, and reading what can be read."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import BinaryIO

import orjson

from mlv.encoding import loads
from mlv.frozen import FrozenRecord
from mlv.protocols import FileLayer
from mlv.store import layout, opening
from mlv.store.files import sync_folder

_PIECE = 1 << 20
_BEGINNING = 256
_SHORT = 64 << 20
"""Files up to this size in bytes are gone through without a look at how long their lines are."""


class SystemFiles:
    """The real system calls."""

    def open(self, path: str, flags: int) -> int:
        """As `os.open`; new files honour the umask."""
        return opening.writing(path, flags)

    write = staticmethod(os.write)
    fsync = staticmethod(os.fsync)
    truncate = staticmethod(os.ftruncate)
    close = staticmethod(os.close)

    def size(self, fd: int) -> int:
        """Size of the open file in bytes."""
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
        except BaseException:
            self._files.close(self._fd)
            raise
        self._torn = False
        self._is_dirty = True  # a writer that died may have left lines here that it had not synced
        if is_new:
            sync_folder(folder)

    def append(self, lines: bytes) -> None:
        """Add whole lines.

        Raises:
            OSError: Not all could be written; those that were are taken back, now or before the next append.
        """
        self.take_back()
        self._torn = True
        try:
            self._write(lines)
        except OSError:
            with suppress(OSError):
                self.take_back()
            raise
        self._torn = False
        self.size += len(lines)

    def append_pieces(self, pieces: Iterator[bytes]) -> None:
        """Add one line that comes in pieces; as `append`."""
        self.take_back()
        self._torn = True
        total = 0
        try:
            for piece in pieces:
                self._write(piece)
                total += len(piece)
        except OSError:
            with suppress(OSError):
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
        """Remove what an append that failed has left.

        Raises:
            OSError: It is still there.
        """
        if self._torn:
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
        """Whether the file has no name any more."""
        return os.fstat(self._fd).st_nlink == 0

    def abandon(self) -> None:
        """In a forked child: let an append that the fork cut in two go on into nothing."""
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, self._fd, inheritable=False)
        os.close(null)


def mend(folder: Path, stream: str) -> Path | None:
    """Move a half line at the end of a stream to a file beside it; a line that lacks only its newline gets it.

    Returns:
        Where the half line lies now, None if there was none.
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
        # A longer one would not fit into a writer's memory; what a writer left of it is still in the spool.
        if size - start <= _PIECE and _is_complete(file.read()):
            file.write(b"\n")
            return None
        side = layout.torn_path(folder, stream, start)
        opening.make_folders(folder, side.parent)
        file.seek(start)
        side = _kept(file, side)
        file.truncate(start)
        return side


def _kept(file: BinaryIO, side: Path) -> Path:
    """Copy the rest of a file into a new one, whole or not at all; gives its path, numbered where that is taken."""
    path = next(name for n in count() if not os.path.lexists(name := side.with_name(f"{side.name}.{n}") if n else side))
    try:
        with opening.new(path) as kept:
            while piece := file.read(_PIECE):
                if piece.count(0) < len(piece):
                    kept.write(piece)
                else:  # what takes no room in a log takes none here either
                    kept.truncate(kept.seek(len(piece), os.SEEK_CUR))
            kept.flush()
            os.fsync(kept.fileno())
    except OSError:
        with suppress(OSError):
            path.unlink()
        raise
    return path


def _end_of_last_line(seek: Callable[[int], int], read: Callable[[int], bytes], size: int) -> int:
    """Offset just behind the last newline."""
    end = size
    while end > 0:
        start = max(0, end - _PIECE)
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
    """The beginning of a line that is passed over: it is longer than what is read, or long and no JSON."""

    size: int
    """Bytes of the line."""


def size_of(lines: bytes) -> int:
    """Bytes that lines take in their file."""
    return lines.size if isinstance(lines, Overlong) else len(lines)


def read_lines(path: Path, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes of each line from `offset` on, newline included; the last one may lack it, one may be `Overlong`."""
    with opening.reading(path) as file:
        file.seek(offset)
        # To ask for each line takes longer than to go through them, and no line is longer than its file.
        is_short = os.fstat(file.fileno()).st_size <= min(_SHORT, opening.LONGEST_LINE)
        for line in file if is_short else iter(partial(file.readline, _PIECE), b""):
            if len(line) == _PIECE and not line.endswith(b"\n"):
                line = whole_line(file, line)
            yield offset, line
            if not line.endswith(b"\n"):
                return  # what was appended since belongs to this line
            offset += len(line) if type(line) is bytes else size_of(line)


def read_blocks(path: Path, offset: int, size: int) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes of pieces that end with whole lines, but for the last one; an `Overlong` line stands alone."""
    with opening.reading(path) as file:
        while True:
            file.seek(offset + size)
            # The end first: then the block need not be copied to add the rest of its last line.
            length = size + len(file.readline(_PIECE))
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
    """A block with the rest of its last line; without that line where it is long, and not alone."""
    rest = file.readline(_PIECE)
    if rest.endswith(b"\n") or len(rest) < _PIECE:
        return block + rest
    end = block.rfind(b"\n") + 1
    return block[:end] if end else whole_line(file, block + rest)


def whole_line(file: BinaryIO, line: bytes) -> bytes:
    """The rest of a long line of which the beginning was read; a file that has no end costs no memory."""
    pieces, size = [line], len(line)
    may_be_read = b"\0" not in line
    while not pieces[-1].endswith(b"\n") and (piece := file.readline(_PIECE)):
        size += len(piece)
        may_be_read = may_be_read and size <= opening.LONGEST_LINE and b"\0" not in piece
        if may_be_read:
            pieces.append(piece)
        else:
            pieces = [line[:_BEGINNING], piece]
            size += _pass_hole(file) if piece.count(0) == len(piece) else 0
    if may_be_read:
        return b"".join(pieces)
    overlong = Overlong(line[:_BEGINNING] + pieces[-1][-1:])
    overlong.size = size
    return overlong


def _pass_hole(file: BinaryIO) -> int:
    """Go on behind zeros that were never written, where the system tells of them; gives their number."""
    if not hasattr(os, "SEEK_DATA"):
        return 0
    fd, before = file.fileno(), file.tell()
    buffered = os.lseek(fd, 0, os.SEEK_CUR)
    try:
        after = os.lseek(fd, before, os.SEEK_DATA)
    except OSError as error:
        after = os.fstat(fd).st_size if error.errno == errno.ENXIO else before  # no data follow
    os.lseek(fd, buffered, os.SEEK_SET)  # where the buffer believes it to be
    file.seek(max(before, after))
    return max(before, after) - before


def lines_with(path: Path, text: bytes) -> Iterator[bytes]:
    """The lines that hold a text; those that do not cost little more than reading them from the disk."""
    for _, block in read_blocks(path, 0, _PIECE):
        if text in block:
            yield from (line for line in block.splitlines(keepends=True) if text in line)


def read_digests(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Each line, cut off after 1 MiB, and the SHA-256 of all of it: takes little memory, however long a line is."""
    from hashlib import sha256  # `import mlv` does without OpenSSL; `mlv.digests` would ask for it line by line

    with opening.reading(path) as file:
        while line := file.readline(_PIECE):
            digest, piece = sha256(line), line
            while not piece.endswith(b"\n") and (piece := file.readline(_PIECE)):
                digest.update(piece)
            yield line, digest.digest()


def read_beginnings_from_end(path: Path) -> Iterator[bytes]:
    """The first bytes of each line, the last line first: what came last is found without reading all that came before."""
    with opening.reading(path, buffering=0) as file:
        end = block_start = file.seek(0, os.SEEK_END)
        block = b""
        while end > 0:
            newline = block.rfind(b"\n", 0, max(0, end - 1 - block_start))
            if newline < 0 and block_start > 0:
                block_end, block_start = block_start, max(0, block_start - _PIECE)
                block = os.pread(file.fileno(), block_end - block_start, block_start)
                continue
            start = block_start + newline + 1
            yield os.pread(file.fileno(), min(_BEGINNING, end - start), start)
            end = start
