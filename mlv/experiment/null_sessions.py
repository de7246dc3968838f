"""Sessions that store nothing: of ranks that do not write, and under `MLV_DISABLED`.

Under `MLV_DISABLED` events go nowhere, and files last as long as the process. What an experiment is (runs, params, tags,
notes, descriptions of metrics) is remembered, what is logged is not. Who looks at the folder, or writes a file or a checkpoint,
finds a private one among the temporary files: a script that reads back what it saved runs to its end, and nothing is left.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from time import time_ns
from typing import Any

from mlv import settings
from mlv.encoding import TAIL, Composer, event_from_line
from mlv.errors import MlvWarning
from mlv.events import Event
from mlv.experiment.idle_channels import IdleChannel
from mlv.experiment.session import Session, session_in_this_process
from mlv.notices import warn
from mlv.protocols import Buffer, Channel
from mlv.state import State, fold
from mlv.store import blobs, layout, opening
from mlv.store.files import publish
from mlv.store.home import Home
from mlv.store.reading import read_state
from mlv.transport.wishes import Wishes


class DisabledSession(Session):
    """A session of which nothing is stored."""

    is_disabled = True

    def __init__(self, folder: Path, exp_id: str, meta: bytes, *, read_from: Path | None = None, **options: Any) -> None:
        """Prepare a run; `meta` is the text of meta.json, `read_from` an experiment that exists already."""
        super().__init__(folder, exp_id, **{**options, "outputs": (), "ship": None})
        self._meta, self._read_from = meta, read_from
        self._states = [State()]

    def twin(self, **options: Any) -> DisabledSession:
        """Return another session, which shares the remembered states."""
        options.pop("captures", None)
        twin = DisabledSession(
            self._folder, self.exp_id, self._meta, read_from=self._read_from, **{**options, "rank": self.rank}
        )
        twin._states = self._states
        return twin

    @property
    def folder(self) -> Path:
        """Folder for files, made on demand."""
        self._make()
        return self._folder

    @property
    def read_from(self) -> Path:
        """Folder of the experiment for reading."""
        return self._read_from or self.folder

    def prepare(self) -> None:
        """Make the folder, if the experiment is read there."""
        if self._read_from is None:
            self._make()

    def drain(self, timeout_s: float) -> bool:
        """Make the folder for a reader, and return True."""
        self.prepare()
        return True

    def state_reader(self, folder: Path) -> Callable[[], State]:
        """Return a function that gives the remembered state; of an existing experiment, the state in its logs."""
        return (lambda: self._states[-1]) if self._read_from is None else super().state_reader(folder)

    def _open_channel(self, run: str, home: Home) -> Channel:
        return EphemeralChannel(run, self._take)

    def _annotate(self, payload: bytes) -> None:
        EphemeralChannel("", self._take).put(0, TAIL, 0, payload)

    def _take(self, event: Event) -> None:
        self._states[:] = [fold([event], self._states[-1])]

    def _make(self) -> None:
        with suppress(OSError):  # code that needs the folder finds that it is missing, and raises
            if not layout.is_experiment(self._folder):
                self._folder.parents[1].mkdir(mode=0o700, exist_ok=True)
                self._folder.mkdir(parents=True, exist_ok=True)
                publish(self._folder / layout.META, self._meta, mode=0o444)


class EphemeralChannel(IdleChannel):
    """The channel of a run of which nothing is stored: it shows each event, and forgets it."""

    def __init__(self, run: str, show: Callable[[Event], object]) -> None:
        self.run, self._show = run, show
        self._composer = Composer(run)
        self._seq = 0
        self._lock = threading.RLock()

    def put(self, cursor: int, kind: int, step: int, payload: bytes) -> None:
        """Show the event, if it carries its own head: logged events do not come so far."""
        with self._lock:
            self._seq += 1
            if kind == TAIL:
                line = self._composer.line(self._seq, time_ns(), b"", kind, step, payload)
                self._show(event_from_line(line, layout.DEFAULT_STREAM))

    def hand_over(self, cursor: int, buffers: Sequence[Buffer]) -> None:
        """Discard the buffers: there is nothing to complete."""


def session_for(folder: Path, exp_id: str, **options: Any) -> Session:
    """Return a session in an existing experiment, beside the sessions that this process has in it already."""
    existing = session_in_this_process(folder, exp_id)
    if existing is not None:
        return existing.twin(**options)
    if not settings.DISABLED.get():
        return Session(folder, exp_id, **options)
    options.pop("captures", None)
    return DisabledSession(
        temporary_folder(folder.name), exp_id, opening.content(folder / layout.META), read_from=folder, **options
    )


def temporary_folder(name: str) -> Path:
    """Return a folder of that name for an experiment of which nothing is stored; it is not made."""
    root = _root()
    _counts[root] = _counts.get(root, 0) + 1
    return root / str(_counts[root]) / name


def holds(path: Path) -> bool:
    """Return whether a path lies among the files of experiments of which nothing is stored."""
    return any(root in path.parents for root in _counts)


_counts: dict[Path, int] = {}
"""Number of experiments in each root."""
roots: dict[int, Path] = {}
"""The folder of each process for all files that last no longer than it: a forked child has one of its own."""


def _root() -> Path:
    """Return the folder of this process for all files that last no longer than it."""
    pid = os.getpid()
    if pid not in roots:
        import tempfile  # costs 2 ms, which `import mlv` shall not

        try:
            base = Path(tempfile.gettempdir())
            # This also removes the folders of processes that are gone.
            roots[pid] = blobs.temporary_beside(base / "mlv")
        except OSError:
            roots[pid] = Path(os.devnull) / "mlv"  # nowhere at all: saving a file raises
        atexit.register(_remove, roots[pid], pid)
    return roots[pid]


def _remove(root: Path, pid: int) -> None:
    if os.getpid() == pid and root.exists():
        blobs.remove(root)


def travelled_session(folder: Path, exp_id: str, run: str | None, wishes: Wishes, rank: int, is_silent: bool) -> Session:
    """Return a session for a pickled Exp or Logger: as silent as it was in its own process."""
    if is_silent and session_in_this_process(folder, exp_id) is None:
        return SilentSession(folder, exp_id, rank)
    return session_for(folder, exp_id, parent_run=run, rank=rank, wishes=wishes)


class SilentSession(Session):
    """The session of a rank that does not write, with `ranks="main"`: reading works, everything else does nothing."""

    is_silent = True

    def __init__(self, folder: Path, exp_id: str, rank: int = 0, *, is_doubtful: bool = False) -> None:
        """Prepare nothing, as no run begins. `is_doubtful` means that this may be an independent task instead of a rank."""
        super().__init__(folder, exp_id, rank=rank)
        self.channel = NullChannel(partial(_warn_if_nobody_writes, rank, folder) if is_doubtful else None)

    @property
    def is_started(self) -> bool:
        """Never: there is no run to write into."""
        return False

    def start(self) -> None:
        """Do nothing: there is no run to begin."""

    def twin(self, **options: Any) -> SilentSession:
        """Return another session that does nothing."""
        return SilentSession(self._folder, self.exp_id, self.rank)

    def annotate(self, type: str, data: Mapping[str, Any], *, is_beside: bool = False) -> None:
        """Do nothing: rank 0 annotates."""

    def put_summary(self, payload: bytes) -> None:
        """Do nothing: rank 0 summarizes."""

    def close(self, status: str, error: BaseException | None = None, timeout_s: float = 0) -> None:
        """Do nothing: there is no run to end."""

    def end(self, error: BaseException | None = None, timeout_s: float = 0) -> None:
        """Do nothing: there is no run to end."""


class NullChannel(IdleChannel):
    """The channel of a rank that does not write: it discards every event, and may be asked to notify of the first one."""

    def __init__(self, notify: Callable[[], None] | None = None) -> None:
        self._notify = notify

    def put(self, cursor: int, kind: int, step: int, payload: bytes) -> None:
        """Discard an event."""
        notify, self._notify = self._notify, None
        if notify is not None:
            notify()


def _warn_if_nobody_writes(rank: int, folder: Path) -> None:
    """Warn that nothing is stored, if no run of another process goes on."""
    from mlv.transport import recovery  # with all of the writer: `import mlv` does without

    now = datetime.now(timezone.utc)
    if all(run.status(now) != "running" for run in read_state(folder).runs.values()) and not recovery.is_in_use(folder):
        warn(
            f"what rank {rank} logs into {folder} is not stored, and rank 0 does not log there. Set MLV_RANKS=apart where each "
            f"process is a task of its own; ranks='all' stores what all ranks log",
            MlvWarning,
        )


def session_of_rank(
    folder: Path,
    exp_id: str,
    rank: int,
    ranks: str,
    parent_run: str | None = None,
    *,
    wishes: Wishes,
    is_doubtful: bool = False,
    ship: str | None = None,
) -> Session:
    """Return a session for a rank above 0: a run in a stream of its own with `ranks="all"`, else one that is silent."""
    if ranks == "main":
        return SilentSession(folder, exp_id, rank, is_doubtful=is_doubtful)
    return Session(folder, exp_id, parent_run=parent_run, rank=rank, wishes=wishes, ship=ship)
