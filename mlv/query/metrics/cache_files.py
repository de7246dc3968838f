"""The files of a sidecar: parts, each with the columns of one stretch of a log and the fingerprints of its pieces.

A part is a row of groups, each an Arrow IPC stream of some thousand rows, and behind them a JSON object that tells where the
groups lie, their SHA-256, and what of the log they hold; its last eight bytes are the length of that object. It is signed with
the key of the user who wrote it. What is read is hashed before it is decoded, in the same memory: a file that is changed
meanwhile counts as damaged.
"""

from __future__ import annotations

import hashlib
import os
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from mlv.encoding import loads
from mlv.optional import package
from mlv.query.metrics.parse import PARSERS, Parsed, in_threads
from mlv.query.metrics.schema import constant, schema
from mlv.store import keys, opening
from mlv.store.blobs import temporary_beside
from mlv.store.streams import Skipped

if TYPE_CHECKING:
    from concurrent.futures import Future

_VERSION = 3
"""Of the columns and of what is said about them: a part of another one is not read."""
_PURPOSE = "mlv sidecar"
_GROUP_ROWS = 1 << 14
"""So many rows are written, read and in memory at a time."""
_LENGTH_BYTES = 8
_LONGEST_END = 64 << 20
"""Bytes of the object at the end of a part that are read: enough for a log of 500 GB."""


@dataclass
class Known:
    """What was parsed of a log, from an offset on."""

    start: int = 0
    pieces: list[tuple[int, str]] = field(default_factory=list)
    """Length and fingerprint of each piece."""
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
            self.pieces.append((part.end - part.start, part.fingerprint))
        # What is behind the last whole line is looked at again the next time.
        self.skipped += [hole for hole in part.skipped if hole.end <= part.end]

    def extend(self, other: Known) -> None:
        """Add what comes next."""
        self.pieces += other.pieces
        self.skipped += other.skipped


@dataclass(frozen=True)
class _Group:
    """Some rows in a part."""

    offset: int
    size: int
    sha256: str
    pieces: int
    """How many of the pieces of the part end before it does."""


class CachePart:
    """A file that holds the rows of some pieces."""

    def __init__(self, path: Path, stream: str, before: Known) -> None:
        """Open it.

        Raises:
            OSError: It cannot be read, or is a symbolic link, or no regular file.
            ValueError, KeyError, TypeError: It is not signed by this user, or does not follow on what is before.
        """
        self.path = path
        file = opening.reading(path, buffering=0, follows=False)
        weakref.finalize(self, file.close)  # parts are read as long as somebody holds them
        self._descriptor = file.fileno()
        content = _signed_content(self._descriptor, path)
        if (content["version"], content["start"], content["before"]) != (_VERSION, before.end, before.chain):
            raise ValueError(f"{path} is of another version, of another log, or follows on parts that were written anew")
        self._groups = [_Group(*group) for group in content["groups"]]
        self.known = Known(before.end, [(int(length), str(digest)) for length, digest in content["pieces"]])
        self.known.skipped = [Skipped(stream, start, end, reason) for start, end, reason in content["skipped"]]

    def tables(self) -> Iterator[tuple[Any, Known]]:
        """The rows, and what of the log has been read with them.

        Raises:
            ValueError: The file is damaged; what was given until then is sound.
        """
        try:
            first = 0
            for table, group in zip(in_threads(self._rows, self._groups, PARSERS), self._groups, strict=True):
                yield table, self._stretch(first, group.pieces)
                first = group.pieces
        except (package("pyarrow").ArrowException, OSError) as error:
            raise ValueError(str(error)) from error
        yield schema().empty_table(), self._stretch(first, len(self.known.pieces))

    def _rows(self, group: _Group) -> Any:
        """The rows of a group.

        Raises:
            ValueError: It is not as it was signed.
        """
        pa = package("pyarrow")
        content = pa.allocate_buffer(group.size)  # the pool has memory that was used before, which `os.pread` has not
        count = os.preadv(self._descriptor, [content], group.offset)
        if count != group.size or hashlib.sha256(content).hexdigest() != group.sha256:
            raise ValueError(f"{self.path}: {group.size} bytes at {group.offset} are not those that were signed")
        return _decoded(content)

    def _stretch(self, first: int, last: int) -> Known:
        start = self.known.start + sum(length for length, _ in self.known.pieces[:first])
        stretch = Known(start, self.known.pieces[first:last])
        stretch.skipped = [hole for hole in self.known.skipped if start <= hole.start < stretch.end]
        return stretch


def _signed_content(descriptor: int, path: Path) -> Any:
    """The object at the end of a part.

    Raises:
        OSError: It cannot be read.
        ValueError, KeyError, TypeError: There is none that this user has signed.
    """
    end = os.fstat(descriptor).st_size - _LENGTH_BYTES
    length = int.from_bytes(os.pread(descriptor, _LENGTH_BYTES, max(0, end)), "little")
    if not 0 < length <= min(end, _LONGEST_END):
        raise ValueError(f"{path} is cut off")
    said = loads(os.pread(descriptor, length, end - length))
    if not keys.is_signed(_PURPOSE, orjson.dumps(said["content"]), said["signature"]):
        raise ValueError(f"{path} is not signed by this user")
    return said["content"]


