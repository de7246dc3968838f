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
from pathlib import Path
from time import time_ns
from typing import Any

from mlv import settings
from mlv.encoding import TAIL, Composer, event_from_line
from mlv.errors import MlvWarning
from mlv.events import Event
from mlv.experiment.session import Session, Unstarted, session_in_this_process
from mlv.notices import warn
from mlv.protocols import Buffer, Channel, Cursor
from mlv.state import State, fold
from mlv.store import blobs, layout, opening
from mlv.store.files import publish
from mlv.store.home import Home
from mlv.store.reading import read_state
from mlv.transport.wishes import Wishes


class Disabled(Session):
    """A run of which nothing is stored."""

    is_disabled = True

    def __init__(self, folder: Path, exp_id: str, meta: bytes, *, read_from: Path | None = None, **options: Any) -> None:
        """Prepare a run; `meta` is the text of meta.json, `read_from` an experiment that is there already."""
        super().__init__(folder, exp_id, **{**options, "outputs": ()})
        self._meta, self._read_from = meta, read_from
        self._states = [State()]

    def twin(self, **options: Any) -> Disabled:
        """Another one, which remembers the same."""
        options.pop("captures", None)
        found = Disabled(self._folder, self.exp_id, self._meta, read_from=self._read_from, **{**options, "rank": self.rank})
        found._states = self._states
        return found

    @property
    def folder(self) -> Path:
        """Where files go; made when somebody looks."""
        self._make()
        return self._folder

    @property
    def read_from(self) -> Path:
        """Where the experiment is read."""
        return self._read_from or self.folder

    def prepare(self) -> None:
        """Make the folder, where it is this one that will be read."""
        if self._read_from is None:
            self._make()

    def drain(self, timeout_s: float) -> bool:
        """Somebody is about to read."""
        self.prepare()
        return True

    def state_reader(self, folder: Path) -> Callable[[], State]:
        """What is remembered; of an experiment that is there already, what it says itself."""
        return (lambda: self._states[-1]) if self._read_from is None else super().state_reader(folder)

    def _open_channel(self, run: str, home: Home) -> Channel:
        return EphemeralChannel(run, self._take)

    def _annotate(self, payload: bytes) -> None:
        EphemeralChannel("", self._take).put(0, TAIL, 0, payload)

    def _take(self, event: Event) -> None:
        self._states[:] = [fold([event], self._states[-1])]

    def _make(self) -> None:
        with suppress(OSError):  # who needs the folder finds that it is missing, and says so
            if not layout.is_experiment(self._folder):
                self._folder.parents[1].mkdir(mode=0o700, exist_ok=True)
                self._folder.mkdir(parents=True, exist_ok=True)
                publish(self._folder / layout.META, self._meta, mode=0o444)


class EphemeralChannel:
    """The channel of a run of which nothing is stored: it shows each event, and forgets it."""

    def __init__(self, run: str, show: Callable[[Event], object]) -> None:
        self.run, self._show = run, show
        self._composer = Composer(run)
        self._seq = 0
        self._lock = threading.RLock()

    def put(self, cursor: int, kind: int, step: int, payload: bytes) -> None:
        """Show the event, if it carries its own head: those that are logged do not come so far."""
        with self._lock:
            self._seq += 1
            if kind == TAIL:
                line = self._composer.line(self._seq, time_ns(), b"", kind, step, payload)
                self._show(event_from_line(line, layout.DEFAULT_STREAM))

    def hand_over(self, cursor: int, buffers: Sequence[Buffer]) -> None:
        """Nothing to complete."""

    def outlook(self) -> str:
        """Nothing waits."""
        return ""

    def add_cursor(self, index: int, cursor: Cursor) -> None:
        """Nothing to announce."""

    def drain(self, timeout_s: float) -> bool:
        """Nothing waits."""
        return True

    flush = close = drain

    def abandon(self) -> None:
        """Nothing was inherited."""


def session_for(folder: Path, exp_id: str, **options: Any) -> Session:
    """A session in an experiment that is there, beside those that this process has in it already."""
    found = session_in_this_process(folder, exp_id)
    if found is not None:
        return found.twin(**options)
    if not settings.DISABLED.get():
        return Session(folder, exp_id, **options)
    options.pop("captures", None)
    return Disabled(temporary_folder(folder.name), exp_id, opening.content(folder / layout.META), read_from=folder, **options)


