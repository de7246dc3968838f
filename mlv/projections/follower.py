"""The process of one output: it follows the log until the run that wants it is over, completes the output, and ends."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from mlv.encoding import shown
from mlv.projections.replaying import Replay
from mlv.protocols import Projection
from mlv.transport import orders
from mlv.transport.orders import Order
from mlv.transport.run_end import RunEnd

_POLL_S = 0.05
_SOON_S = 0.002
"""Pause after an event: more follow soon, and a caller who flushes after each event waits for us."""
_LOOK_S = 0.1
_DELETIONS = 5
"""Number of times that an output which somebody deleted is begun again."""
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
    ending = RunEnd(order)
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


def main(fd: str, path: str, folder: str) -> None:
    """Complete the order in an open file; then remove it from the spool that it may lie in."""
    orders.complete(fd, path, folder, _complete)


def _complete(order: Order) -> bool:
    projection = pickle.loads(order.projection)  # noqa: S301 - from a private file of this user's
    if "tensorboardX" in getattr(projection, "NEEDS", ()):
        _import_alone()
    return serve(order, projection)


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
