"""Which metrics are wanted, and where their values stand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from mlv.errors import InvalidArgument, UnknownMetric
from mlv.optional import package
from mlv.query.metrics.columns import MetricColumns
from mlv.query.metrics.long_table import full_names
from mlv.query.metrics.schema import EXACT
from mlv.query.name_patterns import NamePattern


@dataclass
class Choice:
    """Which metrics are wanted."""

    pattern: NamePattern | None
    keys: list[str] | None

    def column(self, name: str) -> tuple[str, dict[str, Any]] | None:
        """The column of a metric and what the braces stand for; None if it is not wanted."""
        if self.keys is not None and name not in self.keys:
            return None
        if self.pattern is None:
            return name, {}
        found = self.pattern.match(name)
        return None if found is None else (self.pattern.folded(name), found)

    def refuse_unknown(self, known: Iterable[str]) -> None:
        """Raise if a metric that is named was logged by nobody."""
        names = list(known)
        wanted = list(self.keys or ())
        if self.pattern is not None and self.pattern.names_one:
            wanted.append(self.pattern.text.replace("{{", "{").replace("}}", "}"))
        for name in wanted:
            if name not in names:
                close = get_close_matches(name, names, n=3) or sorted(names)[:5]
                there = f"there is {', '.join(map(repr, close))}" if close else "there are no metrics yet"
                raise UnknownMetric(f"nobody logged the metric {name!r}: {there}", name=name)


def checked_keys(keys: Iterable[str] | None) -> list[str] | None:
    """Accept full names of metrics.

    Raises:
        InvalidArgument: They are no names.
    """
    if keys is None:
        return None
    found = [keys] if isinstance(keys, str) else list(keys)
    for key in found:
        if not isinstance(key, str):
            raise InvalidArgument(f"keys={key!r:.100} is no name: give full names of metrics, such as 'train/loss'", keys=key)
    return list(dict.fromkeys(found))


@dataclass
class Entry:
    """One key of lines that are alike: the numbers of the lines, and where their values stand."""

    column: str
    name: str
    captures: tuple[Any, ...]
    lines: Any
    places: Any


def entries_of(points: MetricColumns, choice: Choice, known: dict[str, None]) -> list[Entry]:
    """Where the values that are wanted stand, the first that was logged first; names of all metrics are added to `known`."""
    np = package("numpy")
    prefix_texts, key_texts = points.texts_of["name"], points.texts_of["keys"]
    is_one = len(prefix_texts) == len(key_texts) == 1
    codes = points.codes["keys"] if is_one else points.codes["name"].astype(np.int64) * len(key_texts) + points.codes["keys"]
    pairs, firsts = ([0], [0]) if is_one else np.unique(codes, return_index=True)
    entries = []
    for pair in (int(pairs[place]) for place in np.argsort(firsts)):
        names = full_names(prefix_texts[pair // len(key_texts)], key_texts[pair % len(key_texts)])
        known.update(dict.fromkeys(names))
        lines = points.every if len(pairs) == 1 else np.flatnonzero(codes == pair)
        for number, name in enumerate(names):
            found = choice.column(name)
            if found is not None:
                column, captures = found
                is_even = len(pairs) == 1 and points.first is None
                places = range(number, len(points.values), len(names)) if is_even else points.firsts(lines) + number
                entries.append(Entry(column, name, tuple(captures.values()), lines, places))
    return entries


def plain_step(step: float) -> Any:
    """A step as it was logged, in all likelihood: an integer where it can be one, None for NaN."""
    return None if step != step else int(step) if step.is_integer() and abs(step) <= EXACT else step
