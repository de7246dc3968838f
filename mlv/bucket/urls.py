"""The URLs of roots in buckets: what may stand in them, and the one form in which they are written into files."""

from __future__ import annotations

import os
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from mlv.errors import BucketMissing, InvalidArgument

SCHEMES = ("s3", "gs", "az", "file")
OPTIONS = {"s3": ("endpoint", "region"), "gs": (), "az": ("endpoint",), "file": ()}
"""Settings that a URL may hold; all others come from the variables of each client, such as AWS_ACCESS_KEY_ID."""


def is_url(text: object) -> bool:
    """Return whether a text is the URL of a root in a bucket, rather than a path: it begins with `s3://`, `gs://`, `az://` or `file://`."""
    return isinstance(text, str) and "://" in text and not os.path.exists(text)


def checked_url(url: str) -> tuple[str, dict[str, str]]:
    """Return a URL without its options, and them.

    Raises:
        InvalidArgument: It has another scheme, no bucket, an unknown option, or holds a credential.
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
    if unknown := sorted(options.keys() - set(OPTIONS[parts.scheme])):
        # Without values: one of them may be a secret.
        allowed = f"the options {' and '.join(OPTIONS[parts.scheme])}" if OPTIONS[parts.scheme] else "no options"
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
        InvalidArgument: As `checked_url`.
    """
    return url_with(*checked_url(url))


def refuse_missing_folder(url: str) -> None:
    """Refuse the URL of a folder that is not there, for whoever reads: a store over it would make it.

    Raises:
        BucketMissing: It is not there.
        InvalidArgument: As `checked_url`.
    """
    parts = urlsplit(checked_url(url)[0])
    if parts.scheme == "file" and not os.path.isdir(unquote(parts.path)):
        raise BucketMissing(f"{url}: there is no such folder; correct the URL", url=url)


def url_with(base: str, options: dict[str, str]) -> str:
    """Return a URL with its options."""
    query = "&".join(f"{name}={value}" for name, value in sorted(options.items()))
    return f"{base}?{query}" if query else base
