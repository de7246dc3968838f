"""The one client of object stores: S3, Google Cloud Storage, Azure and folders, through `obstore`, in a few calls.

Nothing else imports `obstore`. Objects are made once and never changed: `create` says whether the object was made, is there
with these bytes, or with others. Some stores replace an object all the same, without a word (`rclone serve s3`), so a caller
chooses keys whose content follows from the key; where it does not, the caller looks first (`head`).
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from mlv.digests import sha256
from mlv.errors import BucketDenied, BucketError, BucketMissing, BucketUnreachable, InvalidArgument, NoSuchObject
from mlv.optional import is_installed, package

T = TypeVar("T")

SCHEMES = ("s3", "gs", "az", "file")
_OPTIONS = ("endpoint", "region")
"""Settings that a URL may hold; all others come from the variables of each client, such as AWS_ACCESS_KEY_ID."""
_TIMEOUT_S = 20
_RETRIES = 2
"""Tries of a request after the first; more patience is the caller's."""
_PART_BYTES = 8 << 20
"""Of a large file in one request: within the timeout at 3.4 Mbit/s, and no upload is as old as the clocks may differ."""


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


class ObjectStore(Protocol):
    """A root in a bucket: keys are below it, their parts divided by `/`.

    Each call raises BucketUnreachable where another try may help, BucketDenied, BucketMissing, or another BucketError.
    """

    url: str
    """Without anything secret: it may be written into files and shown."""

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


def is_url(text: object) -> bool:
    """Return whether a text is the URL of a root in a bucket, rather than a path: it begins with `s3://`, `gs://`, `az://` or `file://`."""
    return isinstance(text, str) and "://" in text and not os.path.exists(text)


def open_store(url: str) -> ObjectStore:
    """Open a root in a bucket; no request is made.

    Args:
        url: `s3://bucket/prefix`, `gs://...`, `az://container/...` or `file:///folder`. `?endpoint=` and `?region=` may follow;
            credentials come from the variables and files that each client knows.

    Raises:
        InvalidArgument: The URL has another scheme, no bucket, an unknown option, or holds a credential.
        MissingExtra: `obstore` is not installed.
        BucketError: The client cannot be made of these settings.
    """
    return _Store(url)


