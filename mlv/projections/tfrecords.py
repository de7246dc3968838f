"""Records as TensorBoard's event files hold them: each with its length, and a CRC-32C of both; made and read many at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from struct import Struct
from typing import Any, NamedTuple

_LENGTH, _CHECKSUM = Struct("<Q"), Struct("<I")
_ALL_BITS = 0xFFFFFFFF
_POLYNOMIAL = 0x82F63B78
"""Of CRC-32C, its bits in reverse."""
_FEW = 24
"""Fewer records of one length are summed one by one: numpy's calls would cost more than the bytes."""
_STRIPE = 512


def framed(payloads: Sequence[bytes]) -> bytes:
    """Return the records, one behind the other."""
    chunks: list[bytes] = []
    for payload, checksum in zip(payloads, checksums(payloads), strict=True):
        chunks += (_length(len(payload)), payload, _CHECKSUM.pack(masked(checksum)))
    return b"".join(chunks)


class RecordGroup(NamedTuple):
    """Records of one length."""

    numbers: Any
    """Their places among all records, in ascending order, as an array of numpy."""
    contents: Any
    """An array of numpy with a row of bytes for each."""


class Unframed(NamedTuple):
    """The records at the beginning of some bytes."""

    groups: list[RecordGroup]
    """Those whose checksums are right, by their lengths."""
    end: int
    """Position behind the last whole record, or damage."""
    damaged: int
    """Number of records with another checksum, and of stretches in which no record begins."""


_HEADER, _AROUND = 12, 16


def unframed(content: bytes) -> Unframed:
    """Return the whole records of some bytes; behind a damaged length, those from the next one that is right."""
    import numpy

    octets = numpy.frombuffer(content, numpy.uint8)
    starts, sizes, position, damaged = _located(content, octets)
    groups = []
    for size in numpy.unique(sizes):
        numbers = numpy.flatnonzero(sizes == size)
        rows = octets[starts[numbers][:, None] + numpy.arange(_HEADER, _AROUND + size)]
        contents, stored = rows[:, :size], _little_endian(rows[:, size:])
        is_right = _masked_sums(contents) == stored
        damaged += len(numbers) - int(numpy.count_nonzero(is_right))
        groups.append(RecordGroup(numbers[is_right], contents[is_right]))
    return Unframed(groups, position, damaged)


def _located(content: bytes, octets: Any) -> tuple[Any, Any, int, int]:
    """Return the starts of whole records, their sizes, the position behind them, and the number of damaged stretches.

    Lengths are followed first, and their checksums computed together: at the first wrong one it begins anew behind the damage.
    """
    import numpy

    starts: list[int] = []
    sizes: list[int] = []
    position, checked, damaged, limit = 0, 0, 0, len(content) - _HEADER
    right: Any = None
    while True:
        while position <= limit:
            (size,) = _LENGTH.unpack_from(content, position)
            end = position + _AROUND + size
            starts.append(position)
            sizes.append(size)
            position = end
        if len(starts) == checked:
            break
        new = numpy.array(starts[checked:])
        headers = octets[new[:, None] + numpy.arange(_HEADER)]
        wrong = numpy.flatnonzero(_masked_sums(headers[:, :8]) != _little_endian(headers[:, 8:]))
        if not len(wrong):
            break
        checked += int(wrong[0])
        position = starts[checked] + 1
        del starts[checked:], sizes[checked:]
        if right is None:  # once, as a file that was sent as text is damaged at every few records
            right = position + _right_headers(octets[position:])
        following = int(numpy.searchsorted(right, position))
        # Without another one, the last bytes may begin it.
        position = int(right[following]) if following < len(right) else max(position, limit + 1)
        damaged += 1
    if starts and starts[-1] + _AROUND + sizes[-1] > len(content):
        position = starts.pop()
        sizes.pop()
    return numpy.array(starts, numpy.int64), numpy.array(sizes, numpy.int64), position, damaged


def _right_headers(octets: Any) -> Any:
    """Return the positions of all lengths with the right checksum, in ascending order."""
    import numpy

    if len(octets) < _HEADER:
        return numpy.array([], numpy.int64)
    windows = numpy.lib.stride_tricks.sliding_window_view(octets, _HEADER)
    return numpy.flatnonzero(_masked_sums(windows[:, :8]) == _little_endian(windows[:, 8:]))


