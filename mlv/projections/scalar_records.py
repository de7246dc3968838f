"""Records of TensorBoard's event files put together by hand, which costs less than protobuf: scalars, and ready summaries."""

from __future__ import annotations

import math
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is a class

_TIME, _VALUE = Struct("<cd"), Struct("<f")
_SUMMARY = b"\x2a"
"""Field of a record that holds its summary."""


def time_field(time_s: float) -> bytes:
    """Return the time in a record, its first field."""
    return _TIME.pack(b"\x09", time_s)


def step_field(step: int) -> bytes:
    """Return the step in a record, behind its time; 0 is left out."""
    return b"\x10" + _varint(step & 0xFFFFFFFFFFFFFFFF) if step else b""


def scalar_head(tag: str) -> bytes:
    """Return the record of a scalar from behind its step up to its value: the lengths are the same for every value."""
    named = (b"\x0a" + _varint(len(tag.encode())) + tag.encode() if tag else b"") + b"\x15"
    value = b"\x0a" + _varint(len(named) + _VALUE.size) + named
    return _SUMMARY + _varint(len(value) + _VALUE.size) + value


def packed_value(value: float) -> bytes:
    """Return the value in the record of a scalar, which ends with it; beyond the floats of 32 bits it is infinite."""
    try:
        return _VALUE.pack(value)
    except (OverflowError, StructError):  # the latter for integers that are none of the floats
        return _VALUE.pack(math.inf if value > 0 else -math.inf)


def summary_field(summary: bytes) -> bytes:
    """Return a serialized summary in a record, behind its step."""
    return _SUMMARY + _varint(len(summary)) + summary


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
