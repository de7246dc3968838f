"""Channels of a session that writes into no run: before its first event, and after its end."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlv.encoding import TAIL
from mlv.errors import MlvWarning
from mlv.notices import warn_once
from mlv.protocols import Buffer, Cursor

if TYPE_CHECKING:
    from mlv.experiment.session import Session


class IdleChannel:
    """A channel in which nothing waits and nothing is stored: the base of those outside a run."""

    run = ""

    def put(self, cursor: int, kind: int, step: int, payload: bytes) -> None:
        """Discard an event."""

    def hand_over(self, cursor: int, buffers: Sequence[Buffer]) -> None:
        """Treat an event of several buffers as any other."""
        self.put(cursor, TAIL, 0, b"")

    def add_cursor(self, index: int, cursor: Cursor) -> None:
        """Announce nothing: a run gets all cursors when it begins."""

    def drain(self, timeout_s: float) -> bool:
        """Return True: nothing waits."""
        return True

    flush = close = drain

    def outlook(self) -> str:
        """Return an empty text: nothing waits."""
        return ""

    def abandon(self) -> None:
        """Do nothing: nothing was inherited."""


class Unstarted(IdleChannel):
    """The channel of a session before its run: the first event begins the run."""

    def __init__(self, session: Session) -> None:
        self._session = weakref.ref(session)

    def put(self, cursor: int, kind: int, step: int, payload: bytes) -> None:
        """Begin the run, and accept the event there."""
        session = self._session()
        if session is not None:
            session.start()
            session.channel.put(cursor, kind, step, payload)

    def hand_over(self, cursor: int, buffers: Sequence[Buffer]) -> None:
        """Begin the run, and accept the event there."""
        session = self._session()
        if session is not None:
            session.start()
            session.channel.hand_over(cursor, buffers)


class Closed(IdleChannel):
    """The channel of a run that has ended: events are not stored, and a warning says so once."""

    def __init__(self, run: str, folder: Path) -> None:
        self.run, self._folder = run, folder

    def put(self, cursor: int, kind: int, step: int, payload: bytes) -> None:
        """Warn, once for each line of the caller's code."""
        warn_once(
            f"logged into {self._folder} after close(): the event is not stored. Log before close(), or open the experiment "
            f"again with Exp.open({str(self._folder)!r})",
            MlvWarning,
        )


class QuietlyClosed(Closed):
    """The channel of a process that a signal is about to kill: events are not stored, without a warning."""

    def put(self, cursor: int, kind: int, step: int, payload: bytes) -> None:
        """Discard an event."""
