"""Records of event files, decoded by the field numbers of TensorFlow's `event.proto`, `summary.proto` and `tensor.proto`."""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from mlv.importers import protobuf
from mlv.importers.protobuf import BadMessage, fields
from mlv.importers.reading import SourceReading
from mlv.optional import package
from mlv.projections.tfrecords import RecordGroup, unframed

TIME, STEP, VERSION, GRAPH, SUMMARY, LOG_MESSAGE, SESSION, RUN_METADATA, META_GRAPH, SOURCE = range(1, 11)
_CHUNK_BYTES = 1 << 20
_BEGINNING = 1 << 16
_LAST = 1 << 62
"""A number behind those of all records."""
_SHORTEST, _LONGEST, _STEP_BYTES = 25, 512, 8
"""Bytes of a record of a scalar, and of its step; others are read one by one."""
_MOST_TAGS = 100_000
_FEW_TAGS = 32
_MOST_REPEATED = 1 << 24
"""Numbers that an abridged tensor becomes: a record of thirty bytes must not take gigabytes."""
LATEST = 253_402_300_799.0
"""Seconds of the last moment that a date has."""

_TYPES = {
    1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 8: "<c8", 9: "<i8", 10: "?", 17: "<u2", 18: "<c16", 19: "<f2",
    22: "<u4", 23: "<u8",
}  # fmt: skip
"""Types of tensors, as numpy names them."""
_STRING, _HALF, _BFLOAT16 = 7, 19, 14
_VALUES = {5: "f", 6: "d", 7: "i", 10: "i", 11: "i", 16: "i", 17: "i", 13: "i"}
"""Fields that hold the values of tensors: floats, doubles, or varints."""


class Points(NamedTuple):
    """Records of one plain scalar each, in their order."""

    times: list[float]
    steps: list[int]
    tags: list[str]
    values: list[float]


def records(path: Path, reading: SourceReading) -> Iterator[Points | bytes]:
    """Yield the records of a file whose checksums are right, in their order: those of one plain scalar many at a time."""
    package("numpy", "tensorboard")
    scalars = _Scalars()
    with open(path, "rb") as file:
        content, is_damaged = b"", False
        while chunk := file.read(max(_CHUNK_BYTES, len(content))):
            content += chunk
            whole = unframed(content)
            if whole.damaged:
                reading.leave("damaged records of event files", whole.damaged)
            is_damaged = bool(whole.damaged)
            reading.advance(len(chunk))
            yield from scalars.sorted_out(whole.groups)
            content = content[whole.end :]
    if content and not is_damaged:
        reading.note("an event file ends within a record: it is still being written, or was cut off")


def first_payloads(path: Path) -> Iterator[bytes]:
    """Yield the records at the beginning of a file, which are not many, as bytes."""
    package("numpy", "tensorboard")
    with open(path, "rb") as file:
        size = _BEGINNING
        while content := file.read(size):
            whole = unframed(content)
            if any(len(group.numbers) for group in whole.groups) or len(content) < size:
                rows = [pair for group in whole.groups for pair in zip(group.numbers, group.contents, strict=True)]
                yield from (row.tobytes() for _, row in sorted(rows, key=lambda pair: int(pair[0])))
                return
            size *= 8  # the first record is a large one, or those so far are damaged
            file.seek(0)


