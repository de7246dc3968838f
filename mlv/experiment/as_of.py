"""An experiment as of a moment, and summaries of one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlv.errors import CheckpointMissing, MissingExtra
from mlv.events import Event
from mlv.experiment.checkpoints.checkpoint import Checkpoint, checkpoint_of
from mlv.experiment.checkpoints.shelf import DEFAULT_FOLDER
from mlv.frozen import FrozenDict, frozen
from mlv.query import moments
from mlv.query.events import Events, refuse_unknown_stream
from mlv.query.metrics import data_frames
from mlv.query.metrics.columns import Cut
from mlv.query.metrics.summary import Summaries, fast_summary, summary
from mlv.query.rewinds import SURVIVING, checked_branches, rewinds_of
from mlv.retention import PORTFOLIO_TYPES, PortfolioState
from mlv.retention import fold as fold_portfolios
from mlv.state import State
from mlv.store.streams import Skipped

if TYPE_CHECKING:
    import pandas


class AsOf:
    """An experiment as of a moment. Files that it speaks of may have been let go since."""

    __slots__ = ("_folder", "_meta", "_moment")

    def __init__(self, folder: Path, meta: Mapping[str, Any], moment: moments.Moment) -> None:
        """Keep the folder, the meta.json and the moment. Not called by users: `exp.as_of(...)` gives these."""
        self._folder, self._meta, self._moment = folder, meta, moment

    @property
    def time(self) -> datetime | None:
        """The moment: the time that was asked for, or that of the last event; None before the first one."""
        return self._moment.time

    def events(
        self, type: str | Iterable[str] | None = None, name: str | None = None, stream: str | None = None
    ) -> Iterator[Event]:
        """Yield events as `Exp.events` does."""
        return moments.until(Events(self._folder, type, name, stream), self._moment)

    def history(
        self,
        pattern: str | None = None,
        *,
        keys: Iterable[str] | None = None,
        stream: str | None = None,
        wide: bool = True,
        branches: str = SURVIVING,
    ) -> pandas.DataFrame:
        """Return metrics as `Exp.history` does; a later rewind has superseded nothing yet."""
        refuse_unknown_stream([self._folder], stream)
        options: dict[str, Any] = {"keys": keys, "stream": stream, "wide": wide, "branches": branches}
        return data_frames.history(self._folder, pattern, cut=self._moment.last, **options)

    def frame(self, type: str | Iterable[str], name: str | None = None, *, branches: str = SURVIVING) -> pandas.DataFrame:
        """Return events as `Exp.frame` does."""
        return data_frames.frame(self._surviving(branches, type, name), (), name)

    def summary(self, *, branches: str = SURVIVING) -> Summaries:
        """Return statistics as `Exp.summary` does."""
        events = self._surviving(branches, "metrics")
        return summary_of(self._folder, self._state(), self._moment.last, events, branches)

    @property
    def params(self) -> FrozenDict:
        """All params as of the moment."""
        result: FrozenDict = frozen({**self._meta["params"], **self._state().params})
        return result

    @property
    def status(self) -> str:
        """Status of the latest run as of the moment; a process was never killed before its log says so."""
        return moments.status_at(self._state(), self.time)

    @property
    def best(self) -> Checkpoint:
        """The best checkpoint that was kept: of the portfolio in `models`, or else of the only one.

        Raises:
            CheckpointMissing: There was none.
        """
        return self._checkpoint("best")

    @property
    def latest(self) -> Checkpoint:
        """The latest checkpoint that was kept, of the same portfolio.

        Raises:
            CheckpointMissing: There was none.
        """
        return self._checkpoint("latest")

    def portfolio(self, folder: str = DEFAULT_FOLDER) -> list[Checkpoint]:
        """Return every checkpoint that was kept in a folder, in the order in which they were saved."""
        state = self._portfolios().get(folder, PortfolioState())
        return [checkpoint_of(self._folder, folder, state, saved) for saved in state]

    def _checkpoint(self, which: str) -> Checkpoint:
        portfolios = self._portfolios()
        folder = DEFAULT_FOLDER if DEFAULT_FOLDER in portfolios or len(portfolios) != 1 else next(iter(portfolios))
        state = portfolios.get(folder, PortfolioState())
        saved = state.best if which == "best" else state.latest
        if saved is None:
            text = f"at {self.time} no checkpoint in {folder!r} of {self._folder} was the {which}: see .portfolio() for all"
            raise CheckpointMissing(text)
        return checkpoint_of(self._folder, folder, state, saved)

    def _surviving(self, branches: str, type: str | Iterable[str], name: str | None = None) -> Iterator[Event]:
        rewinds = rewinds_of(self._folder, checked_branches(branches), self._moment.last)
        return moments.until(Events(self._folder, type, name, rewinds=rewinds), self._moment)

    def _portfolios(self) -> dict[str, PortfolioState]:
        return fold_portfolios(self.events(PORTFOLIO_TYPES))

    def _state(self) -> State:
        return moments.state_at(self._folder, self._moment)

    def __repr__(self) -> str:
        return f"<{self._folder.name} as of {self.time}>"


def summary_of(folder: Path, state: State, cut: Cut | None, events: Iterable[Event], branches: str = SURVIVING) -> Summaries:
    """Summarise metrics: by columns where pyarrow is installed and all are numbers, else event by event."""
    skipped: list[Skipped] = []
    try:
        metrics = fast_summary(folder, state, cut, branches, skipped)
    except MissingExtra:
        metrics = None
    if metrics is None:
        metrics = summary(events, state)
        skipped += getattr(events, "skipped", [])
    result = Summaries(metrics)
    result.skipped = list(dict.fromkeys(skipped))
    return result
