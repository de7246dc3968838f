"""Shipping one experiment: its whole lines as segments, its files, and the marks of what is up, in an order that loses nothing.

Everything is made once. A call that fails, or a process that is killed between any two, leaves objects that the next call
meets again and takes as they are: what is in the bucket is at each moment a beginning of the log, of whole lines.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from io import BytesIO
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO

import orjson

from mlv import wire
from mlv.bucket import copies, names, pending, positions, published, segments
from mlv.bucket.contents import DamagedSegment, lines_of
from mlv.bucket.copies import Copy
from mlv.bucket.names import News, Segment, Whole
from mlv.bucket.positions import ShippedPosition, StreamPosition, tail_of
from mlv.bucket.segments import ByteSpan
from mlv.bucket.store import Creation, ObjectStore, StoredObject
from mlv.capture.redaction import Redactor
from mlv.digests import sha256
from mlv.encoding import loads
from mlv.errors import BucketDenied, BucketError, MlvWarning, NoSuchObject, ObjectDiffers
from mlv.notices import warn
from mlv.store import claims, ends, layout, opening
from mlv.store.identities import known_ids
from mlv.store.masking import MASK
from mlv.store.owners import Owner
from mlv.store.seals import is_redacted, run_and_seq
from mlv.store.streams import read_lines

SEGMENT_BYTES = 8 << 20
"""Of uncompressed lines in one segment: an object of 1 MB, which a reader with few cores unpacks in 80 ms."""
MERGED_AT_ONCE = 64
_CHUNK_BYTES = 1 << 20
_HEAD_BYTES = 4096
"""Of a line, within which its type stands."""
_LEVEL = 6
"""Of gzip: 100 MB/s, and within 3 % of the smallest that it makes of log lines."""
_SAVE_S = 1.0
"""Between two records of the files that are up."""
_MOST_COPIES = 3
"""Copies begun in one call: files that are replaced more often are left to the next one."""
_GZIP = 16 + zlib.MAX_WBITS
_SAME, _REDACTED, _OTHER, _UNSHIPPED = "same", "redacted", "other", "unshipped"
"""The lines of a former copy beside those of the present one."""


@dataclass
class Shipped:
    """The effects of shipping one experiment."""

    path: str
    """Below the root; empty for the root itself."""
    lines_bytes: int = 0
    """Uncompressed bytes of lines that were shipped."""
    segments: int = 0
    files: int = 0
    files_bytes: int = 0
    merged: int = 0
    """Number of segments that larger ones replaced."""
    different: list[str] = field(default_factory=list)
    """Keys of objects that hold other bytes than were to be shipped."""
    unshipped: dict[str, str] = field(default_factory=dict)
    """Reasons by path why something readable was not shipped."""
    notes: list[str] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        """Whether the bucket has all that can be read, and holds nothing else in its place."""
        return not self.different and not self.unshipped

    @property
    def is_empty(self) -> bool:
        """Whether nothing new was shipped."""
        return not (self.segments or self.files)


class _StreamReplaced(Exception):
    """A file holds other bytes than the ones that were shipped of it."""


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
        self.shipped = Shipped(path)
        self._store, self._now = store, now
        self._segment_bytes, self._merged_at_once = segment_bytes, merged_at_once
        self._position: ShippedPosition | None = None
        self._copy: Copy | None = None
        self._present: Mapping[str, int] = {}
        """Inodes of the streams' files; one that appears meanwhile is shipped the next time."""
        self._distrusts = False
        self._keeps = False
        """Whether the store refused to delete: it was told."""
        self._saved, self._next_save = b"", 0.0
        self.refused: Mapping[str, BucketError] = {}
        """Reasons by path why the bucket, which answered, did not take files; those are tried again with the next call."""
        self._refusal = ""
        self._has_redactions = False
        """Whether lines that tell of redactions were shipped since other copies were looked for."""
        self._lock = threading.RLock()
        """Held while the position changes, never during a request."""
        self._beginning = threading.RLock()
        """Held while the bucket is asked how far it is."""

    # The position.

    def distrust(self) -> None:
        """Ask the bucket how far the experiment is shipped, whatever its position file says."""
        self._distrusts, self._position = True, None

    def _begin(self) -> ShippedPosition:
        """Return the position of the folder as it is now."""
        with self._beginning:
            return self._position_now()

    def _position_now(self) -> ShippedPosition:
        inodes = pending.inodes(self.folder)
        copy = copies.current(self.folder, inodes)
        self._present = inodes
        with self._lock:
            if self._position is not None and self._position.copy == copy.name:
                self._copy = copy
                return self._position
        boot = Owner.current().boot
        stored = positions.read(self.folder, self._store.url)
        stored = stored if stored is not None and stored.path == self.path else None
        is_of_now = stored is not None and (stored.copy, stored.boot) == (copy.name, boot) and not stored.is_restored
        if stored is not None and is_of_now and not self._distrusts:
            position = stored
        else:
            position = ShippedPosition(self._store.url, self.path, copy.name, boot)
            if stored is not None and not self._distrusts:
                position.files, position.redacted = stored.files, stored.redacted
            if not copy.is_new:
                self._recall(position)
        with self._lock:
            self._copy, self._position, self._distrusts = copy, position, False
        return position

    def _recall(self, position: ShippedPosition) -> None:
        """Learn from the bucket how far the copy is shipped, and compare the last segments with the files."""
        by_stream: dict[str, list[Segment]] = {}
        for segment in self._segments():
            if segment.copy == position.copy:
                by_stream.setdefault(segment.stream, []).append(segment)
        for stream, stream_segments in by_stream.items():
            slices = segments.chain(stream_segments)
            if not slices:
                continue
            with self._opened(stream) as file:
                if pending.whole_end(file.fileno()) < slices[-1].end or not self._is_of(slices[-1].segment, file):
                    raise _StreamReplaced(stream)
                end = slices[-1].end
                spans = [ByteSpan(piece.start, piece.end) for piece in slices]
                position.streams[stream] = StreamPosition(end, tail_of(file.fileno(), end), spans)
            # Left by a process that was killed while it merged, or made by two at once.
            used = {piece.segment for piece in slices}
            spare = [segment for segment in stream_segments if segment not in used and segment.end <= end]
            self._delete([self._key(segment.key) for segment in spare])

    def _segments(self) -> Iterator[Segment]:
        """Yield all segments of the experiment in the bucket."""
        below = (self._below(stored.key) for stored in self._store.objects(self.path))
        return (segment for key in below if (segment := names.segment_of(key)) is not None)

    def _is_of(self, segment: Segment, file: BinaryIO) -> bool:
        """Return whether a segment in the bucket holds the bytes of an open file."""
        position = segment.start
        try:
            for chunk in lines_of(segment, self._store.chunks(self._key(segment.key))):
                if os.pread(file.fileno(), len(chunk), position) != chunk:
                    return False
                position += len(chunk)
        except DamagedSegment:
            return False
        return position == segment.end

    @contextmanager
    def _opened(self, stream: str) -> Iterator[BinaryIO]:
        try:
            file = opening.reading(self.folder / layout.stream_file(stream), 0)
        except FileNotFoundError:
            raise _StreamReplaced(stream) from None
        with file:
            yield file

    def save(self, problem: str = "") -> None:
        """Keep the position, with the reason why nothing can be shipped now."""
        with self._lock:
            if self._position is None:
                # Nothing is shipped yet: whoever waits for it learns why.
                if problem:
                    positions.note(self.folder, self._store.url, self.path, problem)
                return
            self._position.problem = problem or self._refusal
            content = positions.to_bytes(self._position)
            if content != self._saved:
                positions.write(self.folder, self._store.url, content)
                self._saved = content

    def has_all_of(self, sizes: dict[str, int]) -> bool:
        """Return whether these bytes of each stream are shipped."""
        return self._position is not None and self._position.has_all_of(sizes)

    # Lines.

    def ship_lines(self, leave: Collection[str] = ()) -> int:
        """Ship the whole lines behind the position, of all streams but those to leave; return their number of bytes."""
        for _ in range(_MOST_COPIES):
            try:
                position = self._begin()
                streams = [
                    stream for stream in layout.streams_in(self.folder) if stream in self._present and stream not in leave
                ]
                count = sum(self._ship_stream(position, stream) for stream in streams)
                self.save()
                return count
            except _StreamReplaced:
                self._begin_another_copy()
        raise BucketError(f"{self.folder} is changed while it is shipped to {self._store.url}: see who does that, then push it")

    def _begin_another_copy(self) -> None:
        copy = copies.peek(self.folder, {})
        if copy is not None:
            copies.renew(self.folder, pending.inodes(self.folder), copy.name)
        with self._lock:
            self._position = None

    def _ship_stream(self, position: ShippedPosition, stream: str) -> int:
        with self._opened(stream) as file:
            fd = file.fileno()
            with self._lock:
                done = position.stream(stream)
            if os.fstat(fd).st_ino != self._present[stream]:
                raise _StreamReplaced(stream)
            if not done.is_of(fd, os.fstat(fd).st_size):
                raise _StreamReplaced(stream)
            # Up to the size at this moment: a run that logs faster than a request takes would have a segment for each request.
            before, size = done.end, os.fstat(fd).st_size
            while (end := _cut(fd, done.end, size, self._segment_bytes)) > done.end:
                self._announce(position)
                with self._lock:
                    done.made_end, done.made_tail = end, tail_of(fd, end)
                # Before: whoever goes on after an answer that never came must not ship other lines into this copy.
                self.save()
                redactions = _RedactionsNoted(position, self._lock)
                self._make_segment(Segment(stream, position.copy, done.end, end), file, redactions)
                self._has_redactions = self._has_redactions or redactions.are_any
                with self._lock:
                    done.spans.append(ByteSpan(done.end, end))
                    done.end, done.tail = done.made_end, done.made_tail
                    done.made_end, done.made_tail = 0, ""
                self.shipped.segments += 1
                self.shipped.lines_bytes += end - done.spans[-1].start
                # Each: a process that is killed need not ask the bucket, and `mlv ls` tells how far it came.
                self.save()
            return done.end - before

    def _make_segment(self, segment: Segment, file: BinaryIO, look: Callable[[bytes], None] = lambda chunk: None) -> None:
        key = self._key(segment.key)
        with _compressed(file.fileno(), segment, look) as content:
            outcome = self._store.create(key, content)
        if outcome is Creation.MADE and not self._is_open(segment.stream, file):
            # By a redaction, maybe, and another process has removed the segments that held it: this copy is over.
            self._delete([key], "hold lines that were replaced while they were shipped")
            raise _StreamReplaced(segment.stream)
        # Another version of zlib packs the same bytes in another way.
        if outcome is Creation.DIFFERENT and not self._is_of(segment, file):
            self.shipped.different.append(key)
            raise _StreamReplaced(segment.stream)

    def _is_open(self, stream: str, file: BinaryIO) -> bool:
        """Return whether a stream's file is still the one that is open."""
        with suppress(FileNotFoundError):
            return os.path.samestat(os.stat(self.folder / layout.stream_file(stream)), os.fstat(file.fileno()))
        return False

    def _announce(self, position: ShippedPosition) -> None:
        """Make the experiment and its news known, before anything that they tell of is there."""
        content = opening.content(self.folder / layout.META)
        identity = sha256(content).hexdigest()
        if position.meta != identity:
            self._make_meta(content, identity)
            with self._lock:
                position.meta = identity
        day = self._now().strftime("%Y-%m-%d")
        if position.news != day:
            news = orjson.dumps({"path": self.path})
            if self._store.create(News(day, identity, position.copy).key, news) is Creation.DIFFERENT:
                # It was moved today: its new path is tomorrow's news.
                tomorrow = (self._now() + timedelta(days=1)).strftime("%Y-%m-%d")
                self._store.create(News(tomorrow, identity, position.copy).key, news)
            with self._lock:
                position.news = day

    def _make_meta(self, content: bytes, identity: str) -> None:
        key = self._key(layout.META)
        try:
            existing = self._store.get(key)
        except NoSuchObject:
            existing = None
        if existing == content:
            return
        if existing is not None:
            # The only object that is replaced: a redaction gave the experiment another identity, and the log says so.
            if sha256(existing).hexdigest() not in known_ids(self.folder):
                self._refuse_foreign(key)
            self._store.delete(key)
        if self._store.create(key, content) is Creation.DIFFERENT:
            self._refuse_foreign(key)

    def _refuse_foreign(self, key: str) -> None:
        if key not in self.shipped.different:
            self.shipped.different.append(key)
        raise ObjectDiffers(
            f"{self._store.url} holds another experiment at {key}, and not {self.folder}: ship it to another URL, or give it "
            f"another name (`mlv mv`)",
            url=self._store.url,
            key=key,
        )

    def _key(self, below: str) -> str:
        return names.join(self.path, below)

    def _below(self, key: str) -> str:
        return key[len(self.path) + 1 :] if self.path else key

    # Files.

    def ship_files(self, is_over: Callable[[], bool] = lambda: False, *, settled_s: float = 0.0) -> bool:
        """Ship the files that are published, the most wanted first, until `is_over`; return whether all are up.

        A file that anybody may still write is left until it has not changed for `settled_s` seconds.
        """
        position = self._begun()
        waiting = [file for file in published.files(self.folder) if not pending.is_shipped(position, file)]
        young = [file for file in waiting if file.is_writable and self._now().timestamp() - file.modified_ns / 1e9 < settled_s]
        # Those that were refused the last time come last: no other file waits for them.
        last = self.refused
        waiting = sorted((file for file in waiting if file not in young), key=lambda file: (file.path in last, file.urgency))
        refused: dict[str, BucketError] = {}
        for number, file in enumerate(waiting):
            with self._lock:
                position.waiting = len(waiting) - number + len(young)
            if is_over():
                return False
            try:
                self._ship_file(position, file)
            except ObjectDiffers:
                raise
            except BucketError as error:
                if not self._answers():
                    raise
                refused[file.path] = error
                self.shipped.unshipped[file.path] = str(error)
            if monotonic() >= self._next_save:
                self.save()
                # Of many files: each time all of them are written.
                self._next_save = monotonic() + _SAVE_S
        with self._lock:
            position.waiting = len(young) + len(refused)
            self.refused = refused
            self._refusal = Redactor().text(str(next(iter(refused.values()))), "problem") if refused else ""
        self._remove_redacted_files(position)
        self.save()
        return not (young or refused or position.redacted)

    def _answers(self) -> bool:
        """Return whether the bucket answers at all: then it refuses one object, and the others can be shipped."""
        with suppress(BucketError):
            return self._store.head(self._key(layout.META)) is not None
        return False

    def _begun(self) -> ShippedPosition:
        for _ in range(_MOST_COPIES):
            with suppress(_StreamReplaced):
                return self._begin()
            self._begin_another_copy()
        raise BucketError(f"{self.folder} is changed while it is shipped to {self._store.url}: see who does that, then push it")

    def _ship_file(self, position: ShippedPosition, file: published.File) -> None:
        if problem := published.problem_of_name(file.path):
            self.shipped.unshipped[file.path] = problem
            return
        try:
            with published.opened(self.folder, file) as path:
                self._announce(position)
                key = self._make_file(file, path)
        except BucketError:
            raise  # also where it is that something in the bucket is not there
        except FileNotFoundError:
            return  # a checkpoint that was let go meanwhile
        except OSError as error:
            self.shipped.unshipped[file.path] = error.strerror or str(error)
            return
        if key is None:
            self.shipped.different.append(self._key(file.path))
            return
        self.shipped.unshipped.pop(file.path, None)
        with self._lock:
            position.files[file.path] = [*file.stamp, key]
        self.shipped.files += 1
        self.shipped.files_bytes += file.size

    def _make_file(self, file: published.File, content: Path) -> str | None:
        """Make the object of a file, under the name of a version where its own is taken; return its key, None if refused."""
        for key in (file.path, ""):
            key = key or names.version_key(file.path, published.digest(content))
            # Looked for first: some stores replace an object without a word.
            there = self._store.head(self._key(key))
            if there is not None and there.size != file.size:
                continue
            if there is not None and published.digest_of(self._store.chunks(self._key(key))) == published.digest(content):
                return key
            outcome = self._store.create(self._key(key), content) if there is None else Creation.DIFFERENT
            if outcome is Creation.MADE and not published.is_there(self.folder, file):
                # Redacted meanwhile, maybe, and another process has removed the objects that held it.
                self._delete([self._key(key)], "are of files that were changed while they were shipped")
                raise FileNotFoundError(file.path)
            if outcome is not Creation.DIFFERENT:
                return key
        return None

    # Redactions.

    def _remove_redacted_files(self, position: ShippedPosition) -> None:
        """Remove the objects of files that were redacted, where the file now is another one, or gone."""
        if position.redacted and claims.is_changing(self.folder):
            return  # the log tells it before the files are changed
        by_path = {file.path: file for file in published.files(self.folder)} if position.redacted else {}
        for path in list(position.redacted):
            keys = []
            for stored in chain.from_iterable(map(self._objects_of, _shipped_paths(position, path))):
                file = by_path.get(self._below(stored.key)) or by_path.get(names.version_of(self._below(stored.key))[0])
                if file is None or not self._is_now(file, stored):
                    keys.append(stored.key)
            self._delete(keys, "hold what was redacted")
            with self._lock:
                position.redacted.remove(path)
                for name in [name for name, entry in position.files.items() if self._key(entry[-1]) in keys]:
                    del position.files[name]

    def _objects_of(self, path: str) -> Iterator[StoredObject]:
        key = self._key(path)
        if (stored := self._store.head(key)) is not None:
            yield stored
        yield from self._store.objects(key)  # of a folder
        yield from self._store.objects(f"{key}.v")

    def _is_now(self, file: published.File, stored: StoredObject) -> bool:
        if stored.size != file.size:
            return False
        with published.opened(self.folder, file) as path:
            return published.digest_of(self._store.chunks(stored.key)) == published.digest(path)

    def settle_former(self) -> None:
        """Remove the segments of former copies that hold redacted lines, once this copy has all lines as they are now."""
        position = self._begin()
        for former in self._copy.former if self._copy is not None else ():
            by_stream: dict[str, list[Segment]] = {}
            marks = []
            for stored in self._store.objects(self.path):
                segment, whole = names.segment_of(self._below(stored.key)), names.whole_of(self._below(stored.key))
                if segment is not None and segment.copy == former:
                    by_stream.setdefault(segment.stream, []).append(segment)
                elif whole is not None and whole.copy == former:
                    marks.append(stored.key)
            states = {stream: self._compared(position, stream, held) for stream, held in by_stream.items()}
            if _UNSHIPPED in states.values():
                continue  # replaced since the lines were shipped: the next call settles it
            if _REDACTED in states.values():
                held = [segment for stream in by_stream if states[stream] != _OTHER for segment in by_stream[stream]]
                # The marks first: without the segments they tell of a loss.
                self._delete([*marks, *(self._key(segment.key) for segment in held)], "hold what was redacted")
            if others := [stream for stream, state in states.items() if state == _OTHER]:
                lacking = f"{', '.join(others)} that {self.folder} lacks"
                self.shipped.notes.append(f"the copy {former} in {self._store.url} holds lines of {lacking}: it stays")
            copies.forget(self.folder, former)
        if self._has_redactions:
            self._has_redactions = False
            self._tell_of_other_copies(position)

    def _tell_of_other_copies(self, position: ShippedPosition) -> None:
        """Say which copies may hold what was redacted here: they are those of other folders, such as a clone."""
        mine = {position.copy, *(self._copy.former if self._copy is not None else ())}
        if others := sorted({segment.copy for segment in self._segments()} - mine):
            text = "of other folders, may hold what was redacted: redact those and push them, or delete these copies"
            self.shipped.notes.append(f"{', '.join(others)} in {self._store.url}, copies {text}")

    def _compared(self, position: ShippedPosition, stream: str, held: list[Segment]) -> str:
        """Return whether a former copy holds the lines of a stream as they are now, some that were redacted, or others.

        As long as this copy lacks some of them nobody can do without the former one.
        """
        slices, state, end = segments.chain(held), _SAME, 0
        try:
            ours = read_lines(self.folder / layout.stream_file(stream))
            for line in _lines(piece.of(self._content(piece.segment)) for piece in slices):
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

    def _content(self, segment: Segment) -> bytes:
        return b"".join(lines_of(segment, self._store.chunks(self._key(segment.key))))

    def _delete(self, keys: Sequence[str], reason: str = "") -> None:
        """Delete objects; where that is refused, say so once."""
        for number, key in enumerate(keys):
            try:
                self._store.delete(key)
            except BucketDenied as error:
                if reason:
                    text = f"{self._store.url} refuses to delete objects that {reason}: {', '.join(keys[number:])}. {error}"
                    self.shipped.notes.append(text)
                    warn(f"{text}. Delete them as somebody who may", MlvWarning)
                elif not self._keeps:
                    self.shipped.notes.append(f"{self._store.url} refuses to delete: small segments stay beside merged ones")
                self._keeps = True
                return

    # The end.

    def merge(self, *, is_last: bool = False) -> None:
        """Replace many small segments by larger ones; with `is_last` as many as possible."""
        with self._in_another_copy():
            self._merge(is_last)

    @contextmanager
    def _in_another_copy(self) -> Iterator[None]:
        """Ship all lines as another copy where a larger segment is there with other bytes."""
        try:
            yield
        except _StreamReplaced:
            self._begin_another_copy()
            self.ship_lines()

    def _merge(self, is_last: bool) -> None:
        position = self._begun()
        for stream, done in list(position.streams.items()):
            least = 2 if is_last else self._merged_at_once
            while merged := segments.merges(done.spans, self._segment_bytes, least):
                with self._opened(stream) as file:
                    if tail_of(file.fileno(), done.end) != done.tail:
                        return  # the next call sees that it was replaced
                    for span in merged:
                        self._merge_to(position, stream, span, file)
                self.save()

    def _merge_to(self, position: ShippedPosition, stream: str, span: ByteSpan, file: BinaryIO) -> None:
        done = position.streams[stream]
        small = [
            Segment(stream, position.copy, s.start, s.end) for s in done.spans if span.start <= s.start and s.end <= span.end
        ]
        self._make_segment(Segment(stream, position.copy, span.start, span.end), file)
        if not self._keeps:
            self._delete([self._key(segment.key) for segment in small])
        # Last: whoever was killed in between merges them again, which changes nothing.
        with self._lock:
            done.spans = segments.replaced(done.spans, span)
        self.shipped.merged += len(small)

    def mark_whole(self) -> bool:
        """Mark the copy as whole, if its last run is sealed and all is up, and merge all; return whether it is marked."""
        for _ in range(_MOST_COPIES):
            with self._in_another_copy():
                return self._mark_whole()
        return False

    def _mark_whole(self) -> bool:
        position, sizes = self._begun(), pending.sizes(self.folder)
        size = sum(sizes.values())
        if not self._is_at_rest() or not position.has_all_of(sizes) or position.waiting:
            return False
        if position.whole != size:
            data = {"exp": position.meta, "streams": sizes, "files": len(position.files)}
            # Before the merge: a machine that is ended in the middle of that has left all there is.
            self._store.create(self._key(Whole(position.copy, size).key), orjson.dumps(data, option=orjson.OPT_SORT_KEYS))
            self._merge(is_last=True)
            with self._lock:
                position.whole = size
            self.save()
        return True

    def _is_at_rest(self) -> bool:
        """Return whether nobody writes, and each stream ends with the seal of who wrote it last."""
        streams = layout.streams_in(self.folder)
        sealed = ends.ends_of(self.folder)
        held = [claims.read(self.folder, stream) for stream in claims.claimed(self.folder)]
        return (
            bool(streams) and all(claim == claims.FOR_MERGES for claim in held) and all(stream in sealed for stream in streams)
        )

    def check_readable(self) -> None:
        """Report what can be read and is not shipped: a last line without its end, of a process that is gone."""
        for stream in layout.streams_in(self.folder):
            path = self.folder / layout.stream_file(stream)
            with suppress(OSError), opening.reading(path, 0) as file:
                end = pending.whole_end(file.fileno())
                file.seek(end)
                if stream not in claims.claimed(self.folder) and _is_event(file.read(_CHUNK_BYTES)):
                    self.shipped.unshipped[path.name] = "its last line has no end: `mlv recover` completes it"


