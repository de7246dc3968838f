"""Events that reach an experiment twice: by two callbacks of one training, or by one that is in its list twice."""

from __future__ import annotations

import threading
from typing import Any

_MOST = 64
"""Experiments whose latest event is remembered."""


class _Latest(threading.local):
    """The latest event of each experiment, in this thread: frameworks call the callbacks of an event one after the other."""

    def __init__(self) -> None:
        self.events: dict[str, tuple[object, object]] = {}


_latest = _Latest()
_rows: dict[str, Rows] = {}


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


class Rows:
    """The rows of metrics that an experiment gets from loggers of a framework, of which each comes to all of them."""

    __slots__ = ("_copy", "_latest", "_owner", "_step")

    def __init__(self) -> None:
        self._latest: object = self
        self._step: object = None
        self._owner: object = None
        self._copy: Any = None

    def is_repeated(self, row: Any, step: object, owner: object) -> bool:
        """Return whether this row was the latest one, from another owner, or with the same values at the same step.

        A script may log one mapping again and again, and without steps: from one owner it comes twice where nothing differs.
        """
        if (
            self._latest is row
            and self._step == step
            and (self._owner is not owner or (step is not None and are_equal(self._copy, row)))
        ):
            return True
        self._latest, self._step, self._owner = row, step, owner
        self._copy = row.copy() if hasattr(row, "copy") else None
        return False


def rows_of(exp_id: str) -> Rows:
    """Return the rows of an experiment, which all its connections in this process share."""
    if exp_id not in _rows:
        _make_room(_rows)
    return _rows.setdefault(exp_id, Rows())


def are_equal(a: Any, b: Any) -> bool:
    """Return whether two rows are equal; arrays, which have no truth value, are not."""
    try:
        return bool(a == b)
    except Exception:
        return False


def _make_room(entries: dict[str, Any]) -> None:
    if len(entries) >= _MOST:
        del entries[next(iter(entries))]
