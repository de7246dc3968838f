"""The files of a sidecar: parts in Parquet, each with the columns of one stretch of a log and the hashes of its pieces.

Beside each lies its signature, `STREAM.parquet.seen`: the SHA-256 of each group of rows and of the footer, signed with the key
of the user who wrote it. What is read is hashed before it is decoded, from the same memory: a file that is changed meanwhile
counts as damaged.
"""

from __future__ import annotations

import hashlib
import io
import os
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from mlv.encoding import loads
from mlv.query.packages import package
from mlv.query.parsing import PARSERS, Parsed, in_threads
from mlv.query.rows import schema
from mlv.store import keys, opening
from mlv.store.blobs import replace_whole, temporary_beside
from mlv.store.streams import Skipped

if TYPE_CHECKING:
    from concurrent.futures import Future

_VERSION = 2
"""Of the columns and of what is said about them: a part of another one is not read."""
_KEY = b"mlv"
_PURPOSE = "mlv sidecar"
_GROUP_ROWS = 1 << 14
"""So many rows are written, read and in memory at a time."""


@dataclass
class Known:
    """What was parsed of a log, from an offset on."""

    start: int = 0
    pieces: list[tuple[int, str]] = field(default_factory=list)
    """Length and SHA-256 of each piece."""
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def end(self) -> int:
        """Offset behind the last piece."""
        return self.start + sum(length for length, _ in self.pieces)

    @property
    def chain(self) -> str:
        """One hash for all pieces."""
        return hashlib.sha256("".join(f"{length} {digest}\n" for length, digest in self.pieces).encode()).hexdigest()

    def take(self, part: Parsed) -> None:
        """Add what was parsed next."""
        if part.end > part.start:
            self.pieces.append((part.end - part.start, part.sha256))
        # What is behind the last whole line is looked at again the next time.
        self.skipped += [hole for hole in part.skipped if hole.end <= part.end]

    def extend(self, other: Known) -> None:
        """Add what comes next."""
        self.pieces += other.pieces
        self.skipped += other.skipped


@dataclass(frozen=True)
class Part:
    """A file that holds the rows of some pieces."""

    path: Path
    known: Known
    _groups: list[int]
    """How many of the pieces each group of rows ends with."""
    _file: _SignedFile
    _metadata: Any

    def tables(self) -> Iterator[tuple[Any, Known]]:
        """The rows, and what of the log has been read with them.

        Raises:
            ValueError: The file is damaged; what was given until then is sound.
        """

        def read(group: int) -> Any:
            with self._file.window(group) as content:
                return _parquet_file(content, self._metadata).read_row_group(group, use_threads=False)

        try:
            first = 0
            for table, last in zip(in_threads(read, range(len(self._groups)), PARSERS), self._groups, strict=True):
                yield table, self._stretch(first, last)
                first = last
        except (package("pyarrow").ArrowException, OSError) as error:
            raise ValueError(str(error)) from error
        yield schema().empty_table(), self._stretch(first, len(self.known.pieces))

    def _stretch(self, first: int, last: int) -> Known:
        start = self.known.start + sum(length for length, _ in self.known.pieces[:first])
        stretch = Known(start, self.known.pieces[first:last])
        stretch.skipped = [hole for hole in self.known.skipped if start <= hole.start < stretch.end]
        return stretch


