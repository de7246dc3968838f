"""Folders of DVCLive: `metrics.json`, a table for each metric in `plots/metrics`, `params.yaml`, plots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

from mlv.experiment.importing.source import Item, RunBegins, SourceEvent, SourceExperiment, SourceFile
from mlv.importers import tables, yaml_files
from mlv.importers.csv_files import rows_of
from mlv.importers.endings import end_of
from mlv.importers.growing import behind_recorded
from mlv.importers.listing import SourceListing, size_of
from mlv.importers.reading import Opened, SourceReading, Unit
from mlv.importers.values import moment_ms, rows_of_moment

NAME = "dvclive"
_TOTALS, _PARAMS, _SERIES = "metrics.json", "params.yaml", Path("plots/metrics")
_RUN = "live"
_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".svg")


def units(listing: SourceListing) -> Iterator[Unit]:
    """Yield the folders of runs."""
    for folder, names in list(listing.folders.items()):
        series = [path for path in listing.below(folder / _SERIES) if path.suffix == ".tsv"]
        if series and (_TOTALS in names or _PARAMS in names):
            others = [path for path in listing.below(folder / "plots") if path not in series]
            own = [folder / name for name in names if name in (_TOTALS, _PARAMS, "dvc.yaml", "report.md", "report.html")]
            listing.take([*series, *others, *own])
            yield Unit(NAME, folder, size_of(series), _DVCLiveFolder(folder, listing.place(folder), series, others).open)


class _DVCLiveFolder:
    """The folder of a run."""

    def __init__(self, folder: Path, place: tuple[tuple[str, ...], str], series: list[Path], others: list[Path]) -> None:
        self._folder, self._place, self._series, self._others = folder, place, series, others

    def open(self, reading: SourceReading) -> Opened:
        """Return the experiment, and its items."""
        folders, name = self._place
        params = yaml_files.mapping_of(self._folder / _PARAMS, reading)
        experiment = SourceExperiment(
            name,
            min(tables.modified(path) for path in self._series),
            {"format": NAME, "path": str(self._folder.resolve())},
            params,
            tags=["imported", NAME],
            folders=folders,
        )
        return Opened(experiment, lambda created: self._items(params, created, reading), may_gain_params=True)

    def _items(self, params: dict[str, Any], created: datetime, reading: SourceReading) -> Iterator[Item]:
        points = sorted(self._points(reading), key=lambda point: point[:2])
        if reading.options.follows:  # metrics of the last step may still come
            points = [point for point in points if point[0] < points[-1][0]]
        yield RunBegins(_RUN, created)
        time, steps = created, set[Any]()
        for row in behind_recorded(_rows(points, created), _RUN, reading, is_timed=False):
            time = max(time, row.time)
            steps.add(row.step)
            yield row
        count = len(steps)

        def last(run: str) -> Iterator[SourceEvent]:
            if added := reading.params_to_add(params):
                yield SourceEvent(run, time, "params", added)
            for path in self._others:
                name = path.relative_to(self._folder / "plots").as_posix()
                file = SourceFile(path, path.suffix)
                if path.suffix.lower() in _PICTURES:
                    yield SourceEvent(run, time, "image", {"file": file}, name.rpartition(".")[0])
                else:
                    yield SourceEvent(run, time, "file", file, f"plots/{name}")

        yield from end_of(
            _RUN, time, None, last, reading, length=f"{count} steps and {len(self._others)} plots", has_ends=False
        )

    def _points(self, reading: SourceReading) -> Iterator[tuple[Any, str, Any, Any]]:
        """Yield step, name, value and, where it is there, the time in milliseconds."""
        for path in self._series:
            name = path.relative_to(self._folder / _SERIES).with_suffix("").as_posix()
            names, rows = rows_of(path, reading)
            column = next((column for column in reversed(names) if column not in ("step", "timestamp")), None)
            for row in rows:
                if column is None or column not in row or not isinstance(row.get("step"), (int, float)):
                    reading.leave("rows without a step or a value")
                else:
                    yield row["step"], name, row[column], row.get("timestamp")


def _rows(points: Iterable[tuple[Any, str, Any, Any]], created: datetime) -> Iterator[SourceEvent]:
    """Yield a row for each step; without times they are a microsecond apart."""
    for count, (step, of_step) in enumerate(groupby(points, key=lambda point: point[0])):
        group = list(of_step)
        stamp = group[0][3]
        known = moment_ms(stamp) if isinstance(stamp, (int, float)) else None
        for row in rows_of_moment((name, value) for _, name, value, _ in group):
            yield SourceEvent(_RUN, known or created + timedelta(microseconds=count), "metrics", row, "", step)
