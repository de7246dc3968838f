"""The record of a lake: `.mlv/lake.json`, by which it is recognised."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone

import orjson

from mlv.bucket.store import Creation, ObjectStore
from mlv.encoding import utc_text
from mlv.errors import LakeDamaged, LakeMissing, LakeTooNew, NoSuchObject
from mlv.lake.plans import FORMAT, refuse_newer
from mlv.store import layout

LOOKS = f"{layout.HOUSEKEEPING}/looks"
KEY = f"{layout.HOUSEKEEPING}/lake.json"


@dataclass(frozen=True)
class Record:
    """What a lake says about itself."""

    id: str
    created: str


def make_record(store: ObjectStore) -> Record:
    """Return the record of a lake; make one where there is none.

    Raises:
        LakeTooNew: A newer version of mlv made it.
        LakeDamaged: It is no record.
    """
    text = orjson.dumps({"format": FORMAT, "id": os.urandom(8).hex(), "created": utc_text(datetime.now(timezone.utc))})
    if store.head(KEY) is None and store.create(KEY, text + b"\n") is Creation.MADE:
        return _record(text, store.url)
    return read_record(store)


def read_record(store: ObjectStore) -> Record:
    """Return the record of a lake.

    Raises:
        LakeMissing: There is none.
        LakeTooNew, LakeDamaged: As `make_record`.
    """
    try:
        return _record(store.get(KEY), store.url)
    except NoSuchObject:
        raise LakeMissing(
            f"there is no lake at {store.url}: `mlv lake build SRC {store.url}` makes one", url=store.url
        ) from None


def _record(text: bytes, url: str) -> Record:
    try:
        data = orjson.loads(text)
        refuse_newer(data["format"], url)
        return Record(str(data["id"]), str(data["created"]))
    except LakeTooNew:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise LakeDamaged(f"{url}: {KEY} cannot be read ({error}): it is no lake, or was edited", url=url) from None


def note_look(store: ObjectStore, began: datetime) -> None:
    """Note that all lines from before a moment are in the lake; earlier notes are removed."""
    earlier = [stored.key for stored in store.objects(LOOKS)]
    key = f"{LOOKS}/{began.astimezone(timezone.utc):%Y%m%dT%H%M%S.%f}.json"
    store.create(key, b"{}\n")
    for other in earlier:
        if other < key:
            store.delete(other)


def latest_look(store: ObjectStore) -> datetime | None:
    """Return the moment from before which all lines are in the lake; None where no build has ended."""
    names = [stored.key.removeprefix(f"{LOOKS}/").removesuffix(".json") for stored in store.objects(LOOKS)]
    moments = []
    for name in names:
        with suppress(ValueError):
            moments.append(datetime.strptime(name, "%Y%m%dT%H%M%S.%f").replace(tzinfo=timezone.utc))
    return max(moments, default=None)
