"""Values of metrics of many short logs, which are parsed together: the fixed cost of a parser exceeds that of a log's lines."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from mlv import wire
from mlv.events import full_name
from mlv.optional import package
from mlv.query.metrics.columns import numbered
from mlv.query.metrics.long_table import full_names
from mlv.query.metrics.parse_json import FIELDS, NotPlain, combined, table_of_lines
from mlv.query.metrics.parse_template import numbers_of
from mlv.store import layout, opening
from mlv.store.reading import while_there

STEP = "step"
LONGEST = 1 << 20
"""Longer logs have sidecars."""

_MARK = b'",' + wire.METRICS
_ODD = (b"null", wire.TAGGED, wire.NONFINITE)
"""Texts in lines that have to be read one by one."""
_MOST_KEYS = 100  # the parser takes longer with each column, most of them empty
_is_metrics = wire.type_filter(("metrics",))


@dataclass
class LogValues:
    """Values of some experiments; those of one metric of one experiment stand in the order of logging."""

    names: list[str]
    """Names of all metrics, in the order of their lines."""
    member: Any
    """Number of the experiment."""
    metric: Any
    """Index in `names`."""
    x: Any
    value: Any
    has_numbers: bool
    """Whether there is any number, with an x or without."""
    skipped: list[str] = field(default_factory=list)
    """Damaged lines that were passed over."""


def block_of(folder: Path, *, sifted: bool) -> bytes:
    """Read the lines of an experiment from the first of type `metrics` to the last; sifted, those of this type only.

    Raises:
        NotPlain: The log is too long, or its lines are not plain.
    """
    blocks = []
    for stream in layout.streams_in(folder):
        if layout.logical_stream(stream) == layout.REWOUND:
            raise NotPlain  # which lines survive is decided line by line
        with while_there(folder, stream), opening.reading(folder / layout.stream_file(stream), buffering=0) as file:
            if os.fstat(file.fileno()).st_size > LONGEST:
                raise NotPlain
            blocks.append(_metric_lines(file.read(), sifted))
    return b"".join(blocks)


def _metric_lines(content: bytes, sifted: bool) -> bytes:
    begin = content.rfind(b"\n", 0, max(0, content.find(_MARK))) + 1
    last = content.rfind(_MARK)
    end = content.find(b"\n", last) + 1 if last >= 0 else begin
    if last >= 0 and end == 0:
        raise NotPlain  # the last line is being written
    inner = content[begin:end]
    outside = [content[:begin], content[end:]]
    if sifted:
        lines = list(BytesIO(inner))
        inner = b"".join(line for line in lines if _MARK in line)
        outside += [line for line in lines if _MARK not in line]
    if not all(wire.looks_whole(line) for text in outside for line in BytesIO(text)):
        raise NotPlain  # damage is reported line by line
    if any(map(_is_metrics, outside)) or (sifted and any(odd in inner for odd in _ODD)):
        raise NotPlain
    return inner


def parsed(
    blocks: Sequence[tuple[int, bytes]], x: str | None, is_requested: Callable[[str], bool]
) -> tuple[LogValues, set[int]]:
    """Parse the values of experiments, whose blocks come with their numbers; return also the numbers of skipped experiments.

    Skipped are experiments that several runs wrote.

    Raises:
        NotPlain: A line needs a closer look.
    """
    np = package("numpy")
    values_alike = _parsed_alike(np, blocks, x, is_requested)
    if values_alike is not None:
        return values_alike, set()
    whole = b"".join(block for _, block in blocks)
    table = _table(whole)
    if any(child.null_count for child in combined(table["data"]).flatten()) and b"null" in whole:
        raise NotPlain  # a key that is absent, and one that is null, look the same by now
    counts = [block.count(b"\n") for _, block in blocks]
    member = np.repeat(np.array([number for number, _ in blocks], np.int64), counts)
    order, several = _in_order(np, table, member)
    position = _positions(np, table, x)
    metric_numbers: dict[str, int] = {}
    columns: list[list[Any]] = [[np.array([], kind)] for kind in (np.int64, np.int64, float, float)]
    has_numbers = False
    for name, rows, values in _series(np, table, order):
        if name in metric_numbers:
            raise NotPlain  # of `a` and `b/c` in one line, and `a/b` and `c` in another: in which order do they come?
        metric = metric_numbers.setdefault(name, len(metric_numbers))
        if is_requested(name):
            has_numbers = True
            at = numbered(position[rows], member[rows]) if x == STEP else position[rows]
            keep = ~np.isnan(at)
            arrays = member[rows], np.full(len(rows), metric), at, values
            for column, array in zip(columns, arrays, strict=True):
                column.append(array[keep])
    members, metrics, positions, values = map(np.concatenate, columns)
    return LogValues(list(metric_numbers), members, metrics, positions, values, has_numbers), several


def _parsed_alike(
    np: Any, blocks: Sequence[tuple[int, bytes]], x: str | None, is_requested: Callable[[str], bool]
) -> LogValues | None:
    """Parse the same values faster, where all lines are alike, as those of a sweep are; return None where one is not."""
    numbers = numbers_of([block for _, block in blocks]) if x in (None, STEP) else None
    if numbers is None:
        return None
    member = np.repeat(np.array([number for number, _ in blocks], np.int64), numbers.counts)
    if (numbers.seq[1:] <= numbers.seq[:-1])[member[1:] == member[:-1]].any():
        return None
    names = full_names(numbers.name, numbers.keys)
    requested = [metric for metric, name in enumerate(names) if is_requested(name)]
    step = np.full(len(member), np.nan) if numbers.step is None else numbers.step
    position = np.zeros(len(member)) if x is None else numbered(step, member)
    members, positions = np.tile(member, len(requested)), np.tile(position, len(requested))
    metrics = np.repeat(np.array(requested, np.int64), len(member))
    return LogValues(names, members, metrics, positions, numbers.values[:, requested].T.ravel(), bool(requested))


def _table(block: bytes) -> Any:
    pa = package("pyarrow")
    table = table_of_lines(block, time=pa.string(), step=pa.float64())
    if set(table.column_names) - FIELDS or table["data"].type.num_fields > _MOST_KEYS:
        raise NotPlain
    return table


def _in_order(np: Any, table: Any, member: Any) -> tuple[Any, set[int]]:
    """Return row numbers ordered by experiment and `seq`, and the experiments of several runs, which have no rows in it."""
    run, seq = combined(table["run"]).dictionary_encode(), np.asarray(combined(table["seq"]))
    codes = np.asarray(run.indices)
    is_same = member[1:] == member[:-1]
    several = np.unique(member[1:][is_same & (codes[1:] != codes[:-1])])
    rows = np.arange(len(member))
    if (seq[1:] <= seq[:-1])[is_same].any():
        rows = np.lexsort((seq, member))
    return rows[~np.isin(member[rows], several)] if len(several) else rows, set(several.tolist())


def _positions(np: Any, table: Any, x: str | None) -> Any:
    if x is None:
        return np.zeros(table.num_rows)
    if x == STEP:
        return _floats(combined(table["step"]))
    at = combined(table["at"]) if "at" in table.column_names else None
    if at is None or not hasattr(at, "field") or at.type.get_field_index(x) < 0:
        return np.full(table.num_rows, np.nan)
    return _floats(package("pyarrow.compute").struct_field(at, [at.type.get_field_index(x)]))


def _series(np: Any, table: Any, order: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, rows and values of each metric."""
    data = combined(table["data"])
    prefixes = combined(table["name"]).fill_null("").dictionary_encode()
    codes = np.asarray(prefixes.indices)[order]
    series = []
    for number, child in enumerate(data.flatten()):
        values = _floats(child)
        is_there = np.asarray(child.is_valid())[order]
        if not np.isfinite(values[order][is_there]).all():
            raise NotPlain  # written by others: mlv has another form for them
        for code, prefix in enumerate(prefixes.dictionary.to_pylist()):
            rows = order[is_there & (codes == code)] if len(prefixes.dictionary) > 1 or child.null_count else order
            if len(rows):
                key = data.type.field(number).name
                series.append((int(rows[0]), number, full_name(prefix, key), rows, values[rows]))
    for _, _, name, rows, values in sorted(series, key=lambda entry: entry[:2]):
        yield name, rows, values


def _floats(column: Any) -> Any:
    pa = package("pyarrow")
    if not (pa.types.is_int64(column.type) or pa.types.is_float64(column.type)):
        raise NotPlain
    return package("pyarrow.compute").cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
