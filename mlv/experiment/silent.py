"""The run that there is none of: the same calls, but what is logged goes nowhere and no process is started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mlv.encoding import TAIL
from mlv.errors import MlvWarning
from mlv.experiment.session import Session, Unstarted
from mlv.notices import warn
from mlv.protocols import Buffer
from mlv.store.reading import read_state
from mlv.transport.wishes import Wishes


class Silent(Session):
    """The session of a rank that does not write, with `ranks="main"`: reading works, everything else does nothing."""

    is_silent = True

    def __init__(self, folder: Path, exp_id: str, rank: int = 0, *, is_doubtful: bool = False) -> None:
        """Nothing is prepared, for nothing begins. `is_doubtful` says that this may be no rank, but a task of its own."""
        super().__init__(folder, exp_id, rank=rank)
        self.channel = Doubtful(self) if is_doubtful else Nowhere(self)

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


class Nowhere(Unstarted):
    """The channel that lets go of every event."""

    def put(self, cursor: int, kind: int, step: int, payload: bytes) -> None:
        """Do nothing."""

    def hand_over(self, cursor: int, buffers: Sequence[Buffer]) -> None:
        """Do nothing."""


class Doubtful(Nowhere):
    """As `Nowhere`, until the first event: where no run of another process goes on, it is said that nothing is stored."""

    def __init__(self, session: Silent) -> None:
        super().__init__(session)
        self._rank, self._folder = session.rank, session.folder

    def put(self, cursor: int, kind: int, step: int, payload: bytes) -> None:
        """Let go of the event, and say so if nobody else writes here."""
        session = self._session()
        if session is not None:
            session.channel = Nowhere(session)
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
