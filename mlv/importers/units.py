"""Opening the source of an experiment, and its items as they are counted and read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from mlv.audit.merge import Tree
from mlv.encoding import parse_time, shown
from mlv.errors import FileUnusable, MlvError
from mlv.experiment.importing.earlier import earlier_import
from mlv.experiment.importing.source import Item, SourceEvent, SourceExperiment, SourcePoints, SourceRows
from mlv.importers.reading import SourceReading, Unit


def opened(unit: Unit, reading: SourceReading, tree: Tree, events: Counter[str]) -> tuple[SourceExperiment, Iterator[Item]]:
    """Return the experiment of a source and its items, as they follow from what the tree has of it; count its events.

    Raises:
        FileUnusable: The source cannot be read.
    """
    try:
        source = unit.open(reading)
    except MlvError:
        raise
    except Exception as error:  # a damaged source must not end the import of the others
        raise _unusable(unit, error) from error
    experiment = source.experiment
    earlier = earlier_import(experiment, tree)
    if earlier is not None:
        # A source without times, or whose params may grow, goes by what was recorded first.
        experiment = replace(experiment, created=parse_time(earlier.meta["created"]))
        reading.recorded_metrics = earlier.metrics
        if source.may_gain_params:
            reading.recorded_params = earlier.meta["params"]
            experiment = replace(experiment, params=reading.recorded_params)
    return experiment, _watched(source.items(experiment.created), unit, events)


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
