"""The experiments of a lake as digests: what their logs said when it was built, without reading them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from datetime import datetime, timezone
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from mlv.bucket.mirror import Mirror, tell
from mlv.bucket.urls import checked_url, is_url
from mlv.errors import BucketError, InvalidArgument, LakeError, LakeMissing, MissingExtra, MlvWarning
from mlv.frozen import FrozenDict
from mlv.lake.digest import LakeDigest, Record, run_views
from mlv.lake.lake import RAW, Lake, reading
from mlv.lake.points import LakePoints
from mlv.lake.summaries import exact_values
from mlv.lake.views import SUPERSEDED
from mlv.notices import warn
from mlv.optional import package
from mlv.query.digest import Depth, Digest
from mlv.query.metrics.schema import from_json_text
from mlv.query.metrics.summary import Summary
from mlv.query.runs import RunView
from mlv.query.sql.arrow import text as text_of
from mlv.query.sql.engine import LongView, Stored
from mlv.settings import LAKE
from mlv.state import NONE
from mlv.store import layout
from mlv.store.identities import known_ids
from mlv.store.meta import Meta
from mlv.store.paths import bucket_url

_SHORT = ("id", "made_as", "kind", "status", "path", "duration_s", "total_s", "parent", "archived")
_TIMES = ("created", "started")
"""With `_SHORT` the columns of the table of experiments that a list shows; as texts, `created_utc` and `started_utc`."""
_LONG = ("id", *_TIMES, "tags", "notes", "params", "git", "machine")
_RUN = (
    "exp", "run", "status", "started", "ended", "duration_s", "paused", "parent_run", "exception", "message", "host",
    "params",
)  # fmt: skip
_SUMMARY = (
    "exp", "name", "last", "min", "max", "best", "mean", "count", "nans", "last_step", "best_step", "value",
    "statistic",
)  # fmt: skip
_METRICS, _FILES, _REWINDS = "metrics", "files", "rewinds"
_WHOLE_FROM = 32
"""So many experiments are brought by one listing of all."""


class LakeReader:
    """The experiments of a lake at and below a root, for `mlv.find`; it does what a reader of logs does."""

    def __init__(self, lake: Lake, root: str | os.PathLike[str]) -> None:
        """Read the list of experiments.

        Raises:
            LakeError: No build has ended, or the lake was built from another source, or its tables cannot be read.
            MissingExtra: duckdb is not installed.
        """
        self.lake = lake
        look = lake.look
        if look is None or not look.source:
            raise LakeMissing(
                f"no build of the lake {lake.url} has ended: `mlv lake build SRC {lake.url}` ends one", url=lake.url
            )
        self.url = bucket_url(str(root))
        self.folder = layout.absolute(root) if self.url is None else Mirror(self.url).folder
        """The folder that the experiments are below, whether they are on this machine or not."""
        self.as_of = look.moment
        """The moment from before which all lines are in the lake."""
        subpath = _below(root, self.url, look.source)
        if subpath is None:
            raise LakeError(
                f"the lake {lake.url} was built from {look.source}, and {str(root)!r} is not there: give a lake of this root, "
                f"or fresh=True",
                url=lake.url,
            )
        self.listed: dict[str, Record] = self._experiments(subpath)
        """The rows of the table of experiments that a list needs, by path below the folder, in the order of a walk."""
        self._long: dict[str, Record] | None = None
        self._runs: dict[str, tuple[RunView, ...]] | None = None
        self._summaries: dict[str, dict[str, Summary]] | None = None

    @cached_property
    def records(self) -> dict[Path, Record]:
        """The same rows, by folder."""
        return {self.folder / path: record for path, record in self.listed.items()}

    @cached_property
    def _by_id(self) -> dict[str, Path]:
        return {record["id"]: folder for folder, record in self.records.items()}

    @property
    def age_s(self) -> float:
        """Seconds since the moment of the lake."""
        return max(0.0, (datetime.now(timezone.utc) - self.as_of).total_seconds())

    # As a reader of logs does.

    def walk(self, root: Path) -> Iterator[Path]:
        """Yield the folder of each experiment, parents before their sub-experiments, in order of name."""
        return iter(self.records)

    def meta(self, folder: Path) -> Meta | None:
        """Return ID and kind of an experiment, as a meta.json has them."""
        record = self.records.get(folder)
        return None if record is None else Meta(record["id"], FrozenDict(kind=record["kind"]))

    def digest(self, folder: Path, depth: Depth = Depth.STATE) -> Digest | None:
        """Return an experiment, at least to a depth; None where the lake lacks it."""
        record = self.records.get(folder)
        if record is None:
            return None
        exp = record["id"]
        if self._long is None:
            self._long = {row["id"]: row for row in self._rows("experiments", _LONG)}
        if exp not in self._long:
            warn(f"{folder} is left out: the lake was built on since it was opened, and lacks it by now", MlvWarning)
            return None
        if depth >= Depth.STATE and self._runs is None:
            self._runs = self._read_runs()
        if depth >= Depth.METRICS and self._summaries is None:
            self._summaries = self._read_summaries()
        return LakeDigest(
            folder, exp, {}, metrics=(self._summaries or {}).get(exp, {}), recorded={**record, **self._long[exp]},
            recorded_runs=(self._runs or {}).get(exp, ()),
        )  # fmt: skip

    def digests(self, folders: Iterable[Path], depth: Depth, executor: Executor) -> Iterator[Digest]:
        """Yield experiments as `digest` returns them; there is nothing to read elsewhere."""
        return (digest for folder in folders if (digest := self.digest(folder, depth)) is not None)

    def parent(self, root: Path, digest: Digest) -> Digest | None:
        """Return the parent of an experiment; None where it is neither among these nor around them."""
        folder = self._by_id.get(digest.parent_id or "")
        return self._around(digest) if folder is None else self.digest(folder, Depth.SETTINGS)

    def _around(self, digest: Digest) -> Digest | None:
        """Return the parent of an experiment, where that lies around the root."""
        if digest.parent_id is None or not isinstance(digest, LakeDigest):
            return None
        record = self._others.get(digest.parent_id)
        if record is None:
            return None
        own, others = (_names(each["path"]) for each in (digest.recorded, record))
        if len(own) <= len(others) or own[: len(others)] != others:
            return None
        return LakeDigest(digest.path.parents[len(own) - len(others) - 1], record["id"], {}, recorded=record)

    @cached_property
    def _others(self) -> dict[str, Record]:
        """The experiments of the lake by ID, whether they are below the root or not."""
        return {row["id"]: row for row in self._rows("experiments", tuple(dict.fromkeys([*_SHORT, *_LONG])))}

    def is_archived(self, folder: Path) -> bool:
        """Return whether an experiment is archived, or lies below one that is."""
        return any(self.records[each]["archived"] for each in (folder, *folder.parents) if each in self.records)

    # The logs.

    def bring(self, folders: Sequence[Path]) -> list[Path]:
        """Bring the logs of experiments to this machine, and return the folders that still hold those that the lake has there.

        Raises:
            BucketError, ExperimentBusy, FileUnusable: As `mlv.bucket.mirror.Mirror.refresh`.
        """
        if self.url is not None:
            base, mark, options = self.url.partition("?")
            paths = [""] if len(folders) > _WHOLE_FROM else [folder.relative_to(self.folder).as_posix() for folder in folders]
            for path in paths:
                url = base if path in ("", ".") else f"{base.rstrip('/')}/{quote(path)}"
                tell(Mirror(f"{url}{mark}{options}").refresh().notices)
        return [folder for folder in folders if self._is_there(folder)]

    def _is_there(self, folder: Path) -> bool:
        """Return whether a folder holds the experiment that the lake has there, and no other one since."""
        exp = self.records[folder]["id"]
        return layout.is_experiment(folder) and (layout.holds(folder, exp) or exp in known_ids(folder))

    # The tables.

    @property
    def views(self) -> dict[str, LongView]:
        """The views of SQL that the tables suffice for, beside those of digests."""
        return {_METRICS: self._metrics, _FILES: self._files}

    def points(self, digests: Sequence[Digest], is_requested: Callable[[str], bool]) -> LakePoints:
        """Return the points of experiments, which are asked for in this order."""
        return LakePoints(self.lake, digests, is_requested)

    def _metrics(self, digests: Iterable[Digest], skipped: list[str]) -> Stored:
        metrics, rewinds = self.lake.files(_METRICS), self.lake.files(_REWINDS)
        # Most trees have none, and to look for them takes longer than all else.
        surviving = f"where not {SUPERSEDED.format(rewinds=f'({self.lake.scan_of(_REWINDS, rewinds)})')}" if rewinds else ""
        select = f"""
            select m.exp, c.exp_name, m.stream, m.run, m.seq, m.time, m.step, m.name,
                if(isnan(m.value), null, m.value) as value, {_PLAIN_TEXT} as text, m.at
            from ({self.lake.scan_of(_METRICS, metrics)}) m join beside.chosen c on m.exp = c.exp {surviving}"""  # noqa: S608
        functions = {"_plain_text": _plain_text}
        return Stored(select, [*metrics, *rewinds], {"chosen": _chosen(digests)}, functions, partial(reading, self.lake))

    def _files(self, digests: Iterable[Digest], skipped: list[str]) -> Stored:
        files = self.lake.files(_FILES)
        select = f"""
            select m.exp, c.exp_name, m.* exclude (exp, month)
            from ({self.lake.scan_of(_FILES, files)}) m join beside.chosen c on m.exp = c.exp"""  # noqa: S608
        return Stored(select, files, {"chosen": _chosen(digests)}, reading=partial(reading, self.lake))

    def _experiments(self, subpath: str) -> dict[str, Record]:
        within = f"{subpath}/" if subpath else ""
        # As `utc_text` writes them: to make datetimes of them, and texts again, would take half of the time of a list.
        times = (f"strftime(make_timestamp(epoch_us({name})), '%Y-%m-%dT%H:%M:%S.%fZ') as {name}_utc" for name in _TIMES)
        records = {}
        for record in self._rows("experiments", (*_SHORT, *times)):
            path = "" if record["path"] == "." else record["path"]
            if path == subpath or path.startswith(within):
                records[path[len(within) :]] = record
        # In the order in which a walk meets folders: that of their names, one after the other.
        return {path: records[path] for path in sorted(records, key=lambda path: path.replace("/", "\0"))}

    def shown(self, count: int) -> dict[str, list[tuple[str, Any, str | None]]]:
        """Return of each experiment so many metrics, the described ones first: name, value and format."""
        query = (
            f"select exp, name, value, exact, description from {RAW}.summaries where statistic <> '{NONE}' qualify "  # noqa: S608
            f"row_number() over (partition by exp order by description is null, position) <= {count} "
            f"order by exp, description is null, position"
        )
        result: dict[str, list[tuple[str, Any, str | None]]] = {}
        columns = self._columns(query, "summaries")
        # Many experiments describe a metric alike.
        forms = {text: _format(text) for text in set(columns["description"])}
        for exp, name, number, exact, description in zip(*columns.values(), strict=True):
            value = exact_values(exact).get("value", number) if exact else number
            result.setdefault(exp, []).append((name, value, forms[description]))
        return result

    def _read_summaries(self) -> dict[str, dict[str, Summary]]:
        columns = ", ".join((*_SUMMARY, "exact"))
        by_exp: dict[str, dict[str, Summary]] = {}
        for row in self._queried(f"select {columns} from {RAW}.summaries order by exp, position", "summaries"):  # noqa: S608
            values = {name: row[name] for name in _SUMMARY[2:]} | exact_values(row["exact"])
            by_exp.setdefault(row["exp"], {})[row["name"]] = Summary(**values)
        return by_exp

    def _read_runs(self) -> dict[str, tuple[RunView, ...]]:
        by_exp: dict[str, list[Record]] = {}
        for row in self._rows("runs", _RUN):
            by_exp.setdefault(row["exp"], []).append(row)
        return {exp: run_views(rows) for exp, rows in by_exp.items()}

    def _rows(self, table: str, columns: Sequence[str]) -> list[dict[str, Any]]:
        return self._queried(f"select {', '.join(columns)} from {RAW}.{table}", table)  # noqa: S608 - of our own names

    def _queried(self, query: str, table: str) -> list[dict[str, Any]]:
        """Return the rows of a query over one table."""
        columns = self._columns(query, table)
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def _columns(self, query: str, table: str) -> dict[str, list[Any]]:
        with reading(self.lake), self.lake.connected(table) as connection:
            arrow = connection.sql(query).to_arrow_table()
        return {name: _values(arrow[name]) for name in arrow.column_names}


_PLAIN_TEXT = """case when isnan(m.value) then 'nan' when regexp_full_match(m.text, '"[^"\\\\]*"') then m.text[2:-2]
    else _plain_text(m.text) end"""
"""The text of a value as the view of the logs has it: a text as it was logged, any other value as JSON."""


def _names(path: str) -> list[str]:
    """Return the names on the way from the source of a lake to an experiment."""
    return [] if path == "." else path.split("/")


def _plain_text(text: str) -> str:
    return text_of(from_json_text(text))


def _chosen(digests: Iterable[Digest]) -> Any:
    """Return a table of ID and name of experiments."""
    pa, names = package("pyarrow"), {digest.id: digest.name for digest in digests}
    return pa.table({"exp": pa.array(names.keys(), "string"), "exp_name": pa.array(names.values(), "string")})


def _format(description: str | None) -> str | None:
    """Return the format of the values of a metric that a description names."""
    form = from_json_text(description).get("format") if description else None
    return form if isinstance(form, str) else None


def _values(column: Any) -> list[Any]:
    """Return the values of a column, moments in UTC as everywhere else."""
    pa = package("pyarrow")
    if not pa.types.is_timestamp(column.type):
        return column.to_pylist()  # type: ignore[no-any-return]
    moments = column.cast(pa.timestamp("us", "UTC")).to_numpy().astype("datetime64[us]").tolist()
    return [None if moment is None else moment.replace(tzinfo=timezone.utc) for moment in moments]


def _below(root: str | os.PathLike[str], url: str | None, source: str) -> str | None:
    """Return the path of a root from the source of a lake; None where it is not at or below it."""
    if (url is None) == is_url(source):
        return None
    if url is None:
        top, path = source, os.path.realpath(root)
    else:
        top, path = (unquote(checked_url(each)[0]).rstrip("/") for each in (source, url))
    if path == top:
        return ""
    begin = os.path.join(top, "")
    return path[len(begin) :].replace(os.sep, "/") if path.startswith(begin) else None


def reader_of(
    root: str | os.PathLike[str], lake: str | os.PathLike[str] | None = None, *, fresh: bool = False
) -> LakeReader | None:
    """Return the reader of the lake that a root is read from; None where its logs are read.

    That is the lake of the argument; else that of the settings, or the one of a bucket, at `.mlv/lake` below its root. Where
    one of these cannot be used, a warning says why, and the logs are read.

    Raises:
        InvalidArgument: A lake is named, and the logs are asked for.
        LakeError, BucketError, MissingExtra: The lake of the argument cannot be used.
    """
    if lake is not None:
        if fresh:
            raise InvalidArgument("lake= and fresh=True together: give one of them", lake=lake)
        return LakeReader(Lake(lake), root)
    if fresh:
        return None
    try:
        if (named := LAKE.get()) is not None:
            return LakeReader(Lake(named), root)
        opened = _beside(root)
        return None if opened is None else LakeReader(opened, root)
    except (LakeError, BucketError, InvalidArgument, MissingExtra) as error:
        warn(f"the logs are read, and not the lake: {error}", MlvWarning)
        return None


def _beside(root: str | os.PathLike[str]) -> Lake | None:
    """Return the lake of a bucket, if it has one.

    Raises:
        LakeError, MissingExtra: It cannot be used.
    """
    url = bucket_url(root if isinstance(root, str) else os.fspath(root))
    if url is None:
        return None
    base, mark, options = url.partition("?")
    try:
        return Lake(f"{base.rstrip('/')}/{layout.HOUSEKEEPING}/lake{mark}{options}")
    except (LakeMissing, BucketError, InvalidArgument):  # `deltalake` keeps no table in a folder of such a name
        return None  # where the bucket cannot be read, the error of who reads the logs says more
