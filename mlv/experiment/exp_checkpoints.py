"""The calls of an Exp that are about checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlv.experiment.checkpoints.checkpoint import Checkpoint
    from mlv.experiment.checkpoints.portfolio import Portfolio
    from mlv.experiment.session import Session
    from mlv.state import State


class Checkpoints:
    """The part of `Exp` that is about checkpoints."""

    __slots__ = ()

    if TYPE_CHECKING:
        _folder: Path
        _session: Session

        def _writable(self) -> Session: ...

        def _state(self) -> State: ...

    def checkpoints(
        self,
        *,
        every: int | None = None,
        top: int | None = None,
        metric: str | None = None,
        mode: str | None = None,
        latest: int | None = None,
        folder: str = "models",
    ) -> Portfolio:
        """Return the portfolio in a folder, with a policy that decides which checkpoints stay there.

        The policy is an event, so that without arguments the one before goes on, also in a later run; where there is none, the
        latest checkpoint is kept. Another policy replaces it as a whole: from the next save on, everything but what stands in
        `every_k` is decided anew. What a killed process left unfinished is put in order.

        Args:
            every: Saves number k, 2k, 3k ... stay for ever, in `<folder>/every_k`; all runs count together.
            top: So many of the best stay, in `<folder>/top_k`; of two that are equal, the earlier one.
            metric: Which number decides; NaN is never among the best, nor is a save without it.
            mode: Whether `min` or `max` is the best; what `log.describe(metric, mode=...)` said where it is left out.
            latest: So many of the latest stay, in `<folder>/latest`; 1 where nothing is said.
            folder: One name; each folder is a portfolio of its own.

        Raises:
            InvalidArgument: The policy is none: `top` without a metric, a metric without a mode, a number below 1.
            InvalidName: The folder has a name that cannot be used, or leads out of the experiment.
            MetaEdited: As `log`.
        """
        from mlv.experiment.checkpoints.portfolio import portfolio_of  # `import mlv` does without

        options = {"every": every, "top": top, "metric": metric, "mode": mode, "latest": latest}
        return portfolio_of(self._writable(), folder, options, lambda: self._state().descriptions)

    @property
    def best(self) -> Checkpoint:
        """The best checkpoint that is kept: of the portfolio in `models`, or else of the only one.

        Raises:
            CheckpointMissing: There is none; the text says why.
        """
        from mlv.experiment.checkpoints.portfolio import best_of  # `import mlv` does without

        return best_of(self._session)

    @property
    def latest(self) -> Checkpoint:
        """The latest checkpoint that is kept: of the portfolio in `models`, or else of the only one.

        Raises:
            CheckpointMissing: There is none; the text says why.
        """
        from mlv.experiment.checkpoints.portfolio import latest_of  # `import mlv` does without

        return latest_of(self._session)
