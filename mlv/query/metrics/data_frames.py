"""One experiment as data frames: the history of its metrics, and its other events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlv.events import Event, metrics_of
from mlv.optional import package
from mlv.query.metrics.columns import Cut, MetricColumns, numbered, read_points
from mlv.query.metrics.schema import EXACT, from_json_text
from mlv.query.metrics.selection import Choice, Entry, checked_keys, entries_of, plain_step
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
    """Return the metrics as a DataFrame: wide, a column for each metric; or long, a row for each value.

    `.attrs["skipped"]` holds a text with the byte range of each damaged line. Columns are named as in `mlv.query.unique_names`.

    Raises:
        InvalidArgument: `keys` are no names.
        InvalidPattern: The pattern cannot be read.
        MissingExtra: pandas or pyarrow is not installed.
        UnknownMetric: Nobody logged one that is named.
    """
    logged_names: dict[str, None] = {}
    skipped: list[Skipped] = []
    columns = columns_of(folder, pattern, keys, stream, wide, cut, branches, logged_names, skipped)
    refuse_unknown(pattern, keys, logged_names)
    return _with_skipped(framed(columns, spelled(columns)), skipped)


def columns_of(
    folder: Path,
    pattern: str | None,
    keys: Iterable[str] | None,
    stream: str | None,
    wide: bool,
    cut: Cut | None,
    branches: str,
    logged_names: dict[str, None],
    skipped: list[Skipped],
) -> dict[Column, Any]:
    """Return the columns of `history` by kind and name; add the names of all metrics to `logged_names`, damage to `skipped`."""
    package("pandas")
    choice = _choice(pattern, keys)
    points = read_points(folder, stream, cut, skipped, checked_branches(branches))
    groups = _Groups(points, entries_of(points, choice, logged_names))
    return groups.wide(choice) if wide else groups.long(choice)


def refuse_unknown(pattern: str | None, keys: Iterable[str] | None, logged_names: Iterable[str]) -> None:
    """Refuse metrics that are requested by their names and were never logged.

    Raises:
        UnknownMetric: There is such a metric.
    """
    _choice(pattern, keys).refuse_unknown(logged_names)


def _choice(pattern: str | None, keys: Iterable[str] | None) -> Choice:
    return Choice(NamePattern(pattern) if pattern is not None else None, checked_keys(keys))


def frame(events: Iterable[Event], skipped: Sequence[Skipped] = (), name: str | None = None) -> Any:
    """Return events as a DataFrame: step, time, name, the coordinates, the captures of a pattern's braces, and their data.

    Args:
        events: In their order.
        skipped: The damaged lines that are passed over while the events are read; for `.attrs["skipped"]`.
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
        **_with_kind("at", _spread([event.at for event in rows])),
        **_with_kind("capture", {kind: _column([captures.get(kind) for captures in captured]) for kind in kinds}),
        **_with_kind("data", _spread(data)),
    }
    return _with_skipped(framed(columns, spelled(columns)), skipped)


def _captured(event: Event, pattern: NamePattern) -> dict[str, Any]:
    """Return the captures of braces in the name of an event, or in the first matching full name of its metrics."""
    names = (event.name, *(full for full, _ in metrics_of(event)))
    return next((captures for name in names if (captures := pattern.match(name)) is not None), {})


def _with_skipped(table: Any, skipped: Sequence[Skipped]) -> Any:
    if skipped:
        table.attrs["skipped"] = [str(hole) for hole in skipped]  # texts: pandas writes them into files as JSON
    return table


def framed(columns: Mapping[Column, Any], names: Mapping[Column, str]) -> Any:
    """Return the columns as a DataFrame; objects stay as they are, where pandas would make None and NaN one."""
    pd = package("pandas")
    series = {
        names[key]: pd.Series(column, dtype=object) if column.dtype == object else column for key, column in columns.items()
    }
    return pd.DataFrame(series, copy=False)