class _Scalars:
    """Takes records of one plain scalar apart, many at once: behind time and step, those of a tag differ by four bytes only."""

    def __init__(self) -> None:
        self._tags: dict[bytes, str | None] = {}

    def sorted_out(self, groups: list[RecordGroup]) -> Iterator[Points | bytes]:
        """Yield the records of groups in their order; each scalar is one wherever a file is cut into blocks."""
        numpy = package("numpy", "tensorboard")
        columns: list[tuple[Any, Any, Any, list[str], Any]] = []
        others: list[tuple[int, bytes]] = []
        for group in groups:
            rest = self._points_of(group, columns)
            others += [(int(group.numbers[row]), group.contents[row].tobytes()) for row in rest]
        lists: list[Any] = [[], [], [], [], []]
        tags = [tag for column in columns for tag in column[3]]
        if tags:
            numbers, times, steps, values = [numpy.concatenate([column[i] for column in columns]) for i in (0, 1, 2, 4)]
            order = numpy.argsort(numbers, kind="stable")
            tags = [tags[place] for place in order.tolist()]
            lists = [numbers[order].tolist(), times[order].tolist(), steps[order].tolist(), tags, values[order].tolist()]
        start = 0
        for number, payload in [*sorted(others), (_LAST, b"")]:
            end = bisect_left(lists[0], number, start)
            if end > start:
                yield Points(*[column[start:end] for column in lists[1:]])
            if payload:
                yield payload
            start = end

    def _points_of(self, group: RecordGroup, columns: list[tuple[Any, Any, Any, list[str], Any]]) -> list[int]:
        """Add the scalars of a group to columns, and return the rows of all others."""
        numpy = package("numpy", "tensorboard")
        rows, size = group.contents, group.contents.shape[1] if group.contents.ndim == 2 else 0
        if size < _SHORTEST or size > _LONGEST or not len(rows):
            return list(range(len(rows)))
        behind = numpy.full(len(rows), 9)  # the position behind the step, which is absent where it is 0
        has_step, goes_on = rows[:, 9] == 0x10, rows[:, 9] == 0x10
        steps = numpy.zeros(len(rows), numpy.int64)
        for octet in range(_STEP_BYTES):
            column = rows[:, 10 + octet]
            steps[goes_on] |= (column[goes_on].astype(numpy.int64) & 0x7F) << (7 * octet)
            behind[goes_on] = 11 + octet
            goes_on = goes_on & (column >= 0x80)
        times = numpy.ascontiguousarray(rows[:, 1:9]).view("<f8")[:, 0]
        is_open = (rows[:, 0] == 0x09) & ~(has_step & goes_on) & (times >= 0) & (times < LATEST)
        others: list[int] = numpy.flatnonzero(~is_open).tolist()
        for chosen in _alike(rows, behind, is_open):
            tag = self._tag(rows[chosen[0]].tobytes()[behind[chosen[0]] :])
            if tag is None:
                others += chosen.tolist()
                continue
            values = numpy.ascontiguousarray(rows[chosen, -4:]).view("<f4")[:, 0].astype(numpy.float64)
            columns.append((group.numbers[chosen], times[chosen], steps[chosen], [tag] * len(chosen), values))
        return others

    def _tag(self, rest: bytes) -> str | None:
        head = rest[:-4]
        if head in self._tags:
            return self._tags[head]
        tag = _tag_of(rest)
        if len(self._tags) < _MOST_TAGS:
            self._tags[head] = tag
        return tag


def _alike(rows: Any, behind: Any, is_open: Any) -> Iterator[Any]:
    """Yield the numbers of open rows that are equal behind their steps, but for the last four bytes."""
    numpy = package("numpy", "tensorboard")
    for _ in range(_FEW_TAGS):
        if not is_open.any():
            return
        first = int(numpy.argmax(is_open))
        position = int(behind[first])
        alike = is_open & (behind == position) & (rows[:, position:-4] == rows[first, position:-4]).all(axis=1)
        is_open = is_open & ~alike
        yield numpy.flatnonzero(alike)
    # Each round compares all rows: of many tags, or of records that are all different, each is looked up by itself.
    by_head: dict[bytes, list[int]] = {}
    for row in numpy.flatnonzero(is_open).tolist():
        by_head.setdefault(rows[row, behind[row] : -4].tobytes(), []).append(row)
    yield from map(numpy.array, by_head.values())


def _tag_of(rest: bytes) -> str | None:
    """Return the tag of a summary that holds a tag and a number of four bytes, which ends it; None of any other."""
    try:
        [(number, summary)] = fields(rest)
        [(_, value)] = fields(summary)
        (tag_number, tag), (value_number, content) = fields(value)
    except (ValueError, TypeError, BadMessage):
        return None
    is_one = (number, tag_number, value_number) == (SUMMARY, 1, 2) and isinstance(content, bytes) and len(content) == 4
    return protobuf.text(tag) if is_one and isinstance(tag, bytes) else None


class EventRecord(NamedTuple):
    """A record: its content by field."""

    time: float
    step: int
    fields: dict[int, list[Any]]


def event_of(payload: bytes) -> EventRecord:
    """Return a record.

    Raises:
        BadMessage: It is none.
    """
    values = protobuf.grouped(payload)
    time = protobuf.double(values[TIME][-1]) if TIME in values else 0.0
    step = values.get(STEP, [0])[-1]
    if not isinstance(step, int):
        raise BadMessage("a step is no number")
    return EventRecord(time, protobuf.signed(step), values)


class Value(NamedTuple):
    """A value of a summary."""

    tag: str
    fields: dict[int, list[Any]]
    plugin: str
    """Empty where the value does not name one: TensorFlow names it in the first value of a tag."""
    content: bytes
    """That of the plugin."""
    description: str


