"""URLs of buckets on the command line: each becomes the folder of its mirror, which every command reads like any other."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

from mlv import words
from mlv.cli.screen import say
from mlv.errors import InvalidArgument, NotAnExperiment
from mlv.store import layout
from mlv.store.mirrors import is_mirrored
from mlv.store.paths import BUCKETS, unread_address

if TYPE_CHECKING:
    from mlv.bucket.refresher import Refresher

_URL = re.compile(rf"({'|'.join(BUCKETS)}):/+(.*)", re.DOTALL)
_ENDPOINT = re.compile(r"(?<=[=])(https?):/+")
_MOST_NAMED = 3
_LOOK_S = 1.0
"""Seconds between two questions of a thread whether it is time to look for new segments."""


def url_of(word: str | os.PathLike[str]) -> str | None:
    """Return the URL of a bucket that a word is, None for a path of this machine.

    A path of the library, which has one slash for two, is taken for the URL that it was.

    Raises:
        InvalidArgument: It is an address of another scheme.
    """
    if (problem := unread_address(word)) is not None:
        shown = words.url_without_secrets(with_slashes(word))
        raise InvalidArgument(f"{shown!r} {problem}", path=shown)
    return _bucket_url(word)


def with_slashes(word: str | os.PathLike[str]) -> str:
    """Return an address with the two slashes of which a path has one."""
    return re.sub(r":/+", "://", os.fspath(word), count=1)


def _bucket_url(word: str | os.PathLike[str]) -> str | None:
    match = _URL.fullmatch(os.fspath(word))
    if match is None:
        return None
    scheme, behind = match[1], _ENDPOINT.sub(r"\1://", match[2])
    return f"{scheme}:///{behind}" if scheme == "file" else f"{scheme}://{behind}"


def folder(url: str) -> Path:
    """Return the folder of a URL's mirror, brought up to date; say which experiments have not been shipped whole.

    Raises:
        InvalidArgument, MissingExtra, BucketError, NotAnExperiment, ExperimentBusy, FileUnusable: As `mirrored`.
    """
    from mlv.bucket.mirror import Mirror, tell  # paths of this machine do without

    mirror = Mirror(url)
    refreshed = mirror.refresh()
    tell(refreshed.notices)
    if refreshed.unshipped:
        labels = ["/".join(path.relative_to(mirror.folder).parts) or path.name for path in refreshed.unshipped]
        more = f" and {len(labels) - _MOST_NAMED} more" if len(labels) > _MOST_NAMED else ""
        say(f"not shipped whole yet: {words.printable(', '.join(labels[:_MOST_NAMED]))}{more}")
    return mirror.folder


def experiment(url: str) -> Path:
    """Return the folder of the one experiment at a URL.

    Raises:
        NotAnExperiment: The URL is that of a root around experiments.
        InvalidArgument, MissingExtra, BucketError, ExperimentBusy, FileUnusable: As `folder`.
    """
    path = folder(url)
    if not layout.is_experiment(path):
        raise NotAnExperiment(f"{url!r} is no experiment, but holds some: `mlv ls {url}` lists them", path=url)
    return path


def mirrored_url(path: Path) -> str | None:
    """Return the URL whose mirror a folder is, None for any other folder."""
    if not is_mirrored(path):
        return None
    from mlv.bucket.mirror import mirror_of  # paths of this machine do without

    mirror = mirror_of(path)
    return None if mirror is None else mirror.url


def refuse(word: str | os.PathLike[str], argument: str) -> None:
    """Refuse a URL where something is changed.

    Raises:
        InvalidArgument: The word is one.
    """
    url = _bucket_url(word)
    if url is not None:
        advice = f"`mlv pull {url} DIR` brings them into a folder"
        raise InvalidArgument(f"{argument} {url!r} is in a bucket, whose experiments are only read: {advice}", path=url)


def refresher(url: str, *, is_fresh: bool = True) -> Refresher:
    """Return what looks for new segments of a mirror, which was brought up to date a moment ago unless `is_fresh` is false."""
    from mlv.bucket.mirror import Mirror  # paths of this machine do without
    from mlv.bucket.refresher import Refresher

    return Refresher(Mirror(url), say, is_fresh=is_fresh)


@contextmanager
def refreshing(url: str | None) -> Iterator[None]:
    """Look for new segments in a thread while the block lasts; without a URL nothing happens."""
    if url is None:
        yield
        return
    refresh, is_done = refresher(url), Event()

    def look() -> None:
        while not is_done.wait(_LOOK_S):
            refresh()

    thread = Thread(target=look, name="mlv refresher", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_done.set()
        thread.join(_LOOK_S)
