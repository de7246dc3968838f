"""Finishing what killed processes left: draining rings without a writer, giving verdicts and seals."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from mlv.store import claims, layout, opening
from mlv.store.owners import Owner
from mlv.transport import spool, writer
from mlv.transport.header import Header, look
from mlv.transport.journal import Journal
from mlv.transport.launch import launch
from mlv.transport.settle import settle

_ID = re.compile(r"[0-9a-f]{64}\Z")
_BEGINNING = 1 << 16
"""Bytes of a log within which its first run says the ID of the experiment."""


def needs_recovery(folder: Path) -> bool:
    """Whether something of the experiment is unfinished that somebody who died has left; finishing it may be under way."""
    headers = [header for place in spool.find(folder, Owner.current()) for header in _headers(place)]
    return any(_is_left_behind(header) and not header.is_held_up for header in headers) or bool(claims.stale(folder))


def recover(folder: Path, timeout_s: float = 30.0) -> bool:
    """Bring what waits for an experiment into its streams, and give verdicts and seals to what is over.

    Returns:
        Whether nothing waits any more; False when the time is over or the folder refuses.
    """
    deadline = monotonic() + timeout_s
    places = spool.find(folder, Owner.current())
    done = [drain_spool(folder, place, max(0.0, deadline - monotonic())) for place in places]
    return settle_stale(folder) and all(done)


def drain_spool(folder: Path, place: Path, timeout_s: float = 30.0) -> bool:
    """Drain the rings of one spool: those of the dead at once, those of the living by a writer that stays with them.

    Returns:
        Whether every ring has somebody who drains it; False when the time is over or the folder refuses.
    """
    deadline = monotonic() + timeout_s
    is_launched = False
    while True:
        # Looked at anew each time: a process that was killed a moment ago may still count as alive.
        alone = [header for header in _headers(place) if not header.is_attended]
        if any(header.is_over for header in alone) or not spool.rings_in(place):
            writer.rescue(folder, place, max(0.0, deadline - monotonic()))
        elif alone and not is_launched:
            with suppress(OSError):
                launch(folder, place)
            is_launched = True
        if not any(map(_is_left_behind, _headers(place))):
            return True
        if monotonic() >= deadline:
            return False
        sleep(0.01)


def settle_stale(folder: Path, places: Iterable[Path] = ()) -> bool:
    """Give verdicts and seals to runs whose writer died with them; False if the folder refuses.

    Where rings are left, in these spools or in those that are known for the folder, all is left to who drains them: it goes
    by what the dead writer's streams hold, and must be the one to take them over.
    """
    streams = claims.stale(folder)
    if not streams or any(map(spool.rings_in, {*places, *spool.find(folder, Owner.current())})):
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
    """Experiments at or below a folder, and spools with rings of theirs, also of experiments that were moved since."""
    moved: dict[str, list[Path]] = {}
    for place in spool.existing():
        headers = _headers(place)
        if not headers:
            continue
        info = headers[0].info
        folder = Path(info["exp"])
        if not _is_experiment(folder, info["id"]):
            moved.setdefault(info["id"], []).append(place)
        elif _is_below(folder, root):
            yield folder, place
    for folder in layout.walk(root) if moved else ():
        for place in moved.get(layout.exp_id(folder), ()):
            yield folder, place


def _is_experiment(folder: Path, exp_id: str) -> bool:
    """Whether the folder holds the experiment of that ID, perhaps with a meta.json that was edited since."""
    if not _ID.match(exp_id):  # an empty text stands in every log
        return False
    if layout.exp_id(folder) == exp_id:
        return True
    with suppress(OSError), opening.reading(folder / layout.stream_file(layout.DEFAULT_STREAM)) as file:
        return exp_id.encode() in file.read(_BEGINNING)
    return False


def _is_below(folder: Path, root: Path) -> bool:
    real, top = os.path.realpath(folder), os.path.realpath(root)
    return real == top or real.startswith(top.rstrip("/") + "/")


def _headers(place: Path) -> list[Header]:
    """The headers of the rings that a spool lists."""
    return [header for ring in spool.rings_in(place) if (header := look(ring)) is not None]


def _is_left_behind(header: Header) -> bool:
    """Whether a ring waits for somebody who drains it, or to be finished."""
    return header.is_over or not header.is_attended
