"""The process of one output: it follows the log until the run that wants it is over, completes the output, and ends."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from mlv.encoding import shown
from mlv.errors import NotAnExperiment
from mlv.projections.replaying import Replay
from mlv.protocols import Projection
from mlv.store.home import Home
from mlv.store.owners import Owner
from mlv.store.reading import read_state
from mlv.transport import spool
from mlv.transport.header import look
from mlv.transport.launch import launch
from mlv.transport.orders import Order
from mlv.transport.spool_lock import is_unattended, tidy

_POLL_S = 0.05
_SOON_S = 0.002
"""Pause after an event: more follow soon, and a caller who flushes after each event waits for us."""
_LOOK_S = 0.1
_CHILDREN_WITHIN_S = 60.0  # one that was killed leaves its ring for a writer to finish
_DELETIONS = 5
"""Number of times that an output which somebody deleted is begun again."""
_WRITER_WITHIN_S = 0.5
"""Seconds that a ring of a process that is gone may lack a writer: one may be on its way."""
_MOST_WRITERS = 5  # if so many could not finish the ring, one more will not
_HEAVY = ("boto3", "comet_ml", "tensorflow", "torch")
"""Packages that tensorboardX imports if they are installed."""


def follow(replay: Replay, is_over: Callable[[], bool]) -> None:
    """Follow the log until the run is over: `is_over` is asked while nothing comes, and later lines are still taken.

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


def serve(order: Order, projection: Projection) -> bool:
    """Bring one output up to date, and keep it so until the run is over; an error is left in its position file.

    Returns:
        Whether the output is complete; False where the ring of the run waits, and nobody can drain it.
    """
    ending = _RunEnd(order)
    for may_try_again in (*[True] * _DELETIONS, False):
        replay = Replay(Path(order.folder), projection, order.exp)
        try:
            if _begins(replay, ending):
                follow(replay, ending)
                replay.close()
            return not ending.is_given_up
        except BaseException as error:  # SystemExit as well: whoever waits for the output is told
            if may_try_again and isinstance(error, Exception) and replay.is_deleted(error):
                with suppress(Exception):  # of files that are gone
                    replay.close()
                continue
            replay.fail(f"{type(error).__name__}: {error}" if str(error) else shown(error))
            replay.close()
            raise
    raise AssertionError("the last try returns or raises")


def _begins(replay: Replay, ending: Callable[[], bool]) -> bool:
    """Wait until the output is ours; False if another process keeps it to the end, which sees that as well."""
    is_over = False
    while not replay.begin():
        if is_over:
            return False
        is_over = ending()  # and then once more: who only looked had the lock for a moment
        sleep(_LOOK_S)
    return True


class _RunEnd:
    """Tells whether a run is over, and everything that can come from it is in the log."""

    def __init__(self, order: Order) -> None:
        self._order, self._folder = order, Path(order.folder)
        self._had_ring = False
        self._over_since: float | None = None
        self._alone_since: float | None = None
        self._writers = 0
        self.is_given_up = False
        """Whether events wait that nobody can bring into the log."""

    def __call__(self) -> bool:
        rings = [ring for spool_folder in spool.find(self._folder, Owner.current()) for ring in spool.rings_in(spool_folder)]
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


def main(fd: str, path: str, folder: str) -> None:
    """Complete the order in an open file, which is locked by that; then remove it from the spool that it may lie in."""
    os.set_inheritable(int(fd), False)
    with open(int(fd), "rb") as file:  # open to the end: the lock tells the others that somebody is at work
        file.seek(0)
        order = Order.from_bytes(file.read()).replace(folder=folder)
        is_done = False
        try:
            projection = pickle.loads(order.projection)  # noqa: S301 - from a private file of this user's
            if "tensorboardX" in getattr(projection, "NEEDS", ()):
                _import_alone()
            is_done = serve(order, projection)
        except NotAnExperiment:
            is_done = True  # the experiment is gone, and its output with it
            raise
        except BaseException:
            is_done = not order.is_left  # the process that wanted it tells of it
            raise
        finally:
            if is_done and path:
                with suppress(OSError):
                    os.unlink(path)
                tidy(Path(path).parent)


def _import_alone() -> None:
    """Import tensorboardX without the heavy packages that it would import, too, where they are installed.

    With torch alone, which it has for the name of one type, each process that keeps event files would take 220 MiB and a
    second more. It does without any of them; an output of the user's own that needs one can import it afterwards.
    """
    hidden = [name for name in _HEAVY if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: there is no such module
    try:
        import tensorboardX.summary  # noqa: F401
    finally:
        for name in hidden:
            del sys.modules[name]
