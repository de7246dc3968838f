"""The columnar sidecar of a stream: what was parsed of it once, in Parquet, so that only the rest is parsed again.

`.mlv/cache/STREAM.parquet` in the experiment holds the columns of the log's first bytes, and in its metadata the SHA-256 of
each piece of these. Where the experiment cannot be written, the folder is `$XDG_CACHE_HOME/mlv/ID`. Both may be deleted
at any time.

The log decides: its pieces are hashed again before the sidecar is believed. Only a file that has provably not been written
since they were last hashed is spared this: `STREAM.seen` keeps its inode, size and times. Nobody can set the time of change
(`ctime`) of a file, and one that is too recent for the next change to show is not kept.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from mlv.query.packages import package
from mlv.query.parsing import Parsed, in_threads, parse
from mlv.query.rows import schema
from mlv.store import layout
from mlv.store.streams import Skipped

_VERSION = 1
"""Of the sidecar's columns: another one is not read."""
_WORTH_BYTES = 1 << 20
"""A shorter log is parsed faster than a second file is opened."""
_SHARE = 16
"""The sidecar is written anew when the rest is longer than this part of it: so a log that grows costs O(new bytes)."""
_SETTLED_NS = 2_000_000_000
"""A change within the same tick of a file system's clock leaves the times as they are; that of the coarsest is 2 s."""
_KEY = b"mlv"


@dataclass
class Lines:
    """The lines of type `metrics` of one stream."""

    tables: list[Any] = field(default_factory=list)
    """Tables of `parsing.schema()`."""
    skipped: list[Skipped] = field(default_factory=list)


@dataclass
class _Known:
    """What a sidecar says of the log."""

    pieces: list[tuple[int, str]] = field(default_factory=list)
    """Length and SHA-256 of each piece, from the beginning of the log on."""
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def end(self) -> int:
        return sum(length for length, _ in self.pieces)

    @property
    def chain(self) -> str:
        """One hash for all pieces."""
        return hashlib.sha256("".join(f"{length} {digest}\n" for length, digest in self.pieces).encode()).hexdigest()

    def add(self, part: Parsed) -> None:
        if part.end > part.start:
            self.pieces.append((part.end - part.start, part.sha256))
        # What is behind the last whole line is looked at again the next time.
        self.skipped += [hole for hole in part.skipped if hole.end <= part.end]