def _encoded(table: Any) -> Any:
    """A group of rows as bytes: columns in which one value is repeated are kept as that value.

    With numbers as they lie in memory, a million rows take 25 ms to write and 5 ms to read; Parquet takes 230 and 80.
    """
    pa = package("pyarrow")
    constants = {name: _value(table[name]) for name in table.column_names if _is_one_value(table[name])}
    varying = table.drop_columns(list(constants)).replace_schema_metadata(constants)
    sink = pa.BufferOutputStream()
    with package("pyarrow.ipc").new_stream(sink, varying.schema) as writer:
        writer.write_table(varying)
    return sink.getvalue()


def _decoded(content: Any) -> Any:
    """The table that `_encoded` was given."""
    pa = package("pyarrow")
    table = package("pyarrow.ipc").open_stream(content).read_all()
    constants = {name.decode(): value[1:].decode() if value else None for name, value in (table.schema.metadata or {}).items()}
    columns = [constant(name, constants[name], table.num_rows) if name in constants else table[name] for name in schema().names]
    return pa.Table.from_arrays(columns, schema=schema())


def _is_one_value(column: Any) -> bool:
    """Whether a column is seen at once to repeat one value, or to hold none."""
    if column.null_count == len(column):
        return True
    is_word = package("pyarrow").types.is_dictionary(column.type)
    return is_word and not column.null_count and len(column.chunk(0).dictionary) == 1


def _value(column: Any) -> bytes:
    """The value that a column repeats, behind a sign; nothing if it holds none."""
    value = column[0].as_py()
    return b"" if value is None else b"=" + value.encode()


def parts(place: Path, stream: str) -> list[CachePart]:
    """The parts in a folder, each of which goes on where the one before it ends."""
    found: list[CachePart] = []
    whole = Known()
    while True:
        try:
            part = CachePart(path_of(place, stream, len(found)), stream, whole)
        except (OSError, ValueError, KeyError, TypeError):
            return found
        found.append(part)
        whole.extend(part.known)


def path_of(place: Path, stream: str, number: int) -> Path:
    """Where a part lies."""
    return place / (f"{stream}.arrow.{number}" if number else f"{stream}.arrow")


class PartWriter:
    """A part that is being written, in the first folder that can be; where none can, it comes to nothing.

    Rows are encoded, hashed and written in a thread of its own, one group at a time: what lies on the disk may be changed by
    others.
    """

    def __init__(self, places: Sequence[Path], stream: str, number: int, before: Known) -> None:
        from concurrent.futures import ThreadPoolExecutor  # `import mlv` does without

        self.known = Known(before.end)
        self._before, self._stream, self._number = before.chain, stream, number
        self._path, self._temporary = Path(), Path()
        self._file: Any = None
        self._waiting: list[Any] = []
        self._groups: list[_Group] = []
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
                self._file = opening.new(self._temporary, buffering=0)
                return

    @property
    def folder(self) -> Path | None:
        """Where the part will lie; None if it comes to nothing."""
        return self._path.parent if self._file is not None else None

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
        if self._file is None:
            return None
        try:
            self._write_all(self._signed_content())
            self._file.close()
            os.replace(self._temporary, self._path)
        except OSError:
            return None
        self._remove_later_parts()
        return self._path.parent

    def discard(self) -> None:
        """Remove what was not published."""
        self._thread.shutdown()
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
                self._temporary.unlink()
            self._file = None

    def _signed_content(self) -> bytes:
        """What stands behind the groups."""
        groups = [(group.offset, group.size, group.sha256, group.pieces) for group in self._groups]
        skipped = [(hole.start, hole.end, hole.reason) for hole in self.known.skipped]
        content = {"version": _VERSION, "start": self.known.start, "before": self._before, "groups": groups}
        content |= {"pieces": self.known.pieces, "skipped": skipped}
        said = orjson.dumps({"content": content, "signature": keys.signature(_PURPOSE, orjson.dumps(content))})
        return said + len(said).to_bytes(_LENGTH_BYTES, "little")

    def _write_waiting(self) -> None:
        self._finish_writing()
        if self._file is not None:
            table = package("pyarrow").concat_tables(self._waiting).unify_dictionaries()
            self._writing = self._thread.submit(self._write_group, table, len(self.known.pieces))
        self._waiting = []

    def _write_group(self, table: Any, pieces: int) -> None:
        content = memoryview(_encoded(table))
        offset = self._groups[-1].offset + self._groups[-1].size if self._groups else 0
        self._write_all(content)
        self._groups.append(_Group(offset, len(content), hashlib.sha256(content).hexdigest(), pieces))

    def _write_all(self, content: bytes | memoryview) -> None:
        left = memoryview(content)
        while left:
            left = left[self._file.write(left) :]

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
                number += 1
