"""Rows of sources that grow at several ends: files side by side, each of which may be behind the others when it is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from mlv.experiment.importing.source import SourceEvent
from mlv.importers.reading import SourceReading


def behind_recorded(rows: Iterable[SourceEvent], run: str, reading: SourceReading, *, is_timed: bool) -> Iterator[SourceEvent]:
    """Yield the rows that earlier imports recorded, in their order, then those values that the source has beside them.

    A row of which one file had its value and another one had not is so completed by a second one of its step, and no value
    is there twice.

    Args:
        rows: Of metrics, in the order that a first import records.
        run: Name of their run.
        reading: Knows what was recorded.
        is_timed: Whether values of one metric and step are told apart by their times: the source has them.
    """
    rows = iter(rows)
    recorded: Counter[int] = Counter()
    waiting: list[SourceEvent] = []
    is_ahead = True
    for event in reading.recorded_metrics(run):
        before = SourceEvent(run, event.time, "metrics", dict(event.data), event.name, event.step, event.at)
        keys = [_key(before, name, is_timed) for name in before.data]
        if is_ahead:  # nearly always the source begins with what was recorded: then nothing has to be remembered
            waiting = list(islice(rows, 1))
            is_ahead = bool(waiting) and keys == [_key(waiting[0], name, is_timed) for name in waiting[0].data]
        if is_ahead:
            waiting.clear()
        else:
            recorded.update(keys)
        yield before
    for row in chain(waiting, rows):
        if recorded:
            missing = [name for name in row.data if not _taken(recorded, _key(row, name, is_timed))]
            row = row._replace(data={name: row.data[name] for name in missing})
        if row.data:
            yield row
    if recorded and not reading.options.follows:
        reading.leave("values of an earlier import that the source has otherwise by now", sum(recorded.values()))


def _key(row: SourceEvent, name: str, is_timed: bool) -> int:
    value = row.data[name]
    known = value if isinstance(value, (int, float, str)) and value == value else repr(value)
    return hash((row.time if is_timed else None, row.step, name, known))


def _taken(recorded: Counter[int], key: int) -> bool:
    """Return whether a value was recorded, and count it off."""
    if not recorded[key]:
        del recorded[key]
        return False
    recorded[key] -= 1
    if not recorded[key]:
        del recorded[key]
    return True