def _with_kind(kind: str, columns: Mapping[str, Any]) -> dict[Column, Any]:
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
        """Return a column for each metric."""
        np = package("numpy")
        rows, last_line, capture = self._numbered()
        columns: dict[str, list[int]] = {}
        for number, entry in enumerate(self._entries):
            columns.setdefault(entry.column, []).append(number)
        described = self._described(last_line, capture, choice, self._positions(last_line))
        metrics = {}
        for column in sorted(columns, key=lambda name: min(columns[name])):
            numbers = columns[column]
            where, indices = rows[numbers[0]], self._entries[numbers[0]].indices
            if len(numbers) > 1:  # the later line wins
                where = np.concatenate([rows[number] for number in numbers])
                indices = np.concatenate([self._entries[number].indices for number in numbers])
                order = np.argsort(np.concatenate([self._entries[number].lines for number in numbers]), kind="stable")
                where, indices = where[order], indices[order]
            metrics[column] = self._filled(where, indices, len(last_line))
        return {**described, **_with_kind("metric", metrics)}

    def long(self, choice: Choice) -> dict[Column, Any]:
        """Return a row for each value, in the order in which they were logged."""
        np = package("numpy")
        names = list(dict.fromkeys(entry.name for entry in self._entries))
        empty = np.empty(0, np.int64)
        numbers = {name: number for number, name in enumerate(names)}
        name = np.concatenate([empty, *(np.full(len(entry.lines), numbers[entry.name]) for entry in self._entries)])
        lines = np.concatenate([empty, *(entry.lines for entry in self._entries)])
        indices = np.concatenate([empty, *(entry.indices for entry in self._entries)])
        rows = np.concatenate([empty, *self._rows_of])
        order = np.lexsort((indices, lines))
        name, lines, indices, rows = name[order], lines[order], indices[order], rows[order]
        # Of the values of one metric in one group the last one stays: the first one from behind.
        _, from_behind = np.unique((rows * max(1, len(names)) + name)[::-1], return_index=True)
        last_rows = np.sort(len(rows) - 1 - from_behind)
        name, lines, indices, rows = name[last_rows], lines[last_rows], indices[last_rows], rows[last_rows]
        capture = rows % max(1, len(self._captures))
        return {
            ("", "name"): _objects(names)[name],
            **self._described(lines, capture, choice, numbered(self._points.step[lines], name)),
            ("", "value"): self._filled(np.arange(len(indices)), indices, len(indices)),
        }

    def _numbered(self) -> tuple[list[Any], Any, Any]:
        """Return the row of each line of each entry, and the last line and captures of each row.

        Rows are numbered in the order of their first lines.
        """
        np = package("numpy")
        if self._is_simple:
            every = self._points.every
            return self._rows_of, every, np.broadcast_to(np.int64(0), len(every))
        every = np.concatenate([np.empty(0, np.int64), *self._rows_of])
        lines = np.concatenate([np.empty(0, np.int64), *(entry.lines for entry in self._entries)])
        order = np.argsort(lines, kind="stable")
        unique, first, inverse = np.unique(every[order], return_index=True, return_inverse=True)
        position = np.argsort(np.argsort(first))
        row = np.empty(len(every), np.int64)
        row[order] = position[inverse]
        last_line, capture = np.empty(len(unique), np.int64), np.empty(len(unique), np.int64)
        last_line[row[order]] = lines[order]
        capture[position] = unique % max(1, len(self._captures))
        ends = np.cumsum([len(rows) for rows in self._rows_of])[:-1]
        return list(np.split(row, ends)) if self._entries else [], last_line, capture

    def _positions(self, lines: Any) -> Any:
        """Return the steps of rows; for a line without one, the position of its values in their series, if it is the same."""
        np, steps = package("numpy"), self._points.step
        if not np.isnan(steps).any():
            return steps if lines is self._points.every else steps[lines]
        names = {name: number for number, name in enumerate(dict.fromkeys(entry.name for entry in self._entries))}
        name = np.concatenate([np.full(len(entry.lines), names[entry.name]) for entry in self._entries] or [lines])
        every = np.concatenate([entry.lines for entry in self._entries] or [lines])
        order = np.argsort(every, kind="stable")
        positions = np.nan_to_num(numbered(steps[every[order]], name[order]), nan=-1.0)
        own, firsts = np.unique(every[order], return_index=True)
        least, most = (of.reduceat(positions, firsts) if len(own) else positions for of in (np.minimum, np.maximum))
        own, position = own[least == most], most[least == most]
        steps = steps.copy()
        is_bare = np.isnan(steps[own]) & (position >= 0)
        steps[own[is_bare]] = position[is_bare]
        return steps[lines]

    def _described(self, lines: Any, capture: Any, choice: Choice, steps: Any) -> dict[Column, Any]:
        """Return the columns of step, time, coordinates and captures of rows."""
        pd, np = package("pandas"), package("numpy")
        times = self._points.time
        moments = (times if lines is self._points.every else times[lines]).view("M8[us]")
        columns = {("", "step"): self._steps(lines, steps), ("", "time"): pd.DatetimeIndex(moments).tz_localize("UTC")}
        codes, texts = self._points.codes["at"], self._points.texts_of["at"]
        if (codes >= 0).any():
            coordinates = [{}, *(from_json_text(text) for text in texts)]
            used, inverse = np.unique(codes[lines] + 1, return_inverse=True)
            spread = _spread([coordinates[code] for code in used])
            columns.update(_with_kind("at", {name: column[inverse] for name, column in spread.items()}))
        for number, name in enumerate(choice.pattern.kinds if choice.pattern is not None else ()):
            column = _column([captures[number] for captures in self._captures])
            columns["capture", name] = column[capture]
        return columns

    def _steps(self, lines: Any, steps: Any) -> Any:
        np, step_texts = package("numpy"), self._points.step_texts
        if step_texts is not None:
            exact = [from_json_text(step_texts[line]) if step_texts[line] is not None else None for line in lines]
            pairs = zip(steps.tolist(), exact, strict=True)
            return _column([plain_step(step) if text is None else text for step, text in pairs])
        if len(steps) and bool((np.isfinite(steps) & (np.floor(steps) == steps) & (np.abs(steps) <= EXACT)).all()):
            return steps.astype(np.int64)
        return steps

    def _filled(self, rows: Any, indices: Any, count: int) -> Any:
        """Return a column with the values at some indices in their rows, and NaN in all other rows."""
        np = package("numpy")
        values = self._points.values[indices]
        if self._points.texts is not None:
            texts = (
                self._points.texts[indices.start :: indices.step] if isinstance(indices, range) else self._points.texts[indices]
            )
            odd = np.flatnonzero(texts != None)  # noqa: E711 - elementwise
            if len(odd):
                values = values.astype(object)
                for index in odd:
                    _put(values, index, from_json_text(texts[index]))
        if rows is self._points.every:
            return values
        filled = np.full(count, np.nan, values.dtype)
        filled[rows] = values
        return filled


def _same_step(points: MetricColumns) -> Any:
    """Return a number for each line, equal for lines of equal step and coordinates."""
    np = package("numpy")
    steps, texts, at = points.step, points.step_texts, points.codes["at"]
    has_one_at = not at.strides[0] if len(at) else True  # a broadcast array repeats one code
    # Steps that only grow, as in most logs, differ from line to line: no sorting is needed to tell them apart.
    if texts is None and has_one_at and bool((steps[1:] > steps[:-1]).all()) and not np.isnan(steps[:1]).any():
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
    """Return a column for each key."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: _column([row.get(name) for row in rows]) for name in names}


def _column(values: Sequence[Any]) -> Any:
    """Return an array of integers, floats or truth values where all values are such, None being NaN; else one of objects."""
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
