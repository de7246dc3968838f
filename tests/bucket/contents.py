"""What a bucket that is a folder holds of an experiment."""

from __future__ import annotations

import gzip
from pathlib import Path

from mlv.bucket import names, segments
from mlv.encoding import loads
from mlv.store import layout


def copy_of(folder: Path) -> str:
    """The name of the copy that a folder is."""
    return loads((folder / layout.HOUSEKEEPING / "copy").read_bytes())["copy"]


def chains(exp: Path) -> dict[tuple[str, str], bytes]:
    """The bytes of each copy and stream up to the first hole, below the folder of an experiment in the bucket."""
    while True:
        try:
            return _chains(exp)
        except FileNotFoundError:  # a small segment was deleted, which a larger one covers
            continue


def _chains(exp: Path) -> dict[tuple[str, str], bytes]:
    held: dict[tuple[str, str], list[names.Segment]] = {}
    for path in exp.rglob("*.gz"):
        segment = names.segment_of(path.relative_to(exp).as_posix())
        if segment is not None:
            held.setdefault((segment.copy, segment.stream), []).append(segment)
    return {
        key: b"".join(
            piece.of(gzip.decompress((exp / piece.segment.key).read_bytes())) for piece in segments.chain(segments_of_copy)
        )
        for key, segments_of_copy in held.items()
    }


def shipped(exp: Path, folder: Path, stream: str = "log") -> bytes:
    """The bytes of a stream of the copy that a folder is."""
    return chains(exp).get((copy_of(folder), stream), b"")


def is_whole(exp: Path, folder: Path) -> bool:
    """Whether the copy is marked as whole, with all bytes that the folder has now."""
    size = sum((folder / layout.stream_file(stream)).stat().st_size for stream in layout.streams_in(folder))
    return (exp / names.Whole(copy_of(folder), size).key).exists()
