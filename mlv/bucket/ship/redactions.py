"""Redactions, followed into a bucket: objects that hold what was redacted are deleted, once what stands for it is up."""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import chain

from mlv import wire
from mlv.bucket import copies, names, published, segments
from mlv.bucket.contents import DamagedSegment
from mlv.bucket.names import Segment
from mlv.bucket.positions import ShippedPosition
from mlv.bucket.ship import stream_files
from mlv.bucket.ship.progress import Progress
from mlv.bucket.ship.segment_objects import SegmentObjects
from mlv.bucket.ship.target import Target
from mlv.bucket.store import StoredObject
from mlv.store import claims, layout
from mlv.store.masking import MASK
from mlv.store.seals import is_redacted, run_and_seq
from mlv.store.streams import read_lines

_KEPT_BYTES = 1 << 20
"""Of a line that goes on in the next chunk; a longer one is kept only where it tells of a redaction."""
_HEAD_BYTES = 4096
"""Of a line, within which its type stands."""
_SAME, _REDACTED, _OTHER, _UNSHIPPED = "same", "redacted", "other", "unshipped"
"""The lines of a former copy beside those of the present one."""


class Redactions:
    """Those of one experiment."""

    def __init__(self, target: Target, progress: Progress, held: SegmentObjects) -> None:
        """Take the target, the progress, and the segments in the bucket."""
        self._target, self._progress, self._held = target, progress, held
        self._are_new = False
        """Whether lines that tell of redactions were shipped since other copies were looked for."""

    @contextmanager
    def noted(self, position: ShippedPosition) -> Iterator[RedactionsReader]:
        """Give a reader of lines that are being shipped, which notes in a position the files that they tell were redacted."""
        reader = RedactionsReader(position, self._progress.lock)
        yield reader
        self._are_new = self._are_new or reader.are_any

    # Files.

    def remove_files(self, position: ShippedPosition) -> None:
        """Remove the objects of files that were redacted, where the file now is another one, or gone."""
        if not position.redacted or claims.is_changing(self._target.folder):
            return  # the log tells it before the files are changed
        by_path = {file.path: file for file in published.files(self._target.folder)}
        for path in list(position.redacted):
            keys = []
            for stored in chain.from_iterable(map(self._objects_of, _shipped_paths(position, path))):
                below = self._target.below(stored.key)
                file = by_path.get(below) or by_path.get(names.version_of(below)[0])
                if file is None or not self._is_now(file, stored):
                    keys.append(stored.key)
            self._target.delete(keys, "hold what was redacted")
            with self._progress.lock:
                position.redacted.remove(path)
                for name in [name for name, entry in position.files.items() if self._target.key(entry[-1]) in keys]:
                    del position.files[name]

    def _objects_of(self, path: str) -> Iterator[StoredObject]:
        store, key = self._target.store, self._target.key(path)
        if (stored := store.head(key)) is not None:
            yield stored
        yield from store.objects(key)  # of a folder
        yield from store.objects(f"{key}.v")

    def _is_now(self, file: published.File, stored: StoredObject) -> bool:
        if stored.size != file.size:
            return False
        with published.opened(self._target.folder, file) as path:
            return published.digest_of(self._target.store.chunks(stored.key)) == published.digest(path)

    # Lines.

    def settle_former(self) -> None:
        """Remove the segments of former copies that hold redacted lines, once this copy has all lines as they are now."""
        position = self._progress.position_of_some_copy()
        for former in self._former():
            self._settle(former, position)
        if self._are_new:
            self._are_new = False
            self._tell_of_other_copies(position)

    def _former(self) -> tuple[str, ...]:
        copy = self._progress.copy
        return copy.former if copy is not None else ()

    def _settle(self, former: str, position: ShippedPosition) -> None:
        by_stream: dict[str, list[Segment]] = {}
        marks = []
        for stored in self._target.store.objects(self._target.path):
            below = self._target.below(stored.key)
            segment, whole = names.segment_of(below), names.whole_of(below)
            if segment is not None and segment.copy == former:
                by_stream.setdefault(segment.stream, []).append(segment)
            elif whole is not None and whole.copy == former:
                marks.append(stored.key)
        states = {stream: self._compared(position, stream, own) for stream, own in by_stream.items()}
        if _UNSHIPPED in states.values():
            return  # replaced since the lines were shipped: the next call settles it
        if _REDACTED in states.values():
            held = [segment for stream in by_stream if states[stream] != _OTHER for segment in _last_first(by_stream[stream])]
            # The marks first: without the segments they tell of a loss.
            self._target.delete([*marks, *(self._target.key(segment.key) for segment in held)], "hold what was redacted")
        if others := [stream for stream, state in states.items() if state == _OTHER]:
            lacking = f"{', '.join(others)} that {self._target.folder} lacks"
            self._target.shipped.notes.append(
                f"the copy {former} in {self._target.store.url} holds lines of {lacking}: it stays"
            )
        copies.forget(self._target.folder, former)

    def _compared(self, position: ShippedPosition, stream: str, own: list[Segment]) -> str:
        """Return whether a former copy holds the lines of a stream as they are now, some that were redacted, or others.

        As long as this copy lacks some of them nobody can do without the former one.
        """
        slices, state, end = segments.chain(own), _SAME, 0
        try:
            ours = read_lines(self._target.folder / layout.stream_file(stream))
            for line in _lines(piece.of(self._held.content(piece.segment)) for piece in slices):
                end, now = next(ours, (0, b""))
                end += len(now)
                if line != now and not (is_redacted(now) and run_and_seq(line) == run_and_seq(now)):
                    return _OTHER
                state = _REDACTED if line != now else state
        except (OSError, DamagedSegment):
            return _OTHER
        if not slices:
            return _OTHER
        return state if end <= position.stream(stream).end else _UNSHIPPED

    def _tell_of_other_copies(self, position: ShippedPosition) -> None:
        """Say which copies may hold what was redacted here: they are those of other folders, such as a clone."""
        mine = {position.copy, *self._former()}
        if others := sorted({segment.copy for segment in self._held.listed()} - mine):
            text = "of other folders, may hold what was redacted: redact those and push them, or delete these copies"
            self._target.shipped.notes.append(f"{', '.join(others)} in {self._target.store.url}, copies {text}")


