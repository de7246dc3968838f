"""The record of a lake: `.mlv/lake.json`, by which it is recognised."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone

import orjson

from mlv.bucket.probe import has_ranges, keeps_conditions
from mlv.bucket.store import ObjectStore
from mlv.encoding import utc_text
from mlv.errors import BucketDenied, LakeDamaged, LakeError, LakeMissing, LakeTooNew, NoSuchObject
from mlv.lake.plans import FORMAT, refuse_newer
from mlv.store import layout

LOOKS = f"{layout.HOUSEKEEPING}/looks"
KEY = f"{layout.HOUSEKEEPING}/lake.json"
_TRIES = 5


@dataclass(frozen=True)
class LakeRecord:
    """What a lake says about itself."""

    id: str
    created: str
    keeps_conditions: bool
    """Whether its store refuses to make an object that is there: else only one builder may be at work."""


def make_record(store: ObjectStore) -> LakeRecord:
    """Return the record of a lake; make one where there is none.

    Raises:
        LakeTooNew: A newer version of mlv made it.
        LakeDamaged: It is no record.
        LakeError: The store gives whole objects alone, so that no table could be read there.
    """
    if store.head(KEY) is None:
        is_folder = store.url.startswith("file:")
        if not is_folder and not has_ranges(store):
            raise LakeError(
                f"{store.url} gives whole objects where a few bytes are asked for, and no table can be read so: keep the lake "
                f"elsewhere (`mlv doctor {store.url}` says more)",
                url=store.url,
            )
        text = orjson.dumps({
            "format": FORMAT, "id": os.urandom(8).hex(), "created": utc_text(datetime.now(timezone.utc)),
            "keeps_conditions": is_folder or keeps_conditions(store),
        })  # fmt: skip
        store.create(KEY, text + b"\n")
    return read_record(store)


def read_record(store: ObjectStore) -> LakeRecord:
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


def _record(text: bytes, url: str) -> LakeRecord:
    try:
        data = orjson.loads(text)
        refuse_newer(data["format"], url)
        return LakeRecord(str(data["id"]), str(data["created"]), bool(data["keeps_conditions"]))
    except LakeTooNew:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise LakeDamaged(f"{url}: {KEY} cannot be read ({error}): it is no lake, or was edited", url=url) from None


@dataclass(frozen=True)
class Look:
    """The latest build that has ended."""

    moment: datetime
    """All lines from before it are in the lake."""
    source: str
    """The folder or URL that the lake was built from; empty where the build did not note it."""


def note_look(store: ObjectStore, began: datetime, source: str) -> None:
    """Note that all lines of a source from before a moment are in the lake; earlier notes are removed where that is allowed.

    So is one of a moment to come: the clock of who made it was ahead, and no reader would see a later build until then.
    """
    others = [stored.key for stored in store.objects(LOOKS)]
    key, now = _key(began), _key(datetime.now(timezone.utc))
    store.create(key, orjson.dumps({"source": source}) + b"\n")
    with suppress(BucketDenied):  # a bucket that keeps all for good: the latest note counts
        for other in others:
            if other < key or other > now:
                store.delete(other)


def _key(moment: datetime) -> str:
    return f"{LOOKS}/{moment.astimezone(timezone.utc):%Y%m%dT%H%M%S.%f}.json"


def latest_look(store: ObjectStore) -> datetime | None:
    """Return the moment from before which all lines are in the lake; None where no build has ended."""
    return max(_looks(store), default=None)


def read_look(store: ObjectStore) -> Look | None:
    """Return the latest build that has ended; None where none has."""
    latest = None
    for _ in range(_TRIES):
        looks = _looks(store)
        if not looks:
            return None
        latest = max(looks)
        with suppress(NoSuchObject):  # a build that ended since it was listed has removed it
            return Look(latest, _source(store.get(looks[latest])))
    return None if latest is None else Look(latest, "")


def _source(text: bytes) -> str:
    try:
        return str(orjson.loads(text)["source"])
    except (ValueError, KeyError, TypeError):
        return ""


def _looks(store: ObjectStore) -> dict[datetime, str]:
    """Return the keys of the notes of builds by their moments."""
    keys = {}
    for stored in store.objects(LOOKS):
        name = stored.key.removeprefix(f"{LOOKS}/").removesuffix(".json")
        with suppress(ValueError):
            keys[datetime.strptime(name, "%Y%m%dT%H%M%S.%f").replace(tzinfo=timezone.utc)] = stored.key
    return keys
