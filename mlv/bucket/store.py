"""The one client of object stores: S3, Google Cloud Storage, Azure and folders, through `obstore`, in a few calls.

Nothing imports `obstore` but this module, and `client` and `store_errors` for it. Objects are made once and never changed:
`create` says whether the object was made, is there with these bytes, or with others. Some stores replace an object all the
same, without a word (`rclone serve s3`), so a caller chooses keys whose content follows from the key; where it does not, the
caller looks first (`head`).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from mlv.bucket.client import RETRIES, new_client
from mlv.bucket.store_errors import BEHIND_THE_END, NO_RANGE, StoreErrors
from mlv.bucket.urls import checked_url, url_with
from mlv.digests import sha256
from mlv.errors import BucketDenied, BucketError, BucketUnreachable, NoSuchObject
from mlv.optional import package

T = TypeVar("T")

TIMEOUT_S = 20.0
"""Seconds for one request. With the tries after it a call ends within four times as long, and fails then."""
_PART_BYTES = 8 << 20
"""Of a large file in one request: within the timeout at 3.4 Mbit/s, and no upload is as old as the clocks may differ."""
_PARTS_AT_ONCE = 2
"""Of one large file: all of them lie in memory."""


class Creation(enum.Enum):
    """The outcome of `create`."""

    MADE = "made"
    SAME = "is there with these bytes"
    DIFFERENT = "is there with other bytes"


class StoredObject(NamedTuple):
    """An object as a listing names it."""

    key: str
    size: int
    modified: float
    """Seconds since 1970, by the clock of the store."""
    version: str | None = None
    """Its name among the versions of the key; None where the bucket keeps none, and in listings."""


class ObjectStore(Protocol):
    """A root in a bucket: keys are below it, their parts divided by `/`.

    Each call raises BucketUnreachable where another try may help, BucketDenied, BucketMissing, or another BucketError.
    """

    url: str
    """Without anything secret: it may be written into files and shown."""
    has_ranges: bool
    """Whether a range is read alone, as far as calls have shown; else the whole object is read for it."""

    def create(self, key: str, content: bytes | Path) -> Creation:
        """Make an object of these bytes, or of a file's; one that is there stays."""
        ...

    def get(self, key: str) -> bytes:
        """Return the bytes of an object; NoSuchObject where there is none."""
        ...

    def get_range(self, key: str, start: int, end: int) -> bytes:
        """Return the bytes `start` to `end` of an object; NoSuchObject where there is none."""
        ...

    def chunks(self, key: str) -> Iterator[bytes]:
        """Yield the bytes of a large object; NoSuchObject where there is none."""
        ...

    def objects(self, prefix: str = "", after: str = "") -> Iterator[StoredObject]:
        """Yield the objects below a folder, those behind `after` alone, in the order of their keys: one request per 1,000."""
        ...

    def folders(self, prefix: str = "") -> list[str]:
        """Return the keys of the folders that lie directly below a folder, sorted."""
        ...

    def head(self, key: str) -> StoredObject | None:
        """Return an object's size and time; None where there is none."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object, also one that is not there."""
        ...


def open_store(url: str, timeout_s: float = TIMEOUT_S) -> ObjectStore:
    """Open a root in a bucket; no request is made.

    Args:
        url: `s3://bucket/prefix`, `gs://...`, `az://container/...` or `file:///folder`. `?endpoint=` and `?region=` may follow;
            credentials come from the variables and files that each client knows.
        timeout_s: Seconds for one request; a call that the store does not answer fails within four times as long.

    Raises:
        InvalidArgument: The URL has another scheme, no bucket, an unknown option, or holds a credential.
        MissingExtra: `obstore` is not installed.
        BucketError: The client cannot be made of these settings.
    """
    return _Store(url, timeout_s)


