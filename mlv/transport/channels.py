"""Channels: events of a run travel through a ring where there can be one, else inline."""

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
from mlv.transport.new_rings import CAPACITY, CHILD_CAPACITY, NoRoom, create
from mlv.transport.ring import Ring
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
    """Open a channel for a new run; it never fails: without a ring the inline twin serves, with a warning.

    `parent_run` is that of the process which this one is a child of, `main_run` that of rank 0 where this is another rank.
    `home` follows the experiment's folder, for callers that hold it longer.
    """
    home = home or Home(folder, exp_id)
    if not can_launch() or settings.INLINE.get_or_default():
        return _inline(folder, run, wishes, home)
    owner = Owner.current()
    info = {"run": run, "exp": os.path.realpath(folder), "id": exp_id, "process": owner.to_data(), **wishes.to_info()}
    if parent_run is not None:
        info["parent_run"] = parent_run
    if main_run is not None:
        info["main_run"] = main_run
    try:
        return _ring(folder, owner, info, home)
    except OSError as error:
        warn(f"run {run} writes from its own process, which is slower: {error}", WritingStalled)
        return _inline(folder, run, wishes, home)


def _inline(folder: Path, run: str, wishes: Wishes, home: Home) -> Channel:
    from mlv.transport.censor import Censor  # with all of the journal: `import mlv` does without
    from mlv.transport.inline import Inline

    return Inline(folder, run, censor=Censor(wishes.redactor()), home=home)


def _ring(folder: Path, owner: Owner, info: dict[str, Any], home: Home) -> Ring:
    candidates = spool.candidates(folder, owner)
    path, spool_folder = _create(candidates, info)
    _warn_if_not_chosen(spool_folder)

    def start() -> None:
        launch(folder, spool_folder, home)

    settings.FSYNC_INTERVAL.get_or_default()  # warns here, where it is seen: the writer gets a valid value
    try:
        return Ring(path, spool_folder, start, candidates, settings.PATIENCE.get_or_default())
    except BaseException:
        for leftover in (spool_folder / path.name, path):  # nobody would drain it, and its run goes on elsewhere
            with suppress(OSError):
                leftover.unlink()
        raise


def _create(candidates: Sequence[Path], info: dict[str, Any]) -> tuple[Path, Path]:
    """Make a ring; once more where the last writer of the experiment removed the spool in the middle of it."""
    capacity = CHILD_CAPACITY if "parent_run" in info else CAPACITY
    with suppress(NoRoom):
        return create(candidates, info, capacity)
    return create(candidates, info, capacity)


def _warn_if_not_chosen(spool_folder: Path) -> None:
    chosen = settings.SPOOL.get_or_default()
    if chosen is not None and spool_folder.parent != spool.root_of(chosen):
        serves = spool_folder.parent
        warn(f"MLV_SPOOL={str(chosen)!r} cannot hold a spool: {serves} serves. Give a folder that is yours", MlvWarning)


class Cursors:
    """The cursors of a run, in the order of their numbers; a ring's table has room for so many bytes."""

    def __init__(self) -> None:
        self.all: list[Cursor] = []
        self._announced = 0
        self._announced_to: Channel | None = None
        self._index: dict[Cursor, int] = {}
        self._bytes = 0

    def index(self, cursor: Cursor) -> int | None:
        """Return the number of a cursor; None where there is no room for heads any more.

        Raises:
            TooManyStreams: There is no room for another stream.
        """
        number = self._index.get(cursor)
        if number is not None:
            return number
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
        """Announce to the run's channel the cursors that it does not know yet, also after a call ended by an exception."""
        if self._announced_to is not channel:
            self._announced_to, self._announced = channel, 0
        while self._announced < len(self.all):
            channel.add_cursor(self._announced, self.all[self._announced])
            self._announced += 1
