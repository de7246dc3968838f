"""Activity around an experiment: live claims, claims of dead processes, and spools that nobody drains."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlv.store import claims, layout
from mlv.store.claims import Claim
from mlv.transport import recovery, spool, spool_lock


@dataclass(frozen=True)
class Surroundings:
    """A snapshot of the claims and undrained spools of an experiment."""

    claims: Mapping[str, Claim]
    """Every claim, by stream."""
    stale: Collection[str]
    """Streams whose writer is provably gone."""
    waiting: Collection[Path]
    """Spools with rings of the experiment that nobody drains."""
    has_housekeeping: bool
    """Whether the folder for claims is there: a copy may lack it."""
    is_arriving: bool = False
    """Whether lines and files are still on their way from elsewhere."""

    @property
    def living(self) -> dict[str, Claim]:
        """Claims of processes that may still be alive."""
        return {stream: claim for stream, claim in self.claims.items() if stream not in self.stale}

    @property
    def wants_recovery(self) -> bool:
        """Whether somebody died before everything was written and sealed."""
        return bool(self.stale or self.waiting)

    @property
    def may_change(self) -> bool:
        """Whether lines may still be added."""
        return bool(self.claims or self.waiting or self.is_arriving)

    def runs(self) -> set[str]:
        """Return the IDs of the writers' own runs."""
        return {claim.run for claim in self.claims.values()}

    def and_later(self, later: Surroundings) -> Surroundings:
        """Return the union of this snapshot and a later one."""
        return Surroundings(
            {**later.claims, **self.claims},
            {*self.stale, *(stream for stream in later.stale if stream not in self.claims)},
            list(dict.fromkeys([*self.waiting, *later.waiting])),
            self.has_housekeeping,
            self.is_arriving or later.is_arriving,
        )


def surroundings(folder: Path) -> Surroundings:
    """Take a snapshot of the activity around an experiment; nothing is changed."""
    claims_folder = layout.claim_path(folder, layout.DEFAULT_STREAM).parent
    held = {stream: claim for stream in claims.claimed(folder) if (claim := claims.read(folder, stream)) is not None}
    stale = [stream for stream, claim in held.items() if claim.owner.is_gone()]
    return Surroundings(held, stale, unattended_spools(folder), claims_folder.is_dir())


def unattended_spools(folder: Path) -> list[Path]:
    """Return the spools with rings of the experiment that no living writer drains."""
    real = os.path.realpath(folder)
    paths = [path for owner, path in recovery.spools_below(folder) if os.path.realpath(owner) == real]
    return [path for path in paths if any(map(spool_lock.is_unattended, spool.rings_in(path)))]
