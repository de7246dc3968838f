"""The experiments of a lake as digests: what their logs said when it was built, without reading them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from functools import cached_property
from pathlib import Path
from typing import Any

from mlv.errors import MlvWarning
from mlv.frozen import FrozenDict
from mlv.lake.digest import LakeDigest, Record
from mlv.lake.lake import RAW, Lake
from mlv.lake.plans import refuse_outside
from mlv.lake.points import LakePoints
from mlv.lake.root import LakeRoot, opened
from mlv.lake.summaries import exact_values
from mlv.notices import warn
from mlv.optional import package
from mlv.query.digest import Depth, Digest
from mlv.query.metrics.schema import from_json_text
from mlv.query.metrics.summary import Summary
from mlv.query.runs import RunView
from mlv.query.sql.engine import LongView
from mlv.state import NONE
from mlv.store import layout
from mlv.store.identities import known_ids
from mlv.store.meta import Meta

_SHORT = ("id", "made_as", "kind", "status", "path", "duration_s", "total_s", "parent", "archived")
_TIMES = ("created", "started")
"""With `_SHORT` the columns of the table of experiments that a list shows; as texts, `created_utc` and `started_utc`."""
_LONG = ("id", *_TIMES, "tags", "notes", "params", "git", "machine")
_SUMMARY = (
    "exp", "name", "last", "min", "max", "best", "mean", "count", "nans", "last_step", "best_step", "value",
    "statistic",
)  # fmt: skip


class LakeReader(LakeRoot):
    """The experiments of a lake at and below a root, for `mlv.find`; it does what a reader of logs does."""

    def __init__(self, lake: Lake, root: str | os.PathLike[str]) -> None:
        """Read the list of experiments.

        Raises:
            LakeError: As `LakeRoot`, or its tables cannot be read.
            MissingExtra: duckdb is not installed.
        """
        super().__init__(lake, root)
        self.listed: dict[str, Record] = self._experiments(self.subpath)
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
            self._runs = self.runs()
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
        self.fetch(folders)
        return [folder for folder in folders if self._is_there(folder)]

    def _is_there(self, folder: Path) -> bool:
        """Return whether a folder holds the experiment that the lake has there, and no other one since."""
        exp = self.records[folder]["id"]
        return layout.is_experiment(folder) and (layout.holds(folder, exp) or exp in known_ids(folder))

    # The tables.

    @property
    def views(self) -> dict[str, LongView]:
        """The views of SQL that the tables suffice for, beside those of digests."""
        return {
            "metrics": lambda digests, _: self.metrics_view(_chosen(digests)),
            "files": lambda digests, _: self.files_view(_chosen(digests)),
        }

    def points(self, digests: Sequence[Digest], is_requested: Callable[[str], bool]) -> LakePoints:
        """Return the points of experiments, which are asked for in this order."""
        return LakePoints(self.lake, digests, is_requested)

    def _experiments(self, subpath: str) -> dict[str, Record]:
        within = f"{subpath}/" if subpath else ""
        # As `utc_text` writes them: to make datetimes of them, and texts again, would take half of the time of a list.
        times = (f"strftime(make_timestamp(epoch_us({name})), '%Y-%m-%dT%H:%M:%S.%fZ') as {name}_utc" for name in _TIMES)
        records, rows = {}, self._rows("experiments", (*_SHORT, *times))
        refuse_outside((record["path"] for record in rows), self.lake.url)
        for record in rows:
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
        columns = self.columns(query, "summaries")
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

    def _rows(self, table: str, columns: Sequence[str]) -> list[dict[str, Any]]:
        return self._queried(f"select {', '.join(columns)} from {RAW}.{table}", table)  # noqa: S608 - of our own names

    def _queried(self, query: str, table: str) -> list[dict[str, Any]]:
        """Return the rows of a query over one table."""
        columns = self.columns(query, table)
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _names(path: str) -> list[str]:
    """Return the names on the way from the source of a lake to an experiment."""
    return [] if path == "." else path.split("/")


def _chosen(digests: Iterable[Digest]) -> Any:
    """Return a table of ID and name of experiments."""
    pa, names = package("pyarrow"), {digest.id: digest.name for digest in digests}
    return pa.table({"exp": pa.array(names.keys(), "string"), "exp_name": pa.array(names.values(), "string")})


def _format(description: str | None) -> str | None:
    """Return the format of the values of a metric that a description names."""
    form = from_json_text(description).get("format") if description else None
    return form if isinstance(form, str) else None


def reader_of(
    root: str | os.PathLike[str], lake: str | os.PathLike[str] | None = None, *, fresh: bool = False
) -> LakeReader | None:
    """Return the reader of the lake that a root is read from; None where its logs are read.

    Raises:
        InvalidArgument, LakeError, BucketError, MissingExtra: As `mlv.lake.root.opened`.
    """
    return opened(LakeReader, root, lake, fresh=fresh)
