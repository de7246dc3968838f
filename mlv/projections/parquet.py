"""Parquet: for each stream a folder of parts with a row for each value of a metric, and a file with a row for each step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar

from mlv.encoding import digits, json_of_any
from mlv.errors import CannotResume
from mlv.projections.steps import Point, PointCounter, coordinates
from mlv.projections.tables import TablesOutput
from mlv.query.sql.arrow import nearest_float
from mlv.store.blobs import replace_whole
from mlv.store.opening import make_folders, reading

_SHARE = 20
"""The wide file is written again after so many times the duration of its last writing."""


@dataclass(kw_only=True)
class Parquet(TablesOutput):
    """The output `parquet`: `<stream>/part-000000.parquet` ... (long) and `_<stream>.wide.pq`, only of metrics.

    Long: `name` (text), `step` (float64), `time` (microseconds, UTC), `value` (the nearest float64; null where it is no
    number), `text` (JSON of a value that is no number, or an integer that no float64 is), `at` (JSON, null where there are no
    coordinates), `run`, `seq` (int64); the order is that of the log. Wide: `step`, `time`, `at`, and a column for each metric;
    a row for each step and coordinates, the later value wins. A value without a step is numbered by its position in its
    series. Superseded lines are left out: after a new rewind all files are built again.

    The wide file is written from time to time, and at the end of the run. The folder as a whole is a dataset of the long rows:
    `pandas.read_parquet`, `pyarrow.dataset` and Spark pass over names that begin with `_`, and `**/*.parquet` over the ending.
    """

    NEEDS: ClassVar[tuple[str, ...]] = ("pyarrow", "pandas")
    EXTRA: ClassVar[str] = "frame"
    ROWS: ClassVar[int] = 100_000
    """Rows of a complete part of a stream."""
    name = "parquet"

    def names_of(self, file: str) -> tuple[str, str]:
        """Return the names of the folder of parts, and of the wide file."""
        return file, f"_{file}.wide.pq"

    def tables_of(self, file: str, state: Mapping[str, Any] | None) -> _ParquetTables:
        """Return the parts of a stream, with the last one in memory."""
        long, wide = self.names_of(file)
        return _ParquetTables(self._folder / long, self._folder / wide if self.wide else None, state, self.ROWS)


class _ParquetTables:
    """The files of one stream: complete parts, and a last one that is replaced as it grows."""

    def __init__(self, folder: Path, wide_path: Path | None, state: Mapping[str, Any] | None, rows: int) -> None:
        """Begin, or go on after the parts and the rows of the last one that were committed.

        Raises:
            CannotResume: They are not all there.
        """
        self._folder, self._wide_path, self._rows = folder, wide_path, rows
        make_folders(folder.parent, folder)
        self._columns: dict[str, list[Any]] = {name: [] for name in _schema().names}
        self._file_number: int = state["part"] if state else 0
        self.points = PointCounter(state["counts"] if state else None)
        self._take_back(state["rows"] if state else 0)
        self._is_dirty = False
        self._is_wide_old = wide_path is not None
        self._wide_again = 0.0

    def add(self, point: Point) -> None:
        """Add a row."""
        event = point.event
        at = coordinates(event)
        value, text = _number_or_text(point.value)
        row = (
            point.name, float(point.step), event.time, value, text, json_of_any(at) if at else None, event.run,
            event.seq,
        )  # fmt: skip
        for column, item in zip(self._columns.values(), row, strict=True):
            column.append(item)
        self._is_dirty = True
        if len(self._columns["seq"]) == self._rows:
            self._publish()
            self._file_number += 1
            for column in self._columns.values():
                column.clear()

    def commit(self) -> dict[str, Any]:
        """Publish the rows in memory, and return how far the files are complete."""
        self._check_parts()
        if self._is_dirty:
            self._publish()
            self._is_dirty, self._is_wide_old = False, self._wide_path is not None
            if self._is_wide_old and monotonic() > self._wide_again:
                self._widen()
        return {"part": self._file_number, "rows": len(self._columns["seq"]), "counts": self.points.counts}

    def close(self) -> None:
        """Bring the wide file up to date."""
        if self._is_wide_old:
            self._widen()

    def _publish(self) -> None:
        pa = import_module("pyarrow")
        if self._columns["seq"]:
            _replace(pa.table(self._columns, schema=_schema()), self._path(self._file_number))

    def _path(self, number: int) -> Path:
        return self._folder / f"part-{number:06d}.parquet"

    def _take_back(self, rows: int) -> None:
        """Read the committed rows of the last part, and remove later ones."""
        self._check_parts()
        for path in self._folder.glob("part-*.parquet"):
            if path.name > self._path(self._file_number).name or (rows == 0 and path == self._path(self._file_number)):
                path.unlink()
        if rows:
            try:
                table = _read(self._path(self._file_number)).slice(0, rows)
            except Exception as error:  # gone, or no Parquet file
                raise CannotResume(f"{self._path(self._file_number)}: {error}", path=str(self._folder)) from None
            if table.num_rows < rows:
                raise CannotResume(f"{self._path(self._file_number)} has lost rows", path=str(self._folder))
            self._columns = table.to_pydict()

    def _check_parts(self) -> None:
        if not self._folder.is_dir() or any(not self._path(number).exists() for number in range(self._file_number)):
            raise CannotResume(f"{self._folder} has lost parts", path=str(self._folder))

    def _widen(self) -> None:
        """Write the wide file of all parts."""
        began = monotonic()
        pa = import_module("pyarrow")
        tables = [_read(path) for path in sorted(self._folder.glob("part-*.parquet"))]
        if tables and self._wide_path is not None:
            _replace(pa.Table.from_pandas(_wide(pa.concat_tables(tables)), preserve_index=False), self._wide_path)
        self._is_wide_old = False
        self._wide_again = monotonic() + _SHARE * (monotonic() - began)


def _wide(long: Any) -> Any:
    """Return a data frame with a row for each step and coordinates, in the order in which they came first."""
    pd = import_module("pandas")
    rows = long.to_pandas()
    numeric = rows.groupby("name", sort=False)["text"].count() == 0
    rows["row"] = rows.groupby(["step", rows["at"].fillna("")], sort=False).ngroup()
    first = rows.drop_duplicates("row", keep="last").set_index("row").sort_index()[["step", "time", "at"]]
    last = rows.drop_duplicates(["row", "name"], keep="last")
    columns = {}
    for name, group in last.groupby("name", sort=False):
        values = group["value"] if numeric[name] else group["text"].fillna(group["value"].map(_as_text))
        columns[_free(str(name))] = pd.Series(values.to_numpy(), index=group["row"])
    return pd.concat([first, pd.DataFrame(columns, index=first.index)], axis=1)


def _free(name: str) -> str:
    return f"metric.{name}" if name in ("step", "time", "at") or name.startswith("metric.") else name


def _as_text(value: float) -> str | None:
    return None if value != value else repr(value)


def _number_or_text(value: Any) -> tuple[float | None, str | None]:
    if isinstance(value, (int, float)):
        number = nearest_float(value)
        is_exact = number == value or value != value
        return (number, None) if is_exact else (number, digits(value) if isinstance(value, int) else str(value))
    return None, None if value is None else json_of_any(value)


def _schema() -> Any:
    pa = import_module("pyarrow")
    return pa.schema([
        ("name", pa.string()), ("step", pa.float64()), ("time", pa.timestamp("us", "UTC")), ("value", pa.float64()),
        ("text", pa.string()), ("at", pa.string()), ("run", pa.string()), ("seq", pa.int64()),
    ])  # fmt: skip


def _replace(table: Any, path: Path) -> None:
    """Publish a file, whole or not at all."""
    replace_whole(path, lambda file: import_module("pyarrow.parquet").write_table(table, file, compression="zstd"))


def _read(path: Path) -> Any:
    with reading(path) as file:
        return import_module("pyarrow.parquet").read_table(file)
