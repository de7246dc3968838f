"""The lines in an object: uncompressed, and refused where they are not the bytes that its name promises."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future

from mlv.bucket import names
from mlv.bucket.listing import Version
from mlv.bucket.names import Segment
from mlv.bucket.store import ObjectStore, StoredObject
from mlv.store import opening

LARGEST = 2 * opening.LONGEST_LINE
"""Bytes of a segment: a few MiB, or one long line. A name that promises more would fill a disk from a small object."""
_LARGE = 16 << 20
"""Bytes of an object from which on it is read in chunks."""
_STEP = 1 << 20
"""Bytes that are uncompressed at a time: a small object may hold a terabyte of zeros."""
_GZIP = 31
_AHEAD = 8
"""Objects of one stream that are fetched at once."""
_AHEAD_BYTES = 4 << 20
"""A larger object is fetched when it is needed."""


class DamagedSegment(Exception):
    """A segment does not hold the bytes that its name promises; the text says why."""


def lines_of(segment: Segment, compressed: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the uncompressed bytes of a segment, in chunks.

    Raises:
        DamagedSegment: It is no gzip, holds another number of bytes, or does not end with a whole line.
    """
    expected, size, last = segment.end - segment.start, 0, b""
    if expected > LARGEST:
        raise DamagedSegment(f"its name promises {expected} bytes, and no segment has more than {LARGEST}")
    for chunk in _uncompressed(compressed):
        size += len(chunk)
        if size > expected:
            raise DamagedSegment(f"it holds more than the {expected} bytes that its name promises")
        last = chunk or last
        yield chunk
    if size < expected:
        raise DamagedSegment(f"it holds {size} bytes, and its name promises {expected}")
    if not last.endswith(b"\n"):
        raise DamagedSegment("it ends within a line")


def _uncompressed(compressed: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content of gzip members, one after the other.

    Raises:
        DamagedSegment: They are damaged, or cut off.
    """
    inflater = zlib.decompressobj(_GZIP)
    is_within = False
    for data in compressed:
        chunk = b""
        # A full chunk without input left: more of it may wait in the inflater.
        while data or (len(chunk) == _STEP and not inflater.eof):
            if inflater.eof:
                inflater = zlib.decompressobj(_GZIP)
            try:
                chunk = inflater.decompress(data, _STEP)
            except zlib.error as error:
                raise DamagedSegment(f"it is damaged: {error}") from None
            is_within = not inflater.eof
            if chunk:
                yield chunk
            data = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
    if is_within:
        raise DamagedSegment("it is cut off")


class ExperimentObjects:
    """The objects of one experiment, as a listing names them; each call makes one request."""

    def __init__(self, store: ObjectStore, path: str, requests: Executor) -> None:
        """Take the root, the path of the experiment below it, and threads for requests beside the one that is waited for."""
        self._store, self._path, self._requests = store, path, requests

    def get(self, stored: StoredObject | Version) -> bytes:
        """Return the bytes of an object.

        Raises:
            NoSuchObject, BucketError: As `ObjectStore`.
        """
        return self._store.get(names.join(self._path, stored.key))

    def chunks(self, stored: StoredObject | Version) -> Iterator[bytes]:
        """Yield the bytes of an object, a large one in chunks.

        Raises:
            NoSuchObject, BucketError: As `ObjectStore`.
        """
        if stored.size > _LARGE:
            return self._store.chunks(names.join(self._path, stored.key))
        return iter((self.get(stored),))

    def fetched(self, objects: Sequence[StoredObject]) -> Iterator[Iterable[bytes]]:
        """Yield the content of each object in turn; of several small ones some are fetched in advance.

        Raises:
            NoSuchObject, BucketError: As `ObjectStore`.
        """
        waiting, ahead = deque(objects), deque[tuple[StoredObject, "Future[bytes] | None"]]()
        try:
            while waiting or ahead:
                while waiting and len(ahead) < _AHEAD:
                    stored = waiting.popleft()
                    is_small = stored.size <= _AHEAD_BYTES and len(objects) > 1
                    ahead.append((stored, self._requests.submit(self.get, stored) if is_small else None))
                stored, request = ahead.popleft()
                yield self.chunks(stored) if request is None else (request.result(),)
        finally:
            for _, request in ahead:
                if request is not None:
                    request.cancel()
