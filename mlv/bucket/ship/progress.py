"""The progress of shipping one experiment: the position of the folder as it is now, from its file or else from the bucket."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from mlv import wire
from mlv.bucket import copies, pending, positions, segments
from mlv.bucket.copies import Copy
from mlv.bucket.names import Segment
from mlv.bucket.positions import ShippedPosition, StreamPosition, tail_of
from mlv.bucket.segments import ByteSpan
from mlv.bucket.ship import stream_files
from mlv.bucket.ship.segment_objects import SegmentObjects
from mlv.bucket.ship.stream_files import StreamReplaced
from mlv.bucket.ship.target import Target
from mlv.errors import BucketError
from mlv.store import layout
from mlv.store.owners import Owner
from mlv.store.streams import lines_with

MOST_COPIES = 3
"""Copies begun in one call: files that are replaced more often are left to the next one."""


class Progress:
    """How far an experiment is shipped, for the threads of one process that ship it."""

    def __init__(self, target: Target, held: SegmentObjects) -> None:
        """Take the target, and the segments there; nothing is read."""
        self._target, self._held = target, held
        self.lock = threading.RLock()
        """Held while the position changes, never during a request."""
        self.copy: Copy | None = None
        """The copy that the folder was at the last look."""
        self.present: Mapping[str, int] = {}
        """Inodes of the streams' files; one that appears meanwhile is shipped the next time."""
        self.refusal = ""
        """The reason why the bucket, which answers, does not take a file."""
        self._position: ShippedPosition | None = None
        self._distrusts = False
        self._saved = b""
        self._mark = b""
        """That of the position's file when it was read or written here last."""
        self._beginning = threading.RLock()
        """Held while the bucket is asked how far it is."""

    def distrust(self) -> None:
        """Ask the bucket how far the experiment is shipped, whatever its position file says."""
        self._distrusts, self._position = True, None

    def position(self) -> ShippedPosition:
        """Return the position of the folder as it is now.

        Raises:
            StreamReplaced: The bucket holds other lines of this copy than the folder.
            BucketError: The store does not answer, or refuses.
        """
        with self._beginning:
            return self._position_now()

    def position_of_some_copy(self) -> ShippedPosition:
        """Return the position as `position` does; where a stream was replaced, that of another copy."""
        for _ in range(MOST_COPIES):
            try:
                return self.position()
            except StreamReplaced:
                self.begin_another_copy()
        raise self.unsteady()

    def begin_another_copy(self) -> None:
        """Go on as another copy, as the segments of this one hold other bytes than the files."""
        copy = copies.peek(self._target.folder, {})
        if copy is not None:
            copies.renew(self._target.folder, pending.inodes(self._target.folder), copy.name)
        with self.lock:
            self._position = None

    def unsteady(self) -> BucketError:
        """Return the error that is raised when streams were replaced again and again."""
        folder, url = self._target.folder, self._target.store.url
        return BucketError(f"{folder} is changed while it is shipped to {url}: see who does that, then push it")

    def save(self, problem: str = "") -> None:
        """Keep the position, with the reason why nothing can be shipped now."""
        folder, url = self._target.folder, self._target.store.url
        with self.lock:
            if self._position is None:
                # Nothing is shipped yet: whoever waits for it learns why.
                if problem:
                    positions.note(folder, url, self._target.path, problem)
                return
            if not self._is_ours():
                self._position = None
                return
            self._position.problem = problem or self.refusal
            content = positions.to_bytes(self._position)
            if content != self._saved:
                self._saved, self._mark = content, positions.write(folder, url, content)

    def keeps(self, position: ShippedPosition) -> bool:
        """Return whether a position is still the one that is kept, and not let go for that of another process."""
        with self.lock:
            return self._position is position

    def has_all_of(self, sizes: dict[str, int]) -> bool:
        """Return whether these bytes of each stream are shipped."""
        return self._position is not None and self._position.has_all_of(sizes)

    def _position_now(self) -> ShippedPosition:
        inodes = pending.inodes(self._target.folder)
        copy = copies.current(self._target.folder, inodes)
        self.present = inodes
        with self.lock:
            if self._position is not None and self._position.copy == copy.name and self._is_ours():
                self.copy = copy
                return self._position
            self._position = None
        position = self._read(copy)
        with self.lock:
            self.copy, self._position, self._distrusts = copy, position, False
        return position

    def _is_ours(self) -> bool:
        """Return whether nobody else kept a position meanwhile, such as a push beside the process that ships the run.

        Theirs may be further: writing ours over it would take back what it tells, so that the next call goes on from theirs.
        """
        return self._mark == positions.mark(self._target.folder, self._target.store.url)

    def _read(self, copy: Copy) -> ShippedPosition:
        """Return the position that is kept in the folder, as far as it holds, or else the one that the bucket tells."""
        url, path, boot = self._target.store.url, self._target.path, Owner.current().boot
        self._mark = positions.mark(self._target.folder, url)  # before: one that comes meanwhile is read the next time
        stored = positions.read(self._target.folder, url)
        if self._distrusts or (stored is not None and stored.path != path):
            stored = None
        if stored is not None and (stored.copy, stored.boot) == (copy.name, boot) and not stored.is_restored:
            return stored
        position = ShippedPosition(url, path, copy.name, boot)
        if stored is not None:
            position.files, position.redacted = stored.files, stored.redacted
        if not copy.is_new:
            self._recall(position)
        return position

    def _recall(self, position: ShippedPosition) -> None:
        """Learn from the bucket how far the copy is shipped, and compare the last segments with the files."""
        by_stream: dict[str, list[Segment]] = {}
        for segment in self._held.listed():
            if segment.copy == position.copy:
                by_stream.setdefault(segment.stream, []).append(segment)
        for stream, stream_segments in by_stream.items():
            slices = segments.chain(stream_segments)
            if not slices:
                continue
            end, last = slices[-1].end, slices[-1].segment
            with stream_files.opened(self._target.folder, stream) as file:
                if pending.whole_end(file.fileno()) < end or not self._held.holds(last, file):
                    raise StreamReplaced(stream)
                spans = [ByteSpan(piece.start, piece.end) for piece in slices]
                position.streams[stream] = StreamPosition(end, tail_of(file.fileno(), end), spans)
            # Of those that tell of a redaction nobody may have removed the files yet.
            for line in lines_with(self._target.folder / layout.stream_file(stream), wire.REDACTED):
                position.note_redacted(stream_files.redacted_files(line))
            # Left by a process that was killed while it merged, or made by two at once.
            used = {piece.segment for piece in slices}
            self._held.delete(segment for segment in stream_segments if segment not in used and segment.end <= end)
