"""The lease of a builder, on a store that ignores conditions on writing: there nothing else keeps two builders apart."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import orjson

from mlv.bucket.store import ObjectStore
from mlv.errors import BucketDenied, BucketError, LakeBusy, NoSuchObject
from mlv.store import layout
from mlv.store.owners import Owner, host_name

FOLDER = f"{layout.HOUSEKEEPING}/builders"
_LASTS_S = 3600.0
"""After so long without a sign a builder elsewhere counts as gone."""
_RENEWED_S = 600.0


@contextmanager
def alone(store: ObjectStore) -> Iterator[Callable[[], None]]:
    """Be the only builder of a lake within the block; gives a function to call now and then.

    Of two that begin at the same time both may be refused, never none.

    Raises:
        LakeBusy: Another one is at work, or was killed less than an hour ago on another machine.
    """
    key = f"{FOLDER}/{os.urandom(8).hex()}.json"
    owner = Owner.current()
    text = orjson.dumps({"host": host_name(), **owner.to_data()})
    held = [key]
    renewed = [time.monotonic()]

    def renew() -> None:
        if time.monotonic() - renewed[0] > _RENEWED_S:
            following = f"{FOLDER}/{os.urandom(8).hex()}.json"
            store.create(following, text)
            with suppress(BucketDenied):  # it ends by itself
                store.delete(held[0])
            held[0], renewed[0] = following, time.monotonic()

    # Before the look: whoever begins later sees it.
    store.create(key, text)
    try:
        _refuse_others(store, key)
        yield renew
    finally:
        with suppress(BucketError):
            store.delete(held[0])


def _refuse_others(store: ObjectStore, own: str) -> None:
    there = list(store.objects(FOLDER))
    now = next((stored.modified for stored in there if stored.key == own), time.time())  # by the clock of the store
    for stored in there:
        if stored.key == own:
            continue
        try:
            fields = orjson.loads(store.get(stored.key))
            is_gone = Owner.from_data(fields).is_gone() if isinstance(fields, dict) else True
        except (NoSuchObject, ValueError, KeyError, TypeError):
            continue
        if is_gone or now - stored.modified > _LASTS_S:
            with suppress(BucketDenied):
                store.delete(stored.key)
            continue
        raise LakeBusy(
            f"{store.url}: process {fields.get('pid')} on {fields.get('host')} builds this lake, and the store cannot keep "
            f"two apart, as it ignores conditions on writing. Wait for it; where there is no such process, remove {stored.key}",
            url=store.url,
        )
