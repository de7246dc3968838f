"""The list of a lake's experiments as columns of Arrow: a hundred thousand of them take a tenth of the memory of objects."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from mlv.errors import QueryFailed
from mlv.frozen import frozen
from mlv.lake.digest import LakeDigest
from mlv.lake.lake import RAW, Lake, reading
from mlv.lake.plans import refuse_outside
from mlv.lake.root import LakeRoot, no_build, values_of
from mlv.lake.summaries import exact_values
from mlv.optional import package
from mlv.query.digest import STATS, Digest
from mlv.query.metrics.schema import from_json_text
from mlv.query.metrics.summary import Summary
from mlv.query.sql.arrow import column, struct
from mlv.query.sql.engine import LongView, literal
from mlv.query.sql.views import VIEWS, of_columns, summaries

_NUMBERS = (*STATS, "value")
_TEXTS = ("name", "text", "statistic", "exact")


@dataclass(frozen=True, eq=False)
class Listing:
    """The experiments of a lake at the moment of a build, the newest first."""

    as_of: datetime
    experiments: Any
    """The table of experiments; `path` counts from the root, and `fingerprint` differs where anything of an experiment does."""
    summaries: Any
    """The rows of summaries in the order of their experiments, and within one as it logged its metrics."""
    starts: Any
    """Position of the first summary of each experiment, and behind the last one."""

    def __len__(self) -> int:
        return int(self.experiments.num_rows)

    @property
    def ids(self) -> Any:
        """The IDs."""
        return self.experiments["id"]

    @cached_property
    def _order(self) -> tuple[Any, Any]:
        """The IDs in their order, and the numbers of their rows."""
        np = package("numpy")
        ids = np.asarray(self.ids.to_pylist(), "S64")
        order = np.argsort(ids)
        return ids[order], order

    def numbers(self, word: str) -> list[int]:
        """Return the rows of the experiments whose IDs begin with a word."""
        ids, order = self._order
        begin = word.encode("ascii", "replace")
        first, end = ids.searchsorted(begin), ids.searchsorted(begin + b"~")
        return [int(number) for number in order[first:end]]

    def children(self, exp: str) -> list[int]:
        """Return the rows of the experiments that started from another one."""
        compute = package("pyarrow.compute")
        own = compute.equal(self.experiments["parent"], exp)
        return compute.indices_nonzero(own).to_pylist()  # type: ignore[no-any-return]

    def record(self, number: int) -> dict[str, Any]:
        """Return a row of the table of experiments."""
        row = self.experiments.slice(number, 1)
        return {name: values_of(row[name])[0] for name in row.column_names}


class LakeListing(LakeRoot):
    """The experiments of a lake at and below a root, for a list that stays and is searched."""

    def __init__(self, lake: Lake, root: str | os.PathLike[str]) -> None:
        """Read the list.

        Raises:
            LakeError: As `LakeRoot`, or its tables cannot be read.
            MissingExtra: duckdb is not installed.
        """
        super().__init__(lake, root)
        self._root = root
        self.listing = self._read(self.as_of)

    def refresh(self) -> bool:
        """Read the list again, if another build has ended; return whether one has.

        Raises:
            LakeError, BucketError: The lake cannot be read any more.
        """
        look = self.lake.look
        if look is None:
            raise no_build(self.lake.url)
        if look.moment == self.as_of:
            return False
        newer = LakeListing(Lake(self.lake.url), self._root)  # it may have been built anew, or of another source
        self.lake, self.listing, self.as_of, self.subpath = newer.lake, newer.listing, newer.as_of, newer.subpath
        return True

    def _read(self, as_of: datetime) -> Listing:
        pa, np = package("pyarrow"), package("numpy")
        below = literal(f"{self.subpath}/")
        within = f"where path = {literal(self.subpath)} or starts_with(path, {below})" if self.subpath else ""
        path = f"if(starts_with(path, {below}), substr(path, {len(self.subpath) + 2}), '.')" if self.subpath else "path"
        with reading(self.lake), closing(self.lake.connected("experiments", "summaries")) as connection:
            experiments = connection.sql(
                f"select e.* exclude (month, path), {path} as path, hash(e) as fingerprint from {RAW}.experiments e {within} "  # noqa: S608
                f"order by created desc nulls last, id"
            ).to_arrow_table()
            numbers = pa.array(range(experiments.num_rows), pa.int64())
            connection.register("chosen", pa.table([experiments["id"], numbers], names=["exp", "number"]))
            rows = connection.sql(
                f"select c.number, {', '.join((*_TEXTS, *_NUMBERS))}, hash(s) as fingerprint from {RAW}.summaries s "  # noqa: S608
                f"join chosen c on c.exp = s.exp order by c.number, s.position"
            ).to_arrow_table()
        refuse_outside(experiments["path"].to_pylist(), self.lake.url)
        starts = np.searchsorted(rows["number"].to_numpy(), np.arange(experiments.num_rows + 1))
        fingerprints = experiments["fingerprint"].to_numpy().copy()
        np.bitwise_xor.at(fingerprints, rows["number"].to_numpy(), rows["fingerprint"].to_numpy())
        names = rows["name"].combine_chunks().dictionary_encode()
        kept = rows.select([*_TEXTS[1:], *_NUMBERS]).append_column("name", names).combine_chunks()
        experiments = experiments.drop(["fingerprint"]).append_column("fingerprint", pa.array(fingerprints)).combine_chunks()
        return Listing(as_of, experiments, kept, starts)

    def digest(self, record: Mapping[str, Any]) -> LakeDigest:
        """Return the experiment of a row of the table, without its runs and metrics."""
        return LakeDigest(self.folder_of(record["path"]), record["id"], {}, recorded=record)

    def folder_of(self, path: str) -> Path:
        """Return the folder of an experiment."""
        return self.folder if path == "." else self.folder / path

    # SQL.

    def experiments(self) -> Any:
        """Return the view `experiments`, as `mlv.query.sql.views` makes it of digests."""
        table = self.listing.experiments
        if not len(self.listing):
            return VIEWS["experiments"]([])
        pa, settings = package("pyarrow"), Settings()
        moment, texts = pa.timestamp("us", "UTC"), pa.list_(pa.string())
        same = ("id", "name", "made_as", "kind", "status", "duration_s", "total_s", "parent")
        cells = {
            **{name: table[name] for name in same},
            **{name: table[name].cast(moment) for name in ("created", "started")},
            **{name: table[name].cast(texts) for name in ("tags", "notes")},
            "path": [str(self.folder_of(path)) for path in table["path"].to_pylist()],
            "params": [settings.of(items) or None for items in table["params"].to_pylist()],
            "metrics": self._metrics(),
            **{name: table[name].to_pylist() for name in ("git", "machine")},
        }
        order = (
            "id", "name", "made_as", "kind", "status", "path", "created", "started", "duration_s", "total_s", "tags", "notes",
            "parent", "params", "metrics", "git", "machine",
        )  # fmt: skip
        return of_columns({name: cells[name] for name in order})

    def _metrics(self) -> Any:
        np, listing = package("numpy"), self.listing
        names = listing.summaries["name"].combine_chunks()
        codes = names.indices.to_numpy()
        if not len(codes):
            return column([None] * len(listing))
        owners = np.repeat(np.arange(len(listing)), np.diff(listing.starts))
        children = {}
        for name, own in by_name(names.dictionary.to_pylist(), codes):
            rows = listing.summaries.take(own)
            positions = np.full(len(listing), -1)
            positions[owners[own]] = np.arange(len(own))
            children[name] = _struct(rows, positions)
        return struct(children, [False] * len(listing))

    @property
    def views(self) -> Mapping[str, LongView]:
        """The views of SQL over the tables; `events` has none, as only the logs have all of them in one order."""
        return {
            "experiments": lambda *_: self.experiments(),
            "runs": lambda *_: VIEWS["runs"](list(self._with_runs())),
            "metrics": lambda *_: self.metrics_view(self._chosen()),
            "files": lambda *_: self.files_view(self._chosen()),
            "events": self._refuse_events,
        }

    def _chosen(self) -> Any:
        table = self.listing.experiments
        return package("pyarrow").table({"exp": table["id"], "exp_name": table["name"]})

    def _with_runs(self) -> Iterable[Digest]:
        runs, table = self.runs(), self.listing.experiments
        for exp, path in zip(table["id"].to_pylist(), table["path"].to_pylist(), strict=True):
            yield LakeDigest(self.folder_of(path), exp, {}, recorded_runs=runs.get(exp, ()))

    def _refuse_events(self, *_: object) -> Any:
        raise QueryFailed(
            "the view events is read from the logs: ask it of a page that reads them (fresh=1, `mlv ui --fresh`), or `mlv sql`",
            query="events",
        )


class Settings:
    """Reads params of the table of experiments; a value that many have is read once."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def of(self, items: Iterable[tuple[str, str]] | None) -> dict[str, Any]:
        """Return params by their names."""
        return {name: self.value(text) for name, text in items or ()}

    def value(self, text: str) -> Any:
        """Return the value of a text of JSON."""
        if text not in self._values:
            self._values[text] = frozen(from_json_text(text))
        return self._values[text]