class _SignedFile:
    """A file whose every range was hashed, and the hashes signed, by the user who reads it."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            OSError: It cannot be read, or is a symbolic link, or no regular file.
            ValueError, KeyError, TypeError: It is not signed by this user.
        """
        ranges = _signed_ranges(path)
        self.ends, self._digests = [0], [digest for _, digest in ranges]
        for length, _ in ranges:
            self.ends.append(self.ends[-1] + length)
        file = opening.reading(path, buffering=0, follows=False)
        weakref.finalize(self, file.close)  # parts are read as long as somebody holds them
        self._descriptor = file.fileno()
        if os.fstat(self._descriptor).st_size != self.ends[-1]:
            raise ValueError(f"{path} is not of the size that was signed")

    def read(self, number: int) -> bytes:
        """A range of the file, as it was signed.

        Raises:
            ValueError: It is another one.
        """
        begin, end = self.ends[number % len(self._digests)], self.ends[number % len(self._digests) + 1]
        content = os.pread(self._descriptor, end - begin, begin)
        if hashlib.sha256(content).hexdigest() != self._digests[number]:
            raise ValueError(f"bytes {begin} to {end} are not those that were signed")
        return content

    def window(self, number: int) -> _Window:
        """The file, of which only one range is there."""
        return _Window(self.read(number), self.ends[number], self.ends[-1])


class _Window(io.RawIOBase):
    """A file of which only some bytes are there, in memory."""

    def __init__(self, content: bytes, begin: int, size: int) -> None:
        self._content, self._begin, self._size, self._position = memoryview(content), begin, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        return self._position

    def read(self, size: int = -1) -> bytes:
        start = self._position - self._begin
        end = len(self._content) if size < 0 else start + size
        if start < 0:
            raise ValueError("these bytes of the file are not there")
        self._position += max(0, min(end, len(self._content)) - start)
        return bytes(self._content[start:end])


def _signature_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.seen")


def _signed_ranges(path: Path) -> list[tuple[int, str]]:
    said = opening.json_content(_signature_path(path))
    if not keys.is_signed(_PURPOSE, orjson.dumps(said["ranges"]), said["signature"]):
        raise ValueError(f"{path} is not signed by this user")
    return [(int(length), str(digest)) for length, digest in said["ranges"]]


class _Sink(io.RawIOBase):
    """A new file that is hashed as it is written, range by range: what lies on the disk may be changed by others."""

    def __init__(self, path: Path) -> None:
        self._file = opening.new(path, buffering=0)
        self.ranges: list[tuple[int, str]] = []
        self._digest, self._length, self._size = hashlib.sha256(), 0, 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        count = len(rest)
        self._digest.update(rest)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._length += count
        self._size += count
        return count

    def end_range(self) -> None:
        """Let what comes next be a range of its own."""
        self.ranges.append((self._length, self._digest.hexdigest()))
        self._digest, self._length = hashlib.sha256(), 0

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def parts(place: Path, stream: str) -> list[Part]:
    """The parts in a folder, each of which goes on where the one before it ends."""
    found: list[Part] = []
    whole = Known()
    while True:
        part = None
        with suppress(OSError, ValueError, KeyError, TypeError, package("pyarrow").ArrowException):
            part = _opened(path_of(place, stream, len(found)), stream, whole)
        if part is None:
            return found
        found.append(part)
        whole.extend(part.known)


def path_of(place: Path, stream: str, number: int) -> Path:
    """Where a part lies."""
    return place / (f"{stream}.parquet.{number}" if number else f"{stream}.parquet")


def _opened(path: Path, stream: str, before: Known) -> Part | None:
    if not path.exists():
        return None
    source = _SignedFile(path)
    file = _parquet_file(io.BytesIO(source.read(-1)))  # the footer tells where all lies
    said = loads((file.metadata.metadata or {}).get(_KEY, b"null"))
    if not isinstance(said, dict) or said["version"] != _VERSION or not file.schema_arrow.equals(schema()):
        return None
    if (said["start"], said["before"]) != (before.end, before.chain) or len(said["groups"]) != file.num_row_groups:
        return None  # of a log that was another one, or of one whose earlier parts have been written anew
    known = Known(before.end, [(int(length), str(digest)) for length, digest in said["pieces"]])
    known.skipped = [Skipped(stream, start, end, reason) for start, end, reason in said["skipped"]]
    return Part(path, known, [int(count) for count in said["groups"]], source, file.metadata)


def _parquet_file(source: Any, metadata: Any = None) -> Any:
    parquet = package("pyarrow.parquet")
    return parquet.ParquetFile(source, metadata=metadata, pre_buffer=False, page_checksum_verification=True)


