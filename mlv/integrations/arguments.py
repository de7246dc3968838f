"""Arguments that callbacks share, checked before the run of a framework begins."""

from __future__ import annotations

from typing import Any

from mlv import InvalidArgument


def checked_interval(name: str, value: Any) -> int | None:
    """Accept a number of steps between two actions, or None for no such action.

    Raises:
        InvalidArgument: It is no whole number above 0.
    """
    if value is None or (type(value) is int and value > 0):
        return value
    raise InvalidArgument(f"{name}={value!r:.100}: give a whole number above 0, such as 10", argument=name)