class RedactionsReader:
    """Takes lines in chunks, and notes the files that they tell were redacted."""

    def __init__(self, position: ShippedPosition, lock: threading.RLock) -> None:
        """Take the position to note them in, and its lock."""
        self._position, self._lock = position, lock
        self._remainder = b""
        self.are_any = False
        """Whether a line tells of a redaction, or was redacted."""

    def __call__(self, chunk: bytes) -> None:
        """Take a chunk; its last line may go on in the next one."""
        chunk = self._remainder + chunk
        end = chunk.rfind(b"\n") + 1
        for line in BytesIO(chunk[:end]) if wire.REDACTED in chunk else ():
            if wire.REDACTED in line:
                self.are_any = True
                with self._lock:
                    self._position.note_redacted(stream_files.redacted_files(line))
        # A long line of any other type is not kept.
        is_kept = len(chunk) - end < _KEPT_BYTES or chunk.find(wire.REDACTED, end, end + _HEAD_BYTES) >= 0
        self._remainder = chunk[end:] if is_kept else b""


def _shipped_paths(position: ShippedPosition, path: str) -> list[str]:
    """Return the paths that an event about redacted files names: where it masks a part, those that were shipped and fit."""
    if MASK not in path:
        return [path]
    pattern = re.compile(".+".join(map(re.escape, path.split(MASK))) + "(/.+)?", re.DOTALL)
    return [shipped for shipped in position.files if pattern.fullmatch(shipped)]


def _last_first(own: Collection[Segment]) -> list[Segment]:
    """Return segments in an order to delete them in: where that fails, the next call can compare those that are left.

    It reads them from the first byte up to a hole, so that no hole may arise before the last one is gone.
    """
    used = [piece.segment for piece in segments.chain(own)]
    return [*(set(own) - set(used)), *reversed(used)]


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the lines of chunks that begin and end with whole ones."""
    for chunk in chunks:
        yield from BytesIO(chunk)
