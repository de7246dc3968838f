"""The lines of one experiment, shipped as segments: whole lines alone, in order, from the position of each stream on."""

from __future__ import annotations

import os
from collections.abc import Collection

from mlv.bucket.names import Segment
from mlv.bucket.positions import ShippedPosition, tail_of
from mlv.bucket.segments import ByteSpan
from mlv.bucket.ship import stream_files
from mlv.bucket.ship.announcement import Announcement
from mlv.bucket.ship.progress import MOST_COPIES, Progress
from mlv.bucket.ship.redactions import Redactions
from mlv.bucket.ship.segment_objects import SegmentObjects
from mlv.bucket.ship.stream_files import StreamReplaced
from mlv.bucket.ship.target import Target
from mlv.store import layout


class LineShipper:
    """Ships the lines of an experiment."""

    def __init__(
        self,
        target: Target,
        progress: Progress,
        segments: SegmentObjects,
        announcement: Announcement,
        redactions: Redactions,
        segment_bytes: int,
    ) -> None:
        """Prepare; the most bytes of lines in a segment are `segment_bytes`, but for one line that is longer."""
        self._target, self._progress, self._segments = target, progress, segments
        self._announcement, self._redactions, self._segment_bytes = announcement, redactions, segment_bytes

    def ship(self, leave: Collection[str] = ()) -> int:
        """Ship the whole lines behind the position, of all streams but those to leave; return their number of bytes."""
        for _ in range(MOST_COPIES):
            try:
                position, inodes = self._progress.position(), self._progress.present
                if not position.meta and any(done.end for done in position.streams.values()):
                    # Segments alone told how far it is: without meta.json nobody can read them.
                    self._announcement.make_meta(position)
                streams = [stream for stream in layout.streams_in(self._target.folder) if stream in inodes]
                count = sum(self._ship_stream(position, stream, inodes[stream]) for stream in streams if stream not in leave)
                self._progress.save()
                return count
            except StreamReplaced:
                self._progress.begin_another_copy()
        raise self._progress.unsteady()

    def _ship_stream(self, position: ShippedPosition, stream: str, inode: int) -> int:
        with stream_files.opened(self._target.folder, stream) as file:
            fd, lock = file.fileno(), self._progress.lock
            with lock:
                done = position.stream(stream)
            status = os.fstat(fd)
            if status.st_ino != inode or not done.is_of(fd, status.st_size):
                raise StreamReplaced(stream)
            # Up to the size at this moment: a run that logs faster than a request takes would have a segment for each request.
            before, size = done.end, status.st_size
            while (end := stream_files.cut(fd, done.end, size, self._segment_bytes)) > done.end:
                self._announcement.make(position)
                with lock:
                    done.made_end, done.made_tail = end, tail_of(fd, end)
                # Before: whoever goes on after an answer that never came must not ship other lines into this copy.
                self._progress.save()
                with self._redactions.noted(position) as look:
                    self._segments.make(Segment(stream, position.copy, done.end, end), file, look)
                with lock:
                    done.spans.append(ByteSpan(done.end, end))
                    done.end, done.tail = done.made_end, done.made_tail
                    done.made_end, done.made_tail = 0, ""
                self._target.shipped.segments += 1
                self._target.shipped.lines_bytes += end - done.spans[-1].start
                # Each: a process that is killed need not ask the bucket, and `mlv ls` tells how far it came.
                self._progress.save()
            return done.end - before
