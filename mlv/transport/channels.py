"""Choosing how the events of a run travel: through a ring where there can be one, else inline."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mlv.errors import TooManyStreams, WritingStalled
from mlv.notices import warn
from mlv.protocols import Channel, Cursor
from mlv.store.owners import Owner
from mlv.transport import frames, spool
from mlv.transport.inline import Inline
from mlv.transport.launch import can_launch, launch
from mlv.transport.ring import CAPACITY, CHILD_CAPACITY, Ring, create


def open_channel(folder: Path, exp_id: str, run: str, parent_run: str | None, cursors: Sequence[Cursor]) -> Channel:
    """A channel for a new run; it never fails: what cannot be had is replaced by the inline twin, with a warning."""
    channel = _ring(folder, exp_id, run, parent_run) or Inline(folder, run)
    for index, cursor in enumerate(cursors):
        channel.add_cursor(index, cursor)
    return channel


def _ring(folder: Path, exp_id: str, run: str, parent_run: str | None) -> Ring | None:
    if not can_launch() or os.environ.get("MLV_INLINE") == "1":
        return None
    here = Owner.current()
    info = {"run": run, "exp": os.path.realpath(folder), "id": exp_id, "process": here.to_data()}
    if parent_run is not None:
        info["parent_run"] = parent_run
    try:
        places = spool.make(folder, here)
        path = create(places, info, CHILD_CAPACITY if parent_run else CAPACITY)
        return Ring(path, places[0], lambda: launch(folder, places[0]))
    except OSError as error:
        warn(f"run {run} writes from its own process, which is slower: {error}", WritingStalled)
        return None


class Cursors:
    """The cursors of a run, in the order of their numbers; a ring's table has room for so many bytes."""

    def __init__(self) -> None:
        self.all: list[Cursor] = []
        self._index: dict[Cursor, int] = {}
        self._bytes = 0

    def index(self, cursor: Cursor) -> tuple[int, bool] | None:
        """Number of a cursor, and whether it is new; None where there is no room for heads any more.

        Raises:
            TooManyStreams: There is no room for another stream.
        """
        known = self._index.get(cursor)
        if known is not None:
            return known, False
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
        return len(self.all) - 1, True
