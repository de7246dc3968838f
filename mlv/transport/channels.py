"""Choosing how the events of a run travel: through a ring where there can be one, else inline."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlv import settings
from mlv.errors import MlvWarning, TooManyStreams, WritingStalled
from mlv.notices import warn
from mlv.protocols import Channel, Cursor
from mlv.store.home import Home
from mlv.store.owners import Owner
from mlv.transport import frames, spool
from mlv.transport.launch import can_launch, launch
from mlv.transport.ring import CAPACITY, CHILD_CAPACITY, NoRoom, Ring, create
from mlv.transport.wishes import Wishes


def open_channel(
    folder: Path,
    exp_id: str,
    run: str,
    parent_run: str | None,
    wishes: Wishes = Wishes(),  # noqa: B008 - frozen
    *,
    main_run: str | None = None,
    home: Home | None = None,
) -> Channel:
    """A channel for a new run; it never fails: what cannot be had is replaced by the inline twin, with a warning.

    `parent_run` is that of the process which this one is a child of, `main_run` that of rank 0 where this is another rank.
    `home` is where the experiment is, for who holds it longer.
    """
    home = home or Home(folder, exp_id)
    if not can_launch() or settings.INLINE.get_or_default():
        return _inline(folder, run, wishes, home)
    here = Owner.current()
    info = {"run": run, "exp": os.path.realpath(folder), "id": exp_id, "process": here.to_data(), **wishes.to_info()}
    if parent_run is not None:
        info["parent_run"] = parent_run
    if main_run is not None:
        info["main_run"] = main_run
    try:
        return _ring(folder, here, info, home)
    except OSError as error:
        warn(f"run {run} writes from its own process, which is slower: {error}", WritingStalled)
        return _inline(folder, run, wishes, home)


def _inline(folder: Path, run: str, wishes: Wishes, home: Home) -> Channel:
    from mlv.transport.censor import Censor  # with all of the journal: `import mlv` does without
    from mlv.transport.inline import Inline

    return Inline(folder, run, censor=Censor(wishes.redactor()), home=home)


def _ring(folder: Path, here: Owner, info: dict[str, Any], home: Home) -> Ring:
    candidates = spool.candidates(folder, here)
    path, place = _create(candidates, info)
    _warn_if_not_chosen(place)
    settings.FSYNC_INTERVAL.get_or_default()  # here, where it is seen: the writer gets what is right
    try:
        return Ring(path, place, lambda: launch(folder, place, home), candidates, settings.PATIENCE.get_or_default())
    except BaseException:
        for left in (place / path.name, path):  # nobody would drain it, and its run goes on elsewhere
            with suppress(OSError):
                left.unlink()
        raise


def _create(candidates: Sequence[Path], info: dict[str, Any]) -> tuple[Path, Path]:
    """Make a ring; once more where the last writer of the experiment removed the spool in the middle of it."""
    capacity = CHILD_CAPACITY if "parent_run" in info else CAPACITY
    with suppress(NoRoom):
        return create(candidates, info, capacity)
    return create(candidates, info, capacity)


def _warn_if_not_chosen(place: Path) -> None:
    chosen = settings.SPOOL.get_or_default()
    if chosen is not None and place.parent != spool.root_of(chosen):
        warn(f"MLV_SPOOL={str(chosen)!r} cannot hold a spool: {place.parent} serves. Give a folder that is yours", MlvWarning)


class Cursors:
    """The cursors of a run, in the order of their numbers; a ring's table has room for so many bytes."""

    def __init__(self) -> None:
        self.all: list[Cursor] = []
        self._announced = 0
        self._announced_to: Channel | None = None
        self._index: dict[Cursor, int] = {}
        self._bytes = 0

    def index(self, cursor: Cursor) -> int | None:
        """Number of a cursor; None where there is no room for heads any more.

        Raises:
            TooManyStreams: There is no room for another stream.
        """
        known = self._index.get(cursor)
        if known is not None:
            return known
        stream, head = cursor
        size = 6 * len(stream) + 6 * len(head) + 16  # JSON writes a character in six bytes at most
        if head and self._bytes + size > frames.CURSOR_BYTES // 2:
            return None
        if self._bytes + size > frames.CURSOR_BYTES:
            count = len({stream for stream, _ in self.all})
            raise TooManyStreams(
                f"stream {stream!r} is one too many: a run can write into about {count} streams", stream=stream
            )
        self._bytes += size
        self.all.append(cursor)
        self._index[cursor] = len(self.all) - 1
        return len(self.all) - 1

    def announce(self, channel: Channel) -> None:
        """Announce to the run's channel what it does not know yet, also after a call that an exception ended."""
        if self._announced_to is not channel:
            self._announced_to, self._announced = channel, 0
        while self._announced < len(self.all):
            channel.add_cursor(self._announced, self.all[self._announced])
            self._announced += 1