def _masked_sums(rows: Any) -> Any:
    """Return the masked CRC of each row of bytes."""
    import numpy

    if len(rows) < _FEW and rows.shape[1] > _STRIPE:
        return numpy.array([masked(_of_one(row.tobytes())) for row in rows], numpy.uint32)
    sums = _registers(rows, _ALL_BITS) ^ numpy.uint32(_ALL_BITS)
    return (sums >> 15 | sums << 17) + numpy.uint32(0xA282EAD8)


def _little_endian(rows: Any) -> Any:
    import numpy

    return numpy.ascontiguousarray(rows).view("<u4")[:, 0]


def masked(checksum: int) -> int:
    """Return a checksum as it is stored: a record may hold records, and a CRC over its own CRC proves nothing."""
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & _ALL_BITS


def checksums(payloads: Sequence[bytes]) -> list[int]:
    """Return the CRC-32C of each."""
    sums = [0] * len(payloads)
    indices_by_length: defaultdict[int, list[int]] = defaultdict(list)
    for index, payload in enumerate(payloads):
        indices_by_length[len(payload)].append(index)
    for length, group in indices_by_length.items():
        if len(group) >= _FEW and 0 < length <= _STRIPE:
            group_sums = _of_equal_length(b"".join([payloads[index] for index in group]), length, _ALL_BITS)
            for index, checksum in zip(group, group_sums, strict=True):
                sums[index] = checksum ^ _ALL_BITS
        else:
            for index in group:
                sums[index] = _of_one(payloads[index])
    return sums


@cache
def _length(size: int) -> bytes:
    """Return the bytes before a payload of that size: its length, and a checksum of that."""
    packed = _LENGTH.pack(size)
    return packed + _CHECKSUM.pack(masked(_slowly(packed)))


def _of_one(payload: bytes) -> int:
    """Return the CRC of one record: a long one is cut into stripes, whose CRCs are computed together and then joined."""
    stripes = len(payload) // _STRIPE
    if stripes < _FEW:
        return _slowly(payload)
    end = stripes * _STRIPE
    shifted, state = _after_a_stripe(), _ALL_BITS
    for of_stripe in _of_equal_length(payload[:end], _STRIPE, 0):
        a, b, c, d = state.to_bytes(4, "little")
        state = shifted[0][a] ^ shifted[1][b] ^ shifted[2][c] ^ shifted[3][d] ^ of_stripe
    return _slowly(payload[end:], state ^ _ALL_BITS)


def _of_equal_length(content: bytes, length: int, state: int) -> list[int]:
    """Return the register of the CRC behind each stretch of `length` bytes, where it was `state` before."""
    import numpy

    states: list[int] = _registers(numpy.frombuffer(content, numpy.uint8).reshape(-1, length), state).tolist()
    return states


def _registers(rows: Any, state: int) -> Any:
    """Return the register of the CRC behind each row of bytes, where it was `state` before."""
    import numpy

    table = _numpy_table()
    registers: Any = numpy.full(len(rows), state, numpy.uint32)
    for column in numpy.ascontiguousarray(rows.T):
        registers = table[(registers ^ column) & 0xFF] ^ (registers >> 8)
    return registers


@cache
def _after_a_stripe() -> list[list[int]]:
    """Return the register behind a stripe of zeros, for each value of each of its bytes: the CRC is linear in its bits."""
    import numpy

    table = _numpy_table()
    registers: Any = numpy.arange(256, dtype=numpy.uint32) << numpy.array([[0], [8], [16], [24]], numpy.uint32)
    for _ in range(_STRIPE):
        registers = table[registers & 0xFF] ^ (registers >> 8)
    tables: list[list[int]] = registers.tolist()
    return tables


@cache
def _numpy_table() -> Any:
    import numpy

    return numpy.array(_table(), numpy.uint32)


@cache
def _table() -> list[int]:
    table = []
    for register in range(256):
        for _ in range(8):
            register = register >> 1 ^ (_POLYNOMIAL if register & 1 else 0)
        table.append(register)
    return table


def _slowly(content: bytes, before: int = 0) -> int:
    """Return the CRC of a content that follows one with the CRC `before`, byte by byte."""
    table, register = _table(), before ^ _ALL_BITS
    for octet in content:
        register = table[(register ^ octet) & 0xFF] ^ (register >> 8)
    return register ^ _ALL_BITS
