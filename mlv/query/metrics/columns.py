"""The lines of type `metrics` of an experiment as arrays, in the order of the events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlv.optional import package
from mlv.order import rows_in_order
from mlv.query.metrics import cache
from mlv.query.metrics.long_table import requested_streams, rows_before
from mlv.query.rewinds import SURVIVING, rewinds_of, surviving_rows
from mlv.store import layout
from mlv.store.streams import Skipped

Cut = Mapping[str, int]
"""The last `seq` of each run that counts: a prefix of the events in their order."""


class LineValues:
    """The values of all lines, one line behind the other.

    They are stored column by column while every line has the same number of values, else flat. A `range` of indices with one
    index per line gives such a column without a copy.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._columns: list[_Growing] | None = None
        self._flat: Any = None

    def __len__(self) -> int:
        return len(self._flat) if self._flat is not None else sum(map(len, self._columns or ()))

    def __getitem__(self, indices: Any) -> Any:
        if isinstance(indices, range) and self._columns is not None:
            return self._columns[indices.start].array()
        return self._in_one().array()[indices]

    def add(self, values: Any, widths: Any) -> None:
        """Add the values of lines; `widths` are the numbers of values of each line."""
        width = int(widths[0]) if _is_constant(widths) else -1
        if self._columns is None and self._flat is None:
            self._columns = [_Growing("f8", self._count * 100 // (100 + 8 * width)) for _ in range(width)]
        if self._columns is not None and len(self._columns) == width:
            for number, column in enumerate(self._columns):
                column.add(values[number::width])
        else:
            self._in_one().add(values)

    def _in_one(self) -> _Growing:
        if self._flat is None:
            np = package("numpy")
            columns = [column.array() for column in self._columns or ()]
            self._columns, self._flat = None, _Growing("f8", 0)
            self._flat.add(np.stack(columns, axis=1).ravel() if columns else np.empty(0))
        return self._flat  # type: ignore[no-any-return]


@dataclass
class MetricColumns:
    """The lines of type `metrics` of some streams as arrays, in the order of the events."""

    step: Any
    """NaN where a line has no step, or one that is no number."""
    step_texts: Any
    """JSON of steps that are no floats, as objects; None if all are floats."""
    time: Any
    """Microseconds since 1970."""
    codes: dict[str, Any]
    """Of `run`, `name`, `at` and `keys`: for each line the index of its text in `texts_of`, -1 for none."""
    texts_of: dict[str, list[str]]
    values: LineValues
    first: Any
    """Index of the first value of each line; None where all lines have the same number of values and stand in order."""
    texts: Any
    """JSON of each value that is no float, as objects; None if all are floats."""
    every: Any
    """The number of each line."""
    writer: tuple[str, int] | None = None
    """The run that wrote all lines, and its greatest `seq`; None where there are several runs, or none."""

    @property
    def width(self) -> int:
        """Number of values of each line, if it is the same for all."""
        return len(self.values) // len(self.every) if len(self.every) else 0

    def firsts(self, lines: Any) -> Any:
        """Return the index of the first value of each of some lines."""
        return lines * self.width if self.first is None else self.first[lines]


def read_points(
    folder: Path, stream: str | None, cut: Cut | None, skipped: list[Skipped] | None, branches: str = SURVIVING
) -> MetricColumns:
    """Read the lines of an experiment's streams, or of one of them, up to a cut and without those that a rewind supersedes."""
    pa, rewinds = package("pyarrow"), rewinds_of(folder, branches, cut)
    streams = requested_streams(folder, None if stream is None else [stream])
    lines = _TableColumns(sum(_size(folder / layout.stream_file(name)) for name in streams) // _LINE_BYTES)
    for name in streams:
        for number, table in enumerate(cache.read(folder, name, [] if skipped is None else skipped)):
            if number % 8 == 7:  # the pool would keep the memory of earlier tables, while later ones are made
                pa.default_memory_pool().release_unused()
            before_cut = table if cut is None else rows_before(table, cut)
            lines.add(surviving_rows(before_cut, rewinds))
    pa.default_memory_pool().release_unused()
    return lines.points()


def points_of(tables: Sequence[Any]) -> MetricColumns:
    """Return the lines of tables as `read_points` does; none of them is superseded."""
    lines = _TableColumns(sum(table.num_rows for table in tables))
    for table in tables:
        lines.add(table)
    return lines.points()


_LINE_BYTES = 100
"""Hardly a line of metrics is shorter: memory is reserved for so many lines, and only its used pages are taken."""


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0


class _TableColumns:
    """The concatenated columns of tables; repeated numbers and texts of a table do not stay in memory."""

    def __init__(self, count: int) -> None:
        self._numbers = {name: _Growing("f8" if name == "step" else "i8", count) for name in _NUMBERS}
        self._values = LineValues(count)
        self._codes = {name: _Repeated() for name in ("run", "name", "at", "keys")}
        self._codes_of_text: dict[str, dict[str, int]] = {name: {} for name in self._codes}
        self._widths = _Repeated()
        self._step_texts: list[tuple[int, Any]] = []
        self._texts: list[tuple[int, list[str | None]]] = []

    def add(self, table: Any) -> None:
        """Add the rows of a table."""
        np, pa = package("numpy"), package("pyarrow")
        for batch in filter(len, table.to_batches()):
            lists, start = batch["values"], len(self._values)
            offsets = np.asarray(lists.offsets)
            for line in np.flatnonzero(np.asarray(batch["texts"].is_valid())) if _has_any(batch["texts"]) else ():
                self._texts.append((start + int(offsets[line] - offsets[0]), batch["texts"][int(line)].as_py()))
            if _has_any(batch["step_text"]):
                self._step_texts.append((len(self._numbers["seq"]), batch["step_text"]))
            widths = np.diff(offsets)
            self._widths.add(widths)
            self._numbers["seq"].add(batch["seq"].to_numpy())
            self._numbers["time"].add(batch["time"].view(pa.int64()).to_numpy())
            self._numbers["step"].add(batch["step"].to_numpy(zero_copy_only=False))
            self._values.add(lists.flatten().to_numpy(zero_copy_only=False), widths)
            for name, codes in self._codes.items():
                codes_of_text, column = self._codes_of_text[name], batch[name]
                # Each table has codes of its own: these bring them to common ones.
                own = [codes_of_text.setdefault(text, len(codes_of_text)) for text in column.dictionary.to_pylist()]
                if not _has_any(column) or (len(own) == 1 and not column.null_count):
                    codes.add_one(own[0] if _has_any(column) else -1, len(column))
                else:
                    codes.add(np.asarray([*own, -1], np.int32)[np.asarray(column.indices.fill_null(len(own)))])

    def points(self) -> MetricColumns:
        """Return the columns of all tables, in the order of the events."""
        np = package("numpy")
        seq, time, step = (self._numbers.pop(name).array() for name in _NUMBERS)
        widths = self._widths.array()
        first = None if _is_constant(widths) else np.cumsum(widths, dtype=np.int64) - widths
        codes = {name: column.array() for name, column in self._codes.items()}
        texts_of = {name: list(codes_of_text) for name, codes_of_text in self._codes_of_text.items()}
        writer = (texts_of["run"][0], int(seq.max())) if len(texts_of["run"]) == 1 and len(seq) else None
        points = MetricColumns(
            step, self._all_step_texts(len(seq)), time, codes, texts_of,
            self._values, first, self._all_texts(len(self._values)), np.arange(len(seq)), writer,
        )  # fmt: skip
        order = _order(points, seq)
        return points if order is None else _ordered(points, order)

    def _all_step_texts(self, count: int) -> Any:
        if not self._step_texts:
            return None
        texts = package("numpy").full(count, None, object)
        for start, column in self._step_texts:
            texts[start : start + len(column)] = column.to_pylist()
        return texts

    def _all_texts(self, count: int) -> Any:
        if not self._texts:
            return None
        texts = package("numpy").full(count, None, object)
        for start, line_texts in self._texts:
            texts[start : start + len(line_texts)] = line_texts
        return texts


_NUMBERS = ("seq", "time", "step")


def _has_any(column: Any) -> bool:
    return bool(column.null_count < len(column))


class _Growing:
    """An array that grows into reserved memory, which is not taken before it is filled.

    With chunks that are joined at the end the history of a million lines takes 130 MB at its peak, and so 95.
    """

    def __init__(self, kind: str, count: int) -> None:
        self._array, self._count = package("numpy").empty(count, kind), 0

    def __len__(self) -> int:
        return self._count

    def add(self, values: Any) -> None:
        """Add values."""
        end = self._count + len(values)
        if end > len(self._array):
            larger = package("numpy").empty(max(end, 2 * len(self._array)), self._array.dtype)
            larger[: self._count] = self._array[: self._count]
            self._array = larger
        self._array[self._count : end] = values
        self._count = end

    def array(self) -> Any:
        """Return all values."""
        self._array.resize(self._count, refcheck=False)  # gives back the memory behind them
        return self._array


class _Repeated:
    """Integers that are often all the same, and then take no memory.

    The history of a million lines takes 95 MB at its peak; with all integers in memory 340, and 1.5 x as long.
    """

    def __init__(self) -> None:
        self._chunks: list[tuple[int, Any]] = []
        """Count and values of each chunk; one value stands for all of a chunk."""

    def add(self, values: Any) -> None:
        """Add integers."""
        if _is_constant(values):
            self.add_one(int(values[0]), len(values))
        else:
            self._chunks.append((len(values), values.astype("i4")))

    def add_one(self, value: int, count: int) -> None:
        """Add one integer `count` times."""
        self._chunks.append((count, package("numpy").array([value], "i4")))

    def array(self) -> Any:
        """Return all integers."""
        np = package("numpy")
        count = sum(length for length, _ in self._chunks)
        firsts = {int(values[0]) if len(values) == 1 else None for _, values in self._chunks}
        if len(firsts) == 1 and None not in firsts:
            return np.broadcast_to(np.int32(firsts.pop() or 0), count)
        whole, end = np.empty(count, np.int32), 0
        for length, values in self._chunks:
            whole[end : end + length] = values
            end += length
        return whole


def _is_constant(values: Any) -> bool:
    return not len(values) or not values.strides[0] or bool((values == values[0]).all())


def _order(points: MetricColumns, seq: Any) -> Any:
    """Return the line numbers in the order of the events; None if the lines already stand in it."""
    runs, names = points.codes["run"], points.texts_of["run"]
    if len(names) <= 1 and bool((seq[1:] >= seq[:-1]).all()):
        return None
    return rows_in_order(runs, names, seq, points.time)


def _ordered(points: MetricColumns, order: Any) -> MetricColumns:
    return MetricColumns(
        points.step[order], None if points.step_texts is None else points.step_texts[order], points.time[order],
        {name: codes if _is_constant(codes) else codes[order] for name, codes in points.codes.items()}, points.texts_of,
        points.values, points.firsts(order), points.texts, points.every, points.writer,
    )  # fmt: skip


def numbered(steps: Any, series: Any) -> Any:
    """Return the steps of values in the order of logging; a series without any step is numbered from 0.

    Args:
        steps: NaN where there is none.
        series: The number of the series of each value.
    """
    np = package("numpy")
    is_bare = np.isnan(steps)
    if not is_bare.any():
        return steps
    has_steps = np.zeros(int(series.max()) + 1, bool)
    has_steps[series[~is_bare]] = True
    values = np.flatnonzero(~has_steps[series])
    values = values[np.argsort(series[values], kind="stable")]
    own = series[values]
    filled = steps.copy()
    filled[values] = np.arange(len(values)) - np.searchsorted(own, own)
    return filled
