"""Events of a logger as changes of the columns of its `log_<seed>.hdf5`; only this module knows both forms."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from numbers import Integral, Real
from typing import Any, NamedTuple

from mlv import Event

PREFIX = "mle_logging"
"""Name of the events that are no measurement."""
META, ADDED, PLACED = f"{PREFIX}/meta", f"{PREFIX}/added", f"{PREFIX}/placed"
FILE = f"{PREFIX}/file"
CLOCK = ("time", "time_elapsed", "num_updates")
"""The time variables that every update has."""
_IRREGULAR = "irregular"
_TIME_FORMAT = "%y-%m-%d/%H:%M"
_STEP = re.compile(r"step_*\Z")


class Change(NamedTuple):
    """A change of one column: a value is appended to it, or placed in it."""

    group: str
    """`stats`, `time` or `meta`."""
    key: str
    value: Any
    slot: int | None = None
    """The index that it is placed at; None appends it."""
    is_whole: bool = False
    """Whether the value is a list that replaces the whole column."""


def changes(event: Event) -> Iterator[Change]:
    """Yield the changes of an event, in the order of the columns; none where the event is not a logger's."""
    if not isinstance(event.data, Mapping) or event.stream != "log":
        return
    if event.type == "metrics" and not event.name and event.at:
        yield from _row(event)
    elif event.type == "event" and event.name == META:
        for key, values in event.data.items():
            yield Change("meta", key, list(values), is_whole=True)
    elif event.type == "event" and event.name in (ADDED, PLACED):
        slot = event.data["slot"] if event.name == PLACED else None
        for key, value in event.data["values"].items():
            yield Change("meta", key, value, slot)


def _row(event: Event) -> Iterator[Change]:
    if "num_updates" in event.at:
        yield Change("time", "time", event.at.get("time") or event.time.astimezone().strftime(_TIME_FORMAT))
        for name, value in event.at.items():
            if name != "time":
                yield Change("time", _of_coordinate(name), plain(value))
    elif _IRREGULAR not in event.at:
        return
    for name, value in event.data.items():
        yield Change("stats", name, value)


def coordinates(clock: Mapping[str, Any]) -> dict[str, Any]:
    """Return the time variables of an update in a form that coordinates take: a number that is not finite is a text."""
    values = {_as_coordinate(name): plain(value) for name, value in clock.items()}
    return {name: str(value) if type(value) is float and not math.isfinite(value) else value for name, value in values.items()}


def irregular(index: int) -> dict[str, Any]:
    """Return the coordinates of a value of which only its index in the series is known."""
    return {_IRREGULAR: index}


def _as_coordinate(name: str) -> str:
    """Return the coordinate for a time variable; `step` is the event's own, so it gets another name."""
    return f"{name}_" if _STEP.match(name) else name


def _of_coordinate(name: str) -> str:
    return name[:-1] if _STEP.match(name) else name


def plain(value: Any) -> Any:
    """Return a measured value as a number, a list of numbers, a text or None; it never raises."""
    kind = type(value)
    if kind is float or kind is int or value is None:
        return value
    try:
        return _plain(value)
    except Exception:  # the methods of a value may raise anything; training goes on
        return _text(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, str):
        return _number_in(value)
    if hasattr(value, "detach"):  # a tensor: its values may be on a device, or of a type that numpy does not know
        value = value.detach().cpu()
        return value.double().tolist() if value.is_floating_point() else value.tolist()
    if hasattr(value, "tolist"):
        return _plain_list(value.tolist())
    if isinstance(value, (list, tuple)):
        return _plain_list(value)
    return float(value)


def _number_in(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def _plain_list(value: Any) -> Any:
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else plain(value)


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"
