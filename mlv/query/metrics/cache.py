"""The columnar sidecar of a stream: what was parsed of it once, as Arrow columns, so that only the rest is parsed again.

`.mlv/cache/STREAM.arrow` in the experiment holds the columns of the log's first bytes, and at its end the fingerprint of
each piece of these; what was appended since goes into parts of their own, `STREAM.arrow.1` and so on, until it is worth to
write them as one. Where the experiment cannot be written, the folder is `$XDG_CACHE_HOME/mlv/ID`. All may be deleted at any
time.

It is believed only where this very user signed it, with the key of `mlv.store.keys`: others may be able to write the folder.
Then the log decides: its pieces are hashed again before the sidecar is believed. Only a file that has provably not been written
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
from typing import Any

import orjson

from mlv.query import fingerprint
from mlv.query.metrics.cache_files import CachePart, Known, PartWriter, parts
from mlv.query.metrics.parse import in_threads, parse
from mlv.store import keys, layout, opening
from mlv.store.blobs import replace_whole, temporary_beside
from mlv.store.streams import Skipped

_WORTH_BYTES = 1 << 20
"""A shorter log, or rest of one, is parsed faster than a second file is opened."""
_SHARE = 64
"""A rest is kept when it is longer than this part of what is known."""
_PURPOSE = "mlv seen"
_COARSEST_NS = 2_000_000_000
"""A change within the same tick of a file system's clock leaves the times as they are; that of the coarsest is 2 s."""


def read(folder: Path, stream: str, skipped: list[Skipped]) -> Iterator[Any]:
    """The lines of type `metrics` of a stream, as tables of `rows.schema()`, a few in memory at a time.

    Parses what the sidecar lacks, and adds it to the sidecar where that is worth it. What is passed over is added to `skipped`.
    """
    before = _stamp(folder, stream)
    place, found, tick = _believed(folder, stream, before)
    known = Known()
    writer = _writer(folder, stream, place, found, before[1] if before else 0)
    if writer is not None and tick is None:
        tick = _tick(writer.folder, before)
    try:
        for part in found:
            try:
                for table, stretch in part.tables():
                    if writer is not None and part.known.start >= writer.known.start:
                        writer.write([table], stretch)
                    known.extend(stretch)
                    yield table
            except ValueError:  # damaged: what is missing is parsed, and the next reader writes it
                with suppress(OSError):
                    part.path.unlink()
                if writer is not None:
                    writer.discard()
                writer = None
                break
        skipped += known.skipped
        for parsed in parse(folder, stream, known.end, fingerprint.of_user() if writer is not None else None):
            stretch = Known(known.end)
            stretch.take(parsed)
            known.extend(stretch)
            skipped += parsed.skipped
            if writer is not None:
                writer.write(parsed.tables, stretch)
            yield from parsed.tables
            yield from parsed.unended
        if writer is not None and (place := writer.publish()) is not None:
            _note_seen(place, stream, known.chain, tick, before, _stamp(folder, stream))
    finally:
        if writer is not None:
            writer.discard()


