"""One experiment as data frames: the history of its metrics, and its other events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlv.events import Event
from mlv.optional import package
from mlv.query.metrics.columns import Cut, MetricColumns, numbered, read_points
from mlv.query.metrics.schema import EXACT, from_json_text
from mlv.query.metrics.selection import Choice, Entry, checked_keys, entries_of, plain_step
from mlv.query.metrics.summary import metrics_of
from mlv.query.name_patterns import NamePattern
from mlv.query.rewinds import SURVIVING, checked_branches
from mlv.query.unique_names import Column, spelled
from mlv.store.streams import Skipped


def history(
    folder: Path,
    pattern: str | None = None,
    *,
    keys: Iterable[str] | None = None,
    stream: str | None = None,
    wide: bool = True,
    cut: Cut | None = None,
    branches: str = SURVIVING,
) -> Any:
    """The metrics as a DataFrame: wide, a column for each metric; or long, a row for each value.

    What was passed over stands in `.attrs["skipped"]`, a text with the byte range of each damaged line. Columns are called as
    `mlv.query.unique_names` says.

    Raises:
        InvalidArgument: `keys` are no names.
        InvalidPattern: The pattern cannot be read.
        MissingExtra: pandas or pyarrow is not installed.
        UnknownMetric: Nobody logged one that is named.
    """
    known: dict[str, None] = {}
    skipped: list[Skipped] = []
    columns = columns_of(folder, pattern, keys, stream, wide, cut, branches, known, skipped)
    refuse_unknown(pattern, keys, known)
    return _with_skipped(framed(columns, spelled(columns)), skipped)


def columns_of(
    folder: Path,
    pattern: str | None,
    keys: Iterable[str] | None,
    stream: str | None,
    wide: bool,
    cut: Cut | None,
    branches: str,
    known: dict[str, None],
    skipped: list[Skipped],
) -> dict[Column, Any]:
    """As `history`, by kind and name; the names of all metrics are added to `known`, damage to `skipped`."""
    package("pandas")
    choice = _choice(pattern, keys)
    points = read_points(folder, stream, cut, skipped, checked_branches(branches))
    groups = _Groups(points, entries_of(points, choice, known))
    return groups.wide(choice) if wide else groups.long(choice)


def refuse_unknown(pattern: str | None, keys: Iterable[str] | None, known: Iterable[str]) -> None:
    """Refuse metrics that are named and none of those that are known.

    Raises:
        UnknownMetric: There is one.
    """
    _choice(pattern, keys).refuse_unknown(known)


def _choice(pattern: str | None, keys: Iterable[str] | None) -> Choice:
    return Choice(NamePattern(pattern) if pattern is not None else None, checked_keys(keys))


def frame(events: Iterable[Event], skipped: Sequence[Skipped] = (), name: str | None = None) -> Any:
    """Events as a DataFrame: step, time, name, the coordinates, what the braces of a pattern stand for, and their data.

    Args:
        events: In their order.
        skipped: What is passed over while they are read; for `.attrs["skipped"]`.
        name: The pattern over names by which they were chosen.
    """
    pd = package("pandas")
    rows = list(events)
    pattern = NamePattern(name) if name is not None else None
    kinds = pattern.kinds if pattern is not None else ()
    captured = [_captured(event, pattern) for event in rows] if pattern is not None and kinds else []
    data = [event.data if isinstance(event.data, Mapping) else {"data": event.data} for event in rows]
    columns: dict[Column, Any] = {
        ("", "step"): _column([event.step for event in rows]),
        ("", "time"): pd.to_datetime([event.time for event in rows], utc=True).as_unit("us"),
        ("", "name"): _objects([event.name for event in rows]),
        **_of_kind("at", _spread([event.at for event in rows])),
        **_of_kind("capture", {kind: _column([found.get(kind) for found in captured]) for kind in kinds}),
        **_of_kind("data", _spread(data)),
    }
    return _with_skipped(framed(columns, spelled(columns)), skipped)


def _captured(event: Event, pattern: NamePattern) -> dict[str, Any]:
    """What braces stand for in the name of an event, or in the first full name of its metrics that matches."""
    names = (event.name, *(full for full, _ in metrics_of(event)))
    return next((found for name in names if (found := pattern.match(name)) is not None), {})


def _with_skipped(table: Any, skipped: Sequence[Skipped]) -> Any:
    if skipped:
        table.attrs["skipped"] = [str(hole) for hole in skipped]  # texts: pandas writes them into files as JSON
    return table


def framed(columns: Mapping[Column, Any], names: Mapping[Column, str]) -> Any:
    """The columns side by side; objects stay as they are, where pandas would make None and NaN one."""
    pd = package("pandas")
    kept = {
        names[key]: pd.Series(column, dtype=object) if column.dtype == object else column for key, column in columns.items()
    }
    return pd.DataFrame(kept, copy=False)


def _of_kind(kind: str, columns: Mapping[str, Any]) -> dict[Column, Any]:
    return {(kind, name): column for name, column in columns.items()}


class _Groups:
    """Lines that belong into one row: those of equal step and coordinates; a line without a step stands alone."""

    def __init__(self, points: MetricColumns, entries: Sequence[Entry]) -> None:
        self._points, self._entries = points, entries
        captures = list(dict.fromkeys(entry.captures for entry in entries))
        self._captures = captures
        groups = _same_step(points)
        self._is_simple = len(captures) == 1 and groups is points.every and all(entry.lines is groups for entry in entries)
        self._rows_of = [groups] * len(entries)
        if not self._is_simple:
            self._rows_of = [groups[entry.lines] * len(captures) + captures.index(entry.captures) for entry in entries]

    def wide(self, choice: Choice) -> dict[Column, Any]:
        """A column for each metric."""
        np = package("numpy")
        rows, last_line, capture = self._numbered()
        columns: dict[str, list[int]] = {}
        for number, entry in enumerate(self._entries):
            columns.setdefault(entry.column, []).append(number)
        taken = self._described(last_line, capture, choice, self._positions(last_line))
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
        return {**taken, **_of_kind("metric", metrics)}

    def long(self, choice: Choice) -> dict[Column, Any]:
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
        return {
            ("", "name"): _objects(names)[name],
            **self._described(lines, capture, choice, numbered(self._points.step[lines], name)),
            ("", "value"): self._filled(np.arange(len(places)), places, len(places)),
        }

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

    def _positions(self, lines: Any) -> Any:
        """The steps of rows; where a line has none, the position of its values in their series, if all have the same."""
        np, steps = package("numpy"), self._points.step
        if not np.isnan(steps).any():
            return steps if lines is self._points.every else steps[lines]
        names = {name: number for number, name in enumerate(dict.fromkeys(entry.name for entry in self._entries))}
        name = np.concatenate([np.full(len(entry.lines), names[entry.name]) for entry in self._entries] or [lines])
        every = np.concatenate([entry.lines for entry in self._entries] or [lines])
        order = np.argsort(every, kind="stable")
        found = np.nan_to_num(numbered(steps[every[order]], name[order]), nan=-1.0)
        own, firsts = np.unique(every[order], return_index=True)
        least, most = (of.reduceat(found, firsts) if len(own) else found for of in (np.minimum, np.maximum))
        own, place = own[least == most], most[least == most]
        steps = steps.copy()
        is_bare = np.isnan(steps[own]) & (place >= 0)
        steps[own[is_bare]] = place[is_bare]
        return steps[lines]

    def _described(self, lines: Any, capture: Any, choice: Choice, steps: Any) -> dict[Column, Any]:
        """Step, time, coordinates and captures of rows."""
        pd, np = package("pandas"), package("numpy")
        times = self._points.time
        moments = (times if lines is self._points.every else times[lines]).view("M8[us]")
        columns = {("", "step"): self._steps(lines, steps), ("", "time"): pd.DatetimeIndex(moments).tz_localize("UTC")}
        codes, texts = self._points.codes["at"], self._points.texts_of["at"]
        if (codes >= 0).any():
            coordinates = [{}, *(from_json_text(text) for text in texts)]
            used, inverse = np.unique(codes[lines] + 1, return_inverse=True)
            spread = _spread([coordinates[code] for code in used])
            columns.update(_of_kind("at", {name: column[inverse] for name, column in spread.items()}))
        for number, name in enumerate(choice.pattern.kinds if choice.pattern is not None else ()):
            column = _column([captures[number] for captures in self._captures])
            columns["capture", name] = column[capture]
        return columns

    def _steps(self, lines: Any, steps: Any) -> Any:
        np, given = package("numpy"), self._points.step_texts
        if given is not None:
            exact = [from_json_text(given[line]) if given[line] is not None else None for line in lines]
            pairs = zip(steps.tolist(), exact, strict=True)
            return _column([plain_step(step) if text is None else text for step, text in pairs])
        if len(steps) and bool((np.isfinite(steps) & (np.floor(steps) == steps) & (np.abs(steps) <= EXACT)).all()):
            return steps.astype(np.int64)
        return steps

    def _filled(self, rows: Any, places: Any, count: int) -> Any:
        """The values at some places, put into their rows; what is missing is NaN."""
        np = package("numpy")
        values = self._points.values[places]
        if self._points.texts is not None:
            texts = self._points.texts[places.start :: places.step] if isinstance(places, range) else self._points.texts[places]
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


def _same_step(points: MetricColumns) -> Any:
    """A number for each line, equal for lines of equal step and coordinates."""
    np = package("numpy")
    steps, texts, at = points.step, points.step_texts, points.codes["at"]
    has_one_place = not at.strides[0] if len(at) else True
    if texts is None and has_one_place and bool((steps[1:] > steps[:-1]).all()) and not np.isnan(steps[:1]).any():
        return points.every
    _, code = np.unique(steps, return_inverse=True)
    stepless = np.isnan(steps)
    if texts is not None:
        exact = np.asarray(["" if text is None else text for text in texts], "U")
        _, text_code = np.unique(exact, return_inverse=True)
        code = code * (text_code.max() + 1) + text_code
        stepless &= exact == ""
    code = code * (at.max(initial=-1) + 2) + at + 1
    code[stepless] = code.max(initial=0) + 1 + np.flatnonzero(stepless)
    return np.unique(code, return_inverse=True)[1]


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
    if kinds <= {int, float, type(None)} and all(type(value) is not int or abs(value) <= EXACT for value in values):
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
