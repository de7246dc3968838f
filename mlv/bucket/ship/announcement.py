"""The announcement of an experiment in a bucket: its meta.json, and the news of the day, before anything that they tell of."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import orjson

from mlv.bucket import names
from mlv.bucket.names import News
from mlv.bucket.positions import ShippedPosition
from mlv.bucket.ship.progress import Progress
from mlv.bucket.ship.target import Target
from mlv.bucket.store import Creation
from mlv.digests import sha256
from mlv.errors import NoSuchObject, ObjectDiffers
from mlv.store import layout, opening
from mlv.store.identities import known_ids


class Announcement:
    """Announces an experiment, as often as there is something new to say."""

    def __init__(self, target: Target, progress: Progress, now: Callable[[], datetime]) -> None:
        """Take the target, the progress that tells what was announced, and a clock in UTC."""
        self._target, self._progress, self._now = target, progress, now

    def make(self, position: ShippedPosition) -> None:
        """Make the experiment and its news known, where they are not yet.

        Raises:
            ObjectDiffers: Another experiment is at this path in the bucket.
            BucketError: The store does not answer, or refuses.
        """
        self.make_meta(position)
        day = self._day()
        if position.news != day:
            self._make_news(position.meta, position.copy, day)
            with self._progress.lock:
                position.news = day

    def make_meta(self, position: ShippedPosition) -> None:
        """Make the experiment known, where it is not yet, without news.

        Raises:
            ObjectDiffers, BucketError: As `make`.
        """
        content = opening.content(self._target.folder / layout.META)
        identity = sha256(content).hexdigest()
        if position.meta != identity:
            self._make_meta(content)
            with self._progress.lock:
                position.meta = identity

    def _make_news(self, identity: str, copy: str, day: str) -> None:
        news = orjson.dumps({"path": self._target.path})
        if self._target.store.create(News(day, identity, copy).key, news) is Creation.DIFFERENT:
            # It was moved today: its new path is tomorrow's news.
            self._target.store.create(News(self._day(1), identity, copy).key, news)

    def _day(self, later_days: int = 0) -> str:
        return (self._now() + timedelta(days=later_days)).strftime("%Y-%m-%d")

    def _make_meta(self, content: bytes) -> None:
        store, key = self._target.store, self._target.key(layout.META)
        try:
            existing = store.get(key)
        except NoSuchObject:
            existing = None
        if existing == content:
            return
        if existing is not None:
            # The only object that is replaced: a redaction gave the experiment another identity, and the log says so.
            if sha256(existing).hexdigest() not in known_ids(self._target.folder):
                raise self._foreign(key)
            self._target.delete([key], "hold what was redacted")
        if store.create(key, content) is not Creation.DIFFERENT:
            return
        # Where the former one may not be deleted, the younger version counts.
        version = self._target.key(names.version_key(layout.META, sha256(content).hexdigest()))
        if existing is None or not self._target.keeps or store.create(version, content) is Creation.DIFFERENT:
            raise self._foreign(key)

    def _foreign(self, key: str) -> ObjectDiffers:
        """Note that another experiment has the key, and return the error that says so."""
        folder, url, shipped = self._target.folder, self._target.store.url, self._target.shipped
        if key not in shipped.different:
            shipped.different.append(key)
        return ObjectDiffers(
            f"{url} holds another experiment at {key}, and not {folder}: ship it to another URL, or give it another name "
            f"(`mlv mv`)",
            url=url,
            key=key,
        )
