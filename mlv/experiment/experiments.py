"""Many experiments at once: found below a folder, lazily, and read as one table."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, overload

from mlv.errors import InvalidArgument, NotAnExperiment
from mlv.experiment.digest_reader import DigestReader, depth_for, depth_of, without_copies
from mlv.experiment.exp import Exp
from mlv.optional import package
from mlv.query.compare import Difference, compare, compare_many
from mlv.query.digest import Depth, Digest
from mlv.query.many import families, grids, table
from mlv.query.many.grids import Grid
from mlv.query.many.statistics import STATS
from mlv.query.sql import engine
from mlv.query.unreadable import leaving_out
from mlv.store import layout
from mlv.store.paths import checked_path

if TYPE_CHECKING:
    from mlv.experiment.page import Page
    from mlv.query.many.plot import Limits, Line, Style

_LEAST_OF_ID = 4  # fewer digits are a name, or a slip of the finger
Watch = Callable[[Sequence[Path], str], Iterable[Path]]
"""Yields folders one by one, and may show its progress; the text names the activity."""


def find(
    root: str | os.PathLike[str],
    kind: str | None = None,
    where: str | Mapping[str, Any] | None = None,
    tags: str | Iterable[str] | None = None,
) -> Experiments:
    """Return the experiments at and below a folder, sub-experiments included; nothing is read before it is needed.

    Args:
        root: A folder that holds experiments, at any depth.
        kind: Only experiments of this kind.
        where: A predicate of SQL over the view `experiments`, such as `"params.lr < 0.1 and metrics.acc.max > 0.9"`; or a
            mapping of params to the values that they have.
        tags: Only experiments that have this tag, or all of these.

    Raises:
        InvalidArgument: The root is no folder, or the kind, the predicate or a tag is no text.
    """
    folder = checked_path(root, "root")
    if not folder.is_dir():
        subject = "is a file" if folder.exists() else "does not exist"
        raise InvalidArgument(f"root {str(root)!r} {subject}: give a folder that holds experiments", root=str(root))
    required_tags = (tags,) if isinstance(tags, str) else tuple(tags or ())
    predicates = () if isinstance(where, Mapping) else (("where", where),)
    for subject, value in (("kind", kind), *predicates, *(("tag", tag) for tag in required_tags)):
        if value is not None and not isinstance(value, str):
            raise InvalidArgument(f"{subject}={value!r} is of type {type(value).__name__}: give a text", value=value)
    return Experiments(folder, _Filter(kind, where, frozenset(required_tags)), DigestReader())


@dataclass(frozen=True, slots=True)
class _Filter:
    """A choice of experiments."""

    kind: str | None
    where: str | Mapping[str, Any] | None
    tags: frozenset[str]


def of_folders(root: Path, folders: Sequence[Path]) -> Experiments:
    """Return these experiments; their parents are looked for below the root."""
    return Experiments(root, _Filter(None, None, frozenset()), DigestReader(), list(dict.fromkeys(folders)))


class Experiments:
    """Experiments below a folder, in the order of their paths: iterate, `len`, take one or a slice, or read them as a table."""

    def __init__(
        self,
        root: Path,
        choice: _Filter,
        reader: DigestReader,
        folders: Sequence[Path] | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._root, self._choice, self._reader = root, choice, reader
        self._folders = folders
        self._watch: Watch = watch or (lambda folders, activity: folders)

    def watched(self, watch: Watch) -> Experiments:
        """Return the same experiments, with `watch` around long readings."""
        return Experiments(self._root, self._choice, self._reader, self._folders, watch)

    # One after the other.

    @property
    def paths(self) -> list[Path]:
        """The folders of the experiments."""
        if self._folders is None:
            self._folders = list(self._walk())
        return list(self._folders)

    def __iter__(self) -> Iterator[Exp]:
        for folder in self._walk() if self._folders is None else self._folders:
            exp = None
            with leaving_out(folder):
                exp = Exp.open(folder)
            if exp is not None:
                yield exp

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> Exp: ...
    @overload
    def __getitem__(self, index: slice) -> Experiments: ...
    def __getitem__(self, index: int | slice) -> Exp | Experiments:
        if isinstance(index, slice):
            return self._of(self.paths[index])
        return Exp.open(self.paths[index])

    def __repr__(self) -> str:
        count = "" if self._folders is None else f"{len(self._folders)} "
        return f"<{count}experiments at and below {str(self._root)!r}>"

    def show(self, *, height: int = 700) -> Page:
        """Return the page of these experiments, as they are now: a notebook shows it in a frame.

        The page is the one of `mlv ui`, without a server: it has at most some thousand points of each metric, among them every
        spike, and no files.

        Raises:
            FileUnusable: The page was not built with mlv.
            InvalidArgument: There are more than 500, or the height is no number of pixels.
            NotAnExperiment: There is none below the root.
        """
        from mlv.experiment.page import page_of  # only where it is asked for

        ids = [identity for folder in self.paths if (identity := layout.exp_id(folder)) is not None]
        if not ids:
            self._refuse_none()
        return page_of(self._root, ids, height)

    # As one table.

    def frame(self, *, stats: Iterable[str] = (), best: str | None = None, mode: str | None = None) -> Any:
        """Return a pandas DataFrame with a row per experiment.

        Columns: `id name made_as kind status path created started duration_s total_s tags parent`: `duration_s` is that of the
        latest run, `total_s` that of all runs together. Then a `params.NAME` for each param (nested ones by dots), a
        `metrics.NAME` for the value that stands for each metric (the last, or what `log.describe(name, summary=)` and
        `exp.summarize` say), and what is recorded of `git.` and `machine.`.

        Args:
            stats: More of each metric, as columns `metrics.NAME.STAT`: of `last min max mean best count nans`.
            best: Full name of a metric: `best.step` is the step at which it is best, and a `best.NAME` the value of each metric
                there, or at its last step before.
            mode: Whether `min` or `max` is best; by default what `log.describe(best, mode=...)` said.

        Raises:
            MissingExtra: pandas is not installed.
            InvalidArgument: A stat is unknown, or nothing says which value is best.
            UnknownMetric: Nobody logged the metric that is to be best.
            NotAnExperiment: There is none below the root.
        """
        digests = self.digests(Depth.METRICS)
        frame = table.frame(digests, tuple(stats), datetime.now(timezone.utc))
        return frame if best is None else self._with_best(frame, digests, best, mode)

    def _with_best(self, frame: Any, digests: Sequence[Digest], best: str, mode: str | None) -> Any:
        from mlv.query.many.best import at_best  # only where it is asked for
        from mlv.query.many.values import unknown_metric  # reads columns in threads: `import mlv` does without

        if not any(best in digest.metrics for digest in digests):
            raise unknown_metric(best, sorted({name for digest in digests for name in digest.metrics}))
        pandas = package("pandas")
        rows = [{f"best.{name}": value for name, value in at_best(digest, best, mode).items()} for digest in digests]
        names = list(dict.fromkeys(["best.step", *(name for row in rows for name in row)]))
        return pandas.concat([frame, pandas.DataFrame(rows, columns=names, index=frame.index)], axis=1)

    def history(
        self, pattern: str | None = None, *, keys: Iterable[str] | None = None, stream: str | None = None, wide: bool = True
    ) -> Any:
        """Return the metrics of all as one DataFrame: as `Exp.history`, with ID and name in `exp` and `exp_name`.

        Damaged lines are passed over, and named with path and byte range in `.attrs["skipped"]`.

        Raises:
            UnknownMetric: No experiment has one that is named.
            InvalidPattern, InvalidArgument, MissingExtra: As `Exp.history`.
            NotAnExperiment: There is none below the root.
        """
        from mlv.query.many import aggregate as aggregate_  # reads columns in threads: `import mlv` does without

        return aggregate_.history(self._while_watched(self.digests(Depth.SETTINGS)), pattern, keys, stream, wide)

    def tables(self, name: str | None = None) -> Any:
        """Return the logged tables of all as one DataFrame: as `Exp.tables`, after `exp` and `exp_name`, its ID and name.

        Raises:
            InvalidPattern, MissingExtra: As `Exp.tables`.
            NotAnExperiment: There is none below the root.
        """
        from mlv.query.many import aggregate as aggregate_  # reads columns in threads: `import mlv` does without

        return aggregate_.tables(self._while_watched(self.digests(Depth.SETTINGS)), name)

    def sql(self, query: str) -> engine.Result:
        """Run a query of SQL over the views `experiments`, `runs`, `events`, `metrics` and `files`, on DuckDB.

        In `experiments`, `params` and `metrics` are structs: `params.lr`, `metrics.acc.max`, `metrics."test/loss".min`.

        Raises:
            QueryFailed: DuckDB does not accept it, or it gives no table.
            MissingExtra: duckdb or pyarrow is not installed.
            NotAnExperiment: There is none below the root, or none was chosen.
        """
        return engine.query(query, self._digests_or_refuse, self._while_watched)

    def dump(self, to: str, out: str | os.PathLike[str], *, safe: bool = False, bom: bool = False) -> list[str]:
        """Write tables for other tools into a new folder, which appears whole or not at all.

        They are the views of `sql()`: `experiments`, `runs`, `events` (without metrics), `files` and `metrics`. As Parquet the
        metrics of several experiments are a dataset with a folder for each: `metrics/exp=<ID>/part.parquet`.

        Args:
            to: `csv`, `parquet` or `jsonl`.
            out: The folder.
            safe: In CSV, write an apostrophe before what a spreadsheet would take for a formula.
            bom: Begin CSV with the mark without which Excel takes UTF-8 for another encoding.

        Returns:
            The names in the folder.

        Raises:
            InvalidArgument: The format is unknown, or the folder is there and not empty.
            MissingExtra: pyarrow is not installed.
            NotAnExperiment: There is none below the root, or none was chosen.
        """
        from mlv.query.sql import export  # only where it is asked for

        digests = self._digests_or_refuse(True)
        return export.export(digests, to, checked_path(out, "out"), self._while_watched, safe=safe, bom=bom)

    export = dump
    """The former name of `dump`."""

    def compare(self, a: Any, b: Any) -> dict[str, dict[str, Difference]]:
        """Return the differences between two experiments, by section (`params git packages machine metrics`) and name.

        Args:
            a: One of these experiments: an `Exp`, its path, its name, the beginning of its ID, or its index among these.
            b: Another one.

        Returns:
            For each name the pair of values, of metrics those that stand for them; where an experiment has none,
            `mlv.query.compare.ABSENT`.

        Raises:
            NotAnExperiment: None of these is meant.
            InvalidArgument: Several are meant.
        """
        return compare(self._selected(a), self._selected(b))

    def compare_many(self) -> Any:
        """Return a pandas DataFrame of the values that differ among these experiments.

        A row for each `section` (`params git packages machine metrics`) and `name`, and a column for each experiment, by its
        name, or by its path below the root where names are equal; metrics by the values that stand for them. Where an
        experiment lacks what another has, `mlv.query.compare.ABSENT` stands.

        Raises:
            MissingExtra: pandas is not installed.
            NotAnExperiment: There is none.
        """
        pandas, digests = package("pandas"), self._digests_or_refuse(True)
        names = [digest.name for digest in digests]
        if len(set(names)) < len(names):
            names = [os.path.relpath(digest.path, layout.absolute(self._root)) for digest in digests]
        rows = [
            (section, name, *values)
            for section, values_by_name in compare_many(digests).items()
            for name, values in values_by_name.items()
        ]
        columns = [pandas.Series([row[index] for row in rows], dtype=object) for index in range(2 + len(names))]
        table = pandas.concat(columns, axis=1)
        table.columns = ["section", "name", *names]
        return table

    # Over families.

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

        Raises:
            InvalidArgument: A param, coordinate or stat is unknown; or there are reruns, and `reruns="error"`.
            UnknownMetric: Nobody logged a metric that is named.
            MissingExtra: pandas or pyarrow is not installed.
            NotAnExperiment: There is none below the root.
        """
        from mlv.query.many import aggregate as aggregate_  # reads columns in threads: `import mlv` does without

        members = self._members(self.digests(depth_for(x)), over, reruns)
        return aggregate_.aggregate(members, self._parent_of, over, metrics, x, stats, ci, self._while_watched, grid)

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

        sides = [self._members(self._side(side, depth_for(x)), over, reruns) for side in (a, b)]
        return aggregate_.paired(sides[0], sides[1], self._parent_of, over, metrics, x, stats, ci)

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

        members = self._members(self.digests(depth_for(x)), over, reruns)
        return lines(members, self._parent_of, metrics, x, by, over, style or Style())

    def _members(self, digests: Sequence[Digest], over: str | Iterable[str], reruns: str) -> list[Digest]:
        return families.without_reruns(digests, over, self._parent_of, reruns)

    def _side(self, side: Any, depth: Depth) -> list[Digest]:
        if isinstance(side, Experiments):
            return side.digests(depth)
        if isinstance(side, str):
            digests = self.digests(max(depth, depth_of(side)))
            return [digest for digest, holds in zip(digests, engine.matching(side, digests), strict=True) if holds]
        if not isinstance(side, Mapping):
            raise InvalidArgument(f"a side is {side!r}: give params, a predicate of SQL, or experiments", given=side)
        return self._with_params(self.digests(depth), side, "a side")

    def _with_params(self, digests: Sequence[Digest], required: Mapping[str, Any], subject: str) -> list[Digest]:
        """Return the experiments whose params have these values.

        Raises:
            InvalidArgument: No experiment has such a param.
        """
        params = [families.settings(digest, self._parent_of) for digest in digests]
        flat = dict(table.flat(required))
        for name in flat:
            families.check_setting(name, list(dict.fromkeys(key for own in params for key in own)), subject)
        pairs = zip(digests, params, strict=True)
        return [digest for digest, own in pairs if all(key in own and own[key] == value for key, value in flat.items())]

    def _while_watched(self, digests: Sequence[Digest]) -> Iterator[Digest]:
        """Yield the experiments one by one, with `watch` around the reading of their logs."""
        by_path = {digest.path: digest for digest in digests}
        return (by_path[path] for path in self._watch(list(by_path), "reading logs"))

    def _parent_of(self, digest: Digest) -> Digest | None:
        return self._reader.parent(self._root, digest)

    def digests(self, depth: Depth = Depth.STATE) -> list[Digest]:
        """Return a digest of each experiment as it is now, read at least to the depth; of copies one. Not called by users.

        Raises:
            NotAnExperiment: There is none below the root.
        """
        if not self.paths and next(layout.walk(self._root), None) is None:
            self._refuse_none()
        return without_copies(self._digests_of(self.paths, depth))

    def _selected(self, selector: Any) -> Digest:
        """Return the one experiment that a selector names.

        Raises:
            NotAnExperiment: It names none.
            InvalidArgument: It names several.
        """
        if isinstance(selector, int) and -len(self) <= selector < len(self):
            folders = [self.paths[selector]]
        else:
            path = selector.path if isinstance(selector, Exp) else selector
            folders = [folder for folder in self.paths if self._is_selected(folder, path)]
        digests = [digest for folder in folders if (digest := self._reader.digest(folder, Depth.METRICS)) is not None]
        if len(digests) == 1:
            return digests[0]
        if digests:
            raise InvalidArgument(f"{selector!r} means {len(digests)} of these experiments: give the path", given=selector)
        raise NotAnExperiment(f"{selector!r} is none of these experiments: give its path, name or ID", given=selector)

    def _is_selected(self, folder: Path, selector: Any) -> bool:
        if not isinstance(selector, (str, os.PathLike)):
            return False
        if os.path.realpath(selector) == os.path.realpath(folder):
            return True
        meta = self._reader.meta(folder)
        text = os.fspath(selector)
        is_id = len(text) >= _LEAST_OF_ID and meta is not None and meta.id.startswith(str(text))
        return is_id or layout.name_of(folder) == text

    def _digests_or_refuse(self, metrics: bool) -> list[Digest]:
        """Return a digest of each experiment.

        Raises:
            NotAnExperiment: There is none.
        """
        digests = self.digests(Depth.METRICS if metrics else Depth.STATE)
        if not digests:
            raise NotAnExperiment(f"none of the experiments at or below {str(self._root)!r} is chosen", path=str(self._root))
        return digests

    def _digests_of(self, folders: Sequence[Path], depth: Depth) -> list[Digest]:
        digests = (self._reader.digest(folder, depth) for folder in self._watch(folders, "reading experiments"))
        return [digest for digest in digests if digest is not None]

    def _of(self, folders: Sequence[Path]) -> Experiments:
        return Experiments(self._root, self._choice, self._reader, folders, self._watch)

    def _walk(self) -> Iterator[Path]:
        """Yield the folders of the experiments of the filter, in the order of their paths."""
        folders = (folder for folder in layout.walk(self._root) if self._is_wanted(folder))
        return folders if self._choice.where is None else iter(self._matching(list(folders), self._choice.where))

    def _matching(self, folders: Sequence[Path], where: str | Mapping[str, Any]) -> list[Path]:
        """Return the folders of the experiments for which a predicate holds, or that have the params."""
        # Before the choice: of copies the one that counts may not match while an older one does.
        digests = without_copies(self._digests_of(folders, Depth.SETTINGS if isinstance(where, Mapping) else depth_of(where)))
        if not digests and next(layout.walk(self._root), None) is None:
            self._refuse_none()
        if isinstance(where, Mapping):
            return [digest.path for digest in self._with_params(digests, where, "where")]
        return [digest.path for digest, matches in zip(digests, engine.matching(where, digests), strict=True) if matches]

    def _is_wanted(self, folder: Path) -> bool:
        meta = self._reader.meta(folder)
        if meta is None or (self._choice.kind is not None and meta.content.get("kind") != self._choice.kind):
            return False
        if not self._choice.tags:
            return True
        digest = self._reader.digest(folder)
        return digest is not None and self._choice.tags <= set(digest.tags)

    def _refuse_none(self) -> NoReturn:
        text = f"no experiments at or below {str(self._root)!r}: give the folder that was the savedir"
        raise NotAnExperiment(text, path=str(self._root))
