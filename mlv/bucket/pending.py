"""The lines and files of an experiment that a bucket lacks, as far as its folder knows; nothing is written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from mlv.bucket import copies, positions, published
from mlv.bucket.positions import ShippedPosition
from mlv.store import layout, opening

_CHUNK_BYTES = 1 << 20


def position_of(folder: Path, path: str, url: str) -> ShippedPosition:
    """Return the position of an experiment, as far as it holds for the folder as it is now; else one at the beginning."""
    copy, position = copies.peek(folder, inodes(folder)), positions.read(folder, url)
    fits = copy is not None and position is not None and (position.copy, position.path) == (copy.name, path)
    return (
        position
        if position is not None and fits
        else ShippedPosition(url, path, "", "", problem=position.problem if position else "")
    )


def lines(position: ShippedPosition, sizes: Mapping[str, int]) -> dict[str, int]:
    """Return the bytes of each stream that are not shipped, of so many."""
    missing = {stream: size - position.stream(stream).end for stream, size in sizes.items()}
    return {stream: size for stream, size in missing.items() if size > 0}


def files(folder: Path, position: ShippedPosition) -> dict[str, int]:
    """Return the sizes of the files that are not shipped, by path."""
    waiting = (file for file in published.files(folder) if not is_shipped(position, file))
    return {file.path: file.size for file in waiting if not published.problem_of_name(file.path)}


def is_shipped(position: ShippedPosition, file: published.File) -> bool:
    """Return whether a file is in the bucket as it is now."""
    return position.files.get(file.path, [])[:3] == [*file.stamp]


def sizes(folder: Path) -> dict[str, int]:
    """Return the bytes of whole lines in each stream."""
    ends = {}
    for stream in layout.streams_in(folder):
        with suppress(FileNotFoundError), opening.reading(folder / layout.stream_file(stream), 0) as file:
            ends[stream] = whole_end(file.fileno())
    return ends


def inodes(folder: Path) -> dict[str, int]:
    """Return the inode of each stream's file."""
    return {stream: os.stat(folder / layout.stream_file(stream)).st_ino for stream in layout.streams_in(folder)}


def whole_end(fd: int) -> int:
    """Return the position behind the last whole line of an open file."""
    return newline_before(fd, os.fstat(fd).st_size, 0)


def newline_before(fd: int, end: int, least: int) -> int:
    """Return the position behind the last newline between two positions; the lower one where there is none."""
    while end > least:
        begin = max(least, end - _CHUNK_BYTES)
        newline = os.pread(fd, end - begin, begin).rfind(b"\n")
        if newline >= 0:
            return begin + newline + 1
        end = begin
    return least