def checked_url(url: str) -> tuple[str, dict[str, str]]:
    """Return a URL without its options, and them.

    Raises:
        InvalidArgument: As `open_store`.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        schemes = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise InvalidArgument(f"the scheme of {url!r} is none of {schemes}: give the URL of a bucket", url=url)
    if parts.password is not None or parts.username is not None:
        shown = urlunsplit((parts.scheme, f"***@{parts.hostname or ''}", parts.path, "", ""))
        raise InvalidArgument(
            f"the URL {shown} holds a user or password, and URLs are written into files: set the variables of the client "
            f"instead, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(options.keys() - set(_OPTIONS)):
        # Without values: one of them may be a secret.
        raise InvalidArgument(
            f"a URL may end with the options {' and '.join(_OPTIONS)}, not {', '.join(unknown)}: set the variables of the "
            f"client for all others, such as AWS_ACCESS_KEY_ID",
            options=unknown,
        )
    if parts.fragment:
        raise InvalidArgument(f"the URL {url!r} has a part after '#': write it as %23", url=url)
    if not parts.netloc and parts.scheme != "file":
        raise InvalidArgument(f"the URL {url!r} names no bucket: write {parts.scheme}://bucket/prefix", url=url)
    if parts.scheme == "file" and (parts.netloc or not parts.path.startswith("/")):
        raise InvalidArgument(f"the URL {url!r} names no absolute folder: write file:///folder", url=url)
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", "")), options


class _Store:
    """A root in a bucket, as `obstore` reaches it."""

    def __init__(self, url: str) -> None:
        self._base, self._options = checked_url(url)
        self._obstore = package("obstore", "bucket")
        self._errors = package("obstore.exceptions", "bucket")
        query = "&".join(f"{name}={value}" for name, value in sorted(self._options.items()))
        self.url = f"{self._base}?{query}" if query else self._base
        self._client = self._opened()

    def _opened(self) -> Any:
        """Make the client anew: it reads the variables, files and tokens of the credentials."""
        scheme, _, path = self._base.partition("://")
        stores = package("obstore.store", "bucket")
        try:
            if scheme == "file":
                return stores.LocalStore(unquote(path), mkdir=True)
            return stores.from_url(
                self._base,
                config=self._config(scheme),
                client_options={
                    "timeout": timedelta(seconds=_TIMEOUT_S),
                    "connect_timeout": timedelta(seconds=_TIMEOUT_S / 4),
                    "allow_http": self._endpoint(scheme).startswith("http://"),
                },
                retry_config={"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=3 * _TIMEOUT_S)},
                **self._credentials(scheme),
            )
        except (ValueError, OSError, self._errors.BaseError) as error:
            raise BucketError(f"{self.url} cannot be opened: {_first_line(error)}", url=self.url) from error

    def _endpoint(self, scheme: str) -> str:
        if scheme == "s3":
            variables: tuple[str, ...] = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
        else:
            variables = ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT", "AZURITE_BLOB_STORAGE_URL") if scheme == "az" else ()
        if scheme == "az" and os.environ.get("AZURE_STORAGE_USE_EMULATOR", "").lower() in ("1", "true"):
            return self._options.get("endpoint", "http://127.0.0.1")
        return next(filter(None, (self._options.get("endpoint"), *map(os.environ.get, variables))), "")

    def _config(self, scheme: str) -> dict[str, str]:
        config = dict(self._options)
        if scheme == "s3":
            # Object Lock asks for it, and a body that was changed on its way is refused.
            config["checksum_algorithm"] = "SHA256"
            if endpoint := self._endpoint(scheme):
                config["endpoint"] = endpoint
            if region := self._options.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"):
                config["region"] = region
        return config

    def _credentials(self, scheme: str) -> dict[str, Any]:
        """Return the provider for what `obstore` itself cannot read: profiles and single sign-on of AWS, by `boto3`."""
        by_variable = any(os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE"))
        has_profile = os.environ.get("AWS_PROFILE") or os.path.exists(os.path.expanduser("~/.aws"))
        if scheme != "s3" or by_variable or not has_profile or not is_installed("boto3"):
            return {}
        return {"credential_provider": package("obstore.auth.boto3", None).Boto3CredentialProvider()}

    def create(self, key: str, content: bytes | Path) -> Creation:
        size = content.stat().st_size if isinstance(content, Path) else len(content)
        is_large = size > _PART_BYTES

        def put() -> None:
            self._obstore.put(self._client, key, content, mode="create", use_multipart=is_large, chunk_size=_PART_BYTES)

        try:
            self._call(put, key)
            return Creation.MADE
        except FileExistsError:
            return Creation.SAME if self._holds(key, content, size) else Creation.DIFFERENT

    def _holds(self, key: str, content: bytes | Path, size: int) -> bool:
        there = self.head(key)
        return there is not None and there.size == size and _digest(self.chunks(key)) == _digest(_chunks_of(content))

    def get(self, key: str) -> bytes:
        return self._call(lambda: bytes(self._obstore.get(self._client, key).bytes()), key)

    def get_range(self, key: str, start: int, end: int) -> bytes:
        return self._call(lambda: bytes(self._obstore.get_range(self._client, key, start=start, end=end)), key)

    def chunks(self, key: str) -> Iterator[bytes]:
        stream = self._call(lambda: iter(self._obstore.get(self._client, key).stream(min_chunk_size=_PART_BYTES)), key)
        while (chunk := self._call(lambda: next(stream, None), key)) is not None:
            yield bytes(chunk)

    def objects(self, prefix: str = "", after: str = "") -> Iterator[StoredObject]:
        offset = after or None
        pages = self._call(lambda: iter(self._obstore.list(self._client, prefix=prefix or None, offset=offset)), prefix)
        objects = (_stored(meta) for page in iter(lambda: self._call(lambda: next(pages, None), prefix), None) for meta in page)
        if self._base.startswith("file:"):  # in the order of the folder
            return iter(sorted(objects, key=lambda stored: stored.key.encode()))
        return objects

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
            if not isinstance(self._translated(error, key), BucketDenied):
                raise self._translated(error, key) from error
        self._client = self._opened()
        try:
            return request()
        except Exception as error:
            raise self._translated(error, key) from error

    def _translated(self, error: Exception, key: str) -> Exception:
        """Return the error of ours that an error of the client stands for."""
        errors, text = self._errors, str(error)
        if isinstance(error, (errors.AlreadyExistsError, errors.PreconditionError)):
            return FileExistsError(key)
        if "NoSuchBucket" in text or "ContainerNotFound" in text:
            return BucketMissing(f"{self.url}: there is no such bucket; make it, or correct the URL", url=self.url)
        if isinstance(error, FileNotFoundError):
            return NoSuchObject(f"{self.url}: there is no object {key!r}", url=self.url, key=key)
        denied = (errors.PermissionDeniedError, errors.UnauthenticatedError, PermissionError)
        if isinstance(error, denied) or any(code in text for code in _DENIALS):
            return BucketDenied(
                f"{self.url} refuses access to {key or 'the root'!r}: {_reason(text)}. Look at the credentials, and at the "
                f"policy of the bucket",
                url=self.url,
                key=key,
            )
        if isinstance(error, (ValueError, errors.NotSupportedError, errors.InvalidPathError)):
            return BucketError(f"{self.url} cannot hold an object {key!r}: {_first_line(error)}", url=self.url, key=key)
        if isinstance(error, (errors.BaseError, OSError)):
            return BucketUnreachable(f"{self.url} does not answer as it should: {_reason(text)}", url=self.url, key=key)
        return error


_DENIALS = (
    "AccessDenied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "RequestTimeTooSkewed",
)
"""Codes of S3 in an error that the client does not tell apart."""


def _stored(meta: Any) -> StoredObject:
    return StoredObject(meta["path"], meta["size"], meta["last_modified"].timestamp())


def _reason(text: str) -> str:
    """Return the code of an answer of the store, or else the first line of an error."""
    code = text.partition("<Code>")[2].partition("</Code>")[0]
    message = text.partition("<Message>")[2].partition("</Message>")[0]
    return f"{code}: {message}" if code and message else code or _first_line(text)


def _first_line(error: object) -> str:
    return str(error).strip().partition("\n")[0][:500] or type(error).__name__


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
