"""The points of many experiments from the tables of a lake, read for some experiments at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from threading import Lock
from typing import Any

from mlv.lake.columns import schemas
from mlv.lake.lake import Lake, reading
from mlv.lake.views import SUPERSEDED
from mlv.optional import package
from mlv.query.digest import Digest
from mlv.query.sql.engine import SETTINGS

_COLUMNS = ("stream", "run", "seq", "time", "step", "name", "value", "text", "at")
_MOST_ROWS = 4 << 20
_MOST_EXPERIMENTS = 1024


class LakePoints:
    """Gives the rows of `mlv.query.metrics.long_table` of experiments, which are asked for in their order."""

    def __init__(self, lake: Lake, digests: Sequence[Digest], is_requested: Callable[[str], bool]) -> None:
        """Take the experiments, and a function that says of each metric whether its points are wanted."""
        self._lake = lake
        self._metrics = lake.scan("metrics")
        rewinds = lake.files("rewinds")
        # Most trees have none, and to look for them takes longer than all else.
        own = f"({lake.scan_of('rewinds', rewinds)})"
        self._surviving = f"where not {SUPERSEDED.format(rewinds=own)}" if rewinds else ""
        self._batches = list(_batches(digests, is_requested))
        self._batch_of = {exp: number for number, (exps, _) in enumerate(self._batches) for exp in exps}
        self._tables: dict[int, dict[str, Any]] = {}
        self._lock = Lock()

    def __call__(self, digest: Digest) -> Any:
        """Return the rows of an experiment."""
        number = self._batch_of[digest.id]
        with self._lock:
            if number not in self._tables:
                # The one before too: threads ask for experiments of both.
                self._tables = {**dict(list(self._tables.items())[-1:]), number: self._read(*self._batches[number])}
            return self._tables[number][digest.id]

    def _read(self, exps: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
        pa, np = package("pyarrow"), package("numpy")
        query = f"""
            select c.number, {", ".join(f"m.{name}" for name in _COLUMNS)} from ({self._metrics}) m
            join chosen c on m.exp = c.exp join wanted w on m.name = w.name {self._surviving}
            order by c.number, m.run, m.seq"""  # noqa: S608 - of our own names
        with reading(self._lake), closing(package("duckdb", "sql").connect(config=SETTINGS)) as connection:
            connection.register("chosen", pa.table({"exp": pa.array(exps, "string"), "number": range(len(exps))}))
            connection.register("wanted", pa.table({"name": pa.array(names, "string")}))
            table = connection.sql(query).to_arrow_table()
        schema = pa.schema([schemas()["metrics"].field(name) for name in _COLUMNS])
        starts = np.searchsorted(np.asarray(table["number"]), range(len(exps) + 1))
        rows = table.select(_COLUMNS).cast(schema)
        return {exp: rows.slice(starts[index], starts[index + 1] - starts[index]) for index, exp in enumerate(exps)}


def _batches(digests: Sequence[Digest], is_requested: Callable[[str], bool]) -> Iterator[tuple[list[str], list[str]]]:
    """Yield IDs, and the names of the metrics that are wanted of any of them, so many as fit into memory together."""
    exps: list[str] = []
    names: dict[str, None] = {}
    rows = 0
    for digest in digests:
        wanted = [name for name in digest.metrics if is_requested(name)]
        rows += sum(digest.metrics[name].count for name in wanted)
        exps.append(digest.id)
        names.update(dict.fromkeys(wanted))
        if rows >= _MOST_ROWS or len(exps) >= _MOST_EXPERIMENTS:
            yield exps, list(names)
            exps, names, rows = [], {}, 0
    if exps:
        yield exps, list(names)
