"""The run that there is none of: the same calls, but what is logged goes nowhere and no process is started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlv.experiment.session import Session, Unstarted
from mlv.protocols import Buffer
from mlv.transport.wishes import Wishes


class Silent(Session):
    """The session of a rank that does not write, with `ranks="main"`: reading works, everything else does nothing."""

    is_silent = True

    def __init__(self, folder: Path, exp_id: str, rank: int = 0) -> None:
        """Nothing is prepared, for nothing begins."""
        super().__init__(folder, exp_id, rank=rank)
        self.channel = Nowhere(self)

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

    def hand_over(self, cursor: int, parts: Sequence[Buffer]) -> None:
        """Do nothing."""


def session_of_rank(
    folder: Path, exp_id: str, rank: int, ranks: str, parent_run: str | None = None, *, wishes: Wishes
) -> Session:
    """A session for a rank above 0: a run in a stream of its own with `ranks="all"`, else one that is silent."""
    if ranks == "main":
        return Silent(folder, exp_id, rank)
    return Session(folder, exp_id, parent_run=parent_run, rank=rank, wishes=wishes)
