"""The process of one output: it follows the log until the run that started it is over, and ends with it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from mlv.encoding import shown
from mlv.projections.replaying import Replay
from mlv.protocols import Projection
from mlv.store.owners import Owner, process_is_gone
from mlv.store.reading import read_state
from mlv.transport import spool
from mlv.transport.header import look
from mlv.transport.writer import is_unattended

_POLL_S = 0.05
_SOON_S = 0.002
"""After something came, more comes soon: who flushes after each event waits for us."""
_LOOK_S = 0.1
_CHILDREN_WITHIN_S = 60.0
_DELETIONS = 5
"""How often an output is begun again because somebody deleted it."""


@dataclass(frozen=True)
class Order:
    """What a training process asks for."""

    folder: str
    projection: Projection
    run: str
    """The run to follow to its end."""
    process: Mapping[str, Any]
    """Its process."""


def follow(replay: Replay, is_over: Callable[[], bool]) -> None:
    """Take what comes until it is over: `is_over` is asked while nothing comes, and what it may have missed is taken.

    Raises:
        Exception: Whatever the projection raises, and OSError; what was committed stands.
    """
    next_look, pause_s = monotonic(), _POLL_S
    while True:
        ending = monotonic() >= next_look and is_over()
        if monotonic() >= next_look:
            next_look = monotonic() + _LOOK_S
        if replay.catch_up():
            pause_s = _SOON_S
        else:
            replay.commit()
            if ending:
                return
            sleep(pause_s)
            pause_s = min(2 * pause_s, _POLL_S)


def serve(order: Order) -> None:
    """Bring one output up to date, and keep it so until the run is over; what goes wrong is left in its position file."""
    ending = _Ending(order)
    for may_try_again in (*[True] * _DELETIONS, False):
        replay = Replay(Path(order.folder), order.projection)
        try:
            if _begins(replay, ending):
                follow(replay, ending)
                replay.close()
            return
        except BaseException as error:  # SystemExit as well: whoever waits for the output is told
            if may_try_again and isinstance(error, Exception) and replay.is_deleted(error):
                with suppress(Exception):
                    replay.close()
                continue
            replay.fail(f"{type(error).__name__}: {error}" if str(error) else shown(error))
            replay.close()
            raise


def _begins(replay: Replay, ending: Callable[[], bool]) -> bool:
    """Wait until the output is ours; False if another process keeps it to the end, which sees that as well."""
    is_over = False
    while not replay.begin():
        if is_over:
            return False
        is_over = ending()  # and then once more: who only looked had the lock for a moment
        sleep(_LOOK_S)
    return True


class _Ending:
    """Whether a run is over, and everything that can come from it is in the log."""

    def __init__(self, order: Order) -> None:
        self._order, self._folder = order, Path(order.folder)
        self._had_ring = False
        self._over_since: float | None = None

    def __call__(self) -> bool:
        rings = [ring for place in spool.find(self._folder, Owner.current()) for ring in spool.rings_in(place)]
        if not self._is_over(rings):
            return False
        self._over_since = self._over_since or monotonic()
        # Children and ranks may go on for a while; what a writer that died has left comes with the next run.
        return not any(map(self._is_beside, rings)) or monotonic() - self._over_since > _CHILDREN_WITHIN_S

    def _is_beside(self, ring: Path) -> bool:
        """Whether a ring is that of a child, or of another rank, whose events still come."""
        header = look(ring)
        runs = () if header is None else (header.info.get("parent_run"), header.info.get("main_run"))
        return header is not None and self._order.run in runs and header.is_attended

    def _is_over(self, rings: list[Path]) -> bool:
        mine = [ring for ring in rings if ring.stem == self._order.run]
        self._had_ring = self._had_ring or bool(mine)
        is_gone = process_is_gone(self._order.process)
        if mine or is_gone:
            return is_gone and all(map(is_unattended, mine))
        return self._had_ring or self._has_ended()

    def _has_ended(self) -> bool:
        """Whether the log says so: where there is no ring to look at."""
        run = read_state(self._folder).runs.get(self._order.run)
        return run is not None and run.ended is not None


def main(*_: str) -> None:
    """Serve the order that comes, pickled, through standard input."""
    import pickle

    serve(pickle.load(sys.stdin.buffer))  # noqa: S301 - from the process that starts this one
