"""CSV: for each stream a file with a row for each value of a metric, and one with a row for each step."""

from __future__ import annotations

import csv
import io
import math
import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from mlv.encoding import digits, json_of_any, utc_text
from mlv.errors import CannotResume
from mlv.projections.appending import check_in_place, reopened
from mlv.projections.steps import Point, PointCounter, coordinates
from mlv.projections.tables import TablesOutput
from mlv.store.blobs import replace_whole
from mlv.store.opening import changing, emptied, reading
from mlv.words import inert

_LONG = ("name", "step", "time", "value", "at", "run", "seq")
_FIRST = ("step", "time")
_LIKE_WIDE = re.compile(r"\.wide(\.long)*\Z")


@dataclass(kw_only=True)
class CSV(TablesOutput):
    """The output `csv`, in UTF-8: `<stream>.csv` (long) and `<stream>.wide.csv`, only of metrics.

    Long: `name, step, time, value, at, run, seq`, a row for each value in the order of the log; `at` is JSON. Wide: `step`,
    `time`, and a column for each coordinate (`at.epoch`) and metric in the order in which they came; values that follow each
    other with equal step and coordinates stand in one row, the later one wins. Numbers are written with all digits; `nan`,
    `inf` and `-inf` are words, None is empty, lists are JSON. A value without a step is numbered by its position in its
    series. Superseded lines are left out: after a new rewind all files are built again.
    """

    name = "csv"

    safe: bool = False
    """Whether texts that a spreadsheet takes for formulas begin with an apostrophe; for files that others open in one."""
    bom: bool = False
    """Whether the files begin with the mark by which Excel knows UTF-8."""

    def names_of(self, file: str) -> tuple[str, str]:
        """Return the names of two files; the long one of a stream called `val.wide` differs from the wide one of `val`."""
        return f"{file}.long.csv" if _LIKE_WIDE.search(file) else f"{file}.csv", f"{file}.wide.csv"

    def tables_of(self, file: str, state: Mapping[str, Any] | None) -> _CSVTables:
        """Return two files, open at their ends."""
        long, wide = self.names_of(file)
        return _CSVTables(self._folder / long, self._folder / wide if self.wide else None, state, self.safe, self.bom)


class _CSVTables:
    """The files of one stream."""

    def __init__(
        self, long_path: Path, wide_path: Path | None, state: Mapping[str, Any] | None, is_safe: bool, has_mark: bool
    ) -> None:
        self._long_path, self._is_safe = long_path, is_safe
        state = state or {}
        self.points = PointCounter(state.get("counts"))
        begin = (BOM_UTF8 if has_mark else b"") + _as_csv([_LONG], is_safe)
        self._long = _begun(long_path, state["long"], begin) if state else emptied(long_path)
        if not state:
            self._long.write(begin)
        self._rows: list[Sequence[str]] = []
        self._wide = _Wide(wide_path, state.get("wide"), is_safe, has_mark) if wide_path is not None else None

    def add(self, point: Point) -> None:
        """Add a value to both files."""
        event = point.event
        at = coordinates(event)
        time = utc_text(event.time)
        at_text = json_of_any(at) if at else ""
        self._rows.append((point.name, _shown(point.step), time, _shown(point.value), at_text, event.run, str(event.seq)))
        if self._wide is not None:
            self._wide.add(point.step, time, at, at_text, point.name, point.value)

    def commit(self) -> dict[str, Any]:
        """Write the rows in memory, and return how far the files are complete."""
        check_in_place(self._long.fileno(), self._long_path)
        self._long.write(_as_csv(self._rows, self._is_safe))
        self._rows = []
        self._long.flush()
        state: dict[str, Any] = {"counts": self.points.counts, "long": self._long.tell()}
        return {**state, "wide": self._wide.commit()} if self._wide is not None else state

    def close(self) -> None:
        """Close the files."""
        self._long.close()
        if self._wide is not None:
            self._wide.close()


def _begun(path: Path, size: int, begin: bytes) -> BinaryIO:
    """Open a file at its end if it begins as it would now; one without the mark, or with formulas, is not continued."""
    file = reopened(path, size)
    file.seek(0)
    if file.read(len(begin)) != begin:
        file.close()
        raise CannotResume(f"{path} was begun in another form", path=str(path))
    file.seek(size)
    return file


