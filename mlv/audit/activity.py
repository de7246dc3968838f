"""Who is at work on an experiment: claims that live, claims of the dead, and spools that wait for somebody to drain them."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlv.store import claims, layout
from mlv.store.claims import Claim
from mlv.transport import recovery, spool, writer


@dataclass(frozen=True)
class Surroundings:
    """What was at work on an experiment, or waited to be finished, at one moment."""

    claims: Mapping[str, Claim]
    """Every claim, by stream."""
    stale: Collection[str]
    """Streams whose writer is provably gone."""
    waiting: Collection[Path]
    """Spools with rings of the experiment that nobody drains."""
    has_housekeeping: bool
    """Whether the folder for claims is there: a copy may lack it."""

    @property
    def living(self) -> dict[str, Claim]:
        """Claims of processes that may live."""
        return {stream: claim for stream, claim in self.claims.items() if stream not in self.stale}

    @property
    def wants_recovery(self) -> bool:
        """Whether somebody died before everything was written and sealed."""
        return bool(self.stale or self.waiting)

    @property
    def may_change(self) -> bool:
        """Whether lines may still come."""
        return bool(self.claims or self.waiting)

    def runs(self) -> set[str]:
        """The writers' own runs."""
        return {claim.run for claim in self.claims.values()}

    def and_later(self, later: Surroundings) -> Surroundings:
        """What was at work at either of two moments."""
        return Surroundings(
            {**later.claims, **self.claims},
            {*self.stale, *(stream for stream in later.stale if stream not in self.claims)},
            list(dict.fromkeys([*self.waiting, *later.waiting])),
            self.has_housekeeping,
        )


def surroundings(folder: Path) -> Surroundings:
    """Look around an experiment; nothing is changed."""
    place = layout.claim_path(folder, layout.DEFAULT_STREAM).parent
    held = {stream: claim for stream in claimed(folder) if (claim := claims.read(folder, stream)) is not None}
    stale = [stream for stream, claim in held.items() if claim.owner.is_gone()]
    return Surroundings(held, stale, unattended_spools(folder), place.is_dir())


def claimed(folder: Path) -> list[str]:
    """The streams that somebody has claimed."""
    try:
        names = sorted(os.listdir(layout.claim_path(folder, layout.DEFAULT_STREAM).parent))
    except OSError:
        return []
    return [name[: -len(".json")] for name in names if name.endswith(".json") and not name.startswith(".")]


def unattended_spools(folder: Path) -> list[Path]:
    """The spools with rings of the experiment that no living writer drains."""
    real = os.path.realpath(folder)
    places = [place for found, place in recovery.spools_below(folder) if os.path.realpath(found) == real]
    return [place for place in places if any(map(writer.is_unattended, spool.rings_in(place)))]