def temporary_folder(name: str) -> Path:
    """A folder of that name for an experiment of which nothing is stored; it is not made."""
    root = _root()
    _places[root] = _places.get(root, 0) + 1
    return root / str(_places[root]) / name


def holds(path: Path) -> bool:
    """Whether a path lies among the files of experiments of which nothing is stored."""
    return any(root in path.parents for root in _places)


_places: dict[Path, int] = {}
"""How many experiments each root has."""
_root_of: dict[int, Path] = {}


def _root() -> Path:
    """The folder of this process for all that lasts no longer than it."""
    pid = os.getpid()
    if pid not in _root_of:
        import tempfile  # costs 2 ms, which `import mlv` shall not

        try:
            base = Path(tempfile.gettempdir())
            # What processes that are gone left there is removed by this, too.
            _root_of[pid] = blobs.temporary_beside(base / "mlv")
        except OSError:
            _root_of[pid] = Path(os.devnull) / "mlv"  # nowhere at all: what wants to save a file says so
        atexit.register(_remove, _root_of[pid], pid)
    return _root_of[pid]


def _remove(root: Path, pid: int) -> None:
    if os.getpid() == pid and root.exists():
        blobs.remove(root)


def travelled_session(folder: Path, exp_id: str, run: str | None, wishes: Wishes, rank: int, is_silent: bool) -> Session:
    """A session for an Exp or a Logger that was pickled: as silent as it was there."""
    if is_silent and session_in_this_process(folder, exp_id) is None:
        return Silent(folder, exp_id, rank)
    return session_for(folder, exp_id, parent_run=run, rank=rank, wishes=wishes)


class Silent(Session):
    """The session of a rank that does not write, with `ranks="main"`: reading works, everything else does nothing."""

    is_silent = True

    def __init__(self, folder: Path, exp_id: str, rank: int = 0, *, is_doubtful: bool = False) -> None:
        """Nothing is prepared, for nothing begins. `is_doubtful` says that this may be no rank, but a task of its own."""
        super().__init__(folder, exp_id, rank=rank)
        self.channel = WarningChannel(self) if is_doubtful else NullChannel(self)

    def start(self) -> None:
        """There is no run to begin."""

    def twin(self, **options: Any) -> Silent:
        """Another one that does nothing."""
        return Silent(self._folder, self.exp_id, self.rank)

    def annotate(self, type: str, data: Mapping[str, Any]) -> None:
        """Rank 0 says it."""

    def close(self, status: str, error: BaseException | None = None, timeout_s: float = 0) -> None:
        """There is no run to end."""

    def end(self, error: BaseException | None = None, timeout_s: float = 0) -> None:
        """There is no run to end."""


class NullChannel(Unstarted):
    """The channel that lets go of every event."""

    def put(self, cursor: int, kind: int, step: int, payload: bytes) -> None:
        """Do nothing."""

    def hand_over(self, cursor: int, buffers: Sequence[Buffer]) -> None:
        """Do nothing."""


class WarningChannel(NullChannel):
    """As `NullChannel`, until the first event: where no run of another process goes on, it is said that nothing is stored."""

    def __init__(self, session: Silent) -> None:
        super().__init__(session)
        self._rank, self._folder = session.rank, session.folder

    def put(self, cursor: int, kind: int, step: int, payload: bytes) -> None:
        """Let go of the event, and say so if nobody else writes here."""
        session = self._session()
        if session is not None:
            session.channel = NullChannel(session)
        now = datetime.now(timezone.utc)
        if all(run.status(now) != "running" for run in read_state(self._folder).runs.values()):
            warn(
                f"what rank {self._rank} logs into {self._folder} is not stored, and rank 0 does not log there. Set "
                f"MLV_RANKS=apart where each process is a task of its own; ranks='all' stores what all ranks log",
                MlvWarning,
            )

    def hand_over(self, cursor: int, buffers: Sequence[Buffer]) -> None:
        """As `put`."""
        self.put(cursor, TAIL, 0, b"")


def session_of_rank(
    folder: Path,
    exp_id: str,
    rank: int,
    ranks: str,
    parent_run: str | None = None,
    *,
    wishes: Wishes,
    is_doubtful: bool = False,
) -> Session:
    """A session for a rank above 0: a run in a stream of its own with `ranks="all"`, else one that is silent."""
    if ranks == "main":
        return Silent(folder, exp_id, rank, is_doubtful=is_doubtful)
    return Session(folder, exp_id, parent_run=parent_run, rank=rank, wishes=wishes)
