"""The order of the events of an experiment: within a run `seq` decides, whatever the clock did, and between runs time.

The moment of an event is the latest time among the events of its run up to it. Events are in the order of moment, run and
`seq`. Only the events that a reader looks at count: in every reader, the last value of a metric is decided by the lines of
type `metrics` that no rewind superseded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any, TypeVar

T = TypeVar("T")

Key = tuple[Any, Any, int]
"""Moment, run and `seq`."""


def keyed(items: Iterable[T], event_of: Callable[[T], tuple[Any, int, Any]]) -> list[tuple[Key, T]]:
    """Return items with their sort keys, each run by `seq`.

    Args:
        items: Items of any type.
        event_of: Returns the run, `seq` and time of an item; times of one type, such as texts or `datetime`.
    """
    result: list[tuple[Key, T]] = []
    run, moment = None, None
    by_seq = sorted(((event_of(item), item) for item in items), key=lambda pair: pair[0][:2])
    for (owner, seq, time), item in by_seq:
        run, moment = owner, time if run is None or owner != run or time > moment else moment
        result.append(((moment, run, seq), item))
    return result


def in_order(items: Iterable[T], event_of: Callable[[T], tuple[Any, int, Any]]) -> list[T]:
    """Return items in the order of their events; `event_of` as in `keyed`."""
    return [item for _, item in sorted(keyed(items, event_of), key=itemgetter(0))]


def rows_in_order(runs: Any, names: Any, seqs: Any, times: Any) -> Any:
    """Return the indices of the rows in the order of their events.

    Args:
        runs: An array: for each row, the number of its run.
        names: The IDs of the runs, by these numbers.
        seqs: An array.
        times: An array of integers.
    """
    import numpy as np  # arrays are only where it is

    order = np.lexsort((seqs, runs))
    if len(names) < 2:
        return order
    by_run, times = runs[order], times[order]
    ends: Any = np.flatnonzero(np.diff(by_run)) + 1
    moments = np.concatenate([np.maximum.accumulate(times_of_run) for times_of_run in np.split(times, ends)])
    ranks: Any = np.empty(len(names), np.int64)
    ranks[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
    return order[np.lexsort((seqs[order], ranks[by_run], moments))]
