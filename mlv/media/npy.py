"""The header of a `.npy` file, for arrays that are written without numpy."""

from __future__ import annotations

import struct

_MAGIC = b"\x93NUMPY\x01\x00"
_LENGTH = struct.Struct("<H")
_ALIGNED = 64  # as numpy writes it: data begin there, which can be mapped into memory


def header(descr: str, shape: tuple[int, ...]) -> bytes:
    """Return the bytes of a `.npy` file (version 1.0) that come before its items, which follow in C order.

    Args:
        descr: Type of the items as numpy writes it: `|u1`, `<f4`.
        shape: Length of each axis; `()` is a single item.
    """
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}".encode("ascii")
    before = len(_MAGIC) + _LENGTH.size
    padding = -(before + len(text) + 1) % _ALIGNED
    text += b" " * padding + b"\n"
    return _MAGIC + _LENGTH.pack(len(text)) + text
