"""The end of a run, and what a source tells without a time: last words, files, totals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from mlv.experiment.importing.source import Item, RunBegins, RunEnds, SourceEvent
from mlv.importers.reading import SourceReading


def end_of(
    run: str,
    time: datetime,
    status: str | None,
    last: Callable[[str], Iterable[SourceEvent]],
    reading: SourceReading,
    *,
    length: str,
    has_ends: bool = True,
    exception: Mapping[str, Any] | None = None,
) -> Iterator[Item]:
    """Yield the last events of a run, and its end; without a status, the source does not tell whether it has one.

    Such a run may go on. Then its last events stand in a run of their own, behind all else: in its own they would stand where
    the next one comes.

    Args:
        run: Its name.
        time: Of all of that.
        status: How it ended.
        last: Returns the last events, of a run of that name.
        reading: Whether the source is followed: then nothing is yielded before a status is known.
        length: How much of the source there is: tells such a run from one of an earlier import.
        has_ends: Whether the format records ends at all: then it is said that there is none.
        exception: What ended it.
    """
    if status is not None:
        yield from last(run)
        yield RunEnds(run, time, status, exception)
        return
    if has_ends:
        reading.note("a run has no end in its source: it goes on, or was killed")
    if not reading.options.follows:
        yield RunEnds(run, time, "ended")
        name = f"{run} after {length}"
        events = list(last(name))
        if events:
            yield RunBegins(name, time, parent=run)
            yield from events
            yield RunEnds(name, time, "ended")
