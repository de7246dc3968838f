"""The columnar sidecar of a stream: its parsed lines as Arrow columns, so that only later lines are parsed again.

`.mlv/cache/STREAM.arrow` in the experiment holds the columns of the log's first bytes, and at its end the fingerprint of
each block of these. Lines appended since go into parts of their own, `STREAM.arrow.1` and so on, until it is worth to
write them as one. Where the experiment cannot be written, the folder is `$XDG_CACHE_HOME/mlv/ID`. All may be deleted at any
time.

A sidecar is used only where this very user signed it, with the key of `mlv.store.keys`: others may be able to write the folder.
Then the log decides: its blocks are hashed again before the sidecar is used. Only a file that has provably not been written
since they were last hashed is spared this: `STREAM.seen` keeps its inode, size and times. Nobody can set the time of change
(`ctime`) of a file, and one that the next change may leave as it is, within the same tick of the file system's clock, is not
kept. A log that grows has new times again and again, and is hashed each time: nothing else tells that its old lines are there.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from mlv.query import fingerprint
from mlv.query.metrics.cache_files import GROUP_ROWS, CachePart, ParsedRange, PartWriter, read_parts
from mlv.query.metrics.parse import BLOCK_BYTES, in_threads, parse
from mlv.store import keys, layout, opening
from mlv.store.blobs import replace_whole, temporary_beside
from mlv.store.streams import Skipped

_SHARE = 64
"""The uncached end of a log is cached when it is longer than its cached beginning divided by this."""
_PURPOSE = "mlv seen"
_COARSEST_NS = 2_000_000_000
"""A change within the same tick of a file system's clock leaves the times as they are; that of the coarsest is 2 s."""


class CacheLimits(NamedTuple):
    """Sizes from which on a sidecar is worth its while, and of what is in memory at a time."""

    worth_bytes: int = 1 << 20
    """A log, or its uncached end, that is shorter is parsed faster than a second file is opened."""
    block_bytes: int = BLOCK_BYTES
    """Bytes of a log that are parsed, and have a fingerprint, together."""
    group_rows: int = GROUP_ROWS
    """Rows of a sidecar that are written, read and in memory at a time."""


LIMITS = CacheLimits()


def read(folder: Path, stream: str, skipped: list[Skipped], limits: CacheLimits = LIMITS) -> Iterator[Any]:
    """Yield the lines of type `metrics` of a stream, as tables of `schema()`, a few in memory at a time.

    Lines that the sidecar lacks are parsed, and added to the sidecar where that is worth it. Damaged lines are added to
    `skipped`.
    """
    before = stamp_of(folder, stream)
    cache_folder, cached_parts, tick = _valid_sidecar(folder, stream, before, limits)
    covered = ParsedRange()
    writer = _writer(folder, stream, cache_folder, cached_parts, before[1] if before else 0, limits)
    if writer is not None and tick is None:
        tick = tick_of(writer.folder, before)
    try:
        for cached in cached_parts:
            try:
                for table, stretch in cached.tables():
                    if writer is not None and cached.covered.start >= writer.covered.start:
                        writer.write([table], stretch)
                    covered.extend(stretch)
                    yield table
            except ValueError:  # damaged: the missing lines are parsed, and the next reader writes them
                with suppress(OSError):
                    cached.path.unlink()
                if writer is not None:
                    writer.discard()
                writer = None
                break
        skipped += covered.skipped
        fingerprint_of = fingerprint.of_user() if writer is not None else None
        for parsed in parse(folder, stream, covered.end, fingerprint_of, limits.block_bytes):
            stretch = ParsedRange(covered.end)
            stretch.take(parsed)
            covered.extend(stretch)
            skipped += parsed.skipped
            if writer is not None:
                writer.write(parsed.tables, stretch)
            yield from parsed.tables
            yield from parsed.unended
        if writer is not None and (cache_folder := writer.publish()) is not None:
            _note_seen(cache_folder, stream, covered.chain, tick, before, stamp_of(folder, stream))
    finally:
        if writer is not None:
            writer.discard()


