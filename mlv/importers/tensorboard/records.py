"""Records of event files, decoded by the field numbers of TensorFlow's `event.proto`, `summary.proto` and `tensor.proto`."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from struct import Struct
from typing import Any, NamedTuple

from mlv.importers import protobuf
from mlv.importers.protobuf import BadMessage, fields
from mlv.importers.reading import Reading
from mlv.optional import package
from mlv.projections.tfrecords import unframed

TIME, STEP, VERSION, GRAPH, SUMMARY, LOG_MESSAGE, SESSION, RUN_METADATA, META_GRAPH, SOURCE = range(1, 11)
_CHUNK_BYTES = 1 << 20
_TIME, _FLOAT = Struct("<d"), Struct("<f")

_TYPES = {
    1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 8: "<c8", 9: "<i8", 10: "?", 17: "<u2", 18: "<c16", 19: "<f2",
    22: "<u4", 23: "<u8",
}  # fmt: skip
"""Types of tensors, as numpy names them."""
_STRING, _HALF, _BFLOAT16 = 7, 19, 14
_VALUES = {5: "f", 6: "d", 7: "i", 10: "i", 11: "i", 16: "i", 17: "i", 13: "i"}
"""Fields that hold the values of tensors: floats, doubles, or varints."""


def payloads(path: Path, reading: Reading) -> Iterator[bytes]:
    """Yield the records of a file whose checksums are right."""
    package("numpy", "tensorboard")
    with open(path, "rb") as file:
        content, is_damaged = b"", False
        while chunk := file.read(max(_CHUNK_BYTES, len(content))):
            content += chunk
            whole = unframed(content)
            if whole.damaged:
                reading.leave("damaged records of event files", whole.damaged)
            is_damaged = bool(whole.damaged)
            reading.advance(len(chunk))
            yield from whole.payloads
            content = content[whole.end :]
    if content and not is_damaged:
        reading.note("an event file ends within a record: it is still being written, or was cut off")


class Scalar(NamedTuple):
    """A record of one plain scalar, which nearly all are."""

    time: float
    step: int
    tag: str
    value: float


class Scalars:
    """Takes records of one plain scalar apart at once: behind time and step, that of a tag differs by four bytes only."""

    def __init__(self) -> None:
        self._tags: dict[bytes, str] = {}

    def of(self, payload: bytes) -> Scalar | None:
        """Return the scalar of a record; None where it is another one."""
        if payload[:1] != b"\x09" or len(payload) < 16:
            return None
        step, position = 0, 9
        if payload[9] == 0x10:
            shift, position = 0, 10
            while (octet := payload[position]) >= 0x80 and position < 16:
                step |= (octet & 0x7F) << shift
                shift, position = shift + 7, position + 1
            if octet >= 0x80:  # a negative one
                return None
            step, position = step | octet << shift, position + 1
        head = payload[position:-4]
        tag = self._tags.get(head)
        if tag is None:
            tag = _tag_of(payload[position:])
            if tag is None:
                return None
            self._tags[head] = tag
        return Scalar(_TIME.unpack_from(payload, 1)[0], step, tag, _FLOAT.unpack_from(payload, len(payload) - 4)[0])


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


class Event(NamedTuple):
    """A record: its content by field."""

    time: float
    step: int
    fields: dict[int, list[Any]]


def event_of(payload: bytes) -> Event:
    """Return a record.

    Raises:
        BadMessage: It is none.
    """
    values = protobuf.grouped(payload)
    time = protobuf.double(values[TIME][-1]) if TIME in values else 0.0
    step = values.get(STEP, [0])[-1]
    if not isinstance(step, int):
        raise BadMessage("a step is no number")
    return Event(time, protobuf.signed(step), values)


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
    if len(array) == count or count > 1 << 28:
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
