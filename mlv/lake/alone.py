"""One builder at a time where a store replaces objects without a word: both would make the same plan, each its own."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from types import TracebackType

import orjson

from mlv import words
from mlv.bucket.probe import has_ranges, keeps_conditions
from mlv.bucket.store import ObjectStore
from mlv.digests import sha256
from mlv.errors import BucketError, LakeBusy, LakeError, NoSuchObject
from mlv.store import layout

FOLDER = f"{layout.HOUSEKEEPING}/builders"

PROVEN = f"{layout.HOUSEKEEPING}/conditions"
"""Folder of an object whose name is the hash of the URL that was tried: a copy of the lake elsewhere is tried anew."""
_LASTING_S = 600.0
"""Seconds for which the mark of a builder counts: longer than a plan takes."""


class Alone:
    """Keeps other builders out during a block, on a store that ignores conditions; elsewhere it does nothing.

    Each builder makes a mark of its own and then looks for others, so of two that begin at once at least one sees the other.
    """

    def __init__(self, store: ObjectStore, *, lasting_s: float = _LASTING_S) -> None:
        """Prepare; no request is made."""
        self._store, self._lasting_s = store, lasting_s
        self._is_needed: bool | None = None
        self._key = ""
        self._made_s = 0.0

    def __enter__(self) -> Alone:
        """Make the mark.

        Raises:
            LakeBusy: Another builder is at work.
            LakeError: No lake can be held there.
        """
        self.prepare()
        if not self._is_needed:
            return self
        self._mark()
        others = [stored for stored in self._store.objects(FOLDER) if stored.key != self._key]
        # By the clock of the store: this machine may have another one.
        own = self._store.head(self._key)
        now = own.modified if own is not None else time.time()
        for other in others:
            if now - other.modified < self._lasting_s:
                self.__exit__(None, None, None)
                self._refuse(other.key, now - other.modified)
            self._store.delete(other.key)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Remove the mark."""
        if self._key:
            with suppress(BucketError):
                self._store.delete(self._key)

    def prepare(self) -> None:
        """Find out whether the store keeps builders apart by itself.

        Raises:
            LakeError: No lake can be held there.
        """
        if self._is_needed is None:
            self._is_needed = not self._keeps_apart()

    def _keeps_apart(self) -> bool:
        """Try what the store does, once for each lake."""
        if self._store.url.startswith("file://"):
            return True
        proof = f"{PROVEN}/{sha256(self._store.url.encode()).hexdigest()[:16]}"
        if self._store.head(proof) is not None:
            return True
        if not has_ranges(self._store):
            raise LakeError(
                f"{self._store.url} gives whole objects where a few bytes are asked for, and no table can be read so: keep the "
                f"lake elsewhere (`mlv doctor {self._store.url}` says more)",
                url=self._store.url,
            )
        if not keeps_conditions(self._store):
            return False
        self._store.create(proof, b"{}\n")
        return True

    def renew(self) -> None:
        """Make the mark anew, before it is too old to count; called before each plan."""
        if self._key and time.monotonic() - self._made_s > self._lasting_s / 4:
            former = self._key
            self._mark()
            self._store.delete(former)

    def _mark(self) -> None:
        self._key, self._made_s = f"{FOLDER}/{os.urandom(8).hex()}.json", time.monotonic()
        self._store.create(self._key, orjson.dumps({"host": socket.gethostname(), "pid": os.getpid()}) + b"\n")

    def _refuse(self, key: str, age_s: float) -> None:
        who = "another process"
        with suppress(NoSuchObject, ValueError, KeyError, TypeError):
            mark = orjson.loads(self._store.get(key))
            who = f"process {mark['pid']} of {mark['host']}"
        raise LakeBusy(
            f"{who} builds the lake at {self._store.url}, and this store replaces objects without a word (`mlv doctor "
            f"{self._store.url}`): wait for its end. If it was killed, its mark {key}, of {words.duration(age_s)} ago, counts "
            f"for {words.duration(self._lasting_s - age_s)} more, unless you delete it",
            url=self._store.url,
        )
