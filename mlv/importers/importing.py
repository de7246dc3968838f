"""Importing sources: which experiments they hold, and bringing each of them into a tree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from mlv.audit.merge import Tree
from mlv.encoding import parse_time, shown
from mlv.errors import FileUnusable, InvalidArgument, MlvError
from mlv.experiment.importing.earlier import earlier_import
from mlv.experiment.importing.source import Item, SourceEvent, SourcePoints, SourceRows
from mlv.experiment.importing.writing import Imported, import_experiment
from mlv.importers.listing import SourceListing
from mlv.importers.reading import UNREADABLE, Options, SourceReading, Unit, unreadable
from mlv.importers.registry import FORMATS


@dataclass
class Outcome:
    """An experiment of a source, and what became of it."""

    unit: Unit
    imported: Imported | None = None
    events: Counter[str] = field(default_factory=Counter)
    """Number of events in the source, by type."""
    left: Counter[str] = field(default_factory=Counter)
    """How much did not come over, by reason."""
    notes: list[str] = field(default_factory=list)
    error: str = ""
    """The reason why none of it came over; empty if it did."""

    @property
    def is_whole(self) -> bool:
        """Whether all came over that the source has."""
        return not (self.left or self.error or (self.imported and self.imported.differences))

    def to_data(self) -> dict[str, Any]:
        """Return a mapping for JSON."""
        done = self.imported
        experiment = {"path": str(done.path), "id": done.id, "new": done.is_new, "lines": done.lines} if done else {}
        return {
            "source": str(self.unit.path), "format": self.unit.format, **experiment, "events": dict(self.events),
            "left": dict(self.left), "differences": done.differences if done else [], "notes": self.notes,
            "error": self.error or None,
        }  # fmt: skip


@dataclass
class Found:
    """The experiments in some sources, and the files that no format knows."""

    units: list[Unit]
    unknown: list[Path]
    outside: list[Path]
    """Links that lead out of the sources."""


def look_for(sources: Sequence[Path], format: str | None, options: Options) -> Found:
    """Return the experiments in sources; a format looks at the files of each that those before it did not take.

    Raises:
        InvalidArgument: There is no such format, or a source holds nothing that is known.
        OSError: A source is not there, or cannot be read.
    """
    if format is not None and format not in FORMATS:
        raise InvalidArgument(f"--from {format} is no format that mlv imports: {known_formats()}", format=format)
    found = Found([], [], [])
    for source in sources:
        listing = SourceListing(source, replace(options, is_named=format is not None))
        units = [unit for name in FORMATS if format in (None, name) for unit in _units(name, listing)]
        if not units:
            wanted = f"of format {format}: {FORMATS[format].recognised}" if format else f"that mlv knows: {known_formats()}"
            raise InvalidArgument(f"{source} holds nothing {wanted}", source=str(source))
        found.units += [replace(unit, root=listing.root) for unit in units]
        found.unknown += listing.files()
        found.outside += listing.outside
    return found


def _units(format: str, listing: SourceListing) -> Iterator[Unit]:
    try:
        yield from import_module(FORMATS[format].module).units(listing)
    except MlvError:
        raise
    except UNREADABLE as error:  # a file that none may read, or a hostile one, must not end the import of the others
        path = Path(error.filename) if isinstance(error, OSError) and isinstance(error.filename, str) else listing.source
        yield unreadable(format, path, 0, error)


def known_formats() -> str:
    """Return the formats, and how each is recognised, in words."""
    return "".join(f"\n  {name}: {known.recognised}" for name, known in FORMATS.items())


def bring(
    units: Iterable[Unit],
    root: Path,
    options: Options,
    *,
    dry_run: bool = False,
    advance: Callable[[int], object] | None = None,
) -> Iterator[Outcome]:
    """Import experiments into a tree, one after the other, and yield what became of each.

    One that cannot be read, or that another process changes meanwhile, does not keep the others from coming over.

    Raises:
        OSError: The tree cannot be written; what was imported before stays, and the next import goes on.
    """
    tree = Tree(root)
    paths: dict[str, Path] = {}
    for unit in units:
        outcome = Outcome(unit)
        reading = SourceReading(options, unit.root, advance or (lambda size: None), outcome.left, outcome.notes)
        try:
            outcome.imported = done = _imported(unit, reading, tree, paths.get(unit.parent), outcome.events, dry_run)
        except MlvError as error:
            outcome.error = str(error)
        else:
            if unit.key:
                paths[unit.key] = done.path
            outcome.left.update(done.rejected)
        yield outcome


def _imported(
    unit: Unit, reading: SourceReading, tree: Tree, below: Path | None, events: Counter[str], dry_run: bool
) -> Imported:
    try:
        opened = unit.open(reading)
    except MlvError:
        raise
    except Exception as error:  # a damaged source must not end the import of the others
        raise _unusable(unit, error) from error
    experiment = opened.experiment
    earlier = earlier_import(experiment, tree)
    if earlier is not None:
        # A source without times, or whose params may grow, goes by what was recorded first.
        experiment = replace(experiment, created=parse_time(earlier.meta["created"]))
        reading.recorded_metrics = earlier.metrics
        if opened.may_gain_params:
            reading.recorded_params = earlier.meta["params"]
            experiment = replace(experiment, params=reading.recorded_params)
    items = _watched(opened.items(experiment.created), unit, events)
    return import_experiment(experiment, items, tree, below=below, dry_run=dry_run)


def _watched(items: Iterator[Item], unit: Unit, events: Counter[str]) -> Iterator[Item]:
    """Yield items and count them; errors of the source are told from those of the tree."""
    try:
        for item in items:
            if type(item) is SourceEvent:
                events[item.type] += 1
            elif isinstance(item, (SourcePoints, SourceRows)):
                events["metrics"] += len(item.steps)
            yield item
    except MlvError:
        raise
    except Exception as error:
        raise _unusable(unit, error) from error


def _unusable(unit: Unit, error: Exception) -> FileUnusable:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else shown(error)
    return FileUnusable(f"{unit.path} cannot be read: {reason}", path=str(unit.path))