class _Wide:
    """A file with a row for each step: the last row may still gain values, a new column rewrites the file."""

    def __init__(self, path: Path, state: Mapping[str, Any] | None, is_safe: bool, has_mark: bool) -> None:
        self._path, self._is_safe, self._has_mark = path, is_safe, has_mark
        self._columns: dict[str, None] = dict.fromkeys(state["columns"] if state else _FIRST)
        self._row: dict[str, str] = dict(state["row"]) if state else {}
        self._key: tuple[Any, ...] | None = tuple(state["key"]) if state and state["key"] else None
        self._rows: list[dict[str, str]] = []
        self._written = len(self._columns) if state else 0
        self._size = state["size"] if state else 0
        self._file: BinaryIO = reopened(path, self._size) if state else emptied(path)
        if state and self._header_of(path) != [inert(name) if is_safe else name for name in self._columns]:
            self._file.close()
            raise CannotResume(f"{path} has other columns than it had", path=str(path))
        if state:
            self._write_last()

    def add(self, step: float, time: str, at: Mapping[str, Any], at_text: str, name: str, value: Any) -> None:
        """Add a value to the last row, or begin another one."""
        key = (step, at_text)
        if key != self._key:
            if self._row:
                self._rows.append(self._row)
            self._key = key
            self._row = {"step": _shown(step)}
            for coordinate, position in at.items():
                self._row[self._column(f"at.{coordinate}")] = _shown(position)
        self._row["time"] = time
        self._row[self._column(f"metric.{name}" if name in _FIRST or name.startswith(("at.", "metric.")) else name)] = _shown(
            value
        )

    def _column(self, name: str) -> str:
        self._columns.setdefault(name)
        return name

    def commit(self) -> dict[str, Any]:
        """Write the rows that are complete, and the last one behind them, to be replaced when it has grown."""
        check_in_place(self._file.fileno(), self._path)
        if len(self._columns) != self._written:
            self._widen()
        self._file.seek(self._size)
        self._file.write(self._as_csv(self._rows))
        self._size = self._file.tell()
        self._rows = []
        self._write_last()
        key = list(self._key) if self._key else None
        return {"size": self._size, "columns": list(self._columns), "row": self._row, "key": key}

    def _write_last(self) -> None:
        """Write the last row behind the others, where the next one that is complete goes."""
        self._file.write(self._as_csv([self._row] if self._row else []))
        self._file.truncate()  # the row that stood there may have been longer
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _widen(self) -> None:
        """Write the file again with all the columns that there are now."""
        replace_whole(self._path, self._write_wider)
        self._file.close()
        self._file = changing(self._path)
        self._written = len(self._columns)

    def _write_wider(self, wider: BinaryIO) -> None:
        wider.write(BOM_UTF8 if self._has_mark else b"")
        wider.write(self._as_csv([dict(zip(self._columns, self._columns, strict=True))]))
        if self._written:
            more = [""] * (len(self._columns) - self._written)
            self._file.flush()
            self._file.seek(0)
            rows_before = self._file.read(self._size)
            text = io.TextIOWrapper(io.BytesIO(rows_before), encoding="utf-8-sig", newline="")
            next(rows := csv.reader(text))
            wider.write(_as_csv(([*row, *more] for row in rows), self._is_safe))
        self._size = wider.tell()

    def _as_csv(self, rows: list[dict[str, str]]) -> bytes:
        return _as_csv(([row.get(column, "") for column in self._columns] for row in rows), self._is_safe)

    @staticmethod
    def _header_of(path: Path) -> list[str]:
        with io.TextIOWrapper(reading(path), encoding="utf-8-sig", newline="") as file:
            return next(csv.reader(file), [])


def _as_csv(rows: Iterable[Sequence[str]], is_safe: bool) -> bytes:
    out = io.StringIO(newline="")
    plain, quoted = (csv.writer(out, lineterminator="\n", quoting=how) for how in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    for row in rows:
        if is_safe:  # in quotes: where cells end at a semicolon, a text could begin one
            quoted.writerow(map(inert, row))
            continue
        # The writer does not quote a carriage return, which ends a line for other readers.
        (quoted if any("\r" in cell for cell in row) else plain).writerow(row)
    return out.getvalue().encode("utf-8", "backslashreplace")


def _shown(value: Any) -> str:
    """Return a value as text that reads back as the same value."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    return digits(value) if isinstance(value, int) else json_of_any(value)