def by_name(names: list[str], codes: Any) -> Iterable[tuple[str, Any]]:
    """Yield each name that occurs with the positions of its codes, in the order of the first ones."""
    np = package("numpy")
    order = np.argsort(codes, kind="stable")
    occurring, starts = np.unique(codes[order], return_index=True)
    positions = np.split(order, starts[1:])
    for number in np.argsort([own[0] for own in positions]):
        yield names[occurring[number]], positions[number]


def _struct(rows: Any, positions: Any) -> Any:
    """Return a column of the numbers of a metric: of each experiment the row at its position, nothing where that is -1."""
    pa, compute = package("pyarrow"), package("pyarrow.compute")
    is_absent = positions < 0
    if rows["text"].null_count < rows.num_rows:  # some values are no numbers
        of_one = [_summary(row) for row in rows.to_pylist()]
        return summaries([None if absent else of_one[position] for position, absent in zip(positions, is_absent, strict=True)])
    numbers = rows.select(_NUMBERS).take(pa.array(positions, pa.int64(), mask=is_absent))
    stats = {}
    for name in _NUMBERS:
        values = numbers[name].combine_chunks().cast(pa.float64())
        # SQL takes NaN for the greatest number.
        stats[name] = compute.if_else(compute.is_nan(values), pa.scalar(None, pa.float64()), values)
    return struct(stats, is_absent)


def _summary(row: Mapping[str, Any]) -> Summary:
    own = {name: row[name] for name in (*_NUMBERS, "statistic")} | exact_values(row["exact"])
    return Summary(**own, last_step=None, best_step=None)
