"""The frames of a `.wandb` file: LevelDB's log, with another checksum and a header in front.

The file consists of blocks of 32 KiB. A block holds chunks: the CRC-32 of type and bytes, the length, the type, the bytes. A
record is one chunk of type FULL, or one of type FIRST, any number of MIDDLE, and LAST, in blocks that follow each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import BinaryIO
from zlib import crc32

from mlv.importers.reading import SourceReading

MAGIC = b":W&B"
_HEADER = MAGIC + b"\xe1\xbe"
_VERSION = 0
_BLOCK = 32 * 1024
_CHUNK = Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_TYPES = [crc32(bytes([kind])) for kind in range(256)]
"""Checksums that begin with each type."""


def records(file: BinaryIO, reading: SourceReading) -> Iterator[bytes]:
    """Yield the records of a file from its beginning; behind damage, those of the next block."""
    pieces: list[bytes] = []
    is_first = True
    while block := file.read(_BLOCK):
        position = _behind_header(block, reading) if is_first else 0
        is_first = False
        is_last = len(block) < _BLOCK
        while position + _CHUNK.size <= len(block):
            checksum, length, kind = _CHUNK.unpack_from(block, position)
            start = position + _CHUNK.size
            position = start + length
            if kind == length == 0:  # what a crashed system leaves of a block
                break
            if position > len(block) and is_last:
                break
            content = block[start:position]
            if position > len(block) or crc32(content, _TYPES[kind]) != checksum or not _FULL <= kind <= _LAST:
                reading.leave("damaged stretches of a file, with the records in them")
                pieces.clear()
                position = len(block)
                break
            if kind == _FULL:
                yield content
            elif kind == _FIRST:
                pieces = [content]
            elif pieces:  # the others of a record whose beginning is damaged are of no use
                pieces.append(content)
                if kind == _LAST:
                    yield b"".join(pieces)
                    pieces.clear()
        if is_last and (position > len(block) or (position < len(block) and any(block[position:]))):
            pieces.append(b"")
        reading.advance(len(block))
    if pieces:
        reading.note("the file ends within a record: it is still being written, or was cut off")


def _behind_header(block: bytes, reading: SourceReading) -> int:
    if not block.startswith(_HEADER):
        reading.leave("damaged headers of a file")
    elif len(block) > len(_HEADER) and block[len(_HEADER)] != _VERSION:
        reading.note(
            f"the file is of version {block[len(_HEADER)]}, and mlv knows version {_VERSION}: read as far as it is alike"
        )
    return len(_HEADER) + 1
