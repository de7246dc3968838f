"""One experiment as data frames: the history of its metrics, and its other events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mlv.errors import InvalidArgument, UnknownMetric
from mlv.events import Event
from mlv.query import cache
from mlv.query.columns import full_names, wanted_streams
from mlv.query.packages import package
from mlv.query.parsing import from_json_text, schema
from mlv.query.patterns import NamePattern
from mlv.store.streams import Skipped

_MOST_EXACT = 2**53

Cut = Mapping[str, int]
"""The last `seq` of each run that counts: a prefix of the events in their order."""


def history(
    folder: Path,
    pattern: str | None = None,
    *,
    keys: Iterable[str] | None = None,
    stream: str | None = None,
    wide: bool = True,
    cut: Cut | None = None,
    skipped: list[Skipped] | None = None,
    known: dict[str, None] | None = None,
) -> Any:
    """The metrics as a DataFrame: wide, a column for each metric; or long, a row for each value.

    The names of all metrics are added to `known`, if that is given: then the caller refuses those that are not there.

    Raises:
        InvalidArgument: `keys` are no names.
        InvalidPattern: The pattern cannot be read.
        MissingExtra: pandas or pyarrow is not installed.
        UnknownMetric: Nobody logged one that is named.
    """
    package("pandas")
    choice = _choice(pattern, keys)
    points = _points(folder, stream, cut, skipped)
    names: dict[str, None] = {} if known is None else known
    entries = _entries(points, choice, names)
    if known is None:
        choice.refuse_unknown(names)
    groups = _Groups(points, entries)
    return groups.wide(choice) if wide else groups.long(choice)


def refuse_unknown(pattern: str | None, keys: Iterable[str] | None, known: Iterable[str]) -> None:
    """Refuse metrics that are named and none of those that are known.

    Raises:
        UnknownMetric: There is one.
    """
    _choice(pattern, keys).refuse_unknown(known)


def frame(events: Iterable[Event]) -> Any:
    """Events as a DataFrame: step, time, name, the coordinates, and what stands in their data."""
    pd = package("pandas")
    rows = list(events)
    taken: dict[str, Any] = {
        "step": _column([event.step for event in rows]),
        "time": pd.to_datetime([event.time for event in rows], utc=True).as_unit("us"),
        "name": _objects([event.name for event in rows]),
    }
    _add(taken, _spread([event.at for event in rows]), "at")
    data = [event.data if isinstance(event.data, Mapping) else {"data": event.data} for event in rows]
    _add(taken, _spread(data), "data")
    return _frame(taken)


def _frame(columns: Mapping[str, Any]) -> Any:
    """The columns side by side; objects stay as they are, where pandas would make None and NaN one."""
    pd = package("pandas")
    kept = {name: pd.Series(column, dtype=object) if column.dtype == object else column for name, column in columns.items()}
    return pd.DataFrame(kept, copy=False)


def _choice(pattern: str | None, keys: Iterable[str] | None) -> _Choice:
    return _Choice(NamePattern(pattern) if pattern is not None else None, _checked_keys(keys))


def _checked_keys(keys: Iterable[str] | None) -> list[str] | None:
    if keys is None:
        return None
    found = [keys] if isinstance(keys, str) else list(keys)
    for key in found:
        if not isinstance(key, str):
            raise InvalidArgument(f"keys={key!r:.100} is no name: give full names of metrics, such as 'train/loss'", keys=key)
    return list(dict.fromkeys(found))


@dataclass
class _Choice:
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


@dataclass
class _Points:
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
        return self.table[name].to_numpy(zero_copy_only=False)


def _points(folder: Path, stream: str | None, cut: Cut | None, skipped: list[Skipped] | None) -> _Points:
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
    columns = {}
    for name in schema().names:  # one after the other: a large log is not in memory twice
        columns[name] = _single(whole[name])
        whole = whole.drop_columns([name])
    lists, texts = columns.pop("values"), columns.pop("texts")
    offsets = np.asarray(lists.offsets)
    values = lists.flatten().to_numpy(zero_copy_only=False)
    points = _Points(columns, offsets[:-1] - offsets[0] if offsets[0] else offsets[:-1], values, None, np.arange(len(lists)))
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


def _in_order(points: _Points) -> _Points:
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
class _Entry:
    """One key of lines that are alike: the numbers of the lines, and where their values stand."""

    column: str
    name: str
    captures: tuple[Any, ...]
    lines: Any
    places: Any


def _entries(points: _Points, choice: _Choice, known: dict[str, None]) -> list[_Entry]:
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
                entries.append(_Entry(column, name, tuple(captures.values()), lines, places))
    return entries


class _Groups:
    """Lines that belong into one row: those of equal step and coordinates; a line without a step stands alone."""

    def __init__(self, points: _Points, entries: Sequence[_Entry]) -> None:
        self._points, self._entries = points, entries
        captures = list(dict.fromkeys(entry.captures for entry in entries))
        self._captures = captures
        groups = _same_step(points)
        self._is_simple = len(captures) == 1 and groups is points.every and all(entry.lines is groups for entry in entries)
        self._rows_of = [groups] * len(entries)
        if not self._is_simple:
            self._rows_of = [groups[entry.lines] * len(captures) + captures.index(entry.captures) for entry in entries]

    def wide(self, choice: _Choice) -> Any:
        """A column for each metric."""
        np = package("numpy")
        rows, last_line, capture = self._numbered()
        columns: dict[str, list[int]] = {}
        for number, entry in enumerate(self._entries):
            columns.setdefault(entry.column, []).append(number)
        taken = self._described(last_line, capture, choice)
        metrics = {}
        for column in sorted(columns, key=lambda name: min(columns[name])):
            numbers = columns[column]
            where, places = rows[numbers[0]], self._entries[numbers[0]].places
            if len(numbers) > 1:  # the later line wins
                where = np.concatenate([rows[number] for number in numbers])
                places = np.concatenate([self._entries[number].places for number in numbers])
                order = np.argsort(np.concatenate([self._entries[number].lines for number in numbers]), kind="stable")
                where, places = where[order], places[order]
            metrics[column] = self._filled(where, places, len(last_line))
        _add(taken, metrics, "metric")
        return _frame(taken)

    def long(self, choice: _Choice) -> Any:
        """A row for each value, in the order in which they were logged."""
        np = package("numpy")
        names = list(dict.fromkeys(entry.name for entry in self._entries))
        empty = np.empty(0, np.int64)
        numbers = {name: number for number, name in enumerate(names)}
        name = np.concatenate([empty, *(np.full(len(entry.lines), numbers[entry.name]) for entry in self._entries)])
        lines = np.concatenate([empty, *(entry.lines for entry in self._entries)])
        places = np.concatenate([empty, *(entry.places for entry in self._entries)])
        rows = np.concatenate([empty, *self._rows_of])
        order = np.lexsort((places, lines))
        name, lines, places, rows = name[order], lines[order], places[order], rows[order]
        # Of the values of one metric in one group the last one stays: the first one from behind.
        _, from_behind = np.unique((rows * max(1, len(names)) + name)[::-1], return_index=True)
        kept = np.sort(len(rows) - 1 - from_behind)
        name, lines, places, rows = name[kept], lines[kept], places[kept], rows[kept]
        capture = rows % max(1, len(self._captures))
        taken: dict[str, Any] = {"name": _objects(names)[name]}
        taken.update(self._described(lines, capture, choice))
        _add(taken, {"value": self._filled(np.arange(len(places)), places, len(places))}, "metric")
        return _frame(taken)

    def _numbered(self) -> tuple[list[Any], Any, Any]:
        """The row of each line of each entry, and the last line and captures of each row; rows in the order of first lines."""
        np = package("numpy")
        if self._is_simple:
            every = self._points.every
            return self._rows_of, every, np.broadcast_to(np.int64(0), len(every))
        every = np.concatenate([np.empty(0, np.int64), *self._rows_of])
        lines = np.concatenate([np.empty(0, np.int64), *(entry.lines for entry in self._entries)])
        order = np.argsort(lines, kind="stable")
        found, first, inverse = np.unique(every[order], return_index=True, return_inverse=True)
        position = np.argsort(np.argsort(first))
        row = np.empty(len(every), np.int64)
        row[order] = position[inverse]
        last_line, capture = np.empty(len(found), np.int64), np.empty(len(found), np.int64)
        last_line[row[order]] = lines[order]
        capture[position] = found % max(1, len(self._captures))
        ends = np.cumsum([len(rows) for rows in self._rows_of])[:-1]
        return list(np.split(row, ends)) if self._entries else [], last_line, capture

    def _described(self, lines: Any, capture: Any, choice: _Choice) -> dict[str, Any]:
        """Step, time, coordinates and captures of rows."""
        pd, np = package("pandas"), package("numpy")
        times = self._points.times()
        moments = (times if lines is self._points.every else times[lines]).view("M8[us]")
        taken = {"step": self._steps(lines), "time": pd.DatetimeIndex(moments).tz_localize("UTC")}
        codes, texts = self._points.words("at")
        if (codes >= 0).any():
            coordinates = [{}, *(from_json_text(text) for text in texts)]
            used, inverse = np.unique(codes[lines] + 1, return_inverse=True)
            spread = _spread([coordinates[code] for code in used])
            _add(taken, {name: column[inverse] for name, column in spread.items()}, "at")
        for number, name in enumerate(choice.pattern.kinds if choice.pattern is not None else ()):
            column = _column([captures[number] for captures in self._captures])
            _add(taken, {name: column[capture]}, "at")
        return taken

    def _steps(self, lines: Any) -> Any:
        np = package("numpy")
        steps = self._points.numbers("step")
        steps = steps if lines is self._points.every else steps[lines]
        texts = self._points.table["step_text"]
        if texts.null_count < len(texts):
            given = texts.to_pylist()
            exact = [from_json_text(text) if (text := given[line]) is not None else None for line in lines]
            pairs = zip(steps.tolist(), exact, strict=True)
            return _column([_plain_step(step) if text is None else text for step, text in pairs])
        if len(steps) and bool((np.isfinite(steps) & (np.floor(steps) == steps) & (np.abs(steps) <= _MOST_EXACT)).all()):
            return steps.astype(np.int64)
        return steps

    def _filled(self, rows: Any, places: Any, count: int) -> Any:
        """The values at some places, put into their rows; what is missing is NaN."""
        np = package("numpy")
        if isinstance(places, range):
            places = slice(places.start, places.stop, places.step)
        values = np.ascontiguousarray(self._points.values[places])
        if self._points.texts is not None:
            texts = self._points.texts[places]
            odd = np.flatnonzero(texts != None)  # noqa: E711 - elementwise
            if len(odd):
                values = values.astype(object)
                for place in odd:
                    _put(values, place, from_json_text(texts[place]))
        if rows is self._points.every:
            return values
        filled = np.full(count, np.nan, values.dtype)
        filled[rows] = values
        return filled


def _same_step(points: _Points) -> Any:
    """A number for each line, equal for lines of equal step and coordinates."""
    np = package("numpy")
    steps, texts = points.numbers("step"), points.table["step_text"]
    at, _ = points.words("at")
    has_text = texts.null_count < len(texts)
    if not has_text and bool((at == at[:1]).all()) and bool((steps[1:] > steps[:-1]).all()) and not np.isnan(steps[:1]).any():
        return points.every
    _, code = np.unique(steps, return_inverse=True)
    stepless = np.isnan(steps)
    if has_text:
        exact = np.asarray(texts.fill_null("").to_pylist(), object).astype("U")
        _, text_code = np.unique(exact, return_inverse=True)
        code = code * (text_code.max() + 1) + text_code
        stepless &= exact == ""
    code = code * (at.max(initial=-1) + 2) + at + 1
    code[stepless] = code.max(initial=0) + 1 + np.flatnonzero(stepless)
    return np.unique(code, return_inverse=True)[1]


def _plain_step(step: float) -> Any:
    return None if step != step else int(step) if step.is_integer() and abs(step) <= _MOST_EXACT else step


def _add(taken: dict[str, Any], columns: Mapping[str, Any], what: str) -> None:
    """Add columns; one whose name is taken says what it is in front: `metric.time`."""
    for name, column in columns.items():
        while name in taken:
            name = f"{what}.{name}"
        taken[name] = column


def _spread(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A column for each key."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: _column([row.get(name) for row in rows]) for name in names}


def _column(values: Sequence[Any]) -> Any:
    """Integers, floats or truth values where all are, None being NaN; else objects."""
    np = package("numpy")
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return np.asarray(values, bool)
    if kinds == {int} and all(-(2**63) <= value < 2**63 for value in values):
        return np.asarray(values, np.int64)
    if kinds <= {int, float, type(None)} and all(type(value) is not int or abs(value) <= _MOST_EXACT for value in values):
        return np.asarray([np.nan if value is None else value for value in values], np.float64)
    return _objects(values)


def _objects(values: Sequence[Any]) -> Any:
    np = package("numpy")
    column = np.empty(len(values), object)
    for number, value in enumerate(values):
        _put(column, number, value)
    return column


def _put(column: Any, number: int, value: Any) -> None:
    """Put a value into an array of objects, also a list, which numpy would take apart."""
    column[number] = value
