"""Values of metrics of many short logs, which are parsed together: one by one, each would cost more than its lines do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from mlv.encoding import TAG
from mlv.optional import package
from mlv.query.metrics.columns import numbered
from mlv.query.metrics.long_table import full_names
from mlv.query.metrics.parse_json import FIELDS, NotPlain, count_objects, table_of_lines
from mlv.query.metrics.parse_template import numbers_of
from mlv.store import layout, opening
from mlv.store.reading import looks_whole, type_filter, while_there

STEP = "step"
LONGEST = 1 << 20
"""Longer logs have sidecars."""

_MARK = b'","type":"metrics"'
_ODD = (b"null", b'"_mlv', b'"nonfinite"')
"""What stands in lines that have to be read one by one."""
_MOST_KEYS = 100
_is_metrics = type_filter(("metrics",))


@dataclass
class LogValues:
    """Values of some experiments, those of one metric of one experiment in the order in which they were logged."""

    seen: list[str]
    """Names of all metrics, in the order of their lines."""
    member: Any
    """Number of the experiment."""
    metric: Any
    """Place in `seen`."""
    x: Any
    value: Any
    has_numbers: bool
    """Whether there is a number at all, be it without an x."""
    skipped: list[str] = field(default_factory=list)
    """Damaged lines that were passed over."""


def block_of(folder: Path, *, sifted: bool) -> bytes:
    """The lines of an experiment from the first of type `metrics` to the last; sifted, those of this type only.

    Raises:
        NotPlain: There are too many of them, or they are not plain.
    """
    found = []
    for stream in layout.streams_in(folder):
        if layout.logical_stream(stream) == layout.REWOUND:
            raise NotPlain  # what survives is told line by line
        with while_there(folder, stream), opening.reading(folder / layout.stream_file(stream), buffering=0) as file:
            if os.fstat(file.fileno()).st_size > LONGEST:
                raise NotPlain
            found.append(_metric_lines(file.read(), sifted))
    return b"".join(found)


def _metric_lines(content: bytes, sifted: bool) -> bytes:
    begin = content.rfind(b"\n", 0, max(0, content.find(_MARK))) + 1
    last = content.rfind(_MARK)
    end = content.find(b"\n", last) + 1 if last >= 0 else begin
    if last >= 0 and end == 0:
        raise NotPlain  # the last line is being written
    inner = content[begin:end]
    others = [content[:begin], content[end:]]
    if sifted:
        lines = list(BytesIO(inner))
        inner = b"".join(line for line in lines if _MARK in line)
        others += [line for line in lines if _MARK not in line]
    if not all(looks_whole(line) for other in others for line in BytesIO(other)):
        raise NotPlain  # damage is told, line by line
    if any(map(_is_metrics, others)) or (sifted and any(odd in inner for odd in _ODD)):
        raise NotPlain
    return inner


def parsed(blocks: Sequence[tuple[int, bytes]], x: str | None, is_wanted: Callable[[str], bool]) -> tuple[LogValues, set[int]]:
    """The values of some experiments, given by their numbers, and the numbers of those left out, which several runs wrote.

    Raises:
        NotPlain: There is something in the lines that needs a closer look.
    """
    np, pc = package("numpy"), package("pyarrow.compute")
    part = _parsed_alike(np, blocks, x, is_wanted)
    if part is not None:
        return part, set()
    whole = b"".join(block for _, block in blocks)
    count_objects(whole)  # halves of damaged lines cannot make up a whole one
    table = _table(whole)
    if any(child.null_count for child in _one(table["data"]).flatten()) and b"null" in whole:
        raise NotPlain  # a key that is absent, and one that is null, look the same by now
    counts = [block.count(b"\n") for _, block in blocks]
    if table.num_rows != sum(counts) or table["type"].null_count or not pc.all(pc.equal(table["type"], "metrics")).as_py():
        raise NotPlain
    member = np.repeat(np.array([number for number, _ in blocks], np.int64), counts)
    order, several = _in_order(np, table, member)
    place = _places(np, table, x)
    seen: dict[str, int] = {}
    columns: list[list[Any]] = [[np.array([], kind)] for kind in (np.int64, np.int64, float, float)]
    has_numbers = False
    for name, rows, values in _series(np, table, order):
        if name in seen:
            raise NotPlain  # of `a` and `b/c` in one line, and `a/b` and `c` in another: in which order do they come?
        metric = seen.setdefault(name, len(seen))
        if is_wanted(name):
            has_numbers = True
            at = numbered(place[rows], member[rows]) if x == STEP else place[rows]
            keep = ~np.isnan(at)
            parts = member[rows], np.full(len(rows), metric), at, values
            for column, part in zip(columns, parts, strict=True):
                column.append(part[keep])
    members, metrics, places, values = map(np.concatenate, columns)
    return LogValues(list(seen), members, metrics, places, values, has_numbers), several


def _parsed_alike(
    np: Any, blocks: Sequence[tuple[int, bytes]], x: str | None, is_wanted: Callable[[str], bool]
) -> LogValues | None:
    """The same, and faster, where all lines are alike, as those of a sweep are; None where one is not."""
    found = numbers_of([block for _, block in blocks]) if x in (None, STEP) else None
    if found is None:
        return None
    member = np.repeat(np.array([number for number, _ in blocks], np.int64), found.counts)
    if (found.seq[1:] <= found.seq[:-1])[member[1:] == member[:-1]].any():
        return None
    seen = full_names(found.name, found.keys)
    wanted = [metric for metric, name in enumerate(seen) if is_wanted(name)]
    step = np.full(len(member), np.nan) if found.step is None else found.step
    place = np.zeros(len(member)) if x is None else numbered(step, member)
    members, places = np.tile(member, len(wanted)), np.tile(place, len(wanted))
    metrics = np.repeat(np.array(wanted, np.int64), len(member))
    return LogValues(seen, members, metrics, places, found.values[:, wanted].T.ravel(), bool(wanted))


def _table(block: bytes) -> Any:
    pa = package("pyarrow")
    table = table_of_lines(block, time=pa.string(), step=pa.float64())
    data = table["data"].type if "data" in table.column_names else None
    if data is None or not pa.types.is_struct(data) or data.num_fields > _MOST_KEYS or table["data"].null_count:
        raise NotPlain
    if set(table.column_names) - FIELDS or any(field.name.startswith(TAG) for field in data):
        raise NotPlain
    return table.combine_chunks()


def _in_order(np: Any, table: Any, member: Any) -> tuple[Any, set[int]]:
    """Numbers of the rows by experiment and `seq`, and the experiments of several runs, without rows."""
    run, seq = _one(table["run"]).dictionary_encode(), np.asarray(_one(table["seq"]))
    codes = np.asarray(run.indices)
    if run.null_count or table["seq"].null_count:
        raise NotPlain
    is_same = member[1:] == member[:-1]
    several = np.unique(member[1:][is_same & (codes[1:] != codes[:-1])])
    rows = np.arange(len(member))
    if (seq[1:] <= seq[:-1])[is_same].any():
        rows = np.lexsort((seq, member))
    return rows[~np.isin(member[rows], several)] if len(several) else rows, set(several.tolist())


def _places(np: Any, table: Any, x: str | None) -> Any:
    if x is None:
        return np.zeros(table.num_rows)
    if x == STEP:
        return _floats(_one(table["step"]))
    at = _one(table["at"]) if "at" in table.column_names else None
    if at is None or not hasattr(at, "field") or at.type.get_field_index(x) < 0:
        return np.full(table.num_rows, np.nan)
    return _floats(package("pyarrow.compute").struct_field(at, [at.type.get_field_index(x)]))


def _series(np: Any, table: Any, order: Any) -> Iterator[tuple[str, Any, Any]]:
    """Name, rows and values of each metric."""
    data = _one(table["data"])
    prefixes = _one(table["name"]).fill_null("").dictionary_encode()
    codes = np.asarray(prefixes.indices)[order]
    found = []
    for number, child in enumerate(data.flatten()):
        values = _floats(child)
        is_there = np.asarray(child.is_valid())[order]
        if not np.isfinite(values[order][is_there]).all():
            raise NotPlain  # written by others: mlv has another form for them
        for code, prefix in enumerate(prefixes.dictionary.to_pylist()):
            rows = order[is_there & (codes == code)] if len(prefixes.dictionary) > 1 or child.null_count else order
            if len(rows):
                key = data.type.field(number).name
                found.append((int(rows[0]), number, f"{prefix}/{key}" if prefix else key, rows, values[rows]))
    for _, _, name, rows, values in sorted(found, key=lambda one: one[:2]):
        yield name, rows, values


def _floats(column: Any) -> Any:
    pa = package("pyarrow")
    if not (pa.types.is_int64(column.type) or pa.types.is_float64(column.type)):
        raise NotPlain
    return package("pyarrow.compute").cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)


def _one(column: Any) -> Any:
    pa = package("pyarrow")
    chunks = column.chunks
    return chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks) if chunks else pa.array([], column.type)
