"""Many experiments at once: found below a folder, lazily, and read as one table."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, overload

from mlv.errors import InvalidArgument, MlvWarning, NotAnExperiment
from mlv.experiment.digest_reader import DigestReader, depth_of, opened, without_copies
from mlv.experiment.exp import Exp
from mlv.experiment.experiments_families import FamilyCalls
from mlv.notices import warn
from mlv.optional import package
from mlv.query.compare import Difference, compare, compare_many
from mlv.query.digest import Depth, Digest
from mlv.query.many import families, table
from mlv.query.sql import engine
from mlv.query.sql.views import LONG_VIEWS
from mlv.query.unreadable import leaving_out
from mlv.settings import LAKE
from mlv.store import layout
from mlv.store.paths import bucket_url, checked_path

if TYPE_CHECKING:
    from mlv.executors import On
    from mlv.experiment.page import NotebookPage
    from mlv.lake.reading import LakeReader
    from mlv.query.many.aggregate import Points

_LEAST_OF_ID = 4  # fewer digits are a name, or a slip of the finger
Watch = Callable[[Sequence[Path], str], Iterable[Path]]
"""Yields folders one by one, and may show its progress; the text names the activity."""


def find(
    root: str | os.PathLike[str],
    kind: str | None = None,
    where: str | Mapping[str, Any] | None = None,
    tags: str | Iterable[str] | None = None,
    *,
    lake: str | os.PathLike[str] | None = None,
    fresh: bool = False,
) -> Experiments:
    """Return the experiments at and below a folder, sub-experiments included; nothing is read before it is needed.

    Args:
        root: A folder that holds experiments, at any depth; or the URL of a bucket, `s3://lab/runs`, whose experiments are
            mirrored as they are now.
        kind: Only experiments of this kind.
        where: A predicate of SQL over the view `experiments`, such as `"params.lr < 0.1 and metrics.acc.max > 0.9"`; or a
            mapping of params to the values that they have.
        tags: Only experiments that have this tag, or all of these.
        lake: A lake that was built from this root, or from one around it: the list, params, tags, status, times and the numbers
            of each metric come from its tables, as they were `as_of`. By default that of `MLV_LAKE`, or the one of a bucket at
            `.mlv/lake` below its root. Whatever a lake does not hold is read from the logs of the experiments in question.
        fresh: Whether to read the logs, whatever lake there is.

    Raises:
        InvalidArgument: The root is no folder, or the kind, the predicate or a tag is no text.
        BucketError: The bucket cannot be read.
        LakeError: The lake that was given is missing, damaged, too new, or one of another source.
        MissingExtra: An optional package is not installed, which the bucket or the lake needs.
        NotAnExperiment: The bucket holds none at or below the URL.
    """
    if (lake is not None or not fresh) and (reader := _lake_reader(root, lake, fresh)) is not None:
        return in_lake(reader, kind, where, tags)
    folder = checked_path(root, "root", is_read=True) if (url := bucket_url(root)) is None else _mirrored(url)
    if not folder.is_dir():
        subject = "is a file" if folder.exists() else "does not exist"
        raise InvalidArgument(f"root {str(root)!r} {subject}: give a folder that holds experiments", root=str(root))
    return Experiments(folder, _checked_filter(kind, where, tags), DigestReader())


def in_lake(
    reader: LakeReader,
    kind: str | None = None,
    where: str | Mapping[str, Any] | None = None,
    tags: str | Iterable[str] | None = None,
) -> Experiments:
    """Return experiments of a lake, as `find` does. Not called by users."""
    return Experiments(reader.folder, _checked_filter(kind, where, tags), reader)


def _lake_reader(root: Any, lake: str | os.PathLike[str] | None, fresh: bool) -> LakeReader | None:
    if lake is None and bucket_url(root) is None and LAKE.look_up().source == "default":
        return None  # most programs know no lake, and need none of its packages
    from mlv.lake.reading import reader_of  # `import mlv` does without

    return reader_of(root if bucket_url(root) is not None else checked_path(root, "root", is_read=True), lake, fresh=fresh)


def _checked_filter(kind: str | None, where: str | Mapping[str, Any] | None, tags: str | Iterable[str] | None) -> _Filter:
    required_tags = (tags,) if isinstance(tags, str) else tuple(tags or ())
    predicates = () if isinstance(where, Mapping) else (("where", where),)
    for subject, value in (("kind", kind), *predicates, *(("tag", tag) for tag in required_tags)):
        if value is not None and not isinstance(value, str):
            raise InvalidArgument(f"{subject}={value!r} is of type {type(value).__name__}: give a text", value=value)
    return _Filter(kind, where, frozenset(required_tags))


def _gone(folder: Path) -> str:
    return f"{folder} does not hold the experiment any more that the lake has there, which was moved, removed or replaced"


def _mirrored(url: str) -> Path:
    from mlv.bucket.mirror import mirrored  # `import mlv` does without

    return mirrored(url).folder


@dataclass(frozen=True, slots=True)
class _Filter:
    """A choice of experiments."""

    kind: str | None
    where: str | Mapping[str, Any] | None
    tags: frozenset[str]


def of_folders(root: Path, folders: Sequence[Path]) -> Experiments:
    """Return these experiments; their parents are looked for below the root."""
    return Experiments(root, _Filter(None, None, frozenset()), DigestReader(), list(dict.fromkeys(folders)))


class Experiments(FamilyCalls):
    """Experiments below a folder, in the order of their paths: iterate, `len`, take one or a slice, or read them as a table."""

    def __init__(
        self,
        root: Path,
        choice: _Filter,
        reader: DigestReader | LakeReader,
        folders: Sequence[Path] | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._root, self._choice, self._reader = root, choice, reader
        self._folders = folders
        self._watch: Watch = watch or (lambda folders, activity: folders)

    def watched(self, watch: Watch) -> Experiments:
        """Return the same experiments, with `watch` around long readings."""
        return Experiments(self._root, self._choice, self._reader, self._folders, watch)

    @property
    def as_of(self) -> datetime | None:
        """The moment from before which all lines count, of experiments that are read from a lake; None where logs are read."""
        return None if isinstance(self._reader, DigestReader) else self._reader.as_of

    def _of_logs(self) -> Experiments:
        """Return the same experiments, read from their logs, which are brought to this machine."""
        if isinstance(self._reader, DigestReader):
            return self
        return Experiments(self._root, self._choice, DigestReader(), self._brought(self.paths), self._watch)

    def _brought(self, folders: Sequence[Path]) -> list[Path]:
        """Bring the logs of experiments that are read from a lake; return their folders, and warn of those that have gone."""
        if isinstance(self._reader, DigestReader):
            return list(folders)
        brought = self._reader.bring(folders)
        if len(brought) < len(folders):
            there = set(brought)
            first, *others = [folder for folder in folders if folder not in there]
            warn(f"{_gone(first)}: it is left out{f', as are {len(others)} more' if others else ''}", MlvWarning)
        return brought

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
            if not self._brought([folder]):
                continue
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
        folder = self.paths[index]
        if not isinstance(self._reader, DigestReader) and not self._reader.bring([folder]):
            raise NotAnExperiment(f"{_gone(folder)}: build the lake anew, or give fresh=True", path=str(folder))
        return Exp.open(folder)

    def __repr__(self) -> str:
        count = "" if self._folders is None else f"{len(self._folders)} "
        return f"<{count}experiments at and below {str(self._root)!r}>"

    def show(self, *, height: int = 700) -> NotebookPage:
        """Return the page of these experiments, as they are now: a notebook shows it in a frame.

        The page is the one of `mlv ui`, without a server: it has at most some thousand points of each metric, among them every
        spike, and no files.

        Raises:
            FileUnusable: The page was not built with mlv.
            InvalidArgument: There are more than 500, or the height is no number of pixels.
            NotAnExperiment: There is none below the root.
        """
        from mlv.experiment.page import page_of  # only where it is asked for

        ids = [identity for folder in self._of_logs().paths if (identity := layout.exp_id(folder)) is not None]
        if not ids:
            self._refuse_none()
        return page_of(self._root, ids, height)

    # As one table.

    def frame(self, *, stats: Iterable[str] = (), best: str | None = None, mode: str | None = None, on: On = None) -> Any:
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
            on: Where the logs are read, as in `aggregate`.

        Raises:
            MissingExtra: pandas is not installed.
            TaskNotDone: As in `aggregate`.
            InvalidArgument: A stat is unknown, or nothing says which value is best.
            UnknownMetric: Nobody logged the metric that is to be best.
            NotAnExperiment: There is none below the root.
        """
        with opened(on) as executor:
            # With `best`, steps and values beside it are wanted, which only the logs have.
            experiments = self if best is None else self._of_logs()
            digests = experiments.digests(Depth.METRICS, executor)
            frame = table.frame(digests, tuple(stats), datetime.now(timezone.utc))
            return frame if best is None else self._with_best(frame, digests, best, mode, executor)

    def _with_best(self, frame: Any, digests: Sequence[Digest], best: str, mode: str | None, on: On) -> Any:
        from mlv.query.many.best import at_best_of_many  # only where it is asked for
        from mlv.query.many.values import unknown_metric  # reads columns in threads: `import mlv` does without

        if not any(best in digest.metrics for digest in digests):
            raise unknown_metric(best, sorted({name for digest in digests for name in digest.metrics}))
        pandas = package("pandas")
        values_at_best = at_best_of_many(digests, best, mode, on)
        rows = [{f"best.{name}": value for name, value in values.items()} for values in values_at_best]
        names = list(dict.fromkeys(["best.step", *(name for row in rows for name in row)]))
        return pandas.concat([frame, pandas.DataFrame(rows, columns=names, index=frame.index)], axis=1)

    def history(
        self,
        pattern: str | None = None,
        *,
        keys: Iterable[str] | None = None,
        stream: str | None = None,
        wide: bool = True,
        on: On = None,
    ) -> Any:
        """Return the metrics of all as one DataFrame: as `Exp.history`, with ID and name in `exp` and `exp_name`.

        Damaged lines are passed over, and named with path and byte range in `.attrs["skipped"]`. `on` says where the logs are
        read, as in `aggregate`.

        Raises:
            TaskNotDone: As in `aggregate`.
            UnknownMetric: No experiment has one that is named.
            InvalidPattern, InvalidArgument, MissingExtra: As `Exp.history`.
            NotAnExperiment: There is none below the root.
        """
        from mlv.query.many import aggregate as aggregate_  # reads columns in threads: `import mlv` does without

        logs = self._of_logs()
        with opened(on) as executor:
            digests = logs._while_watched(logs.digests(Depth.SETTINGS, executor))
            return aggregate_.history(digests, pattern, keys, stream, wide, executor)

    def tables(self, name: str | None = None) -> Any:
        """Return the logged tables of all as one DataFrame: as `Exp.tables`, after `exp` and `exp_name`, its ID and name.

        Raises:
            InvalidPattern, MissingExtra: As `Exp.tables`.
            NotAnExperiment: There is none below the root.
        """
        from mlv.query.many import aggregate as aggregate_  # reads columns in threads: `import mlv` does without

        logs = self._of_logs()
        return aggregate_.tables(logs._while_watched(logs.digests(Depth.SETTINGS)), name)

    def sql(self, query: str) -> engine.Result:
        """Run a query of SQL over the views `experiments`, `runs`, `events`, `metrics` and `files`, on DuckDB.

        In `experiments`, `params` and `metrics` are structs: `params.lr`, `metrics.acc.max`, `metrics."test/loss".min`. With a
        lake all but `events` are its tables, of which DuckDB reads what the query needs.

        Raises:
            QueryFailed: DuckDB does not accept it, or it gives no table.
            MissingExtra: duckdb or pyarrow is not installed.
            NotAnExperiment: There is none below the root, or none was chosen.
        """
        return engine.query(query, self._digests_or_refuse, self._while_watched, long_views=self._long_views)

    @property
    def _long_views(self) -> Mapping[str, engine.LongView]:
        """The functions that make the views of SQL of which digests do not suffice."""
        if isinstance(self._reader, DigestReader):
            return LONG_VIEWS
        return {**LONG_VIEWS, **self._reader.views, "events": self._events_of_logs}

    @property
    def _points(self) -> Points | None:
        """Gives the points of experiments that are read from a lake; None where logs are read."""
        return None if isinstance(self._reader, DigestReader) else self._reader.points

    def _events_of_logs(self, digests: Iterable[Digest], skipped: list[str]) -> Any:
        logs = self._of([digest.path for digest in digests])._of_logs()
        return LONG_VIEWS["events"](logs.digests(), skipped)

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

        logs = self._of_logs()
        digests = logs._digests_or_refuse(True)
        return export.export(digests, to, checked_path(out, "out"), logs._while_watched, safe=safe, bom=bom)

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
        pandas, digests = package("pandas"), self._of_logs()._digests_or_refuse(True)
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

    # Choosing.

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

    def digests(self, depth: Depth = Depth.STATE, on: On = None) -> list[Digest]:
        """Return a digest of each experiment as it is now, read at least to the depth; of copies one. Not called by users.

        Raises:
            InvalidArgument, TaskNotDone: As in `aggregate`, with `on`.
            NotAnExperiment: There is none below the root.
        """
        if not self.paths and next(self._reader.walk(self._root), None) is None:
            self._refuse_none()
        return without_copies(self._digests_of(self.paths, depth, on))

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
        logs = self._of(folders)._of_logs()  # with all that is compared
        digests = logs._digests_of(logs.paths, Depth.METRICS)
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

    def _digests_of(self, folders: Sequence[Path], depth: Depth, on: On = None) -> list[Digest]:
        if on is not None:
            with opened(on) as executor:
                assert executor is not None
                return list(self._reader.digests(self._watch(folders, "reading experiments"), depth, executor))
        digests = (self._reader.digest(folder, depth) for folder in self._watch(folders, "reading experiments"))
        return [digest for digest in digests if digest is not None]

    def _of(self, folders: Sequence[Path]) -> Experiments:
        return Experiments(self._root, self._choice, self._reader, folders, self._watch)

    def _walk(self) -> Iterator[Path]:
        """Yield the folders of the experiments of the filter, in the order of their paths."""
        folders = (folder for folder in self._reader.walk(self._root) if self._is_wanted(folder))
        return folders if self._choice.where is None else iter(self._matching(list(folders), self._choice.where))

    def _matching(self, folders: Sequence[Path], where: str | Mapping[str, Any]) -> list[Path]:
        """Return the folders of the experiments for which a predicate holds, or that have the params."""
        # Before the choice: of copies the one that counts may not match while an older one does.
        digests = without_copies(self._digests_of(folders, Depth.SETTINGS if isinstance(where, Mapping) else depth_of(where)))
        if not digests and next(self._reader.walk(self._root), None) is None:
            self._refuse_none()
        if isinstance(where, Mapping):
            return [digest.path for digest in self._with_params(digests, where, "where")]
        holds = engine.matching(where, digests, long_views=self._long_views)
        return [digest.path for digest, matches in zip(digests, holds, strict=True) if matches]

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
