"""URLs of buckets on the command line: each becomes the folder of its mirror, which every command reads like any other."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from time import monotonic

from mlv import words
from mlv.cli.screen import say
from mlv.errors import InvalidArgument, MlvError, NotAnExperiment
from mlv.store import layout
from mlv.store.mirrors import is_mirrored
from mlv.store.paths import BUCKETS, unread_address

_URL = re.compile(rf"({'|'.join(BUCKETS)}):/+(.*)", re.DOTALL)
_ENDPOINT = re.compile(r"(?<=[=])(https?):/+")
_MOST_NAMED = 3
LOOK_EVERY_S = 3.0
"""Seconds between two looks for new segments, of commands that follow."""


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


class Refresher:
    """Looks for new segments now and then, for commands that follow a mirror; it waits for a store or a disk in trouble."""

    def __init__(self, url: str, *, is_due: bool = False) -> None:
        """Take the URL of a mirror that was brought up to date a moment ago, or, with `is_due`, was not."""
        from mlv.bucket.mirror import Mirror  # paths of this machine do without

        self._mirror = Mirror(url)
        self._next = monotonic() + (0 if is_due else LOOK_EVERY_S)
        self._problem = ""

    def __call__(self) -> None:
        """Bring the mirror up to date, if the last time was long enough ago."""
        if monotonic() < self._next:
            return
        try:
            self._mirror.refresh()
            self._problem = ""
        except MlvError as error:  # the store is away, or there is no room for the mirror just now
            if str(error) != self._problem:
                self._problem = str(error)
                say(f"{error}; trying again")
        self._next = monotonic() + LOOK_EVERY_S


@contextmanager
def refreshing(url: str | None) -> Iterator[None]:
    """Look for new segments in a thread while the block lasts; without a URL nothing happens."""
    if url is None:
        yield
        return
    refresh, is_done = Refresher(url), Event()

    def look() -> None:
        while not is_done.wait(LOOK_EVERY_S):
            refresh()

    thread = Thread(target=look, name="mlv refresher", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_done.set()
        thread.join(LOOK_EVERY_S)