class PartWriter:
    """A part that is being written, in the first folder that can be; where none can, it comes to nothing.

    Rows are encoded and written in a thread of its own, one group at a time.
    """

    def __init__(self, places: Sequence[Path], stream: str, number: int, before: Known) -> None:
        from concurrent.futures import ThreadPoolExecutor  # `import mlv` does without

        self.known = Known(before.end)
        self._before, self._stream, self._number = before.chain, stream, number
        self._path, self._temporary, self._writer = Path(), Path(), None
        self._waiting: list[Any] = []
        self._groups: list[int] = []
        self._thread = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None
        for place in places:
            with suppress(OSError):
                if keys.signature(_PURPOSE, b"") is None:
                    continue  # nobody would believe it
                # Not through links, which lead where somebody else wants it, and not in an experiment that is gone.
                opening.make_folders(place.parents[1], place)
                self._path = path_of(place, stream, number)
                self._temporary = temporary_beside(self._path)
                self._sink = _Sink(self._temporary)
                # Numbers hardly shrink: to compress them takes longer than to write them.
                self._writer = package("pyarrow.parquet").ParquetWriter(
                    self._sink,
                    schema(),
                    compression="none",
                    use_dictionary=["run", "name", "at", "keys"],
                    write_statistics=False,
                    write_page_checksum=True,
                )
                return

    def write(self, tables: Sequence[Any], known: Known) -> None:
        """Add rows, and what of the log was read with them."""
        self.known.extend(known)
        self._waiting += [table for table in tables if table.num_rows]
        if sum(table.num_rows for table in self._waiting) >= _GROUP_ROWS:
            self._write_waiting()

    def publish(self) -> Path | None:
        """Put the part into its place, whole; gives the folder. Another reader's that was there is replaced."""
        if self._waiting:
            self._write_waiting()
        self._finish_writing()
        if self._writer is None:
            return None
        skipped = [(hole.start, hole.end, hole.reason) for hole in self.known.skipped]
        said = {"version": _VERSION, "start": self.known.start, "before": self._before, "groups": self._groups}
        said |= {"pieces": self.known.pieces, "skipped": skipped}
        try:
            self._writer.add_key_value_metadata({_KEY: orjson.dumps(said)})
            self._writer.close()
            self._sink.end_range()
            self._sink.close()
            ranges = self._sink.ranges
            signed = {"ranges": ranges, "signature": keys.signature(_PURPOSE, orjson.dumps(ranges))}
            replace_whole(_signature_path(self._path), orjson.dumps(signed))
            os.replace(self._temporary, self._path)
        except OSError:
            return None
        self._remove_later_parts()
        return self._path.parent

    def discard(self) -> None:
        """Remove what was not published."""
        self._thread.shutdown()
        if self._writer is not None:
            with suppress(OSError, package("pyarrow").ArrowException):
                self._writer.close()
            with suppress(OSError):
                self._sink.close()
                self._temporary.unlink()
            self._writer = None

    def _write_waiting(self) -> None:
        self._finish_writing()
        if self._writer is not None:
            table = package("pyarrow").concat_tables(self._waiting).unify_dictionaries()
            self._groups.append(len(self.known.pieces))
            self._writing = self._thread.submit(self._write_group, table)
        self._waiting = []

    def _write_group(self, table: Any) -> None:
        assert self._writer is not None
        self._writer.write_table(table, row_group_size=table.num_rows)
        self._sink.end_range()

    def _finish_writing(self) -> None:
        if self._writing is not None:
            try:
                self._writing.result()
            except OSError:  # the disk is full
                self._writing = None
                self.discard()
        self._writing = None

    def _remove_later_parts(self) -> None:
        number = self._number + 1
        with suppress(OSError):
            while (path := path_of(self._path.parent, self._stream, number)).exists():
                path.unlink()
                _signature_path(path).unlink(missing_ok=True)
                number += 1
