"""Tables that W&B's page gives out of a chart: `run name - metric`, with the least and greatest of what a point stands for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from mlv.experiment.importing.source import Item, RunBegins, SourceExperiment
from mlv.importers import csv_files, tables
from mlv.importers.endings import end_of
from mlv.importers.listing import SourceListing, size_of
from mlv.importers.reading import Opened, SourceReading, Unit

NAME = "wandb-export"
_LEAST, _GREATEST = "__MIN", "__MAX"
_BETWEEN = " - "
_STEP = "_step"
_STEPS = ("step", "_step", "global_step", "trainer/global_step")
_TIMES = ("_timestamp", "wall time")
_RUN = "chart"


class _Curve(NamedTuple):
    """The columns of a run."""

    run: str
    """Empty where the chart is of one run, and does not name it."""
    step: str | None
    metrics: dict[str, str]
    """Column of each metric."""


def units(listing: SourceListing) -> Iterator[Unit]:
    """Yield the runs of the charts."""
    for path in list(listing.files()):
        if not path.name.lower().endswith(".csv"):
            continue
        names = csv_files.header_of(path)
        curves = _curves(names)
        if curves:
            listing.take([path])
            folders, name = listing.place(path)
            stem = name.rpartition(".")[0]
            for curve in curves:
                place = ((*folders, stem), curve.run) if curve.run else (folders, stem)
                size_bytes = size_of([path]) // len(curves)
                yield Unit(NAME, path, size_bytes, partial(_opened, path, names[0], curve, place))


def _curves(columns: list[str]) -> list[_Curve]:
    """Return the columns by their runs; none where a table is no chart."""
    present = set(columns)
    curves: dict[str, _Curve] = {}
    sampled = [name for name in columns if name + _LEAST in present and name + _GREATEST in present]
    named = [name.removesuffix(f"{_BETWEEN}{_STEP}") for name in sampled if name.endswith(f"{_BETWEEN}{_STEP}")]
    for column in sampled:
        # Of two names that begin alike the longer one: it may itself hold what stands between.
        run = max((run for run in named if column.startswith(run + _BETWEEN)), key=len, default=None)
        if run is None:  # a name of a run is more likely to hold a dash than that of a metric
            run = column.rpartition(_BETWEEN)[0]
        metric = column.removeprefix(run + _BETWEEN) if run else column
        curve = curves.setdefault(run, _Curve(run, None, {}))
        if metric == _STEP:
            curves[run] = curve._replace(step=column)
        else:
            curve.metrics[metric] = column
    return list(curves.values())


def _opened(path: Path, x: str, curve: _Curve, place: tuple[tuple[str, ...], str], reading: SourceReading) -> Opened:
    folders, name = place
    identity = {"format": NAME, "path": str(path.resolve()), **({"run": curve.run} if curve.run else {})}
    experiment = SourceExperiment(name, tables.modified(path), identity, tags=["imported", NAME], folders=folders)
    return Opened(experiment, lambda created: _items(path, x, curve, created, reading))


def _items(path: Path, x: str, curve: _Curve, created: datetime, reading: SourceReading) -> Iterator[Item]:
    _, rows = csv_files.rows_of(path, reading)
    columns = tables.TableColumns(None, x if x.lower() in _TIMES else None, None, None, ())
    yield RunBegins(_RUN, created)
    latest = created
    for event in tables.events_of(_RUN, columns, _cells(x, curve, rows, reading), created, reading):
        latest = max(latest, event.time)
        data = dict(event.data)
        step, at = data.pop(_STEP, None), {x: data.pop(x)} if x in data else {}
        if step is None and type(at.get(x)) is int:
            step = at[x]
        if x.lower() in _STEPS:
            at = {}
        yield event._replace(data=data, step=step, at=at)
    yield from end_of(_RUN, latest, None, lambda run: [], reading, length="", has_ends=False)


def _cells(x: str, curve: _Curve, rows: tables.Rows, reading: SourceReading) -> Iterator[Mapping[str, Any]]:
    """Yield the cells of a run: of a point that stands for several also the least and the greatest."""
    for row in rows:
        cells: dict[str, Any] = {}
        for metric, column in curve.metrics.items():
            if column not in row:
                continue
            cells[metric] = row[column]
            for ending, word in ((_LEAST, "min"), (_GREATEST, "max")):
                if row.get(column + ending, row[column]) != row[column]:
                    cells[f"{metric}/{word}"] = row[column + ending]
                    reading.note("points of the chart stand for several: their least and greatest are NAME/min and NAME/max")
        if cells:
            if x in row:
                cells[x] = row[x]
            if curve.step is not None and type(row.get(curve.step)) is int:
                cells[_STEP] = row[curve.step]
            yield cells
