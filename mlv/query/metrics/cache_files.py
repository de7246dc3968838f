"""The files of a sidecar: parts, each with the columns of one range of a log and the fingerprints of its blocks.

A part is a sequence of groups, each an Arrow IPC stream of some thousand rows, and behind them a JSON object that lists the
offsets of the groups, their SHA-256, and the range of the log that they hold. The last eight bytes are the length of that
object, which is signed with the key of the user who wrote it. Bytes are hashed before they are decoded, in the same memory: a
file that is changed meanwhile counts as damaged.
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
"""Version of the cache files; parts of another version are ignored."""
_PURPOSE = "mlv sidecar"
GROUP_ROWS = 1 << 14
"""Rows that are written, read and in memory at a time."""
_LENGTH_BYTES = 8
_LONGEST_END = 64 << 20
"""Most bytes of the object at the end of a part: enough for a log of 500 GB."""


@dataclass
class ParsedRange:
    """A range of a log that was parsed, from an offset on."""

    start: int = 0
    blocks: list[tuple[int, str]] = field(default_factory=list)
    """Length and fingerprint of each block."""
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def end(self) -> int:
        """Offset behind the last block."""
        return self.start + sum(length for length, _ in self.blocks)

    @property
    def chain(self) -> str:
        """One hash for all blocks."""
        return hashlib.sha256("".join(f"{length} {digest}\n" for length, digest in self.blocks).encode()).hexdigest()

    def take(self, parsed: Parsed) -> None:
        """Add the block that was parsed next."""
        if parsed.end > parsed.start:
            self.blocks.append((parsed.end - parsed.start, parsed.fingerprint))
        # Bytes behind the last whole line are read again the next time.
        self.skipped += [hole for hole in parsed.skipped if hole.end <= parsed.end]

    def extend(self, following: ParsedRange) -> None:
        """Add the range that follows."""
        self.blocks += following.blocks
        self.skipped += following.skipped


@dataclass(frozen=True)
class _Group:
    """Some rows in a part."""

    offset: int
    size: int
    sha256: str
    blocks: int
    """Number of the part's blocks that end before the group does."""


class CachePart:
    """A file that holds the rows of some blocks."""

    def __init__(self, path: Path, stream: str, before: ParsedRange) -> None:
        """Open the file.

        Raises:
            OSError: It cannot be read, or is a symbolic link, or no regular file.
            ValueError, KeyError, TypeError: It is not signed by this user, or does not follow the range before it.
        """
        self.path = path
        file = opening.reading(path, buffering=0, follows=False)
        weakref.finalize(self, file.close)  # parts are read as long as somebody holds them
        self._descriptor = file.fileno()
        content = _signed_content(self._descriptor, path)
        if (content["version"], content["start"], content["before"]) != (_VERSION, before.end, before.chain):
            raise ValueError(f"{path} is of another version, of another log, or follows on parts that were written anew")
        self._groups = [_Group(*group) for group in content["groups"]]
        self.covered = ParsedRange(before.end, [(int(length), str(digest)) for length, digest in content["pieces"]])
        self.covered.skipped = [Skipped(stream, start, end, reason) for start, end, reason in content["skipped"]]

    def tables(self) -> Iterator[tuple[Any, ParsedRange]]:
        """Yield tables of rows, each with the range of the log that it completes.

        Raises:
            ValueError: The file is damaged; the tables until then are sound.
        """
        try:
            first = 0
            for table, group in zip(in_threads(self._rows, self._groups, PARSERS), self._groups, strict=True):
                yield table, self._range(first, group.blocks)
                first = group.blocks
        except (package("pyarrow").ArrowException, OSError) as error:
            raise ValueError(str(error)) from error
        yield schema().empty_table(), self._range(first, len(self.covered.blocks))

    def _rows(self, group: _Group) -> Any:
        """Return the rows of a group.

        Raises:
            ValueError: The bytes are not those that were signed.
        """
        pa = package("pyarrow")
        content = pa.allocate_buffer(group.size)  # the pool has memory that was used before, which `os.pread` has not
        count = os.preadv(self._descriptor, [content], group.offset)
        if count != group.size or hashlib.sha256(content).hexdigest() != group.sha256:
            raise ValueError(f"{self.path}: {group.size} bytes at {group.offset} are not those that were signed")
        return _decoded(content)

    def _range(self, first: int, last: int) -> ParsedRange:
        start = self.covered.start + sum(length for length, _ in self.covered.blocks[:first])
        stretch = ParsedRange(start, self.covered.blocks[first:last])
        stretch.skipped = [hole for hole in self.covered.skipped if start <= hole.start < stretch.end]
        return stretch


def _signed_content(descriptor: int, path: Path) -> Any:
    """Return the signed object at the end of a part.

    Raises:
        OSError: It cannot be read.
        ValueError, KeyError, TypeError: There is none that this user has signed.
    """
    end = os.fstat(descriptor).st_size - _LENGTH_BYTES
    length = int.from_bytes(os.pread(descriptor, _LENGTH_BYTES, max(0, end)), "little")
    if not 0 < length <= min(end, _LONGEST_END):
        raise ValueError(f"{path} is cut off")
    document = loads(os.pread(descriptor, length, end - length))
    if not keys.is_signed(_PURPOSE, orjson.dumps(document["content"]), document["signature"]):
        raise ValueError(f"{path} is not signed by this user")
    return document["content"]


