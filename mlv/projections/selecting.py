"""Which events an output takes: by type, by verbosity, and by full name."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

from mlv.encoding import shown
from mlv.errors import InvalidArgument, InvalidPattern
from mlv.events import Event, prefix_of
from mlv.media.kinds import TYPES


@dataclass(frozen=True, slots=True)
class Selection:
    """A choice of events, made once and applied often."""

    search: Callable[[str], Any] | None
    """Finds the filter's pattern in a full name; None lets all pass."""
    verbosity: int | None
    types: frozenset[str] | None

    @property
    def takes_all(self) -> bool:
        """Whether every event passes as it is."""
        return self.search is None and self.verbosity is None and self.types is None

    def of(self, event: Event) -> Event | None:
        """Return the event, or only its selected metrics; None where nothing is selected."""
        if self.types is not None and event.type not in self.types:
            return None
        if self.verbosity is not None and event.verbosity > self.verbosity:
            return None
        if self.search is None or (event.type not in _NAMED and not event.name):
            return event
        if event.type in ("metrics", "summary") and isinstance(event.data, dict):
            prefix = prefix_of(event.name)
            data = {key: value for key, value in event.data.items() if self.search(prefix + key)}
            return replace(event, data=data) if data else None
        return event if self.search(event.name) else None


_NAMED = frozenset({"metrics", "summary", "event", "message"})
"""Types whose events a filter judges also where they have no name: structural ones pass."""


def selection(filter: str | None = None, verbosity: int | None = None, types: Collection[str] | None = None) -> Selection:
    """Check the options, and return the selection.

    Raises:
        InvalidPattern: The filter is no regular expression.
        InvalidArgument: The verbosity is no integer, or a type is none of format 1.
    """
    if verbosity is not None and type(verbosity) is not int:
        raise InvalidArgument(f"verbosity={shown(verbosity)}: give an integer, such as 0", verbosity=verbosity)
    return Selection(compiled(filter).search if filter is not None else None, verbosity, _checked_types(types))


def compiled(pattern: str) -> re.Pattern[str]:
    """Return the regular expression of a filter.

    Raises:
        InvalidPattern: It is none.
    """
    if not isinstance(pattern, str):
        raise InvalidPattern(f"filter={shown(pattern)} is of type {type(pattern).__name__}: give a text", pattern=pattern)
    try:
        return re.compile(pattern)
    except re.error as error:
        raise InvalidPattern(f"filter={pattern!r} is no regular expression: {error}", pattern=pattern) from None


def _checked_types(types: Collection[str] | None) -> frozenset[str] | None:
    if types is None:
        return None
    try:
        names = frozenset((types,) if isinstance(types, str) else types)
    except TypeError:
        raise InvalidArgument(f"types={shown(types)}: give a list of types, such as ['metrics']", types=types) from None
    for name in names - TYPES:
        raise InvalidArgument(f"types: {shown(name)} is no type of event; they are {', '.join(sorted(TYPES))}", types=types)
    return names
