"""Records as TensorBoard's event files hold them: each with its length, and a CRC-32C of both; made for many at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from struct import Struct
from typing import Any

_LENGTH, _CHECKSUM = Struct("<Q"), Struct("<I")
_ONES = 0xFFFFFFFF
_FEW = 24
"""So many records of one length are summed one by one: below, numpy's calls cost more than the bytes."""
_STRIPE = 512


def framed(payloads: Sequence[bytes]) -> bytes:
    """The records, one behind the other."""
    parts: list[bytes] = []
    for payload, checksum in zip(payloads, checksums(payloads), strict=True):
        parts += (_length(len(payload)), payload, _CHECKSUM.pack(masked(checksum)))
    return b"".join(parts)


def masked(checksum: int) -> int:
    """A checksum as it is stored: a record may hold records, and the CRC of what holds its own CRC is not one."""
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & _ONES


def checksums(payloads: Sequence[bytes]) -> list[int]:
    """The CRC-32C of each."""
    found = [0] * len(payloads)
    places: defaultdict[int, list[int]] = defaultdict(list)
    for place, payload in enumerate(payloads):
        places[len(payload)].append(place)
    for length, group in places.items():
        if len(group) >= _FEW and 0 < length <= _STRIPE:
            found_here = _of_equal_length(b"".join([payloads[place] for place in group]), length, _ONES)
            for place, checksum in zip(group, found_here, strict=True):
                found[place] = checksum ^ _ONES
        else:
            for place in group:
                found[place] = _of_one(payloads[place])
    return found


@cache
def _length(size: int) -> bytes:
    """What stands before a payload of that size."""
    packed = _LENGTH.pack(size)
    return packed + _CHECKSUM.pack(masked(_slowly(packed)))


def _of_one(payload: bytes) -> int:
    """The CRC of one record: a long one is cut into stripes, whose CRCs are found together and then joined."""
    stripes = len(payload) // _STRIPE
    if stripes < _FEW:
        return _slowly(payload)
    end = stripes * _STRIPE
    shifted, state = _after_a_stripe(), _ONES
    for of_stripe in _of_equal_length(payload[:end], _STRIPE, 0):
        a, b, c, d = state.to_bytes(4, "little")
        state = shifted[0][a] ^ shifted[1][b] ^ shifted[2][c] ^ shifted[3][d] ^ of_stripe
    return _slowly(payload[end:], state ^ _ONES)


def _of_equal_length(content: bytes, length: int, state: int) -> list[int]:
    """The register of the CRC behind each piece of the content, where it was `state` before."""
    import numpy

    table = _numpy_table()
    registers: Any = numpy.full(len(content) // length, state, numpy.uint32)
    for column in numpy.ascontiguousarray(numpy.frombuffer(content, numpy.uint8).reshape(-1, length).T):
        registers = table[(registers ^ column) & 0xFF] ^ (registers >> 8)
    found: list[int] = registers.tolist()
    return found


@cache
def _after_a_stripe() -> list[list[int]]:
    """What a register becomes behind a stripe of zeros, for each value of each of its bytes: it is linear in its bits."""
    import numpy

    table = _numpy_table()
    registers: Any = numpy.arange(256, dtype=numpy.uint32) << numpy.array([[0], [8], [16], [24]], numpy.uint32)
    for _ in range(_STRIPE):
        registers = table[registers & 0xFF] ^ (registers >> 8)
    found: list[list[int]] = registers.tolist()
    return found


@cache
def _numpy_table() -> Any:
    import numpy
    from tensorboardX.crc32c import CRC_TABLE

    return numpy.array(CRC_TABLE, numpy.uint32)


def _slowly(content: bytes, before: int = 0) -> int:
    """The CRC of a content that follows one with the CRC `before`, byte by byte."""
    from tensorboardX.crc32c import crc32c, crc_update

    checksum: int = crc_update(before, content) if before else crc32c(content)
    return checksum & _ONES
