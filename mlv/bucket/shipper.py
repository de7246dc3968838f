"""Shipping one experiment: its whole lines as segments, its files, and the marks of what is up, in an order that loses nothing.

Everything is made once. A call that fails, or a process that is killed between any two, leaves objects that the next call
meets again and takes as they are: what is in the bucket is at each moment a beginning of the log, of whole lines. Each step
is a module of `mlv.bucket.ship`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timezone
from pathlib import Path

from mlv.bucket.ship import stream_files
from mlv.bucket.ship.announcement import Announcement
from mlv.bucket.ship.effects import Shipped
from mlv.bucket.ship.files import FileShipper
from mlv.bucket.ship.lines import LineShipper
from mlv.bucket.ship.merging import SegmentMerger
from mlv.bucket.ship.progress import Progress
from mlv.bucket.ship.redactions import Redactions
from mlv.bucket.ship.segment_objects import SegmentObjects
from mlv.bucket.ship.stream_files import SEGMENT_BYTES
from mlv.bucket.ship.target import Target
from mlv.bucket.store import ObjectStore
from mlv.errors import BucketError

MERGED_AT_ONCE = 64


class Shipper:
    """Ships one experiment to one bucket. Lines and files may be shipped by two threads.

    Every call raises BucketError where the store does not do what is asked, and OSError where a file cannot be read; calling
    again goes on from there.
    """

    def __init__(
        self,
        folder: Path,
        path: str,
        store: ObjectStore,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        merged_at_once: int = MERGED_AT_ONCE,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        """Prepare to ship the experiment in a folder to `path` below the root of a store; no request is made."""
        self.folder, self.path = folder, path
        self._target = target = Target(folder, path, store)
        held = SegmentObjects(target)
        self._progress = progress = Progress(target, held)
        self._redactions = redactions = Redactions(target, progress, held)
        announcement = Announcement(target, progress, now)
        self._lines = LineShipper(target, progress, held, announcement, redactions, segment_bytes)
        self._files = FileShipper(target, progress, announcement, redactions, now)
        self._merger = SegmentMerger(target, progress, held, self._lines, segment_bytes, merged_at_once)

    # The steps, in their order.

    def distrust(self) -> None:
        """Ask the bucket how far the experiment is shipped, whatever its position file says."""
        self._progress.distrust()

    def ship_lines(self, leave: Collection[str] = ()) -> int:
        """Ship the whole lines behind the position, of all streams but those to leave; return their number of bytes."""
        return self._lines.ship(leave)

    def ship_files(self, is_over: Callable[[], bool] = lambda: False, *, settled_s: float = 0.0) -> bool:
        """Ship the files that are published, the most wanted first, until `is_over`; return whether all are up.

        A file that anybody may still write is left until it has not changed for `settled_s` seconds.
        """
        return self._files.ship(is_over, settled_s=settled_s)

    def settle_former(self) -> None:
        """Remove the segments of former copies that hold redacted lines, once this copy has all lines as they are now."""
        self._redactions.settle_former()

    def mark_whole(self) -> bool:
        """Mark the copy as whole, if its last run is sealed and all is up, and merge all; return whether it is marked."""
        return self._merger.mark_whole()

    def merge(self) -> None:
        """Replace many small segments by larger ones, and all small ones where nobody is left to write more."""
        self._merger.merge()

    def save(self, problem: str = "") -> None:
        """Keep the position, with the reason why nothing can be shipped now."""
        self._progress.save(problem)

    # The outcome.

    @property
    def shipped(self) -> Shipped:
        """The effects since `begin_report`."""
        return self._target.shipped

    def begin_report(self) -> None:
        """Count the effects from here on."""
        self._target.shipped = Shipped(self.path)

    @property
    def refused(self) -> Mapping[str, BucketError]:
        """Reasons by path why the bucket, which answered, did not take files; those are tried again with the next call."""
        return self._files.refused

    @property
    def lacks_only_refused(self) -> bool:
        """Whether the latest look at the files left nothing but some that the bucket refuses, and not only for the moment."""
        return self._files.lacks_only_refused

    def has_all_of(self, sizes: dict[str, int]) -> bool:
        """Return whether these bytes of each stream are shipped."""
        return self._progress.has_all_of(sizes)

    def check_readable(self) -> None:
        """Report what can be read and is not shipped: a last line without its end, of a process that is gone."""
        for name in stream_files.torn(self.folder):
            self.shipped.unshipped[name] = "its last line has no end: `mlv recover` completes it"
