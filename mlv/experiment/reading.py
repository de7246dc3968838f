"""What an experiment tells about what was logged: frames, summaries, and the same as of a moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlv.errors import CheckpointMissing, MissingExtra
from mlv.events import Event
from mlv.experiment.checkpoint import Checkpoint, checkpoint_of
from mlv.experiment.identity import Meta
from mlv.experiment.session import Session
from mlv.experiment.shelf import DEFAULT_FOLDER
from mlv.frozen import FrozenDict, frozen
from mlv.portfolio import Kept
from mlv.portfolio import fold as fold_portfolios
from mlv.query import asof, frames
from mlv.query.one import Events
from mlv.query.points import Cut
from mlv.query.summary import Summary, fast_summary, summary
from mlv.state import State

_READ_OWN_WRITES_S = 10.0

if TYPE_CHECKING:
    import pandas


class Readings:
    """The part of `Exp` that reads what was logged."""

    __slots__ = ()

    if TYPE_CHECKING:
        _folder: Path
        _meta: Meta
        _session: Session

        def _state(self) -> State: ...

    def history(
        self, pattern: str | None = None, *, keys: Iterable[str] | None = None, stream: str | None = None, wide: bool = True
    ) -> pandas.DataFrame:
        """The metrics as a DataFrame; what was logged here is waited for.

        Its columns are `step`, `time`, the coordinates (`at`) by their names, the braces of the pattern, then a column for each
        metric by its full name; a brace that became a column stands in that name instead of what it matched. Values of
        equal step and coordinates share a row, in which the later event wins; an event without a step is a row by itself.
        What is missing is NaN. A column whose name is taken says what it is in front: `metric.time`, `at.step`. Damaged lines
        are passed over, and named with their byte ranges in `.attrs["skipped"]`.

        Args:
            pattern: Over full names: `*` is one segment, `**` any number, `{epoch:int}` (or `float`, `str`) a segment that
                becomes a column.
            keys: Full names of metrics.
            stream: One stream only, such as `log` or `val`.
            wide: False gives a row for each value: `name`, `step`, `time`, coordinates, braces, `value`.

        Raises:
            InvalidPattern: The pattern cannot be read.
            MissingExtra: pandas or pyarrow is not installed.
            UnknownMetric: Nobody logged a metric that is named.
        """
        self._session.drain(_READ_OWN_WRITES_S)
        return frames.history(self._folder, pattern, keys=keys, stream=stream, wide=wide)

    def frame(self, type: str | Iterable[str], name: str | None = None) -> pandas.DataFrame:
        """The events of a type, or of several, as a DataFrame: step, time, name, coordinates, and their data as columns.

        Args:
            type: Such as `event`, `message` or `image`.
            name: A pattern over names, as in `events`.

        Raises:
            InvalidPattern: The pattern cannot be read.
            MissingExtra: pandas is not installed.
        """
        events = self._events(type, name)
        rows = list(events)
        return frames.frame(rows, events.skipped)

    def summary(self) -> dict[str, Summary]:
        """What each metric came to, by full name: `last`, `min`, `max`, `best`, `mean`, `count`. Needs no extra."""
        self._session.drain(_READ_OWN_WRITES_S)
        return _summary(self._folder, self._state(), None, self._events("metrics"))

    def as_of(
        self, *, step: float | None = None, time: datetime | str | None = None, seq: int | tuple[str, int] | None = None
    ) -> AsOf:
        """The experiment as it was at a moment, for reading: after the events, in their order, up to one place.

        Args:
            step: Before the first event with a greater step.
            time: Before the first event that is later: a `datetime`, or a text such as `2026-11-21T03:03:00Z`.
            seq: Behind the event of this number, of the latest run or of the run in `(run, seq)`.

        Raises:
            InvalidArgument: Not exactly one is given, or there is no such event.
        """
        self._session.drain(_READ_OWN_WRITES_S)
        return AsOf(self._folder, self._meta.content, asof.moment(self._folder, step=step, time=time, seq=seq))

    def _events(self, type: str | Iterable[str] | None = None, name: str | None = None) -> Events:
        return Events(self._folder, type, name, before=lambda: self._session.drain(_READ_OWN_WRITES_S))


class AsOf:
    """An experiment as of a moment. Files that it speaks of may have been let go since."""

    __slots__ = ("_folder", "_meta", "_moment")

    def __init__(self, folder: Path, meta: Mapping[str, Any], moment: asof.Moment) -> None:
        """Not called by users: `exp.as_of(...)` gives these."""
        self._folder, self._meta, self._moment = folder, meta, moment

    @property
    def time(self) -> datetime | None:
        """The moment: the time that was asked for, or that of the last event; None before the first one."""
        return self._moment.time

    def events(
        self, type: str | Iterable[str] | None = None, name: str | None = None, stream: str | None = None
    ) -> Iterator[Event]:
        """As `Exp.events`."""
        return asof.until(Events(self._folder, type, name, stream), self._moment)

    def history(
        self, pattern: str | None = None, *, keys: Iterable[str] | None = None, stream: str | None = None, wide: bool = True
    ) -> pandas.DataFrame:
        """As `Exp.history`."""
        return frames.history(self._folder, pattern, keys=keys, stream=stream, wide=wide, cut=self._moment.last)

    def frame(self, type: str | Iterable[str], name: str | None = None) -> pandas.DataFrame:
        """As `Exp.frame`."""
        return frames.frame(self.events(type, name))

    def summary(self) -> dict[str, Summary]:
        """As `Exp.summary`."""
        return _summary(self._folder, self._state(), self._moment.last, self.events("metrics"))

    @property
    def params(self) -> FrozenDict:
        """All params of then."""
        result: FrozenDict = frozen({**self._meta["params"], **self._state().params})
        return result

    @property
    def status(self) -> str:
        """Status of the latest run of then; a process was never killed before its log says so."""
        runs = sorted(self._state().main_runs, key=lambda run: (run.started is not None, run.started, run.id))
        if not runs or self.time is None:
            return "running"
        return runs[-1].status(self.time)

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
        """Every checkpoint that was kept in a folder, in the order in which they were saved."""
        kept = self._portfolios().get(folder, Kept())
        return [checkpoint_of(self._folder, folder, kept, saved) for saved in kept]

    def _checkpoint(self, which: str) -> Checkpoint:
        portfolios = self._portfolios()
        folder = DEFAULT_FOLDER if DEFAULT_FOLDER in portfolios or len(portfolios) != 1 else next(iter(portfolios))
        kept = portfolios.get(folder, Kept())
        found = kept.best if which == "best" else kept.latest
        if found is None:
            text = f"at {self.time} no checkpoint in {folder!r} of {self._folder} was the {which}: see .portfolio() for all"
            raise CheckpointMissing(text)
        return checkpoint_of(self._folder, folder, kept, found)

    def _portfolios(self) -> dict[str, Kept]:
        return fold_portfolios(self.events("checkpoint"))

    def _state(self) -> State:
        return asof.state_at(self._folder, self._moment)

    def __repr__(self) -> str:
        return f"<{self._folder.name} as of {self.time}>"


def _summary(folder: Path, state: State, cut: Cut | None, events: Iterable[Event]) -> dict[str, Summary]:
    """By columns where pyarrow is there and all are numbers, else event by event."""
    try:
        found = fast_summary(folder, state.descriptions, cut)
    except MissingExtra:
        found = None
    return summary(events, state.descriptions) if found is None else found
