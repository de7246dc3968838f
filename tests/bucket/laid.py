"""Experiments of a disk laid into a bucket by the names of its objects, without the process that ships them."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from mlv.audit.merge_files import files_of
from mlv.bucket import names
from mlv.bucket.names import Segment, Whole
from mlv.bucket.store import Creation
from mlv.store import layout
from mlv.store.contents import content_of

COPY = "00000000000000aa"
OTHER = "00000000000000bb"


def lay(
    folder: Path,
    store: Any,
    path: str = "",
    *,
    copy: str = COPY,
    parts: int = 1,
    files: bool = True,
    whole: bool = True,
    until: int | None = None,
) -> None:
    """Lay an experiment below a path: each stream in so many segments, further ones where some of it is there already."""
    store.create(names.join(path, layout.META), (folder / layout.META).read_bytes())
    for stream in layout.streams_in(folder):
        lay_lines(folder, store, path, stream, copy=copy, parts=parts, until=until)
    if files:
        lay_files(folder, store, path)
    if whole:
        size = sum((folder / layout.stream_file(stream)).stat().st_size for stream in layout.streams_in(folder))
        store.create(names.join(path, Whole(copy, size).key), b"{}")


def lay_lines(
    folder: Path, store: Any, path: str, stream: str = "log", *, copy: str = COPY, parts: int = 1, until: int | None = None
) -> list[str]:
    """Lay the lines of a stream that are not there yet; return the keys of the new segments."""
    content = (folder / layout.stream_file(stream)).read_bytes()[:until]
    below = names.join(path, names.stream_folder(stream), copy)
    there = [
        names.segment_of(f"{names.stream_folder(stream)}/{copy}/{stored.key.rpartition('/')[2]}")
        for stored in store.objects(below)
    ]
    start = max((segment.end for segment in there if segment), default=0)
    keys = []
    for first, last in _spans(content, start, parts):
        keys.append(names.join(path, Segment(stream, copy, first, last).key))
        assert store.create(keys[-1], gzip.compress(content[first:last], mtime=0)) is not Creation.DIFFERENT
    return keys


def lay_files(folder: Path, store: Any, path: str = "") -> None:
    """Lay all files; one that was published again as a version."""
    for name in files_of(folder):
        key = names.join(path, name)
        if store.create(key, folder / name) is Creation.DIFFERENT:
            store.create(names.version_key(key, content_of(folder / name).sha256), folder / name)


def lines_of(folder: Path) -> dict[str, bytes]:
    """The bytes of each stream of an experiment on a disk."""
    return {name: (folder / layout.stream_file(name)).read_bytes() for name in layout.streams_in(folder)}


def _spans(content: bytes, start: int, parts: int) -> Sequence[tuple[int, int]]:
    """Cut whole lines into spans of about equal numbers of lines."""
    end = content.rfind(b"\n") + 1
    ends = [position + 1 for position in range(start, end) if content[position : position + 1] == b"\n"]
    step = max(1, -(-len(ends) // parts))
    cuts = [start, *ends[step - 1 :: step]]
    if ends and cuts[-1] != ends[-1]:
        cuts.append(ends[-1])
    return list(pairwise(cuts))
