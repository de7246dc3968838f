"""The roles that others may play: what a Logger writes to, what a writer does to files, and other forms of the log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, Union

from mlv.events import Event

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

    def hand_over(self, cursor: int, buffers: Sequence[Buffer]) -> None:
        """Accept one event whose line a worker completes: a `media.jobs.Job`, packed; the cursor is one without a head.

        The buffers are taken before the call returns. Its line may come later than its number, and before the run's seal.
        Otherwise as `put`.
        """

    def drain(self, timeout_s: float) -> bool:
        """Wait until every event accepted so far can be read in its stream; False when the time is over."""

    def flush(self, timeout_s: float) -> bool:
        """Wait until every event accepted so far is fsynced; False when the time is over."""

    def close(self, timeout_s: float) -> bool:
        """Accept no more events, and wait until the run's streams are sealed; False when the time is over."""

    def outlook(self) -> str:
        """What becomes of the events that `close` did not bring to the disk, for people; empty where that is said already."""

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


class Batch(Protocol):
    """Lines of one stream, in file order; iterating gives those events that the projection wants, as `mlv.Event`.

    What a rewind superseded is not among them.
    """

    @property
    def stream(self) -> str:
        """The stream's name, such as `log` or `val`."""

    @property
    def lines(self) -> bytes:
        """All the whole lines as they stand in the file, wanted or not."""

    def __iter__(self) -> Iterator[Event]: ...


class Projection(Protocol):
    """Another form of the log, rebuildable at any time; it lives in a process of its own, and never touches the queue.

    May have, beside these, what every output of mlv has: `filter` (a regular expression over full names, `re.search`),
    `verbosity` (events above it are left out), `types` (of events) and `path` (of its folder); and
    `discard(place, resume)`, which removes what was written up to a commit, where the output is built again.

    It travels by pickle: its class stands in a module that can be imported, or `cloudpickle` is installed.
    """

    name: str
    """What it is called, and the name of its folder in the experiment."""

    def open(self, place: Path, resume: Any) -> None:
        """Begin in a folder that is there: `resume` is what the last `commit` gave, None where the log is read from its start.

        What was written after that commit is to be taken back: the same events come again. After `close` it may be opened
        once more: where the experiment was rewound, the log is read from its start, without what that superseded.

        Raises:
            CannotResume: What that commit wrote is not there any more: it is called again, with None. `commit` may say so too.
        """

    def write(self, batch: Batch) -> None:
        """Take the next lines of one stream."""

    def commit(self) -> Any:
        """Make what was written outlive the process, and give what `open` needs to go on from here, in a JSON form.

        Raises:
            CannotResume: What was written before was taken away: it is opened again, and goes on or begins anew.
        """

    def close(self) -> None:
        """Give back what is held; nothing was written since the last `commit`."""
