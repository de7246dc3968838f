"""The calls of an experiment that read its log: runs, events, frames, summaries, and the same as of a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlv.errors import MlvWarning
from mlv.events import Event
from mlv.experiment.session import DRAIN_TIMEOUT_S, Session
from mlv.notices import warn
from mlv.state import LOST_AFTER, Rewind, State
from mlv.store import layout
from mlv.store.meta import Meta
from mlv.store.mirrors import is_mirrored

if TYPE_CHECKING:
    import pandas

    from mlv.experiment.as_of import AsOf
    from mlv.experiment.page import NotebookPage
    from mlv.query.events import Events
    from mlv.query.metrics.summary import Summaries
    from mlv.query.runs import RunView
    from mlv.query.sql.engine import Result
    from mlv.query.view import ExperimentView


class Readings:
    """The part of `Exp` that reads the log."""

    __slots__ = ()

    if TYPE_CHECKING:
        _folder: Path
        _meta: Meta
        _session: Session

        def _state(self) -> State: ...
        def _view(self) -> ExperimentView: ...

    @property
    def runs(self) -> list[RunView]:
        """The runs, the latest last; those of children stand below the run that started them."""
        return self._view().runs(datetime.now(timezone.utc))

    @property
    def status(self) -> str:
        """Status of the latest run: running, ok, failed, interrupted, preempted, ended, killed or lost."""
        return self._view().status(datetime.now(timezone.utc))

    def events(
        self, type: str | Iterable[str] | None = None, name: str | None = None, stream: str | None = None, follow: bool = False
    ) -> Events | Iterator[Event]:
        """Return the events, as `mlv.Event`, in order, after waiting for the events of this process.

        A line that cannot be read is passed over; the byte ranges stand in `.skipped` of what is returned.

        Args:
            type: One type, or several.
            name: A pattern over names: `*` is one segment, `**` any number, `{epoch:int}` one that `frame` makes a column of.
            stream: One stream only, such as `log` or `val`.
            follow: Go on with the events to come, in the order in which they arrive, until no run is going on. In a bucket,
                look for them every 3 s.

        Raises:
            InvalidPattern: The pattern cannot be read.
            InvalidArgument: There is no such type; or, when they are read, no such stream.
            MlvError: With `follow`, while they are read: the bucket could not be read for 5 minutes, of which a warning tells.
        """
        from mlv.query.tail import Status  # `import mlv` does without

        events = self._events(type, name, stream)
        if not follow:
            return events
        status = Status(self._folder, str(self._meta.content.get("created", "")))
        refresh = self._refresh_of_bucket()
        # A bucket that is away tells nothing of the run.
        return events.follow(lambda: refresh() and status() != "running")

    def _refresh_of_bucket(self) -> Callable[[], bool]:
        """Return a function that brings new segments of an experiment in a bucket now and then, and whether it could."""
        if not is_mirrored(self._folder):
            return lambda: True
        from mlv.bucket.mirror import mirror_of  # experiments of this machine do without
        from mlv.bucket.refresher import Refresher

        mirror = mirror_of(self._folder)
        if mirror is None:
            return lambda: True
        patience_s = LOST_AFTER.total_seconds()
        return Refresher(mirror, lambda text: warn(text, MlvWarning), is_fresh=False, patience_s=patience_s)

    def history(
        self,
        pattern: str | None = None,
        *,
        keys: Iterable[str] | None = None,
        stream: str | None = None,
        wide: bool = True,
        branches: str = "surviving",
    ) -> pandas.DataFrame:
        """Return the metrics as a DataFrame, after waiting for the events of this process.

        Its columns are `step`, `time`, the coordinates (`at`) by their names, the braces of the pattern, then a column for each
        metric by its full name; a brace that became a column stands in that name instead of what it matched. Values of
        equal step and coordinates share a row, in which the later event wins; an event without a step is a row by itself.
        A metric that was never given a step is numbered from 0, by position over all runs: `step` is that number in the rows
        whose values all have the same one.
        What is missing is NaN. A column whose name is taken says what it is in front: `metric.time`, `at.step`. Damaged lines
        are passed over, and named with their byte ranges in `.attrs["skipped"]`.

        Args:
            pattern: Over full names: `*` is one segment, `**` any number, `{epoch:int}` (or `float`, `str`) a segment that
                becomes a column.
            keys: Full names of metrics.
            stream: One stream only, such as `log` or `val`.
            wide: False gives a row for each value: `name`, `step`, `time`, coordinates, braces, `value`.
            branches: `all` gives also what `Exp.open(path, rewind_to=...)` superseded.

        Raises:
            InvalidArgument: `keys` are no names, or there are no such branches.
            InvalidPattern: The pattern cannot be read.
            MissingExtra: pandas or pyarrow is not installed.
            UnknownMetric: Nobody logged a metric that is named; a pattern with stars or braces may match none.
            InvalidArgument: There is no such stream.
        """
        from mlv.query.events import refuse_unknown_stream  # `import mlv` does without
        from mlv.query.metrics.data_frames import history  # `import mlv` does without

        self._session.drain(DRAIN_TIMEOUT_S)
        refuse_unknown_stream([self._folder], stream)
        options: dict[str, Any] = {"keys": keys, "stream": stream, "wide": wide, "branches": branches}
        return history(self._folder, pattern, **options)

    def frame(self, type: str | Iterable[str], name: str | None = None, *, branches: str = "surviving") -> pandas.DataFrame:
        """Return the events of a type, or of several, as a DataFrame: step, time, name, coordinates, and their data as columns.

        Args:
            type: Such as `event`, `message` or `image`.
            name: A pattern over names, as in `history`: a brace becomes a column.
            branches: As in `history`: events with a step may have been superseded.

        Raises:
            InvalidArgument: There are no such branches.
            InvalidPattern: The pattern cannot be read.
            InvalidArgument: There is no such type of event.
            MissingExtra: pandas is not installed.
        """
        from mlv.query.metrics.data_frames import frame  # `import mlv` does without

        events = self._surviving(branches, type, name)
        rows = list(events)
        return frame(rows, events.skipped, name)

    def tables(self, name: str | None = None, *, branches: str = "surviving") -> pandas.DataFrame:
        """Return the rows of the tables of `log.table`, one table below the other, after the `name` and `step` of each.

        A column of a table that is called so has `table.` in front. A table whose file cannot be read is left out, and named
        in `.attrs["skipped"]`.

        Args:
            name: A pattern over names, as in `events`.
            branches: As in `history`.

        Raises:
            InvalidArgument: There are no such branches.
            InvalidPattern: The pattern cannot be read.
            MissingExtra: pandas is not installed, or pyarrow, where a table is a Parquet file.
        """
        from mlv.query.logged_tables import tables  # `import mlv` does without

        return tables(self._folder, self._surviving(branches, "table", name))

    def summary(self, *, branches: str = "surviving") -> Summaries:
        """Return statistics of each metric, by full name: `last`, `min`, `max`, `best`, `mean`, `count`. Needs no extra.

        `value` is the one that stands for the metric: the last, or what `log.describe(name, summary=)` and `exp.summarize` say.

        Damaged lines are passed over; their byte ranges stand in `.skipped` of what is returned.

        Args:
            branches: As in `history`.

        Raises:
            InvalidArgument: There are no such branches.
        """
        from mlv.experiment.as_of import summary_of  # `import mlv` does without

        self._session.drain(DRAIN_TIMEOUT_S)
        events = self._surviving(branches, "metrics")
        return summary_of(self._folder, self._state(), None, events, branches)

    def as_of(
        self, *, step: float | None = None, time: datetime | str | None = None, seq: int | tuple[str, int] | None = None
    ) -> AsOf:
        """Return the experiment as it was at a moment, for reading: after the events, in their order, up to one place.

        Args:
            step: Before the first event with a greater step that survives.
            time: Before the first event that is later: a `datetime`, or a text such as `2026-11-21T03:03:00Z`.
            seq: Behind the event of this number, of the latest run or of the run in `(run, seq)`.

        Raises:
            InvalidArgument: Not exactly one is given, or there is no such event.
        """
        from mlv.experiment.as_of import AsOf  # `import mlv` does without
        from mlv.query import moments  # `import mlv` does without

        self._session.drain(DRAIN_TIMEOUT_S)
        moment = moments.moment(self._folder, step=step, time=time, seq=seq)
        return AsOf(self._folder, self._meta.content, moment)

    def sql(self, query: str) -> Result:
        """Run a query of SQL over the views `experiments`, `runs`, `events`, `metrics` and `files` of this experiment.

        Raises:
            QueryFailed: DuckDB does not accept it, or it gives no table.
            MissingExtra: duckdb or pyarrow is not installed.
        """
        from mlv.query.digest import Depth, read_digest  # `import mlv` does without
        from mlv.query.sql import engine  # `import mlv` does without

        self._session.drain(DRAIN_TIMEOUT_S)
        meta = self._meta

        def read(metrics: bool) -> list[Any]:
            depth = Depth.METRICS if metrics else Depth.STATE
            return [read_digest(self._folder, meta.id, meta.content, depth)]

        return engine.query(query, read)

    def show(self, *, height: int = 700) -> NotebookPage:
        """Return the page of this experiment, and of those below it, as it is now: a notebook shows it in a frame.

        The page is the one of `mlv ui`, without a server: it has at most some thousand points of each metric, among them every
        spike, and no files.

        Raises:
            FileUnusable: The page was not built with mlv.
            InvalidArgument: The height is no number of pixels.
        """
        from mlv.experiment.page import page_of  # `import mlv` does without

        self._session.drain(DRAIN_TIMEOUT_S)
        ids = [identity for folder in layout.walk(self._folder) if (identity := layout.exp_id(folder)) is not None]
        return page_of(self._folder, ids, height)

    def _surviving(self, branches: str, type: str | Iterable[str], name: str | None = None) -> Events:
        from mlv.query.rewinds import checked_branches, rewinds_of  # `import mlv` does without

        rewinds = rewinds_of(self._folder, checked_branches(branches))
        return self._events(type, name, rewinds=rewinds)

    def _events(self, type: Any, name: str | None, stream: str | None = None, rewinds: Sequence[Rewind] = ()) -> Events:
        from mlv.query.events import Events  # `import mlv` does without

        def before() -> bool:
            return self._session.drain(DRAIN_TIMEOUT_S)

        return Events(self._folder, type, name, stream, before=before, rewinds=rewinds)