def _writer(folder: Path, stream: str, place: Path | None, found: list[CachePart], size: int) -> PartWriter | None:
    """What the rest of a log is written with, if that is worth it, together with parts that are hardly longer than it."""
    end = found[-1].known.end if found else 0
    if size - end <= max(_WORTH_BYTES, end // _SHARE):
        return None
    kept = list(found)
    while kept and kept[-1].known.end - kept[-1].known.start < 2 * (size - kept[-1].known.end):
        kept.pop()
    before = Known()
    for part in kept:
        before.extend(part.known)
    return PartWriter([place] if kept and place else list(places(folder)), stream, len(kept), before)


def places(folder: Path) -> Iterator[Path]:
    """The folders where sidecars of an experiment may lie, the first one first."""
    yield folder / layout.HOUSEKEEPING / "cache"
    if found := layout.exp_id(folder):
        yield keys.cache_folder() / found


_Stamp = tuple[int, ...]


def _stamp(folder: Path, stream: str) -> _Stamp | None:
    """What changes with every change of a file; None if it is gone."""
    try:
        found = os.stat(folder / layout.stream_file(stream))
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_dev


def _believed(folder: Path, stream: str, stamp: _Stamp | None) -> tuple[Path | None, list[CachePart], int | None]:
    """Place and parts of a sidecar whose pieces are those of the log, and the tick before they were hashed; else nothing."""
    if stamp is None or stamp[1] <= _WORTH_BYTES:
        return None, [], None
    for place in places(folder):
        found = parts(place, stream)
        known = Known()
        for part in found:
            known.extend(part.known)
        if not found:
            continue
        if _is_seen(place, stream, known.chain, stamp):
            return place, found, None
        tick = _tick(place, stamp)
        with suppress(OSError):
            if _is_unchanged(folder, stream, known):
                _note_seen(place, stream, known.chain, tick, stamp, _stamp(folder, stream))
                return place, found, tick
    return None, [], None


def _is_unchanged(folder: Path, stream: str, known: Known) -> bool:
    """Whether the log still begins with the pieces that were parsed."""
    offsets = [0]
    for length, _ in known.pieces:
        offsets.append(offsets[-1] + length)
    longest = max((length for length, _ in known.pieces), default=0)
    of_thread, fingerprint_of = threading.local(), fingerprint.of_user()
    if fingerprint_of is None:
        return False
    with opening.reading(folder / layout.stream_file(stream), buffering=0) as file:

        def is_same(piece: tuple[int, tuple[int, str]]) -> bool:
            offset, (length, digest) = piece
            if not hasattr(of_thread, "memory"):  # new memory for each piece would cost as much as the hash
                of_thread.memory = bytearray(longest)
            found = memoryview(of_thread.memory)[:length]
            return os.preadv(file.fileno(), [found], offset) == length and fingerprint_of(found) == digest

        return all(in_threads(is_same, zip(offsets, known.pieces, strict=False)))


def _is_seen(place: Path, stream: str, chain: str, stamp: _Stamp) -> bool:
    with suppress(OSError, ValueError, KeyError, TypeError):
        said = opening.json_content(place / f"{stream}.seen")
        expected = {"sidecar": chain, "log": list(stamp)}
        return bool(said["seen"] == expected) and keys.is_signed(_PURPOSE, orjson.dumps(expected), said["signature"])
    return False


def _tick(place: Path | None, stamp: _Stamp | None) -> int | None:
    """A time that no change of the log from now on comes before, by the clock that its file system has; None if unknown.

    The time of a new file in the same file system is one, however coarse or wrong that clock is: a log whose last change was
    before it is told from any other at once, and not only after the coarsest tick. 40 us.
    """
    if place is None or stamp is None:
        return None
    with suppress(OSError):
        path = temporary_beside(place / "tick")
        try:
            with opening.new(path, buffering=0) as file:
                status = os.fstat(file.fileno())
        finally:
            path.unlink(missing_ok=True)
        if status.st_dev == stamp[4]:
            return status.st_ctime_ns
    return time.time_ns() - _COARSEST_NS


def _note_seen(place: Path, stream: str, chain: str, tick: int | None, before: _Stamp | None, after: _Stamp | None) -> None:
    """Keep that the log was hashed as it is, if its next change is sure to show."""
    # Windows calls the time of creation `ctime`.
    is_settled = before is not None and tick is not None and before[3] < tick
    if os.name == "posix" and is_settled and before == after:
        with suppress(OSError):
            seen = {"sidecar": chain, "log": list(before or ())}
            signed = {"seen": seen, "signature": keys.signature(_PURPOSE, orjson.dumps(seen))}
            replace_whole(place / f"{stream}.seen", orjson.dumps(signed))
