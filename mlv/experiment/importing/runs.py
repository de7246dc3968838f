"""The runs of an imported experiment while their lines are made, and their IDs, which follow from the source."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from mlv.encoding import TAIL, Composer, Conversion, dumps, head, tail
from mlv.errors import InvalidArgument
from mlv.events import Record
from mlv.experiment.importing.source import EPOCH
from mlv.store.seals import Chain
from mlv.transport.censor import Censor

_MICROSECOND = timedelta(microseconds=1)
_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"

Line = tuple[str, bytes]
"""A stream, and a whole line of it, or several of one run."""


def run_id_of(*facts: str) -> str:
    """Return the ID of a run that follows from facts: `r` and nine letters or digits."""
    digest = hashlib.sha256("\0".join(facts).encode("utf-8", "surrogatepass")).digest()
    return "r" + "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:9])


@dataclass
class RecordedEnds:
    """The ends of runs that an earlier import recorded."""

    ends: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    """Number and line, by run."""
    seals: dict[str, list[Line]] = field(default_factory=dict)
    """The lines that sealed a run, in their order, by the run that wrote them."""
    after: dict[str, Any] = field(default_factory=dict)
    """The ends of streams that runs found when they began, by run."""


@dataclass
class ImportedRun:
    """A run while its lines are made."""

    id: str
    censor: Censor | None
    seq: int = 0
    chains: dict[str, Chain] = field(default_factory=dict)
    """By stream."""
    composer: Composer = field(init=False)

    def __post_init__(self) -> None:
        self.composer = Composer(self.id, self.censor.event if self.censor is not None else None)

    def line(self, stream: str, moment: datetime, payload: bytes) -> Line:
        """Return the next line, of an event that is encoded from its type on."""
        self.seq += 1
        return self.take(stream, self.composer.line(self.seq, nanoseconds(moment), b"", TAIL, 0, payload))

    def record(self, stream: str, moment: datetime, record: Record) -> Line:
        """Return the next line, of a structural event."""
        conversion = Conversion()
        data = dumps(conversion.value(record.to_data()))
        return self.line(stream, moment, head(record.TYPE, "") + tail(None, {}, data, conversion.nonfinite))

    def take(self, stream: str, line: bytes) -> Line:
        """Count a line in."""
        chain = self.chains.get(stream)
        if chain is None:
            chain = self.chains[stream] = Chain()
        chain.add_digest(hashlib.sha256(line).digest())
        return stream, line


def nanoseconds(moment: datetime) -> int:
    """Return the nanoseconds since 1970, in whole microseconds.

    Raises:
        InvalidArgument: The moment has no zone.
    """
    return (with_zone(moment) - EPOCH) // _MICROSECOND * 1000


def with_zone(moment: datetime) -> datetime:
    """Accept a moment that is the same on every machine.

    Raises:
        InvalidArgument: It has no zone.
    """
    if moment.tzinfo is None:
        raise InvalidArgument(f"time {moment} has no zone: say which it is, such as UTC", time=moment)
    return moment
