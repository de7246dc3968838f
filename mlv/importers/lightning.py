"""Folders of Lightning's CSVLogger: `metrics.csv`, `hparams.yaml`, and the checkpoints beside them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from mlv.experiment.importing.source import Item, RunBegins, SourceEvent, SourceExperiment, SourceFile
from mlv.importers import csv_files, tables, yaml_files
from mlv.importers.endings import end_of
from mlv.importers.listing import SourceListing, size_of
from mlv.importers.reading import Opened, SourceReading, Unit
from mlv.store.contents import content_of

NAME = "lightning"
_METRICS, _HPARAMS = "metrics.csv", "hparams.yaml"
_COLUMNS = frozenset({"epoch", "step"})
"""Of every table of it."""
_RUN = "fit"
_LAST = "last"


def units(listing: SourceListing) -> Iterator[Unit]:
    """Yield the folders with metrics and hyperparameters."""
    for folder, names in list(listing.folders.items()):
        is_alone = listing.is_file  # a table that was named may be anybody's
        if _METRICS in names and (_HPARAMS in names or (not is_alone and _has_columns(folder / _METRICS))):
            checkpoints = [path for path in listing.below(folder) if path.suffix == ".ckpt"]
            listing.take([folder / _METRICS, folder / _HPARAMS, *checkpoints])
            yield Unit(
                NAME, folder, size_of([folder / _METRICS]), _LightningFolder(folder, listing.place(folder), checkpoints).open
            )


def _has_columns(path: Path) -> bool:
    return _COLUMNS.issubset(csv_files.header_of(path))


class _LightningFolder:
    """A version of a fit."""

    def __init__(self, folder: Path, place: tuple[tuple[str, ...], str], checkpoints: list[Path]) -> None:
        self._folder, self._place, self._checkpoints = folder, place, checkpoints

    def open(self, reading: SourceReading) -> Opened:
        """Return the experiment, and its items."""
        folders, name = self._place
        settings = self._folder / _HPARAMS
        if not settings.exists():
            reading.leave(f"{_HPARAMS} that is gone")
        params = yaml_files.mapping_of(settings, reading)
        identity = {"format": NAME, "path": str(self._folder.resolve())}
        experiment = SourceExperiment(
            name,
            tables.modified(settings if settings.exists() else self._folder / _METRICS),
            identity,
            params,
            tags=["imported", NAME],
            folders=folders,
        )
        return Opened(experiment, lambda created: self._items(created, reading))

    def _items(self, created: datetime, reading: SourceReading) -> Iterator[Item]:
        names, rows = csv_files.rows_of(self._folder / _METRICS, reading)
        columns = tables.TableColumns.of(names, reading.options)
        latest, count = created, 0
        yield RunBegins(_RUN, created)
        for event in tables.events_of(_RUN, columns, rows, created, reading):
            latest, count = max(latest, event.time), count + 1
            yield event

        def checkpoints(run: str) -> Iterator[SourceEvent]:
            for path in sorted(self._checkpoints):
                name = path.relative_to(self._folder).as_posix()
                file = SourceFile(path, path.suffix, is_linked=not path.name.startswith(_LAST))  # which is written again
                yield SourceEvent(run, latest, "file", file, name)

        # Checkpoints come and go between two rows, and the last one is written again.
        length = f"{count} rows and {', '.join(map(self._state, sorted(self._checkpoints)))}"
        yield from end_of(_RUN, latest, None, checkpoints, reading, length=length, has_ends=False)

    def _state(self, path: Path) -> str:
        content = content_of(path).sha256 if path.name.startswith(_LAST) else str(size_of([path]))
        return f"{path.relative_to(self._folder).as_posix()} {content}"
