"""Finishing what killed processes left: draining rings without a writer, giving verdicts and seals."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from mlv.store import claims, layout
from mlv.store.files import sha256_file
from mlv.store.owners import Owner
from mlv.transport import spool, writer
from mlv.transport.journal import Journal
from mlv.transport.launch import launch
from mlv.transport.settle import settle
from mlv.transport.source import Source


def needs_recovery(folder: Path) -> bool:
    """Whether something of the experiment waits that no living process looks after."""
    here = Owner.current()
    rings = [ring for place in spool.find(folder, here) for ring in spool.rings_in(place)]
    return any(writer.is_unattended(ring) for ring in rings) or bool(claims.stale(folder))


def recover(folder: Path, timeout_s: float = 30.0) -> bool:
    """Bring what waits for an experiment into its streams, and give verdicts and seals to what is over.

    Returns:
        Whether nothing waits any more; False when the time is over or the folder refuses.
    """
    here = Owner.current()
    done = [drain_spool(folder, place, timeout_s) for place in spool.find(folder, here)]
    return settle_stale(folder) and all(done)


def drain_spool(folder: Path, place: Path, timeout_s: float = 30.0) -> bool:
    """Drain the rings of one spool; where one of their processes lives, by a writer that stays with it."""
    if not spool.rings_in(place):
        spool.remove(place)
        return True
    if any(not _owner_is_gone(ring) for ring in spool.rings_in(place)):
        if any(writer.is_unattended(ring) for ring in spool.rings_in(place)):
            launch(folder, place)
        return _wait_until(lambda: not any(map(_is_left_behind, spool.rings_in(place))), timeout_s)
    served = writer.serve(folder, place, timeout_s)
    return served or _wait_until(lambda: not any(map(_is_left_behind, spool.rings_in(place))), timeout_s)


def settle_stale(folder: Path) -> bool:
    """Give verdicts and seals to runs whose writer died with them; False if the folder refuses."""
    streams = claims.stale(folder)
    if not streams:
        return True
    journal = Journal(folder)
    try:
        for stream in streams:
            journal.path(stream)
        settle(folder, journal, journal.stale_streams, alive=())
        journal.close()
    except OSError:
        return False
    return True


def spools_below(root: Path) -> Iterator[tuple[Path, Path]]:
    """Experiments at or below a folder, and spools with rings of theirs, also of experiments that were moved since."""
    moved = {}
    for place in spool.existing():
        infos = [info for ring in spool.rings_in(place) if (info := _info(ring)) is not None]
        if not infos:
            continue
        folder = Path(infos[0]["exp"])
        if (layout.is_experiment(folder)) and _is_below(folder, root):
            yield folder, place
        elif not layout.is_experiment(folder):
            moved[infos[0]["id"]] = place
    if moved:
        for folder in layout.walk(root):
            if (place := moved.get(sha256_file(folder / layout.META)[0])) is not None:
                yield folder, place


def _is_below(folder: Path, root: Path) -> bool:
    real, top = os.path.realpath(folder), os.path.realpath(root)
    return real == top or real.startswith(top.rstrip("/") + "/")


def _info(ring: Path) -> dict[str, Any] | None:
    try:
        source = Source(ring)
    except (OSError, ValueError):
        return None
    source.close()
    return source.info


def _owner_is_gone(ring: Path) -> bool:
    info = _info(ring)
    return info is None or Owner.from_data(info["process"]).is_gone()


def _is_left_behind(ring: Path) -> bool:
    return writer.is_unattended(ring) or _owner_is_gone(ring)


def _wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = monotonic() + timeout_s
    while not condition():
        if monotonic() >= deadline:
            return False
        sleep(0.01)
    return True