def _is_event(text: bytes) -> bool:
    with suppress(ValueError):
        return isinstance(loads(text), dict)
    return False


class _RedactionsNoted:
    """Takes lines in chunks, and notes the files that they tell were redacted."""

    def __init__(self, position: ShippedPosition, lock: threading.RLock) -> None:
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
                    self._position.redacted += [path for path in _redacted_files(line) if path not in self._position.redacted]
        # A long line of any other type is not kept.
        is_kept = len(chunk) - end < _CHUNK_BYTES or chunk.find(wire.REDACTED, end, end + _HEAD_BYTES) >= 0
        self._remainder = chunk[end:] if is_kept else b""


def _redacted_files(line: bytes) -> Iterator[str]:
    """Yield the paths of the files that a `redacted` event names."""
    with suppress(ValueError, KeyError, TypeError):
        event: Mapping[str, Any] = loads(line)
        if event["type"] == "redacted":
            yield from (str(entry["path"]) for entry in event["data"].get("files") or ())


def _shipped_paths(position: ShippedPosition, path: str) -> list[str]:
    """Return the paths that an event about redacted files names: where it masks a part, those that were shipped and fit."""
    if MASK not in path:
        return [path]
    pattern = re.compile(".+".join(map(re.escape, path.split(MASK))) + "(/.+)?", re.DOTALL)
    return [shipped for shipped in position.files if pattern.fullmatch(shipped)]


