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
from mlv.errors import BucketDenied, BucketError, BucketMissing, BucketUnreachable, InvalidArgument, MlvError, NoSuchObject
from mlv.optional import is_installed, package

T = TypeVar("T")

SCHEMES = ("s3", "gs", "az", "file")
_OPTIONS = {"s3": ("endpoint", "region"), "gs": (), "az": ("endpoint",), "file": ()}
"""Settings that a URL may hold; all others come from the variables of each client, such as AWS_ACCESS_KEY_ID."""
TIMEOUT_S = 20.0
"""Seconds for one request. With the tries after it a call ends within four times as long, and fails then."""
_RETRIES = 2
"""Tries of a request after the first; more patience is the caller's."""
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


def is_url(text: object) -> bool:
    """Return whether a text is the URL of a root in a bucket, rather than a path: it begins with `s3://`, `gs://`, `az://` or `file://`."""
    return isinstance(text, str) and "://" in text and not os.path.exists(text)


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


def checked_url(url: str) -> tuple[str, dict[str, str]]:
    """Return a URL without its options, and them.

    Raises:
        InvalidArgument: As `open_store`.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # not shown: it may hold a credential
        raise InvalidArgument("the URL of a bucket has brackets that are no address: write it as s3://bucket/prefix") from None
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.scheme not in SCHEMES:
        schemes = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        # Without what may be a secret.
        shown = f"{parts.scheme}://***" if "@" in url else urlunsplit((*parts[:3], "", ""))
        raise InvalidArgument(f"the scheme of {shown!r} is none of {schemes}: give the URL of a bucket", url=shown)
    # A secret key may hold a slash or worse, behind which `@` is no more that of a user; no bucket has a colon in its name.
    if "@" in parts.netloc or ":" in parts.netloc or "@" in options.get("endpoint", ""):
        raise InvalidArgument(
            f"a URL of {parts.scheme}:// holds a user or password, and URLs are written into files: set the variables of the "
            f"client instead, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if unknown := sorted(options.keys() - set(_OPTIONS[parts.scheme])):
        # Without values: one of them may be a secret.
        allowed = f"the options {' and '.join(_OPTIONS[parts.scheme])}" if _OPTIONS[parts.scheme] else "no options"
        raise InvalidArgument(
            f"a URL of {parts.scheme}:// may hold {allowed}, not {', '.join(unknown)}: set the variables of the "
            f"client for all others, such as AWS_ACCESS_KEY_ID",
            options=unknown,
        )
    if parts.fragment:
        raise InvalidArgument(f"the URL {url!r} has a part after '#': write it as %23", url=url)
    if not parts.netloc and parts.scheme != "file":
        raise InvalidArgument(f"the URL {url!r} names no bucket: write {parts.scheme}://bucket/prefix", url=url)
    if parts.scheme == "file" and (parts.netloc or not parts.path.startswith("/")):
        raise InvalidArgument(f"the URL {url!r} names no absolute folder: write file:///folder", url=url)
    # Not by `urlunsplit`, which takes a path that begins with two slashes for a host.
    path = parts.path.strip("/")
    return f"{parts.scheme}://{parts.netloc}{'/' * (bool(path) or parts.scheme == 'file')}{path}", options


def normal_url(url: str) -> str:
    """Return a URL in the one form in which it is written into files.

    Raises:
        InvalidArgument: As `open_store`.
    """
    base, options = checked_url(url)
    query = "&".join(f"{name}={value}" for name, value in sorted(options.items()))
    return f"{base}?{query}" if query else base


class _Store:
    """A root in a bucket, as `obstore` reaches it."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._timeout_s, self.has_ranges = timeout_s, True
        self._base, self._options = checked_url(url)
        self._obstore = package("obstore", "bucket")
        self._errors = package("obstore.exceptions", "bucket")
        self._scheme = self._base.partition("://")[0]
        self.url = normal_url(url)
        self._client = self._opened()

    def _opened(self) -> Any:
        """Make the client anew: it reads the variables, files and tokens of the credentials."""
        scheme, path = self._scheme, self._base.partition("://")[2]
        stores = package("obstore.store", "bucket")
        try:
            if scheme == "file":
                return stores.LocalStore(unquote(path), mkdir=True, automatic_cleanup=True)
            config, credentials = self._config(scheme)
            return stores.from_url(
                self._base,
                config=config,
                client_options={
                    "timeout": timedelta(seconds=self._timeout_s),
                    "connect_timeout": timedelta(seconds=self._timeout_s / 4),
                    "allow_http": config.get("endpoint", "").startswith("http://") or _uses_emulator(scheme),
                },
                retry_config={"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=3 * self._timeout_s)},
                **credentials,
            )
        except MlvError:
            raise
        except Exception as error:  # that of a client of credentials may be of any kind
            raise BucketError(f"{self.url} cannot be opened: {_first_line(error)}", url=self.url) from error

    def _config(self, scheme: str) -> tuple[dict[str, str], dict[str, Any]]:
        """Return the settings of the client, and the provider of credentials where `obstore` needs one."""
        config, credentials, profile = dict(self._options), {}, {}
        if scheme == "s3":
            # Object Lock asks for it, and a body that was changed on its way is refused.
            config["checksum_algorithm"] = "SHA256"
            if _needs_boto3():
                credentials["credential_provider"] = package("obstore.auth.boto3", None).Boto3CredentialProvider()
                profile = package("botocore.session", None).get_session().get_scoped_config()
        for option in _OPTIONS[scheme]:
            values = (self._options.get(option), *map(os.environ.get, _VARIABLES[scheme, option]), profile.get(f"{option}_url"))
            if value := next(filter(None, (*values, profile.get(option))), None):
                config[option] = value
        return config, credentials

    def create(self, key: str, content: bytes | Path) -> Creation:
        size = content.stat().st_size if isinstance(content, Path) else len(content)
        is_large = size > _PART_BYTES

        def put() -> None:
            self._obstore.put(
                self._client, key, content,
                mode="create", use_multipart=is_large, chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE,
            )  # fmt: skip

        for _ in range(_RETRIES + 1):
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
                if self._shows(error, key, _NO_RANGE):
                    return None
                if self._shows(error, key, *_BEHIND_THE_END):
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
                raise self._translated(error, key) from error
            if chunk is None:
                return
            yield bytes(chunk)

    def objects(self, prefix: str = "", after: str = "") -> Iterator[StoredObject]:
        objects = self._listed(prefix, after)
        # A folder is listed in the order of its file system.
        return iter(sorted(objects, key=lambda stored: stored.key.encode())) if self._scheme == "file" else objects

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
                translated = self._translated(error, prefix)
                if is_renewed or not isinstance(translated, BucketDenied):
                    raise translated from error
            self._client, is_renewed = self._opened(), True

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

    def _shows(self, error: Exception, key: str, *signs: str) -> bool:
        """Return whether the text of an error holds a sign, other than in the names that it repeats."""
        text, names = str(error), f"{self._base} {key}"
        return any(sign in text and sign not in names for sign in signs)

    def _translated(self, error: Exception, key: str) -> Exception:
        """Return the error of ours that an error of the client stands for."""
        errors, text = self._errors, str(error)
        if _NO_PATH in text:
            reason = _first_line(text.rpartition(_NO_PATH)[2].strip(" :"))
            text = f"{self.url} cannot be listed, as a key in it is no path ({reason}): remove that object"
            return BucketError(text, url=self.url)
        if isinstance(error, (errors.AlreadyExistsError, errors.PreconditionError)):
            return FileExistsError(key)
        if self._shows(error, key, *_NO_BUCKET):
            return BucketMissing(f"{self.url}: there is no such bucket; make it, or correct the URL", url=self.url)
        if isinstance(error, FileNotFoundError):
            return NoSuchObject(f"{self.url}: there is no object {key!r}", url=self.url, key=key)
        if self._shows(error, key, *_METADATA):
            return BucketDenied(
                f"{self.url}: there are no credentials, neither in variables such as {_FIRST_VARIABLE[self._scheme]}, nor of "
                f"this machine. {_ADVICE[self._scheme]}",
                url=self.url,
                key=key,
            )
        denied = (errors.PermissionDeniedError, errors.UnauthenticatedError, PermissionError)
        if isinstance(error, denied) or self._shows(error, key, *_DENIALS) or _is_bare_refusal(text):
            advice = (
                _CLOCK
                if self._shows(error, key, "RequestTimeTooSkewed")
                else "Look at the credentials, and at the policy of the bucket"
            )
            return BucketDenied(
                f"{self.url} refuses access to {key or 'the root'!r}: {_reason(text)}. {advice}", url=self.url, key=key
            )
        if isinstance(error, (ValueError, errors.NotSupportedError, errors.InvalidPathError)):
            return BucketError(f"{self.url} cannot hold an object {key!r}: {_first_line(error)}", url=self.url, key=key)
        if isinstance(error, (errors.BaseError, OSError)):
            reason = f"no answer within {self._timeout_s:g} s" if self._shows(error, key, "kind: Timeout") else _reason(text)
            return BucketUnreachable(f"{self.url} does not answer as it should: {reason}", url=self.url, key=key)
        return error


_DENIALS = (
    "AccessDenied",
    "AuthenticationFailed",
    "AuthorizationFailure",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "status code: 401",
    "status code: 403",
)
"""Signs of a refusal in an error that the client does not tell apart, as that of a listing."""

_NO_PATH = "Encountered object with invalid path"
"""The sign of a listing with a key such as `a//b`, which the client cannot pass over."""
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist")
"""Signs that there is no such bucket."""

_NO_RANGE = "non-partial response"
"""The sign of a store that answers with the whole object, as that of rclone does."""
_BEHIND_THE_END = ("InvalidRange", "status code: 416", "greater than the length", "start: ")
"""Signs of a range that begins behind the end of the object."""

_METADATA = ("169.254.169.254", "metadata.google.internal")
"""Where machines of a cloud have their credentials: the last place where a client looks."""

_FIRST_VARIABLE = {"s3": "AWS_ACCESS_KEY_ID", "gs": "GOOGLE_APPLICATION_CREDENTIALS", "az": "AZURE_STORAGE_ACCOUNT_NAME"}
_ADVICE = {
    "s3": "Profiles and single sign-on of AWS need boto3: pip install boto3",
    "gs": "Name the file of a service account, or run `gcloud auth application-default login`",
    "az": "Set AZURE_STORAGE_ACCOUNT_KEY, or AZURE_STORAGE_SAS_KEY",
}
_CLOCK = "The clock of this machine is more than 15 minutes off: set it, as by NTP"

_VARIABLES = {
    ("s3", "endpoint"): ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    ("s3", "region"): ("AWS_REGION", "AWS_DEFAULT_REGION"),
    ("az", "endpoint"): ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
"""The variables of an option, of which `obstore` does not read all; the first that is set serves."""


def _uses_emulator(scheme: str) -> bool:
    return scheme == "az" and os.environ.get("AZURE_STORAGE_USE_EMULATOR", "").lower() in ("1", "true")


def _needs_boto3() -> bool:
    """Return whether credentials of AWS come from what `obstore` cannot read, profiles and single sign-on, and `boto3` can."""
    variables = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
    if any(map(os.environ.get, (*variables, "AWS_CONTAINER_CREDENTIALS_FULL_URI"))) or not is_installed("boto3"):
        return False
    files = (
        os.environ.get("AWS_CONFIG_FILE", "~/.aws/config"),
        os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
    )
    return bool(os.environ.get("AWS_PROFILE")) or any(os.path.exists(os.path.expanduser(file)) for file in files)


def _is_bare_refusal(text: str) -> bool:
    """Return whether S3 refused a HEAD, whose answer holds no code: 400 stands for an expired token then."""
    return "status code: 400" in text and "<Code>" not in text and "HEAD" in text


def _stored(meta: Any) -> StoredObject:
    return StoredObject(meta["path"], meta["size"], meta["last_modified"].timestamp(), meta.get("version"))


def _reason(text: str) -> str:
    """Return the code of an answer of the store, or else the first line of an error."""
    code = text.partition("<Code>")[2].partition("</Code>")[0]
    message = text.partition("<Message>")[2].partition("</Message>")[0].partition("\n")[0].rstrip(".")
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
