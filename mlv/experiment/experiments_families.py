"""The calls of many experiments that go over families: experiments that are equal but for a seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlv.errors import InvalidArgument
from mlv.experiment.digest_reader import depth_for, depth_of, opened
from mlv.query.digest import Depth, Digest
from mlv.query.many import axes, families, grids
from mlv.query.many.grids import Grid
from mlv.query.many.statistics import STATS
from mlv.query.sql import engine

if TYPE_CHECKING:
    from mlv.executors import On
    from mlv.experiment.experiments import Experiments
    from mlv.query.many.aggregate import Points
    from mlv.query.many.plot import Limits, Line, Style


class FamilyCalls:
    """The part of `Experiments` that goes over families."""

    if TYPE_CHECKING:

        def digests(self, depth: Depth = ..., on: On = ...) -> list[Digest]:
            """Return a digest of each experiment; see `Experiments`."""

        def _of_logs(self) -> Experiments: ...
        @property
        def _points(self) -> Points | None: ...
        def _parent_of(self, digest: Digest) -> Digest | None: ...
        def _while_watched(self, digests: Sequence[Digest]) -> Iterator[Digest]: ...
        def _with_params(self, digests: Sequence[Digest], required: Mapping[str, Any], subject: str) -> list[Digest]: ...

    def aggregate(
        self,
        over: str | Iterable[str] = "seed",
        metrics: str | Iterable[str] | None = None,
        x: str | None = "step",
        stats: str | Iterable[str] = STATS,
        ci: float | None = 0.95,
        *,
        grid: Grid = grids.EXACT,
        reruns: str = "latest",
        on: On = None,
    ) -> Any:
        """Return a tidy pandas DataFrame: a row for each family, metric and x, with numbers over the family's members.

        Experiments are a family if they are equal in kind, params and parents' family, apart from the nuisance keys in `over`.
        Columns: `family`, `kind`, the params in which families differ, `metric`, the x, `count` (members with a finite value
        there), `diverged` (with NaN or an infinity), `missing` (without any value there), the stats over the finite values,
        `ci_low` and `ci_high` of the mean. Unless `grid` says otherwise nothing is filled in between: different grids show as
        `missing`. Copies of one experiment count once, truth values as 1 and 0.

        Args:
            over: Nuisance keys: a bare name is a param, `parent.NAME` one of the parent's.
            metrics: Names, or patterns over names; None takes all.
            x: `step`, a coordinate, `time` (the moment), `elapsed` (seconds since the first run began), `active` (the same
                without what lay between runs, and pauses), or `metrics.NAME`, another metric; of several values at one x a
                member's latest counts. None takes the values that stand for the metrics: the last ones, or what
                `log.describe(metric, summary=)` and `exp.summarize` say. A metric to which a member never gave a step is
                numbered there from 0, by position over all runs.
            stats: Of `mean std min max` and percentiles such as `p10`; `std` is that of a sample.
            ci: How sure the interval of the mean is, by Student's t; None leaves it out.
            grid: `exact` pools values at equal x; `interpolate` goes in straight lines between the values of a member; a
                number takes the mean of each member in so many bins of x.
            reruns: Of experiments that are equal in the nuisance keys too: `latest` takes the one made last and warns,
                `all` takes all, `error` refuses.
            on: Where the logs are read, with the same result: a number of processes, `processes:4`, `dask://host:8786` for a
                Dask scheduler, or any `concurrent.futures.Executor`. None is this process. A lake is read in this process.

        Raises:
            InvalidArgument: A param, coordinate or stat is unknown; or there are reruns, and `reruns="error"`; or `on` names
                no executor.
            TaskNotDone: The workers of the executor ended again and again, cannot be reached, or do not see the experiments.
            UnknownMetric: Nobody logged a metric that is named.
            MissingExtra: pandas or pyarrow is not installed.
            NotAnExperiment: There is none below the root.
        """
        from mlv.query.many import aggregate as aggregate_  # reads columns in threads: `import mlv` does without

        # Pauses are events, which only the logs have.
        points = None if x == axes.ACTIVE else self._points
        experiments = self if points is not None else self._of_logs()
        with opened(on) as executor:
            digests = experiments.digests(depth_for(x) if points is None else Depth.METRICS, executor)
            members, parent_of, show = (
                experiments._members(digests, over, reruns),
                experiments._parent_of,
                experiments._while_watched,
            )
            return aggregate_.aggregate(members, parent_of, over, metrics, x, stats, ci, show, grid, executor, points)

    def paired(
        self,
        a: str | Mapping[str, Any] | Experiments,
        b: str | Mapping[str, Any] | Experiments,
        over: str | Iterable[str] = "seed",
        *,
        metrics: str | Iterable[str] | None = None,
        x: str | None = None,
        stats: str | Iterable[str] = ("mean", "std"),
        ci: float | None = 0.95,
        reruns: str = "latest",
    ) -> Any:
        """Return a pandas DataFrame of the differences `b - a` over common seeds, a row for each metric (and x).

        Columns as in `aggregate`: `count` is the number of pairs that both have a finite value; `only_a` and `only_b` tell how
        many seeds the other side lacks.

        Args:
            a: Experiments among these: params and their values, a predicate of SQL, or others found.
            b: The other side.
            over: What is equal in a pair, `seed` or several names as in `aggregate`.
            metrics: As in `aggregate`.
            x: As in `aggregate`; by default the values that stand for the metrics are compared.
            stats: As in `aggregate`.
            ci: As in `aggregate`, of the mean difference.
            reruns: As in `aggregate`; a pair needs one experiment of each side, so `all` refuses them.

        Raises:
            InvalidArgument: A side has two experiments with equal seeds that are no reruns, or no seed is common; or as in
                `aggregate`.
        """
        from mlv.query.many import aggregate as aggregate_  # only where it is asked for

        logs = self._of_logs()
        sides = [logs._members(logs._side(side, depth_for(x)), over, reruns) for side in (a, b)]
        return aggregate_.paired(sides[0], sides[1], logs._parent_of, over, metrics, x, stats, ci)

    def plot(
        self,
        metric: str | Sequence[str],
        x: str | None = None,
        by: str | None = None,
        over: str | Iterable[str] = "seed",
        *,
        ax: Any = None,
        grid: Grid | None = None,
        smooth: float = 0.0,
        center: str = "median",
        band: str = "p10-p90",
        log: str = "",
        xlim: Limits | None = None,
        ylim: Limits | None = None,
        reruns: str = "latest",
    ) -> Any:
        """Draw metrics: a line per family and metric, the center of its members, and a band around it.

        The legend tells how many members logged the metric, and how many diverged; the x axis how values were brought
        together, where that is more than pooling them at equal x.

        Args:
            metric: Full name, or several.
            x: `step`, a coordinate, `time`, `elapsed`, `active` or `metrics.NAME`, as in `aggregate`. By default what
                `log.describe(metric, x=)` says, if it says the same of all these metrics and every experiment has that x, or
                else the step.
            by: The param that the colours tell; by default every family has its own. Lines of one colour differ in dashes.
            over: Nuisance keys, as in `aggregate`.
            ax: matplotlib's Axes to draw into; by default those of a new figure.
            grid: As in `aggregate`; by default `exact` where members have values at the same x, else `interpolate`.
            smooth: Weight of the past, from 0 to below 1, in the exponential moving average of each member.
            center: `median` or `mean`.
            band: `p10-p90`, `p25-p75`, `min-max`, `std`, `ci` (95 %, of the mean) or `none`.
            log: Axes that are logarithmic: `x`, `y` or `xy`; around zeros and negative numbers they are linear.
            xlim: Ends of the x axis; None leaves one open.
            ylim: Ends of the y axis.
            reruns: As in `aggregate`.

        Returns:
            The Axes.

        Raises:
            InvalidArgument: A param or coordinate is unknown, or an option cannot be.
            UnknownMetric: Nobody logged the metric.
            MissingExtra: matplotlib or pyarrow is not installed.
            NotAnExperiment: There is none below the root.
        """
        from mlv.query.many import plot as plot_  # only where it is asked for
        from mlv.query.many.plot import Style

        plot_.check_installed()
        view, style = plot_.View(log, xlim, ylim), Style(center, band, grid, smooth)
        lines = self.lines(metric, x, by, over, style, reruns)
        label = metric if isinstance(metric, str) else ", ".join(metric)
        return plot_.draw(plot_.new_axes() if ax is None else ax, lines, label, x, view)

    def lines(
        self,
        metrics: str | Sequence[str],
        x: str | None = None,
        by: str | None = None,
        over: str | Iterable[str] = "seed",
        style: Style | None = None,
        reruns: str = "latest",
    ) -> list[Line]:
        """Return the lines that `plot` draws. Not called by users."""
        from mlv.query.many.plot import Style, lines  # only where it is asked for

        logs = self._of_logs()
        members = logs._members(logs.digests(depth_for(x)), over, reruns)
        return lines(members, logs._parent_of, metrics, x, by, over, style or Style())

    def _members(self, digests: Sequence[Digest], over: str | Iterable[str], reruns: str) -> list[Digest]:
        return families.without_reruns(digests, over, self._parent_of, reruns)

    def _side(self, side: Any, depth: Depth) -> list[Digest]:
        if isinstance(side, FamilyCalls):
            return side._of_logs().digests(depth)
        if isinstance(side, str):
            digests = self.digests(max(depth, depth_of(side)))
            return [digest for digest, holds in zip(digests, engine.matching(side, digests), strict=True) if holds]
        if not isinstance(side, Mapping):
            raise InvalidArgument(f"a side is {side!r}: give params, a predicate of SQL, or experiments", given=side)
        return self._with_params(self.digests(depth), side, "a side")
