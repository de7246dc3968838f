"""Tables as experiments: rows of metrics, wide or long, with the columns that hold steps, times and names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

from mlv.errors import InvalidArgument
from mlv.experiment.importing.source import Item, RunBegins, SourceEvent, SourceExperiment
from mlv.importers.endings import end_of
from mlv.importers.listing import SourceListing, size_of
from mlv.importers.reading import Opened, Options, SourceReading, Unit
from mlv.importers.values import moment, moment_ms, time_of

RUN = "table"
_STEPS = ("step", "global_step", "_step", "steps", "iteration", "iter", "epoch")
_TIMES = ("time", "timestamp", "_timestamp", "wall_time", "datetime", "date")
_NAMES = ("name", "metric", "tag", "key")
_COORDINATES = ("epoch", "fold", "rank")
_SINCE_1970 = 1e8
"""Lower numbers are seconds since the beginning: they would lie in 1973."""
_MILLISECONDS = 1e11

Rows = Iterable[Mapping[str, Any]]
"""Cells by column; those that are empty are left out."""


@dataclass(frozen=True)
class TableColumns:
    """The roles of columns."""

    step: str | None
    time: str | None
    name: str | None
    """Of a long table: the name of the metric whose value stands beside it."""
    value: str | None
    at: tuple[str, ...]

    @classmethod
    def of(cls, names: Iterable[str], options: Options) -> TableColumns:
        """Return the roles by the usual names, or as they were chosen.

        Raises:
            InvalidArgument: A chosen column is not there.
        """
        columns = list(names)
        chosen = (
            ("--step", options.step), ("--time", options.time),
            ("--name-column", options.name_column), ("--value-column", options.value_column),
        )  # fmt: skip
        for option, name in chosen:
            if name is not None and name not in columns:
                text = f"{option} {name} is none of the columns {', '.join(columns)}"
                raise InvalidArgument(text, column=name)
        lower = {name.lower(): name for name in reversed(columns)}
        step = options.step or next((lower[name] for name in _STEPS if name in lower), None)
        time = options.time or next((lower[name] for name in _TIMES if name in lower), None)
        value = options.value_column or lower.get("value")
        name = options.name_column or next((lower[name] for name in _NAMES if name in lower and value), None)
        if options.name_column and not value:
            text = f"--name-column {name} wants the column of the values beside it: name that with --value-column"
            raise InvalidArgument(text, column=name)
        if options.value_column and not name:
            text = f"--value-column {value} wants the column of the names beside it: name that with --name-column"
            raise InvalidArgument(text, column=value)
        at = tuple(lower[key] for key in _COORDINATES if key in lower and lower[key] not in (step, time, name, value))
        return cls(step, time, name, value if name else None, at)


def files(listing: SourceListing, suffixes: tuple[str, ...]) -> list[Path]:
    """Take files by their suffixes: those that were named, since a folder may hold tables of any kind."""
    paths = [path for path in listing.files() if path.name.lower().endswith(suffixes)]
    if not (listing.is_file or listing.options.is_named):
        return []
    listing.take(paths)
    return paths


_RowsOf = Callable[[Path, SourceReading], tuple[list[str], Rows]]
"""Returns the names of the columns of a file, and its rows."""


def unit(format: str, path: Path, listing: SourceListing, rows_of: _RowsOf) -> Unit:
    """Return the unit of a file of rows."""
    return Unit(format, path, size_of([path]), partial(_opened, format, path, listing.place(path), rows_of))


def _opened(format: str, path: Path, place: tuple[tuple[str, ...], str], rows_of: _RowsOf, reading: SourceReading) -> Opened:
    folders, name = place
    experiment = SourceExperiment(
        name.partition(".")[0] or name,
        modified(path),
        {"format": format, "path": str(path.resolve())},
        tags=["imported", format],
        folders=folders,
    )

    def items(created: datetime) -> Iterator[Item]:
        names, content = rows_of(path, reading)
        yield from run_of(RUN, TableColumns.of(names, reading.options), content, created, reading)

    return Opened(experiment, items)


def modified(path: Path) -> datetime:
    """Return when a file was changed last."""
    return datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)


def run_of(run: str, columns: TableColumns, rows: Rows, created: datetime, reading: SourceReading) -> Iterator[Item]:
    """Yield the items of a run whose metrics are the rows of a table; it has ended, unless it is followed."""
    latest = created
    yield RunBegins(run, created)
    for event in events_of(run, columns, rows, created, reading):
        latest = max(latest, event.time)
        yield event
    yield from end_of(run, latest, None, lambda name: [], reading, length="", has_ends=False)


def events_of(run: str, columns: TableColumns, rows: Rows, created: datetime, reading: SourceReading) -> Iterator[SourceEvent]:
    """Yield an event for each row; without times they are a microsecond apart, so that their order shows everywhere."""
    used = {columns.step, columns.time, columns.name, columns.value, *columns.at}
    if columns.time is None:
        reading.note("the table has no times: events have that of the file")
    time = created
    for number, row in enumerate(rows):
        step = _step(row.get(columns.step)) if columns.step else None
        if columns.time is None:
            time = created + timedelta(microseconds=number)
        elif (cell := row.get(columns.time)) is not None:
            own = _time(cell, created)
            if own is None:
                reading.leave(f"cells of {columns.time} that are no times: their rows have the time of the one before")
            time = own or time
        at = {name: row[name] for name in columns.at if isinstance(row.get(name), (int, float, str))}
        data = {name: value for name, value in row.items() if name not in used}
        if columns.step and step is None and row.get(columns.step) is not None:
            data[columns.step] = row[columns.step]
        if columns.name is None:
            if data:
                yield SourceEvent(run, time, "metrics", data, "", step, at)
            continue
        name = row.get(columns.name)
        if name is None or columns.value is None or columns.value not in row:
            reading.leave("rows without a name or a value")
            continue
        coordinates = {key: value for key, value in data.items() if isinstance(value, (int, float, str))}
        if len(coordinates) < len(data):
            reading.leave("cells of coordinates that are neither numbers nor texts", len(data) - len(coordinates))
        at.update(coordinates)
        yield SourceEvent(run, time, "metrics", {str(name): row[columns.value]}, "", step, at)


def _step(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
        return int(value)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value else None


def _time(value: Any, created: datetime) -> datetime | None:
    """Return the moment in a cell: seconds or milliseconds since 1970, seconds since the beginning, or ISO 8601."""
    if isinstance(value, datetime):
        return value if value.tzinfo is not None else value.replace(tzinfo=timezone.utc)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if abs(value) < _SINCE_1970:
            return created + timedelta(seconds=value)
        return moment_ms(value) if abs(value) >= _MILLISECONDS else moment(value)
    return time_of(value)
