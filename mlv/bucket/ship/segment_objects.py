"""The segments of one experiment in a bucket: made of the lines of a file, listed, read back, and compared with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from mlv.bucket import names
from mlv.bucket.contents import DamagedSegment, lines_of
from mlv.bucket.names import Segment
from mlv.bucket.ship import stream_files
from mlv.bucket.ship.stream_files import StreamReplaced
from mlv.bucket.ship.target import Target
from mlv.bucket.store import Creation


class SegmentObjects:
    """The objects that hold the lines of an experiment."""

    def __init__(self, target: Target) -> None:
        """Take the target; no request is made."""
        self._target = target

    def make(self, segment: Segment, file: BinaryIO, look: Callable[[bytes], None] = lambda chunk: None) -> None:
        """Make a segment of the bytes of an open file, which `look` sees on the way.

        Raises:
            StreamReplaced: The file is another one by now, or the object holds other lines.
            BucketError: The store does not answer, or refuses.
        """
        key = self._target.key(segment.key)
        with stream_files.compressed(file, segment, look) as content:
            outcome = self._target.store.create(key, content)
        if outcome is Creation.MADE and not stream_files.is_open(self._target.folder, segment.stream, file):
            # By a redaction, maybe, and another process has removed the segments that held it: this copy is over.
            self._target.delete([key], "hold lines that were replaced while they were shipped")
            raise StreamReplaced(segment.stream)
        # Another version of zlib packs the same bytes in another way.
        if outcome is Creation.DIFFERENT and not self.holds(segment, file):
            self._target.shipped.different.append(key)
            raise StreamReplaced(segment.stream)

    def holds(self, segment: Segment, file: BinaryIO) -> bool:
        """Return whether a segment in the bucket holds the bytes of an open file."""
        position = segment.start
        try:
            for chunk in self._chunks(segment):
                if os.pread(file.fileno(), len(chunk), position) != chunk:
                    return False
                position += len(chunk)
        except DamagedSegment:
            return False
        return position == segment.end

    def listed(self) -> Iterator[Segment]:
        """Yield all segments of the experiment in the bucket."""
        below = (self._target.below(stored.key) for stored in self._target.store.objects(self._target.path))
        return (segment for key in below if (segment := names.segment_of(key)) is not None)

    def content(self, segment: Segment) -> bytes:
        """Return the lines of a segment.

        Raises:
            DamagedSegment: It does not hold what its name promises.
        """
        return b"".join(self._chunks(segment))

    def delete(self, segments: Iterable[Segment]) -> None:
        """Delete segments that a larger one covers."""
        self._target.delete([self._target.key(segment.key) for segment in segments])

    def _chunks(self, segment: Segment) -> Iterator[bytes]:
        return lines_of(segment, self._target.store.chunks(self._target.key(segment.key)))