def values_of(summary: bytes) -> Iterator[Value]:
    """Yield the values of a summary.

    Raises:
        BadMessage: It is none.
    """
    for number, content in fields(summary):
        if number == 1:
            values = protobuf.grouped(content)
            metadata = protobuf.grouped(values.get(9, [b""])[-1])
            plugin = protobuf.grouped(metadata.get(1, [b""])[-1])
            yield Value(
                protobuf.text(values.get(1, [b""])[-1]),
                values,
                protobuf.text(plugin.get(1, [b""])[-1]),
                plugin.get(2, [b""])[-1],
                protobuf.text(metadata.get(3, [b""])[-1]),
            )


def tensor_of(message: bytes) -> Any:
    """Return a tensor: an array of numpy, or for texts a nested list of bytes.

    Raises:
        BadMessage: It is none, or of a type that numpy does not have.
    """
    numpy = package("numpy", "tensorboard")
    values = protobuf.grouped(message)
    kind = values.get(1, [0])[-1]
    shape = _shape(values.get(2, [b""])[-1])
    count = 1
    for length in shape:
        count *= length
    if kind == _STRING:
        return _nested(values.get(8, []), shape)
    content = values.get(4, [b""])[-1]
    try:
        if kind == _BFLOAT16:
            bits = numpy.frombuffer(content, "<u2") if content else numpy.array(_numbers(values, 13), "<u2")
            return _filled(bits.astype("<u4") << 16, count).view("<f4").reshape(shape)
        if kind not in _TYPES:
            raise BadMessage(f"a tensor is of type {kind}, which numpy does not have")
        if content:
            return numpy.frombuffer(content, _TYPES[kind]).reshape(shape)
        field = next((field for field in _VALUES if field in values), None)
        numbers = _numbers(values, field) if field is not None else []
        if kind == _HALF:
            return _filled(numpy.array(numbers, "<u2"), count).view("<f2").reshape(shape)
        return _filled(numpy.array(numbers, _TYPES[kind]), count).reshape(shape)
    except (ValueError, OverflowError) as error:
        raise BadMessage(f"a tensor does not have the shape that it names: {error}") from None


def _shape(message: bytes) -> tuple[int, ...]:
    sizes = [protobuf.grouped(dimension).get(1, [0])[-1] for dimension in protobuf.grouped(message).get(2, [])]
    if any(not isinstance(size, int) or size >= 1 << 40 for size in sizes):
        raise BadMessage("the shape of a tensor is none")
    return tuple(sizes)


def _filled(array: Any, count: int) -> Any:
    """Return an array of that many items: a shorter one repeats its last, as TensorFlow abridges."""
    numpy = package("numpy", "tensorboard")
    if len(array) == count or count > _MOST_REPEATED:
        return array
    last = array[-1:] if len(array) else numpy.zeros(1, array.dtype)
    return numpy.concatenate([array, numpy.repeat(last, count - len(array))])


def _numbers(values: dict[int, list[Any]], field: int) -> list[Any]:
    """Return the numbers of a repeated field, packed or not."""
    return [number for item in values.get(field, []) for number in unpacked(item, _VALUES[field])]


def unpacked(item: Any, kind: str) -> list[Any]:
    """Return the numbers of an item: floats, doubles, or integers.

    Raises:
        BadMessage: It holds others.
    """
    if isinstance(item, int):
        return [protobuf.signed(item)]
    if kind in "fd":
        size = 4 if kind == "f" else 8
        if len(item) % size:
            raise BadMessage("packed numbers are cut off")
        return list(struct.unpack(f"<{len(item) // size}{kind}", item))
    numbers, position = [], 0
    while position < len(item):
        number, position = protobuf.varint(item, position)
        numbers.append(protobuf.signed(number))
    return numbers


def _nested(items: list[Any], shape: tuple[int, ...]) -> Any:
    """Return items in nested lists of a shape; a single one where the shape is empty."""
    if not shape:
        return items[0] if items else b""
    size = len(items) // shape[0] if shape[0] else 0
    if len(shape) == 1:
        return items[: shape[0]]
    return [_nested(items[number * size : (number + 1) * size], shape[1:]) for number in range(shape[0])]


@cache
def suffix_of(beginning: bytes) -> str:
    """Return the suffix of a file by its first bytes."""
    for mark, suffix in (
        (b"\x89PNG", ".png"), (b"\xff\xd8", ".jpg"), (b"GIF8", ".gif"), (b"BM", ".bmp"), (b"RIFF", ".wav"), (b"OggS", ".ogg"),
        (b"fLaC", ".flac"), (b"ID3", ".mp3"),
    ):  # fmt: skip
        if beginning.startswith(mark):
            return suffix
    return ".bin"