class _Store:
    """A root in a bucket, as `obstore` reaches it."""

    def __init__(self, url: str, timeout_s: float) -> None:
        base, options = checked_url(url)
        self.url, self.has_ranges = url_with(base, options), True
        self._obstore = package("obstore", "bucket")
        self._errors = StoreErrors(self.url, base, timeout_s)
        self._settings = base, options, timeout_s
        self._client = new_client(*self._settings)
        self._is_sorted = not base.startswith("file:")  # a folder is listed in the order of its file system

    def create(self, key: str, content: bytes | Path) -> Creation:
        size = content.stat().st_size if isinstance(content, Path) else len(content)
        is_large = size > _PART_BYTES

        def put() -> None:
            self._obstore.put(
                self._client, key, content,
                mode="create", use_multipart=is_large, chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE,
            )  # fmt: skip

        for _ in range(RETRIES + 1):
            try:
                self._call(put, key)
                return Creation.MADE
            except FileExistsError:
                if (there := self.head(key)) is not None:
                    is_same = there.size == size and _digest(self.chunks(key)) == _digest(_chunks_of(content))
                    return Creation.SAME if is_same else Creation.DIFFERENT
            # S3 refuses with the same answer while another upload of the key goes on, which may yet fail.
        raise BucketUnreachable(f"{self.url}: {key!r} is being made by another, and is not there yet", url=self.url, key=key)

    def get(self, key: str) -> bytes:
        return self._call(lambda: bytes(self._obstore.get(self._client, key).bytes()), key)

    def get_range(self, key: str, start: int, end: int) -> bytes:
        if start >= end:
            return b""
        part = self._part(key, start, end)
        return self.get(key)[start:end] if part is None else part[0]

    def _part(self, key: str, start: int, end: int) -> tuple[bytes, int] | None:
        """Return the bytes of a range, and the size of the object; None where the store answers with all of it."""

        def get() -> tuple[bytes, int] | None:
            try:
                result = self._obstore.get(self._client, key, options={"range": (start, end)})
                return bytes(result.bytes()), result.meta["size"]
            except Exception as error:
                if self._errors.shows(error, key, NO_RANGE):
                    return None
                if self._errors.shows(error, key, *BEHIND_THE_END):
                    return b"", 0
                raise

        part = self._call(get, key) if self.has_ranges else None
        self.has_ranges = part is not None
        return part

    def chunks(self, key: str) -> Iterator[bytes]:
        # In requests of a part each: one for all would have to end within the timeout.
        part = self._part(key, 0, _PART_BYTES)
        if part is None:
            yield from self._streamed(key)
            return
        chunk, size = part
        position = len(chunk)
        yield chunk
        while position < size:
            chunk = self.get_range(key, position, position + _PART_BYTES)
            if not chunk:
                raise BucketError(f"{self.url}: {key!r} became shorter while it was read", url=self.url, key=key)
            position += len(chunk)
            yield chunk

    def _streamed(self, key: str) -> Iterator[bytes]:
        """Yield the bytes of an object in one request."""
        stream = self._call(lambda: iter(self._obstore.get(self._client, key).stream(min_chunk_size=_PART_BYTES)), key)
        while True:
            try:
                # Not by `_call`: asked again, a stream that failed is at its end.
                chunk = next(stream, None)
            except Exception as error:
                raise self._errors.translated(error, key) from error
            if chunk is None:
                return
            yield bytes(chunk)

    def objects(self, prefix: str = "", after: str = "") -> Iterator[StoredObject]:
        objects = self._listed(prefix, after)
        return objects if self._is_sorted else iter(sorted(objects, key=lambda stored: stored.key.encode()))

    def _listed(self, prefix: str, after: str) -> Iterator[StoredObject]:
        """Yield the objects of all pages; where a page is refused, go on behind the last one with new credentials, once."""
        begin, is_renewed = after, False
        while True:
            try:
                for page in self._obstore.list(self._client, prefix=prefix or None, offset=after or None):
                    for meta in page:
                        if meta["path"] > begin:  # some stores list from the first one on all the same, such as Azurite
                            yield _stored(meta)
                            after = max(after, meta["path"])
                return
            except Exception as error:
                translated = self._errors.translated(error, prefix)
                if is_renewed or not isinstance(translated, BucketDenied):
                    raise translated from error
            self._client, is_renewed = new_client(*self._settings), True

    def folders(self, prefix: str = "") -> list[str]:
        result = self._call(lambda: self._obstore.list_with_delimiter(self._client, prefix or None), prefix)
        return sorted(result["common_prefixes"])

    def head(self, key: str) -> StoredObject | None:
        try:
            return _stored(self._call(lambda: self._obstore.head(self._client, key), key))
        except NoSuchObject:
            return None

    def delete(self, key: str) -> None:
        with suppress(NoSuchObject):
            self._call(lambda: self._obstore.delete(self._client, key), key)

    def _call(self, request: Callable[[], T], key: str) -> T:
        """Make a request; where it is refused once more with new credentials, as a token may have expired."""
        try:
            return request()
        except Exception as error:
            if not isinstance(self._errors.translated(error, key), BucketDenied):
                raise self._errors.translated(error, key) from error
        self._client = new_client(*self._settings)
        try:
            return request()
        except Exception as error:
            raise self._errors.translated(error, key) from error


def _stored(meta: Any) -> StoredObject:
    return StoredObject(meta["path"], meta["size"], meta["last_modified"].timestamp(), meta.get("version"))


def _chunks_of(content: bytes | Path) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with open(content, "rb") as file:
        while chunk := file.read(_PART_BYTES):
            yield chunk


def _digest(chunks: Iterator[bytes]) -> bytes:
    digest = sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.digest()
