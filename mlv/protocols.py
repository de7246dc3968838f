"""Roles with several implementations: the channel of a Logger, the system calls of a writer, and other forms of the log."""

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
        """Return a text for people on the events that `close` did not bring to the disk; empty where a message has told it."""

    def abandon(self) -> None:
        """Release the resources that a forked child inherited, without touching those of the parent."""


class FileLayer(Protocol):
    """The system calls by which streams are written, so that a test can watch them or make them fail."""

    def open(self, path: str, flags: int) -> int:
        """Open a file like `os.open`."""

    def write(self, fd: int, data: bytes) -> int:
        """Write like `os.write`."""

    def fsync(self, fd: int) -> None:
        """Bring a file to the disk like `os.fsync`."""

    def truncate(self, fd: int, size: int) -> None:
        """Cut a file like `os.ftruncate`."""

    def size(self, fd: int) -> int:
        """Return the size of the open file in bytes."""

    def close(self, fd: int) -> None:
        """Close a file like `os.close`."""


class Batch(Protocol):
    """Lines of one stream, in file order; iterating gives those events that the projection wants, as `mlv.Event`.

    Events that a rewind superseded are not among them, unless the projection has a true `KEEPS_SUPERSEDED`.
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

    It may have, beside these, the options of every output of mlv: `filter` (a regular expression over full names, `re.search`),
    `verbosity` (events above it are left out), `types` (of events) and `path` (of its folder); and
    `discard(place, resume)`, which removes the files written up to a commit, where the output is built again.

    It travels by pickle: its class stands in a module that can be imported, or `cloudpickle` is installed.
    """

    name: str
    """Its name, and that of its folder in the experiment."""

    def open(self, place: Path, resume: Any) -> None:
        """Begin in an existing folder: `resume` is the result of the last `commit`, None where the log is read from its start.

        Anything written after that commit has to be taken back: the same events come again. After `close` it may be opened
        once more: where the experiment was rewound, the log is read from its start, without the superseded events.

        Raises:
            CannotResume: The files of that commit are gone: it is called again, with None. `commit` may raise it, too.
        """

    def write(self, batch: Batch) -> None:
        """Take the next lines of one stream."""

    def commit(self) -> Any:
        """Bring everything to the disk, and return the state that `open` needs to go on from here, in a JSON form.

        Raises:
            CannotResume: Earlier files were taken away: it is opened again, and goes on or begins anew.
        """

    def close(self) -> None:
        """Close files and the like; nothing was written since the last `commit`."""
