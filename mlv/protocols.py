"""The roles that others may play: what a Logger writes to, and what a writer does to files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Union

Cursor = tuple[str, bytes]
"""A stream, and the head (type and name, `encoding.head`) that the lines written through the cursor share."""


Buffer = Union[bytes, bytearray, memoryview]
"""Contiguous bytes."""


class Channel(Protocol):
    """Takes the events of one run and brings them to its streams, in order, once.

    The run numbers its events; a channel never refuses one because of a file's state: it waits, with a deadline.
    """

    run: str
    """ID of the run."""

    def add_cursor(self, index: int, cursor: Cursor) -> None:
        """Announce the cursor that `put` will call `index`; indices count from 0."""

    def put(self, cursor: int, kind: int, step: int, payload: bytes) -> None:
        """Accept one event: `kind` and `payload` as in `encoding` (TAIL, DATA, STEP).

        When the call returns, the event outlives the process. Never raises for the state of a disk or a writer.
        """

    def hand_over(self, cursor: int, parts: Sequence[Buffer]) -> None:
        """Accept one event whose line a worker completes: a `media.jobs.Job`, packed; the cursor is one without a head.

        The parts are taken before the call returns. Its line may come later than its number, and before the run's seal.
        Otherwise as `put`.
        """

    def drain(self, timeout_s: float) -> bool:
        """Wait until every event accepted so far can be read in its stream; False when the time is over."""

    def flush(self, timeout_s: float) -> bool:
        """Wait until every event accepted so far is fsynced; False when the time is over."""

    def close(self, timeout_s: float) -> bool:
        """Accept no more events, and wait until the run's streams are sealed; False when the time is over."""

    def abandon(self) -> None:
        """Let go of what a forked child inherited, without touching what the parent goes on using."""


class FileLayer(Protocol):
    """The system calls by which streams are written, so that a test can watch them or make them fail."""

    def open(self, path: str, flags: int) -> int:
        """As `os.open`."""

    def write(self, fd: int, data: bytes) -> int:
        """As `os.write`."""

    def fsync(self, fd: int) -> None:
        """As `os.fsync`."""

    def truncate(self, fd: int, size: int) -> None:
        """As `os.ftruncate`."""

    def size(self, fd: int) -> int:
        """Size of the open file in bytes."""

    def close(self, fd: int) -> None:
        """As `os.close`."""
