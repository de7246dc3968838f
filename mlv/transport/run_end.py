"""The end of a run, for processes beside the writer that follow the log until nothing more can come from it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from time import monotonic

from mlv.store.home import Home
from mlv.store.owners import Owner
from mlv.store.reading import read_state
from mlv.transport import spool
from mlv.transport.header import look
from mlv.transport.launch import launch
from mlv.transport.orders import Order
from mlv.transport.spool_lock import is_unattended

_CHILDREN_WITHIN_S = 60.0  # one that was killed leaves its ring for a writer to finish
_WRITER_WITHIN_S = 0.5
"""Seconds that a ring of a process that is gone may lack a writer: one may be on its way."""
_MOST_WRITERS = 5  # if so many could not finish the ring, one more will not


class RunEnd:
    """Tells whether a run is over, and everything that can come from it is in the log."""

    def __init__(self, order: Order, *, follows_moves: bool = False) -> None:
        """Prepare; with `follows_moves` a run goes on whose experiment was moved since it began."""
        self._order, self._folder = order, Path(order.folder)
        self._follows_moves = follows_moves
        self._spools: list[Path] = []
        """Those that held the run's ring: their names follow from the path at which it began."""
        self._had_ring = False
        self._over_since: float | None = None
        self._alone_since: float | None = None
        self._writers = 0
        self.is_given_up = False
        """Whether events wait that nobody can bring into the log."""

    def __call__(self) -> bool:
        """Look; the first looks at a run that was left may start a writer for it."""
        spools = dict.fromkeys([*spool.find(self._folder, Owner.current()), *self._spools])
        rings = [ring for spool_folder in spools for ring in spool.rings_in(spool_folder)]
        if not self._is_over(rings):
            return False
        self._over_since = self._over_since or monotonic()
        # Children and ranks may go on for a while.
        return not any(map(self._is_beside, rings)) or monotonic() - self._over_since > _CHILDREN_WITHIN_S

    def _is_beside(self, ring: Path) -> bool:
        """Return whether a ring is that of a child, or of another rank, whose events still come."""
        header = look(ring)
        runs = () if header is None else (header.info.get("parent_run"), header.info.get("main_run"))
        return header is not None and self._order.run in runs and header.is_attended

    def _is_over(self, rings: list[Path]) -> bool:
        mine = [ring for ring in rings if ring.stem == self._order.run]
        self._had_ring = self._had_ring or bool(mine)
        if self._follows_moves and not self._spools:
            self._spools = [ring.parent for ring in mine]
        if not mine:
            return self._order.is_left or self._had_ring or self._has_ended()
        if not self._order.is_left or not all(map(is_unattended, mine)):
            self._alone_since = None
            return False
        return self._is_in_vain(mine[0].parent)

    def _is_in_vain(self, spool_folder: Path) -> bool:
        """Return whether no writer drains the run's ring, though some were started: only this process may be alive still."""
        self._alone_since = self._alone_since or monotonic()
        if monotonic() - self._alone_since > _WRITER_WITHIN_S * 2**self._writers:
            self.is_given_up = self._writers >= _MOST_WRITERS
            self._writers += 1
            with suppress(OSError):
                launch(self._folder, spool_folder, Home(self._folder, self._order.exp))
        return self.is_given_up

    def _has_ended(self) -> bool:
        """Return whether the log holds the end of the run; asked where there is no ring."""
        run = read_state(self._folder).runs.get(self._order.run)
        return run is not None and run.ended is not None
