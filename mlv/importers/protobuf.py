"""Messages of protobuf, decoded without their descriptions: fields by number, as they stand on the wire."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from struct import Struct
from typing import Any

_DOUBLE, _FLOAT = Struct("<d"), Struct("<f")
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_LONGEST_VARINT = 70
"""Bits: ten bytes of seven."""


class BadMessage(ValueError):
    """Bytes are no message: a length or a field leads out of them."""


UNDECODABLE = (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError)
"""Errors of decoding, also of a message that is one, but whose fields are of other types than the description has."""


def fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Yield the number and the value of each field, in their order: an integer, or bytes.

    Bytes are also those of numbers of fixed length, which `double` and `single` read, and those of messages within.

    Raises:
        BadMessage: The bytes are no message, or an integer stands in place of them.
    """
    if not isinstance(message, bytes):
        raise BadMessage("a message is a number")
    position, size = 0, len(message)
    while position < size:
        tag, position = varint(message, position)
        kind = tag & 7
        if kind == _VARINT:
            value, position = varint(message, position)
            yield tag >> 3, value
            continue
        if kind == _BYTES:
            length, position = varint(message, position)
        elif kind in (_EIGHT, _FOUR):
            length = 8 if kind == _EIGHT else 4
        else:
            raise BadMessage(f"a field is of wire type {kind}, which is none")
        end = position + length
        if end > size:
            raise BadMessage(f"a field of {length} bytes leads out of its message")
        yield tag >> 3, message[position:end]
        position = end


def varint(message: bytes, position: int) -> tuple[int, int]:
    """Return the integer at a position, and the position behind it.

    Raises:
        BadMessage: It is cut off, or too long.
    """
    value = shift = 0
    while position < len(message) and shift < _LONGEST_VARINT:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise BadMessage("an integer is cut off")


def grouped(message: bytes) -> dict[int, list[Any]]:
    """Return the values of a small message by the numbers of their fields.

    Raises:
        BadMessage: It is none.
    """
    values: dict[int, list[Any]] = {}
    for number, value in fields(message):
        values.setdefault(number, []).append(value)
    return values


def signed(value: int) -> int:
    """Return the signed integer that a varint stands for."""
    return value - (1 << 64) if value >= 1 << 63 else value


def double(value: bytes) -> float:
    """Return the number that eight bytes hold.

    Raises:
        BadMessage: There are not eight.
    """
    return _number(value, _DOUBLE, "eight")


def single(value: bytes) -> float:
    """Return the number that four bytes hold.

    Raises:
        BadMessage: There are not four.
    """
    return _number(value, _FLOAT, "four")


def _number(value: bytes, form: Struct, size: str) -> float:
    if not isinstance(value, bytes) or len(value) != form.size:
        raise BadMessage(f"a number of {size} bytes is none")
    number: float = form.unpack(value)[0]
    return number


def octets(value: Any) -> bytes:
    """Return the bytes of a field.

    Raises:
        BadMessage: The field is an integer.
    """
    if not isinstance(value, bytes):
        raise BadMessage("a text, or the content of a file, is a number")
    return value


def text(value: Any) -> str:
    """Return the text of a field; what is no UTF-8 is escaped.

    Raises:
        BadMessage: The field is an integer.
    """
    return octets(value).decode("utf-8", "backslashreplace")


def text_of(values: Mapping[int, list[Any]], number: int) -> str:
    """Return the text of the last field of a number in a grouped message; empty where there is none."""
    return text(values[number][-1]) if number in values else ""
