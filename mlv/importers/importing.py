"""Importing sources: which experiments they hold, and bringing each of them into a tree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from mlv.audit.merge import Tree
from mlv.errors import ExperimentBusy, InvalidArgument, MlvError
from mlv.executors import On
from mlv.experiment.importing.writing import Imported, PreparedExperiment, import_experiment, is_outdated, place
from mlv.importers.elsewhere import Made, made_elsewhere
from mlv.importers.listing import SourceListing
from mlv.importers.reading import UNREADABLE, Options, SourceReading, Unit, unreadable
from mlv.importers.registry import FORMATS
from mlv.importers.units import opened


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
    units: Sequence[Unit],
    root: Path,
    options: Options,
    *,
    dry_run: bool = False,
    advance: Callable[[int], object] | None = None,
    on: On = None,
) -> Iterator[Outcome]:
    """Import experiments into a tree, and yield what became of each, in their order.

    One that cannot be read, or that another process changes meanwhile, does not keep the others from coming over. `on` says
    where the sources are read, as `executor_of` does: the tree is the same.

    Raises:
        OSError: The tree cannot be written; what was imported before stays, and the next import goes on.
        InvalidArgument, MissingExtra, TaskNotDone: As `made_elsewhere`.
    """
    tree = Tree(root)
    paths: dict[str, Path] = {}
    advance = advance or (lambda size: None)
    with made_elsewhere(units, root, options, dry_run, on) as made_of:
        for unit in units:
            made = made_of(unit)
            outcome = None if made is None else _taken(unit, made, tree)
            if outcome is None:
                outcome = _imported(unit, options, advance, tree, paths.get(unit.parent), dry_run)
            else:
                advance(unit.size_bytes)
            if outcome.imported is not None:
                if unit.key:
                    paths[unit.key] = outcome.imported.path
                outcome.left.update(outcome.imported.rejected)
            yield outcome


def _imported(
    unit: Unit, options: Options, advance: Callable[[int], object], tree: Tree, below: Path | None, dry_run: bool
) -> Outcome:
    outcome = Outcome(unit)
    reading = SourceReading(options, unit.root, advance, outcome.left, outcome.notes)
    try:
        experiment, items = opened(unit, reading, tree, outcome.events)
        outcome.imported = import_experiment(experiment, items, tree, below=below, dry_run=dry_run)
    except MlvError as error:
        outcome.error = str(error)
    return outcome


def _taken(unit: Unit, made: Made, tree: Tree) -> Outcome | None:
    """Move what a worker made into the tree; None where that has changed since, so that it has to be made again."""
    done = made.done
    if isinstance(done, PreparedExperiment):
        if is_outdated(done, tree):
            return None
        try:
            done = place(done, tree)
        except ExperimentBusy:
            return None
        except MlvError as error:
            made.error = str(error)
            done = None
    return Outcome(unit, done, made.events, made.left, made.notes, made.error)
