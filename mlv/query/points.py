"""The lines of type `metrics` of an experiment as arrays, in the order of the events, and which of their values are wanted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mlv.errors import InvalidArgument, UnknownMetric
from mlv.query import cache
from mlv.query.columns import full_names, wanted_streams
from mlv.query.packages import package
from mlv.query.parsing import EXACT, schema
from mlv.query.patterns import NamePattern
from mlv.query.rewinds import SURVIVING, rewinds_of, surviving_rows
from mlv.store.streams import Skipped

Cut = Mapping[str, int]
"""The last `seq` of each run that counts: a prefix of the events in their order."""


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
class Points:
    """The lines of type `metrics` of some streams as arrays, in the order of the events."""

    table: Any
    first: Any
    """Where the values of each line begin."""
    values: Any
    texts: Any
    """Of each value; None where there are none."""

    every: Any
    """The number of each line."""

    def words(self, name: str) -> tuple[Any, list[Any]]:
        """A column of few different texts, as codes (-1 for null) and texts."""
        np = package("numpy")
        column = self.table[name]
        texts = column.dictionary.to_pylist()
        if column.null_count in (0, len(column)) and len(texts) <= 1:
            return np.broadcast_to(np.int64(-1 if column.null_count else 0), len(column)), texts
        return column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64), texts

    def times(self) -> Any:
        """Microseconds since 1970."""
        return self.table["time"].view(package("pyarrow").int64()).to_numpy()

    @property
    def width(self) -> int | None:
        """How many values each line has, if all have as many and stand in order."""
        width = len(self.values) // len(self.first) if len(self.first) else 0
        is_even = width * len(self.first) == len(self.values) and bool((self.first[1:] - self.first[:-1] == width).all())
        return width if is_even and (not len(self.first) or self.first[0] == 0) else None

    def numbers(self, name: str) -> Any:
        """A column of numbers."""
        return self.table[name].to_numpy(zero_copy_only=False)


def read_points(
    folder: Path, stream: str | None, cut: Cut | None, skipped: list[Skipped] | None, branches: str = SURVIVING
) -> Points:
    """The lines of an experiment's streams, or of one; those that a cut leaves, and no rewind supersedes."""
    pa, np = package("pyarrow"), package("numpy")
    tables = []
    for name in wanted_streams(folder, None if stream is None else [stream]):
        found = cache.read(folder, name)
        if skipped is not None:
            skipped += found.skipped
        tables += found.tables
        del found
    whole = pa.concat_tables(tables).unify_dictionaries() if tables else schema().empty_table()
    tables.clear()
    if cut is not None:
        whole = whole.filter(pa.array(_is_before(whole, cut)))
    whole = surviving_rows(whole, rewinds_of(folder, branches, cut))
    columns = {}
    for name in schema().names:  # one after the other: a large log is not in memory twice
        columns[name] = _single(whole[name])
        whole = whole.drop_columns([name])
    lists, texts = columns.pop("values"), columns.pop("texts")
    offsets = np.asarray(lists.offsets)
    values = lists.flatten().to_numpy(zero_copy_only=False)
    points = Points(columns, offsets[:-1] - offsets[0] if offsets[0] else offsets[:-1], values, None, np.arange(len(lists)))
    if texts.null_count < len(texts):
        points.texts = np.full(len(values), None, object)
        for line in np.flatnonzero(np.asarray(texts.is_valid())):
            given = texts[int(line)].as_py()
            points.texts[points.first[line] : points.first[line] + len(given)] = given
    return _in_order(points)


def _single(column: Any) -> Any:
    pa = package("pyarrow")
    combined = column.combine_chunks()
    if isinstance(combined, pa.ChunkedArray):
        return combined.chunk(0) if combined.num_chunks else pa.array([], column.type)
    return combined


def _is_before(table: Any, cut: Cut) -> Any:
    np = package("numpy")
    run = _single(table["run"])
    last = np.asarray([cut.get(name, 0) for name in run.dictionary.to_pylist()] or [0], np.int64)
    return table["seq"].to_numpy() <= last[np.asarray(run.indices)]


def _in_order(points: Points) -> Points:
    """As the events are in order: each run by `seq`, and the runs by time, whatever a clock did within one."""
    pa, np = package("pyarrow"), package("numpy")
    runs, names = points.words("run")
    seq, time = points.numbers("seq"), points.times()
    if len(names) <= 1 and (len(seq) < 2 or bool((seq[1:] >= seq[:-1]).all())):
        return points
    latest = np.empty_like(time)
    by_run = np.lexsort((seq, runs))
    for run in range(len(names)):
        rows = by_run[np.searchsorted(runs[by_run], run) : np.searchsorted(runs[by_run], run, "right")]
        latest[rows] = np.maximum.accumulate(time[rows])
    rank = np.argsort(np.argsort(np.asarray(names, object).astype("U")))
    order = np.lexsort((seq, rank[runs], latest))
    points.table = {name: column.take(pa.array(order)) for name, column in points.table.items()}
    points.first = points.first[order]
    return points


@dataclass
class Entry:
    """One key of lines that are alike: the numbers of the lines, and where their values stand."""

    column: str
    name: str
    captures: tuple[Any, ...]
    lines: Any
    places: Any


def entries_of(points: Points, choice: Choice, known: dict[str, None]) -> list[Entry]:
    """Where the values that are wanted stand; the names of all metrics are added to `known`."""
    np = package("numpy")
    prefixes, prefix_texts = points.words("name")
    keys, key_texts = points.words("keys")
    is_one = len(prefix_texts) == len(key_texts) == 1
    codes = keys if is_one else prefixes * len(key_texts) + keys
    pairs = [0] if is_one else np.unique(codes)
    width = points.width if is_one else None
    entries = []
    for pair in pairs:
        names = full_names(prefix_texts[pair // len(key_texts)], key_texts[pair % len(key_texts)])
        known.update(dict.fromkeys(names))
        lines = points.every if len(pairs) == 1 else np.flatnonzero(codes == pair)
        for number, name in enumerate(names):
            found = choice.column(name)
            if found is not None:
                column, captures = found
                places = points.first[lines] + number if width is None else range(number, len(points.values), width)
                entries.append(Entry(column, name, tuple(captures.values()), lines, places))
    return entries


def plain_step(step: float) -> Any:
    """A step as it was logged, in all likelihood: an integer where it can be one, None for NaN."""
    return None if step != step else int(step) if step.is_integer() and abs(step) <= EXACT else step