def _writer(
    folder: Path, stream: str, cache_folder: Path | None, cached_parts: list[CachePart], size: int, limits: CacheLimits
) -> PartWriter | None:
    """Return a writer for the uncached end of a log, if that is worth it; it replaces parts that are hardly longer."""
    end = cached_parts[-1].covered.end if cached_parts else 0
    if size - end <= max(limits.worth_bytes, end // _SHARE):
        return None
    reused = list(cached_parts)
    while reused and reused[-1].covered.end - reused[-1].covered.start < 2 * (size - reused[-1].covered.end):
        reused.pop()
    before = ParsedRange()
    for cached in reused:
        before.extend(cached.covered)
    folders = [cache_folder] if reused and cache_folder else list(cache_folders(folder))
    return PartWriter(folders, stream, len(reused), before, limits.group_rows)


def cache_folders(folder: Path) -> Iterator[Path]:
    """Yield the folders that may hold sidecars of an experiment, the preferred one first."""
    yield folder / layout.HOUSEKEEPING / "cache"
    if exp_id := layout.exp_id(folder):
        yield keys.cache_folder() / exp_id


Stamp = tuple[int, ...]


def stamp_of(folder: Path, stream: str) -> Stamp | None:
    """Return numbers that change with every change of a stream's file: inode, size, times and device; None if it is gone."""
    try:
        status = os.stat(folder / layout.stream_file(stream))
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_dev


def _valid_sidecar(
    folder: Path, stream: str, stamp: Stamp | None, limits: CacheLimits
) -> tuple[Path | None, list[CachePart], int | None]:
    """Return folder and parts of a sidecar whose blocks are those of the log, and the tick before they were hashed."""
    if stamp is None or stamp[1] <= limits.worth_bytes:
        return None, [], None
    for cache_folder in cache_folders(folder):
        cached_parts = read_parts(cache_folder, stream)
        covered = ParsedRange()
        for cached in cached_parts:
            covered.extend(cached.covered)
        if not cached_parts:
            continue
        if _is_seen(cache_folder, stream, covered.chain, stamp):
            return cache_folder, cached_parts, None
        tick = tick_of(cache_folder, stamp)
        with suppress(OSError):
            if is_unchanged(folder, stream, covered):
                _note_seen(cache_folder, stream, covered.chain, tick, stamp, stamp_of(folder, stream))
                return cache_folder, cached_parts, tick
    return None, [], None


def is_unchanged(folder: Path, stream: str, covered: ParsedRange) -> bool:
    """Return whether the log still begins with the blocks that were parsed."""
    offsets = [0]
    for length, _ in covered.blocks:
        offsets.append(offsets[-1] + length)
    longest = max((length for length, _ in covered.blocks), default=0)
    of_thread, fingerprint_of = threading.local(), fingerprint.of_user()
    if fingerprint_of is None:
        return False
    with opening.reading(folder / layout.stream_file(stream), buffering=0) as file:

        def is_same(offset_and_block: tuple[int, tuple[int, str]]) -> bool:
            offset, (length, digest) = offset_and_block
            if not hasattr(of_thread, "memory"):  # new memory for each block would cost as much as the hash
                of_thread.memory = bytearray(longest)
            content = memoryview(of_thread.memory)[:length]
            return os.preadv(file.fileno(), [content], offset) == length and fingerprint_of(content) == digest

        return all(in_threads(is_same, zip(offsets, covered.blocks, strict=False)))


def _is_seen(cache_folder: Path, stream: str, chain: str, stamp: Stamp) -> bool:
    with suppress(OSError, ValueError, KeyError, TypeError):
        record = opening.json_content(cache_folder / f"{stream}.seen")
        expected = {"sidecar": chain, "log": list(stamp)}
        return bool(record["seen"] == expected) and keys.is_signed(_PURPOSE, orjson.dumps(expected), record["signature"])
    return False


def tick_of(cache_folder: Path | None, stamp: Stamp | None) -> int | None:
    """Return a time by the file system's clock that no later change of the log precedes; None if unknown.

    The time of a new file in the same file system is such a time, however coarse or wrong the clock is: a log that was last
    changed before it is recognised at once, and not only after the coarsest tick. 40 us.
    """
    if cache_folder is None or stamp is None:
        return None
    with suppress(OSError):
        path = temporary_beside(cache_folder / "tick")
        try:
            with opening.new(path, buffering=0) as file:
                status = os.fstat(file.fileno())
        finally:
            path.unlink(missing_ok=True)
        if status.st_dev == stamp[4]:
            return status.st_ctime_ns
    return time.time_ns() - _COARSEST_NS


def _note_seen(
    cache_folder: Path, stream: str, chain: str, tick: int | None, before: Stamp | None, after: Stamp | None
) -> None:
    """Record that the log was hashed in its present state, if its next change is sure to show."""
    # Windows calls the time of creation `ctime`.
    is_settled = before is not None and tick is not None and before[3] < tick
    if os.name == "posix" and is_settled and before == after:
        with suppress(OSError):  # then the log is hashed again the next time
            content = {"sidecar": chain, "log": list(before or ())}
            signed = {"seen": content, "signature": keys.signature(_PURPOSE, orjson.dumps(content))}
            replace_whole(cache_folder / f"{stream}.seen", orjson.dumps(signed))
