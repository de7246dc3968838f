"""The merging of small segments to larger ones, and the mark of a copy that is whole: its seal and all its files are up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import orjson

from mlv.bucket import pending, segments
from mlv.bucket.names import Segment, Whole
from mlv.bucket.positions import ShippedPosition, tail_of
from mlv.bucket.segments import ByteSpan
from mlv.bucket.ship import stream_files
from mlv.bucket.ship.lines import LineShipper
from mlv.bucket.ship.progress import MOST_COPIES, Progress
from mlv.bucket.ship.segment_objects import SegmentObjects
from mlv.bucket.ship.stream_files import StreamReplaced
from mlv.bucket.ship.target import Target
from mlv.errors import BucketError
from mlv.store import claims, ends, layout


class SegmentMerger:
    """Merges the segments of an experiment."""

    def __init__(
        self, target: Target, progress: Progress, held: SegmentObjects, lines: LineShipper, segment_bytes: int, at_once: int
    ) -> None:
        """Prepare; segments are merged when there are so many small ones `at_once`, to at most so many bytes of lines."""
        self._target, self._progress, self._held, self._lines = target, progress, held, lines
        self._segment_bytes, self._at_once = segment_bytes, at_once
        self._is_refused = False
        """Whether the bucket takes no larger segments, such as one behind a proxy that limits the size of a request."""

    def merge(self) -> None:
        """Replace many small segments by larger ones, and all small ones where nobody is left to write more."""
        with self._in_another_copy():
            self._merge()

    def mark_whole(self) -> bool:
        """Mark the copy as whole, if its last run is sealed and all is up, and merge all; return whether it is marked."""
        for _ in range(MOST_COPIES):
            with self._in_another_copy():
                return self._mark_whole()
        return False

    @contextmanager
    def _in_another_copy(self) -> Iterator[None]:
        """Ship all lines as another copy where a larger segment is there with other bytes."""
        try:
            yield
        except StreamReplaced:
            self._progress.begin_another_copy()
            self._lines.ship()

    def _merge(self, *, is_last: bool = False) -> None:
        if self._is_refused:
            return
        position = self._progress.position_of_some_copy()
        least = 2 if is_last or self._is_left(position) else self._at_once
        for stream, done in list(position.streams.items()):
            while merged := segments.merges(done.spans, self._segment_bytes, least):
                with stream_files.opened(self._target.folder, stream) as file:
                    if tail_of(file.fileno(), done.end) != done.tail:
                        return  # the next call sees that it was replaced
                    for span in merged:
                        try:
                            self._merge_to(position, stream, span, file)
                        except BucketError as error:
                            if type(error) is not BucketError:
                                raise  # the next time it may be taken
                            self._is_refused = True  # all lines are there all the same
                            self._target.shipped.notes.append(f"{self._target.store.url}: small segments stay. {error}")
                            return
                self._progress.save()

    def _is_left(self, position: ShippedPosition) -> bool:
        """Return whether small segments were left by writers that are gone, without a seal that would have merged them."""
        streams = position.streams.values()
        if not any(segments.merges(done.spans, self._segment_bytes, 2) for done in streams):
            return False  # known without reading the claims
        held = [claim for claim in self._claims() if claim != claims.FOR_MERGES]
        return bool(held) and all(claim is not None and claim.owner.is_gone() for claim in held)

    def _claims(self) -> list[claims.Claim | None]:
        """Return the claims on streams; None for one that is given back meanwhile."""
        return [claims.read(self._target.folder, stream) for stream in claims.claimed(self._target.folder)]

    def _merge_to(self, position: ShippedPosition, stream: str, span: ByteSpan, file: BinaryIO) -> None:
        done = position.streams[stream]
        small = [
            Segment(stream, position.copy, s.start, s.end) for s in done.spans if span.start <= s.start and s.end <= span.end
        ]
        self._held.make(Segment(stream, position.copy, span.start, span.end), file)
        if not self._target.keeps:
            self._held.delete(small)
        # Last: whoever was killed in between merges them again, which changes nothing.
        with self._progress.lock:
            done.spans = segments.replaced(done.spans, span)
        self._target.shipped.merged += len(small)

    def _mark_whole(self) -> bool:
        folder, position = self._target.folder, self._progress.position_of_some_copy()
        sizes = pending.sizes(folder)
        size = sum(sizes.values())
        if not self._is_at_rest() or not position.has_all_of(sizes) or position.waiting:
            return False
        if position.whole != size:
            data = {"exp": position.meta, "streams": sizes, "files": len(position.files)}
            key = self._target.key(Whole(position.copy, size).key)
            # Before the merge: a machine that is ended in the middle of that has left all there is.
            self._target.store.create(key, orjson.dumps(data, option=orjson.OPT_SORT_KEYS))
            self._merge(is_last=True)
            with self._progress.lock:
                position.whole = size
            self._progress.save()
        return True

    def _is_at_rest(self) -> bool:
        """Return whether nobody writes, and each stream ends with the seal of who wrote it last."""
        folder = self._target.folder
        streams, sealed = layout.streams_in(folder), ends.ends_of(folder)
        is_claimed = any(claim != claims.FOR_MERGES for claim in self._claims())
        return bool(streams) and not is_claimed and all(stream in sealed for stream in streams)