def _cut(fd: int, start: int, size: int, most_bytes: int) -> int:
    """Return the position behind as many whole lines as fit, or one that is longer; `start` where there is none."""
    end = pending.newline_before(fd, min(size, start + most_bytes), start)
    while end == start and start + most_bytes < size:
        # A line that is longer: it stands alone.
        chunk = os.pread(fd, _CHUNK_BYTES, start + most_bytes)
        if not chunk:
            return start
        newline = chunk.find(b"\n")
        if newline >= 0:
            return start + most_bytes + newline + 1
        most_bytes += len(chunk)
    return end


@contextmanager
def _compressed(fd: int, segment: Segment, look: Callable[[bytes], None]) -> Iterator[bytes | Path]:
    """Yield the bytes of a segment as one gzip member, in memory, or of a line that is too long for it in a file."""
    if segment.end - segment.start <= SEGMENT_BYTES:
        memory = BytesIO()
        _compress(fd, segment, look, memory)
        yield memory.getvalue()
        return
    with tempfile.NamedTemporaryFile() as file:
        _compress(fd, segment, look, file)
        file.flush()
        yield Path(file.name)


def _compress(fd: int, segment: Segment, look: Callable[[bytes], None], target: Any) -> None:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)  # its header holds no time: equal lines are equal objects
    position = segment.start
    while position < segment.end:
        chunk = os.pread(fd, min(_CHUNK_BYTES, segment.end - position), position)
        if not chunk:
            raise _StreamReplaced(segment.stream)  # it was cut off meanwhile
        look(chunk)
        target.write(packer.compress(chunk))
        position += len(chunk)
    target.write(packer.flush())


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the lines of chunks that begin and end with whole ones."""
    for chunk in chunks:
        yield from BytesIO(chunk)