def read(folder: Path, stream: str) -> Lines:
    """The lines of type `metrics` of a stream; parses what the sidecar lacks, and writes the sidecar where that is worth it."""
    before = _stamp(folder, stream)
    place, known, table = _believed(folder, stream, before)
    result = Lines([table] if table is not None else [], list(known.skipped))
    is_worth = (before[1] if before else 0) - known.end > max(_WORTH_BYTES, known.end // _SHARE)
    sidecar = _Sidecar(folder, stream, result.tables) if is_worth else None
    try:
        for part in parse(folder, stream, known.end):
            known.add(part)
            result.tables += [*part.tables, *part.unended]
            result.skipped += part.skipped
            if sidecar is not None:
                sidecar.write(part.tables)
        if sidecar is not None:
            place = sidecar.publish(known)
    finally:
        if sidecar is not None:
            sidecar.discard()
    if sidecar is not None and place is not None:
        _note_seen(place, stream, known.chain, before, _stamp(folder, stream))
    return result


def places(folder: Path) -> Iterator[Path]:
    """The folders where sidecars of an experiment may lie, the first one first."""
    yield folder / layout.HOUSEKEEPING / "cache"
    around = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if found := layout.exp_id(folder):
        yield Path(around, "mlv", found)


_Stamp = tuple[int, ...]


def _stamp(folder: Path, stream: str) -> _Stamp | None:
    """What changes with every change of a file; None if it is gone."""
    try:
        found = os.stat(folder / layout.stream_file(stream))
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_dev


def _believed(folder: Path, stream: str, stamp: _Stamp | None) -> tuple[Path | None, _Known, Any]:
    """Place and content of a sidecar whose pieces are those of the log; nothing, if there is none."""
    from concurrent.futures import ThreadPoolExecutor  # `import mlv` does without

    if stamp is None or stamp[1] <= _WORTH_BYTES:
        return None, _Known(), None
    for place in places(folder):
        with suppress(OSError, ValueError, KeyError, TypeError):
            found = _opened(place / f"{stream}.parquet", stream)
            if found is None:
                continue
            known, file = found
            if _is_seen(place, stream, known.chain, stamp):
                return place, known, _columns(file)
            from concurrent.futures import ThreadPoolExecutor  # what `import mlv` need not pay for

            with ThreadPoolExecutor(1) as pool:
                reading = pool.submit(_columns, file)
                is_unchanged = _is_unchanged(folder, stream, known)
            if is_unchanged:
                table = reading.result()
                _note_seen(place, stream, known.chain, stamp, _stamp(folder, stream))
                return place, known, table
    return None, _Known(), None


def _opened(path: Path, stream: str) -> tuple[_Known, Any] | None:
    pa, parquet = package("pyarrow"), package("pyarrow.parquet")
    if not path.exists():
        return None
    try:
        file = parquet.ParquetFile(path, pre_buffer=False, page_checksum_verification=True)
    except pa.ArrowException:
        return None  # cut off, or none of ours
    said = orjson.loads((file.metadata.metadata or {}).get(_KEY, b"null"))
    if not isinstance(said, dict) or said["version"] != _VERSION or not file.schema_arrow.equals(schema()):
        return None
    pieces = [(int(length), str(digest)) for length, digest in said["pieces"]]
    return _Known(pieces, [Skipped(stream, start, end, reason) for start, end, reason in said["skipped"]]), file


def _columns(file: Any) -> Any:
    """All rows.

    Raises:
        ValueError: The file is damaged.
    """
    try:
        return file.read()
    except package("pyarrow").ArrowException as error:
        raise ValueError(str(error)) from error


def _is_unchanged(folder: Path, stream: str, known: _Known) -> bool:
    """Whether the log still begins with the pieces that were parsed."""
    offsets = [0]
    for length, _ in known.pieces:
        offsets.append(offsets[-1] + length)
    longest = max((length for length, _ in known.pieces), default=0)
    of_thread = threading.local()
    with open(folder / layout.stream_file(stream), "rb", buffering=0) as file:

        def is_same(piece: tuple[int, tuple[int, str]]) -> bool:
            offset, (length, digest) = piece
            if not hasattr(of_thread, "memory"):  # new memory for each piece would cost as much as the hash
                of_thread.memory = bytearray(longest)
            found = memoryview(of_thread.memory)[:length]
            return os.preadv(file.fileno(), [found], offset) == length and hashlib.sha256(found).hexdigest() == digest

        return all(in_threads(is_same, zip(offsets, known.pieces, strict=False)))


def _is_seen(place: Path, stream: str, chain: str, stamp: _Stamp) -> bool:
    with suppress(OSError, ValueError):
        said = orjson.loads((place / f"{stream}.seen").read_bytes())
        return bool(said == {"sidecar": chain, "log": list(stamp)})
    return False


def _note_seen(place: Path, stream: str, chain: str, before: _Stamp | None, after: _Stamp | None) -> None:
    """Keep that the log was hashed as it is, if its next change is sure to show."""
    # Windows calls the time of creation `ctime`.
    is_settled = before is not None and time.time_ns() - max(before[2:4]) > _SETTLED_NS
    if os.name == "posix" and is_settled and before == after:
        with suppress(OSError):
            _replace(place / f"{stream}.seen", orjson.dumps({"sidecar": chain, "log": before}))


def _replace(path: Path, content: bytes) -> None:
    temporary = _temporary_beside(path)
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink()


def _temporary_beside(path: Path) -> Path:
    return path.with_name(f"{layout.TEMPORARY}{secrets.token_hex(6)}-{path.name}")


class _Sidecar:
    """A sidecar that is being written, in the first place that can be; where none can, it comes to nothing."""

    def __init__(self, folder: Path, stream: str, tables: list[Any]) -> None:
        self._path, self._temporary, self._writer = Path(), Path(), None
        for place in places(folder):
            with suppress(OSError):
                place.mkdir(parents=True, exist_ok=True)
                self._path = place / f"{stream}.parquet"
                self._temporary = _temporary_beside(self._path)
                # Numbers hardly shrink: to compress them takes longer than to write them.
                self._writer = package("pyarrow.parquet").ParquetWriter(
                    self._temporary,
                    schema(),
                    compression="none",
                    use_dictionary=["run", "name", "at", "keys"],
                    write_page_checksum=True,
                )
                break
        self.write(tables)

    def write(self, tables: list[Any]) -> None:
        """Add rows."""
        try:
            for table in tables:
                if self._writer is not None and table.num_rows:
                    self._writer.write_table(table)
        except OSError:  # the disk is full
            self.discard()

    def publish(self, known: _Known) -> Path | None:
        """Put it into its place, whole; gives the folder. Another reader's that was there is replaced."""
        if self._writer is None:
            return None
        skipped = [(hole.start, hole.end, hole.reason) for hole in known.skipped]
        said = orjson.dumps({"version": _VERSION, "pieces": known.pieces, "skipped": skipped})
        try:
            self._writer.add_key_value_metadata({_KEY: said})
            self._writer.close()
            os.replace(self._temporary, self._path)
        except OSError:
            return None
        return self._path.parent

    def discard(self) -> None:
        """Remove what was not published."""
        if self._writer is not None:
            with suppress(OSError, package("pyarrow").ArrowException):
                self._writer.close()
            with suppress(OSError):
                self._temporary.unlink()
            self._writer = None
