"""Events that reach an experiment twice: by two callbacks of one training, or by one that is in its list twice."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

_MOST = 64
"""Experiments whose latest event is remembered."""


class _Latest(threading.local):
    """The latest event of each experiment, in this thread: frameworks call the callbacks of an event one after the other."""

    def __init__(self) -> None:
        self.events: dict[str, tuple[object, object]] = {}


_latest = _Latest()
_rows: dict[str, LatestRows] = {}


def is_event_repeated(exp_id: str, event: object, step: object) -> bool:
    """Return whether the latest event of an experiment was this one, with this step; if not, it is from now on."""
    events = _latest.events
    latest = events.get(exp_id)
    if latest is not None and latest[0] is event and latest[1] == step:
        return True
    if latest is None:
        _make_room(events)
    events[exp_id] = event, step
    return False


class LatestRows:
    """The rows of metrics that an experiment gets from loggers of a framework, of which each comes to all of them."""

    __slots__ = ("_latest",)

    def __init__(self) -> None:
        self._latest: tuple[object, object, object, object, int] = (self, None, None, None, 0)
        """A row, its step, a copy, who logged it and how often it came from there; in one, for threads may log at once."""

    def forget(self) -> None:
        """Take the next row for a new one, whatever it is: a training is over."""
        self._latest = self, None, None, None, 0

    def is_repeated(self, row: Any, step: object, owner: object, times: Callable[[], int]) -> bool:
        """Return whether this row was the latest one, with the same values at the same step, from another owner.

        A script may log one mapping again and again, also with equal values: from one owner, it is the latest one only until
        it has come as often as the owner is in a list. `times` counts that.
        """
        latest, at, copy, first, number = self._latest
        if latest is row and are_equal(at, step) and are_equal(copy, row):
            if first is not owner:
                return True
            if number < times():
                self._latest = row, step, copy, owner, number + 1
                return True
        try:
            copy = row.copy()
        except Exception:  # no mapping that has one
            copy = None
        self._latest = row, step, copy, owner, 1
        return False


def times_listed(logger: object) -> int:
    """Return how often a logger is in the list by which a framework calls its loggers: once, as a rule.

    No framework tells. To look at all lists takes up to seconds where there are many objects.
    """
    lists = (each for each in gc.get_referrers(logger) if type(each) in (list, tuple))
    return max((sum(entry is logger for entry in each) for each in lists), default=1)


def rows_of(exp_id: str) -> LatestRows:
    """Return the rows of an experiment, which all its connections in this process share."""
    if exp_id not in _rows:
        _make_room(_rows)
    return _rows.setdefault(exp_id, LatestRows())


def are_equal(a: Any, b: Any) -> bool:
    """Return whether two rows are equal; arrays, which have no truth value, are not."""
    try:
        return bool(a == b)
    except Exception:
        return False


def _make_room(entries: dict[str, Any]) -> None:
    if len(entries) >= _MOST:
        del entries[next(iter(entries))]
