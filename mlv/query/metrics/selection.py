"""The selection of metrics, and the indices of their values."""

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
    """The requested metrics."""

    pattern: NamePattern | None
    keys: list[str] | None

    def column(self, name: str) -> tuple[str, dict[str, Any]] | None:
        """Return the column of a metric and the captures of the braces; None if the metric is not requested."""
        if self.keys is not None and name not in self.keys:
            return None
        if self.pattern is None:
            return name, {}
        captures = self.pattern.match(name)
        return None if captures is None else (self.pattern.folded(name), captures)

    def refuse_unknown(self, logged_names: Iterable[str]) -> None:
        """Raise if a metric that is requested by its name was never logged."""
        names = list(logged_names)
        requested = list(self.keys or ())
        if self.pattern is not None and self.pattern.is_one_name:
            requested.append(self.pattern.text.replace("{{", "{").replace("}}", "}"))
        for name in requested:
            if name not in names:
                close = get_close_matches(name, names, n=3) or sorted(names)[:5]
                hint = f"there is {', '.join(map(repr, close))}" if close else "there are no metrics yet"
                raise UnknownMetric(f"nobody logged the metric {name!r}: {hint}", name=name)


def checked_keys(keys: Iterable[str] | None) -> list[str] | None:
    """Accept full names of metrics.

    Raises:
        InvalidArgument: They are no names.
    """
    if keys is None:
        return None
    names = [keys] if isinstance(keys, str) else list(keys)
    for key in names:
        if not isinstance(key, str):
            raise InvalidArgument(f"keys={key!r:.100} is no name: give full names of metrics, such as 'train/loss'", keys=key)
    return list(dict.fromkeys(names))


@dataclass
class Entry:
    """One key of lines that are alike: the line numbers, and the indices of its values."""

    column: str
    name: str
    captures: tuple[Any, ...]
    lines: Any
    indices: Any


def entries_of(points: MetricColumns, choice: Choice, logged_names: dict[str, None]) -> list[Entry]:
    """Return an entry for each requested metric, in the order of logging; add the names of all metrics to `logged_names`."""
    np = package("numpy")
    prefix_texts, key_texts = points.texts_of["name"], points.texts_of["keys"]
    # Most logs write one set of names: then no row has to be looked at to know its metric.
    is_one = len(prefix_texts) == len(key_texts) == 1
    codes = points.codes["keys"] if is_one else points.codes["name"].astype(np.int64) * len(key_texts) + points.codes["keys"]
    pairs, firsts = ([0], [0]) if is_one else np.unique(codes, return_index=True)
    entries = []
    for pair in (int(pairs[index]) for index in np.argsort(firsts)):
        names = full_names(prefix_texts[pair // len(key_texts)], key_texts[pair % len(key_texts)])
        logged_names.update(dict.fromkeys(names))
        lines = points.every if len(pairs) == 1 else np.flatnonzero(codes == pair)
        for number, name in enumerate(names):
            chosen = choice.column(name)
            if chosen is not None:
                column, captures = chosen
                is_even = len(pairs) == 1 and points.first is None
                indices = range(number, len(points.values), len(names)) if is_even else points.firsts(lines) + number
                entries.append(Entry(column, name, tuple(captures.values()), lines, indices))
    return entries


def series_of(points: MetricColumns) -> dict[str, tuple[Any, Any]]:
    """Return line numbers and indices of the values of each metric, in the order of logging, by the order of first lines."""
    np = package("numpy")
    by_name: dict[str, list[Entry]] = {}
    for entry in entries_of(points, Choice(None, None), {}):
        by_name.setdefault(entry.name, []).append(entry)
    result = {}
    for name in sorted(by_name, key=lambda name: min(int(entry.lines[0]) for entry in by_name[name])):
        entries = by_name[name]
        lines = np.concatenate([entry.lines for entry in entries])
        indices = np.concatenate([np.asarray(entry.indices) for entry in entries])
        if len(entries) > 1:
            order = np.lexsort((indices, lines))
            lines, indices = lines[order], indices[order]
        result[name] = lines, indices
    return result


def plain_step(step: float) -> Any:
    """Return a step as it was most likely logged: an integer where it can be one, None for NaN."""
    return None if step != step else int(step) if step.is_integer() and abs(step) <= EXACT else step
