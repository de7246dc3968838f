"""Recovery after killed processes: drains rings without a writer, gives verdicts and seals."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from mlv.store import claims, layout
from mlv.store.owners import Owner
from mlv.transport import orders, spool, writer
from mlv.transport.header import Header, look
from mlv.transport.journal import Journal
from mlv.transport.launch import launch
from mlv.transport.settle import settle


def needs_recovery(folder: Path) -> bool:
    """Return whether a dead process has left something of the experiment unfinished; finishing it may be under way."""
    spool_folders = spool.find(folder, Owner.current())
    headers = [header for spool_folder in spool_folders for header in _headers(spool_folder)]
    is_waiting = any(_is_left_behind(header) and not header.is_held_up for header in headers)
    return is_waiting or bool(claims.stale(folder)) or bool(orders.left_orders(spool_folders))


def is_in_use(folder: Path) -> bool:
    """Return whether a process that may live logs into an experiment: its ring is there before its first line is."""
    headers = (header for spool_folder in spool.find(folder, Owner.current()) for header in _headers(spool_folder))
    held = (claims.read(folder, stream) for stream in claims.claimed(folder))
    return any(not header.is_over for header in headers) or any(
        claim not in (None, claims.FOR_MERGES) and not claim.owner.is_gone() for claim in held
    )


def recover(folder: Path, timeout_s: float = 30.0) -> bool:
    """Bring the events that wait for an experiment into its streams, and give verdicts and seals to runs that are over.

    The processes that complete outputs of runs that are over are started, and not waited for.

    Returns:
        Whether nothing waits any more; False when the time is over or the folder refuses.
    """
    deadline = monotonic() + timeout_s
    spool_folders = spool.find(folder, Owner.current())
    done = [drain_spool(folder, spool_folder, max(0.0, deadline - monotonic())) for spool_folder in spool_folders]
    # After the rings: a verdict before their events would stand in front of what the run still had to say.
    is_done = settle_stale(folder) and all(done)
    for path in orders.left_orders(spool_folders):
        with suppress(OSError):  # the order stays, and `mlv recover` says why
            orders.begin(path, folder)
    return is_done


def drain_spool(folder: Path, spool_folder: Path, timeout_s: float = 30.0) -> bool:
    """Drain the rings of one spool: those of the dead at once, those of the living by a writer that stays with them.

    Returns:
        Whether every ring is drained by a writer; False when the time is over or the folder refuses.
    """
    deadline = monotonic() + timeout_s
    is_launched = False
    while True:
        # Read anew each time: a process that was killed a moment ago may still count as alive.
        alone = [header for header in _headers(spool_folder) if not header.is_attended]
        if any(header.is_over for header in alone) or not spool.rings_in(spool_folder):
            writer.rescue(folder, spool_folder, max(0.0, deadline - monotonic()))
        elif alone and not is_launched:
            with suppress(OSError):
                # A process that lives goes on to log: its ring needs a writer that stays, not this process.
                launch(folder, spool_folder)
            is_launched = True
        if not any(map(_is_left_behind, _headers(spool_folder))):
            return True
        if monotonic() >= deadline:
            return False
        sleep(0.01)


def settle_stale(folder: Path, spool_folders: Iterable[Path] = ()) -> bool:
    """Give verdicts and seals to runs whose writer died with them; False if the folder refuses.

    Where rings are left, in these spools or in those of the folder, all is left to the writer that drains them: it goes by
    the lines in the dead writer's streams, and must be the one to take them over.
    """
    streams = claims.stale(folder)
    if not streams or any(map(spool.rings_in, {*spool_folders, *spool.find(folder, Owner.current())})):
        return True
    journal = Journal(folder)
    try:
        for stream in streams:
            journal.take_over(stream)
        settle(folder, journal, journal.stale_streams, alive=())
        journal.close()
    except OSError:
        journal.surrender()
        return False
    return True


def spools_below(root: Path) -> Iterator[tuple[Path, Path]]:
    """Yield experiments at or below a folder, with spools that hold their rings or orders, also if they were moved since."""
    moved: dict[str, list[Path]] = {}
    for spool_folder in spool.existing():
        about = _experiment_of(spool_folder)
        if about is None:
            continue
        folder, exp_id = about
        if not layout.holds(folder, exp_id):
            moved.setdefault(exp_id, []).append(spool_folder)
        elif _is_below(folder, root):
            yield folder, spool_folder
    for folder in layout.walk(root) if moved else ():
        for spool_folder in moved.get(layout.exp_id(folder), ()):
            yield folder, spool_folder


def _experiment_of(spool_folder: Path) -> tuple[Path, str] | None:
    """Return folder and ID of the experiment that a spool is for, if a ring or an order names them."""
    for header in _headers(spool_folder):
        return Path(header.info["exp"]), header.info["id"]
    for order in map(orders.read, orders.orders_in(spool_folder)):
        if order is not None:
            return Path(order.folder), order.exp
    return None


def _is_below(folder: Path, root: Path) -> bool:
    real, top = os.path.realpath(folder), os.path.realpath(root)
    return real == top or real.startswith(top.rstrip("/") + "/")


def _headers(spool_folder: Path) -> list[Header]:
    """Read the headers of the rings that a spool lists."""
    return [header for ring in spool.rings_in(spool_folder) if (header := look(ring)) is not None]


def _is_left_behind(header: Header) -> bool:
    """Return whether a ring waits for a writer, or to be finished."""
    return header.is_over or not header.is_attended
