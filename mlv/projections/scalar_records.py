"""Records of scalars for TensorBoard, joined from prepared bytes: made by protobuf, each would cost more than its line.

A record is `TIME`, its step, its head, which is the same for every value of a tag, and `VALUE`.
"""

from __future__ import annotations

from struct import Struct

TIME, VALUE = Struct("<cd"), Struct("<f")


def step_field(step: int) -> bytes:
    """Return the step in a record; 0 is left out."""
    return b"\x10" + _varint(step & 0xFFFFFFFFFFFFFFFF) if step else b""


def scalar_head(tag: str) -> bytes:
    """Return the record of a scalar from behind its step up to its value: the lengths are the same for every value."""
    named = (b"\x0a" + _varint(len(tag.encode())) + tag.encode() if tag else b"") + b"\x15"
    value = b"\x0a" + _varint(len(named) + VALUE.size) + named
    return b"\x2a" + _varint(len(value) + VALUE.size) + value


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
