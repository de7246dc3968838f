"""The ends of streams: the final seal with which a writer leaves a file, and the records of its digest elsewhere.

A writer seals its own run last of all, so the last line of a finished stream is a seal about the run that wrote it. The SHA-256
of that line is the digest of the end. Later runs name it, as `after`, and so does `.mlv/ends`: where a log is cut off at an
earlier end, or a whole run is taken out of it, a digest is left that no line has any more.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from mlv import wire
from mlv.digests import sha256
from mlv.encoding import loads
from mlv.store import layout, opening
from mlv.store.blobs import replace_whole

_LONGEST = 1 << 16
"""Of a final seal in bytes; a longer last line is none."""


def digest_if_final(line: bytes) -> str | None:
    """Return the SHA-256 of a line that is a writer's final seal, None of any other."""
    fields = _fields(line)
    data = fields.get("data")
    if fields.get("type") != "seal" or not isinstance(data, dict) or data.get("of") != fields.get("run"):
        return None
    return sha256(line).hexdigest()


def _fields(line: bytes) -> Mapping[str, Any]:
    if wire.quoted("seal") not in line or not line.endswith(b"\n"):
        return {}
    with suppress(ValueError):
        fields = orjson.loads(line)
        if isinstance(fields, dict):
            return fields
    return {}


def _last_line(path: Path) -> bytes:
    """Read the last line of a stream; empty where there is none, or it is longer than a seal."""
    with suppress(OSError), opening.reading(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _LONGEST))
        # From the end: a log of gigabytes has its seal in the last kilobytes.
        content = file.read()
        start = content.rfind(b"\n", 0, -1) + 1
        return content[start:] if start or size <= _LONGEST else b""
    return b""


def end_of(path: Path) -> str | None:
    """Return the digest of the final seal that a stream's file ends with; None where its writer has not left it."""
    return digest_if_final(_last_line(path))


def ends_of(folder: Path) -> dict[str, str]:
    """Return the digest of the end of each stream that its writer has left."""
    with suppress(OSError):
        digests = {stream: end_of(folder / layout.stream_file(stream)) for stream in layout.streams_in(folder)}
        return {stream: digest for stream, digest in digests.items() if digest is not None}
    return {}


def digest_of(folder: Path) -> str | None:
    """Return the digest of the end of the default stream, which proves all up to it; None while the stream is written.

    The line names the ends of the writer's other streams, and its run those of all runs before it.
    """
    with suppress(OSError):
        names = [name for name in layout.streams_in(folder) if layout.logical_stream(name) == layout.DEFAULT_STREAM]
        lines = [line for name in names if digest_if_final(line := _last_line(folder / layout.stream_file(name))) is not None]
        latest = max(lines, key=lambda line: str(_fields(line).get("time")), default=None)
        return digest_if_final(latest) if latest is not None else None
    return None


def remember(folder: Path, ends: Mapping[str, str]) -> None:
    """Keep the digests of ends in the housekeeping, where a copy that is cut off does not reach; nothing needs them to read."""
    for stream, digest in ends.items():
        path = layout.end_path(folder, stream)
        with suppress(OSError):  # a folder that cannot be written, or is gone: it proves less
            if _remembered(path) == digest:
                continue
            opening.make_folders(folder, path.parent)
            replace_whole(path, orjson.dumps({"end": digest}))


def remembered(folder: Path) -> dict[str, str]:
    """Read the digests that the housekeeping keeps, by stream."""
    ends = layout.end_path(folder, layout.DEFAULT_STREAM).parent
    try:
        names = sorted(name for name in os.listdir(ends) if name.endswith(layout.END) and not name.startswith("."))
    except OSError:
        return {}
    digests = {name[: -len(layout.END)]: _remembered(ends / name) for name in names}
    return {stream: digest for stream, digest in digests.items() if digest}


def _remembered(path: Path) -> str:
    try:
        with opening.reading(path, follows=False) as file:
            return str(loads(file.read(_LONGEST))["end"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
