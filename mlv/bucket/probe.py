"""What a store really promises, tried out: each trait that segments and the lake rely on, and the uses that are safe with them.

All is done below a key of its own, `.mlv/doctor/<random>/`, and removed afterwards.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from mlv import words
from mlv.bucket import names
from mlv.bucket.store import Creation, ObjectStore
from mlv.digests import sha256
from mlv.errors import BucketError
from mlv.store import layout

FOLDER = f"{layout.HOUSEKEEPING}/doctor"

_SIZE = 1 << 16
_RIVALS = 4
_CLOCK_S = 15 * 60.0
"""S3 refuses requests whose clock differs by more."""
_SKEW_S = 60.0

CREATE, READ, LIST, OFFSET, RANGE, ONCE = "create", "read", "list", "offset", "range", "create twice"
RACE, DELETE, VERSIONS, CLOCK, PUT = "create at once", "delete", "versions", "clock", "time of a PUT"
CONDITIONAL = (RANGE, ONCE, RACE, DELETE)
"""Traits that shipping does without."""


@dataclass(frozen=True, slots=True)
class Trait:
    """One thing that was tried."""

    name: str
    text: str
    """The outcome, for people."""
    holds: bool = True
    advice: str = ""
    """What to do or to know where it does not hold."""


@dataclass(frozen=True, slots=True)
class BucketUse:
    """A use of the bucket."""

    name: str
    missing: list[str]
    """The traits that it needs and that do not hold."""

    @property
    def is_safe(self) -> bool:
        """Whether it relies on nothing that the store does not promise."""
        return not self.missing


@dataclass(frozen=True, slots=True)
class ProbeOutcome:
    """All that was tried, in order, and what follows for each use."""

    traits: list[Trait]
    ship: BucketUse
    lake_of_one: BucketUse
    """A lake that one builder at a time writes."""
    lake_of_several: BucketUse
    """A lake with several builders at once."""

    @property
    def uses(self) -> list[BucketUse]:
        """All uses, from the one that asks for the least."""
        return [self.ship, self.lake_of_one, self.lake_of_several]


def probe(store: ObjectStore) -> ProbeOutcome:
    """Try all traits of a store; whatever it refuses is a trait that does not hold, never an error."""
    with _trial(store) as trial:
        traits = list(trial.traits())
    failed = [trait.name for trait in traits if not trait.holds]
    of_ship = [name for name in (CREATE, READ, LIST, OFFSET, CLOCK) if name in failed]
    of_one = [*of_ship, *(name for name in (RANGE,) if name in failed)]  # engines read the ends of Parquet files alone
    of_several = [*of_one, *(name for name in (ONCE, RACE) if name in failed)]
    return ProbeOutcome(
        traits,
        ship=BucketUse("ship", of_ship),
        lake_of_one=BucketUse("lake by one builder", of_one),
        lake_of_several=BucketUse("lake by several builders", of_several),
    )


def has_ranges(store: ObjectStore) -> bool:
    """Return whether bytes of an object can be read alone; a lake relies on it.

    Raises:
        BucketError: The store cannot be reached, or refuses to make objects.
    """
    with _trial(store) as trial:
        return trial.range().holds


def keeps_conditions(store: ObjectStore) -> bool:
    """Return whether a store refuses to make an object that is there; several builders of a lake rely on it.

    Raises:
        BucketError: The store cannot be reached, or refuses to make objects.
    """
    with _trial(store) as trial:
        return trial.once().holds and trial.race().holds


@contextmanager
def _trial(store: ObjectStore) -> Iterator[_ProbeTrial]:
    trial = _ProbeTrial(store)
    try:
        yield trial
    finally:
        with suppress(BucketError):
            trial.clean()


class _ProbeTrial:
    """The objects of one probe."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._folder = names.join(FOLDER, os.urandom(8).hex())
        self._content = os.urandom(_SIZE)
        self._made: list[str] = []
        self._put_s: list[float] = []

    def traits(self) -> Iterator[Trait]:
        """Yield the traits; the first that fails altogether is the last."""
        created = self._tried(CREATE, self._create)
        yield created
        if not created.holds:
            return
        for name, trial in (
            (READ, self._read),
            (LIST, self._list),
            (OFFSET, self._offset),
            (RANGE, self.range),
            (ONCE, self.once),
            (RACE, self.race),
            (CLOCK, self._clock),
            (VERSIONS, self._versions),
            (DELETE, self._delete),
            (PUT, self._time),
        ):
            yield self._tried(name, trial)

    def _tried(self, name: str, trial: Callable[[], Trait]) -> Trait:
        try:
            return trial()
        except BucketError as error:
            text = str(error).removeprefix(self._store.url).lstrip(": ")
            # An error of the first request may be of any kind; its text says what to do.
            return Trait(name, text, holds=False, advice="" if name == CREATE else _ADVICE.get(name, ""))

    def _key(self, name: str) -> str:
        return names.join(self._folder, name)

    def _put(self, name: str, content: bytes) -> Creation:
        if self._key(name) not in self._made:
            self._made.append(self._key(name))
        began = time.perf_counter()
        outcome = self._store.create(self._key(name), content)
        self._put_s.append(time.perf_counter() - began)
        return outcome

    def _create(self) -> Trait:
        for name in ("a", "b", "c"):
            self._put(name, self._content)
        return Trait(CREATE, "objects can be made")

    def _read(self) -> Trait:
        if sha256(self._store.get(self._key("a"))).digest() != sha256(self._content).digest():
            return Trait(READ, "an object has other bytes than it was made of", False, _ADVICE[READ])
        return Trait(READ, f"{words.size(_SIZE)} read back with the same SHA-256, right after they were made")

    def _list(self) -> Trait:
        keys = [stored.key for stored in self._store.objects(self._folder)]
        if keys != [self._key(name) for name in ("a", "b", "c")]:
            return Trait(LIST, f"a listing holds {len(keys)} of 3 objects that were just made", False, _ADVICE[LIST])
        return Trait(LIST, "a listing holds what was just made")

    def _offset(self) -> Trait:
        keys = [stored.key for stored in self._store.objects(self._folder, after=self._key("a"))]
        if keys != [self._key(name) for name in ("b", "c")]:
            return Trait(OFFSET, "a listing does not begin behind a key", False, _ADVICE[OFFSET])
        return Trait(OFFSET, "a listing begins behind a key")

    def range(self) -> Trait:
        """Read some bytes of an object."""
        self._put("a", self._content)
        if self._store.get_range(self._key("a"), 100, 200) != self._content[100:200]:
            return Trait(READ, "a range has other bytes than the object", False, _ADVICE[READ])
        if not self._store.has_ranges:
            return Trait(RANGE, "refused: of an object all is read for a few bytes", False, _ADVICE[RANGE])
        return Trait(RANGE, "bytes of an object are read alone")

    def once(self) -> Trait:
        """Make an object twice."""
        self._put("once", b"one")
        outcome = self._put("once", b"two")
        if outcome is Creation.MADE or self._store.get(self._key("once")) != b"one":
            return Trait(ONCE, "the second object replaces the first, without a word", False, _ADVICE[ONCE])
        return Trait(ONCE, "the second object is refused")

    def race(self) -> Trait:
        """Make an object several times at once."""
        with ThreadPoolExecutor(_RIVALS) as pool:
            outcomes = list(pool.map(lambda number: self._put("race", b"%d" % number), range(_RIVALS)))
        made = outcomes.count(Creation.MADE)
        if made != 1:
            return Trait(RACE, f"{made} of {_RIVALS} made the same object", False, _ADVICE[ONCE])
        return Trait(RACE, f"one of {_RIVALS} makes an object, all others are refused")

    def _clock(self) -> Trait:
        before = time.time()
        self._put("clock", b"")
        after = time.time()
        stored = self._store.head(self._key("clock"))
        if stored is None:
            return Trait(CLOCK, "an object that was just made has no time", False, _ADVICE[READ])
        # Stores round to seconds.
        skew_s = max(before - 1 - stored.modified, stored.modified - after, 0.0)
        if skew_s > _CLOCK_S:
            text = f"differs by {words.duration(skew_s)} from that of the store, which may refuse requests from 15 min on"
            return Trait(CLOCK, text, False, _ADVICE[CLOCK])
        if skew_s > _SKEW_S:
            return Trait(CLOCK, f"differs by {words.duration(skew_s)} from that of the store", advice=_ADVICE[CLOCK])
        return Trait(CLOCK, "agrees with that of the store")

    def _versions(self) -> Trait:
        stored = self._store.head(self._key("a"))
        if stored is not None and stored.version is not None:
            return Trait(VERSIONS, "kept: what is deleted or replaced can be brought back, and locked")
        return Trait(VERSIONS, "not kept")

    def _delete(self) -> Trait:
        self._store.delete(self._key("b"))
        if self._store.head(self._key("b")) is not None:
            return Trait(DELETE, "an object that was deleted is still there", False, _ADVICE[DELETE])
        self.clean()
        return Trait(DELETE, "objects can be removed")

    def _time(self) -> Trait:
        return Trait(PUT, f"{1000 * statistics.median(self._put_s):.3g} ms, the median of {len(self._put_s)}")

    def clean(self) -> None:
        """Remove what was made.

        Raises:
            BucketError: The store refuses.
        """
        while self._made:
            self._store.delete(self._made[-1])
            self._made.pop()
        # A store without conditions may finish one of several rivals late.
        for stored in self._store.objects(self._folder):
            self._store.delete(stored.key)


_ADVICE = {
    READ: "give these credentials the right to read objects; a store that changes them is of no use",
    LIST: "give these credentials the right to list the bucket: without it nobody finds what was shipped",
    OFFSET: "give these credentials the right to list the bucket",
    RANGE: "keep the lake elsewhere: its readers ask for the end of a file alone",
    ONCE: "let one builder at a time write the lake here; segments have names that follow from their content",
    DELETE: f"segments that were merged, and {FOLDER}, stay here: that is wanted in a bucket that keeps all for good",
    CLOCK: "set the clock of this machine, as by NTP",
}