def _encoded(table: Any) -> Any:
    """Encode a group of rows; a column that repeats one value is stored as that value.

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
    """Decode the table that `_encoded` encoded."""
    pa = package("pyarrow")
    table = package("pyarrow.ipc").open_stream(content).read_all()
    constants = {name.decode(): value[1:].decode() if value else None for name, value in (table.schema.metadata or {}).items()}
    columns = [constant(name, constants[name], table.num_rows) if name in constants else table[name] for name in schema().names]
    return pa.Table.from_arrays(columns, schema=schema())


def _is_one_value(column: Any) -> bool:
    """Return whether a column repeats one value, or holds none, as far as a quick look at it shows."""
    if column.null_count == len(column):
        return True
    is_word = package("pyarrow").types.is_dictionary(column.type)
    return is_word and not column.null_count and len(column.chunk(0).dictionary) == 1


def _value(column: Any) -> bytes:
    """Return the value that a column repeats, behind `=`; nothing if it holds none."""
    value = column[0].as_py()
    return b"" if value is None else b"=" + value.encode()


def read_parts(folder: Path, stream: str) -> list[CachePart]:
    """Open the parts in a folder, each of which begins where the one before it ends."""
    cached_parts: list[CachePart] = []
    covered = ParsedRange()
    while True:
        try:
            cached = CachePart(path_of(folder, stream, len(cached_parts)), stream, covered)
        except (OSError, ValueError, KeyError, TypeError):
            return cached_parts
        cached_parts.append(cached)
        covered.extend(cached.covered)


def path_of(folder: Path, stream: str, number: int) -> Path:
    """Return the path of a part."""
    return folder / (f"{stream}.arrow.{number}" if number else f"{stream}.arrow")


class PartWriter:
    """Writes a part into the first writable folder; where none is writable, nothing is written.

    Rows are encoded, hashed and written in a thread of its own, one group at a time. They are hashed in memory: others may
    change the bytes on the disk.
    """

    def __init__(
        self, folders: Sequence[Path], stream: str, number: int, before: ParsedRange, group_rows: int = GROUP_ROWS
    ) -> None:
        from concurrent.futures import ThreadPoolExecutor  # `import mlv` does without

        self.covered = ParsedRange(before.end)
        self._before, self._stream, self._number, self._group_rows = before.chain, stream, number, group_rows
        self._path, self._temporary = Path(), Path()
        self._file: Any = None
        self._waiting: list[Any] = []
        self._groups: list[_Group] = []
        self._thread = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None
        for folder in folders:
            with suppress(OSError):
                if keys.signature(_PURPOSE, b"") is None:
                    continue  # an unsigned part would never be used
                # Not through links, which lead where somebody else wants it, and not in an experiment that is gone.
                opening.make_folders(folder.parents[1], folder)
                self._path = path_of(folder, stream, number)
                self._temporary = temporary_beside(self._path)
                self._file = opening.new(self._temporary, buffering=0)
                return

    @property
    def folder(self) -> Path | None:
        """Folder of the part; None if none is written."""
        return self._path.parent if self._file is not None else None

    def write(self, tables: Sequence[Any], covered: ParsedRange) -> None:
        """Add rows, and the range of the log that they complete."""
        self.covered.extend(covered)
        self._waiting += [table for table in tables if table.num_rows]
        if sum(table.num_rows for table in self._waiting) >= self._group_rows:
            self._write_waiting()

    def publish(self) -> Path | None:
        """Rename the finished part to its path, and return the folder; None if it could not be written.

        A part of another reader is replaced.
        """
        if self._waiting:
            self._write_waiting()
        self._finish_writing()
        if self._file is None:
            return None
        try:
            self._write_all(self._signed_content())
            self._file.close()
            # Readers of the part that was there go on with it: they have it open.
            os.replace(self._temporary, self._path)
        except OSError:
            return None
        # After the replacement: they followed on the one that is gone, and count as of another log meanwhile.
        self._remove_later_parts()
        return self._path.parent

    def discard(self) -> None:
        """Remove the part, if it was not published."""
        self._thread.shutdown()
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
                self._temporary.unlink()
            self._file = None

    def _signed_content(self) -> bytes:
        """Return the object that follows the groups, signed, and its length."""
        groups = [(group.offset, group.size, group.sha256, group.blocks) for group in self._groups]
        skipped = [(hole.start, hole.end, hole.reason) for hole in self.covered.skipped]
        content = {"version": _VERSION, "start": self.covered.start, "before": self._before, "groups": groups}
        content |= {"pieces": self.covered.blocks, "skipped": skipped}
        document = orjson.dumps({"content": content, "signature": keys.signature(_PURPOSE, orjson.dumps(content))})
        return document + len(document).to_bytes(_LENGTH_BYTES, "little")

    def _write_waiting(self) -> None:
        self._finish_writing()
        if self._file is not None:
            table = package("pyarrow").concat_tables(self._waiting).unify_dictionaries()
            self._writing = self._thread.submit(self._write_group, table, len(self.covered.blocks))
        self._waiting = []

    def _write_group(self, table: Any, block_count: int) -> None:
        # Hashed from memory, not from the file, which others may change between the two.
        content = memoryview(_encoded(table))
        offset = self._groups[-1].offset + self._groups[-1].size if self._groups else 0
        self._write_all(content)
        self._groups.append(_Group(offset, len(content), hashlib.sha256(content).hexdigest(), block_count))

    def _write_all(self, content: bytes | memoryview) -> None:
        remaining = memoryview(content)
        while remaining:
            remaining = remaining[self._file.write(remaining) :]

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
