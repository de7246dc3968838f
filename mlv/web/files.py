"""Files of an experiment for the page: only those that an event names, in a form in which they can do no harm."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from mlv.encoding import TAG, loads
from mlv.errors import FileUnusable
from mlv.store import attached, layout
from mlv.store.streams import lines_with

FILE_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Content security policy of a file: SVG is drawn, and runs nothing."""
TYPES = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp", "bmp": "image/bmp",
    "svg": "image/svg+xml", "wav": "audio/wav", "mp3": "audio/mpeg", "ogg": "audio/ogg", "flac": "audio/flac",
    "mp4": "video/mp4", "webm": "video/webm", "txt": "text/plain; charset=utf-8", "log": "text/plain; charset=utf-8",
    "md": "text/plain; charset=utf-8", "csv": "text/plain; charset=utf-8", "json": "text/plain; charset=utf-8",
    "patch": "text/plain; charset=utf-8", "diff": "text/plain; charset=utf-8", "py": "text/plain; charset=utf-8",
    "yaml": "text/plain; charset=utf-8", "toml": "text/plain; charset=utf-8",
}  # fmt: skip
"""Media types that are shown, by the ending of a name; any other file is downloaded."""
_CHUNK_BYTES = 1 << 18
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def named_file(folder: Path, path: str) -> BinaryIO:
    """Open a file that an event of the experiment names.

    Raises:
        FileUnusable: No event names it, or it is gone, or is none of the experiment's.
    """
    attached.checked(folder, path)
    if not _is_named(folder, path):
        raise FileUnusable(f"no event of {folder} names a file {path!r:.300}", path=path)
    return attached.open_unchecked(folder, path)


def _is_named(folder: Path, path: str) -> bool:
    needle = orjson.dumps(path)
    for stream in layout.streams_in(folder):
        for line in lines_with(folder / layout.stream_file(stream), needle):
            try:
                event = loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and any(reference.get("path") == path for reference in references(event.get("data"))):
                return True
    return False


def references(data: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the references to own files in an event's data; those to files elsewhere name a host, and are left out."""
    if isinstance(data, Mapping):
        if data.get(TAG) == "file":
            if "host" not in data:
                yield data
            return
        for value in data.values():
            yield from references(value)
    elif isinstance(data, list):
        for value in data:
            yield from references(value)


def headers(path: str, status: os.stat_result) -> dict[str, str]:
    """Return the headers with which a file is sent."""
    ending = path.rpartition(".")[2].lower()
    result = {
        "content-type": TYPES.get(ending, "application/octet-stream"),
        "content-security-policy": FILE_POLICY,
        "etag": f'"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"',
        "accept-ranges": "bytes",
        "cache-control": "private, no-cache",
    }
    if ending not in TYPES or ending == "svg":  # a picture on a page is drawn nevertheless, and runs nothing
        name = re.sub(r"[^\w.-]", "_", path.rpartition("/")[2], flags=re.ASCII)
        result["content-disposition"] = f'attachment; filename="{name}"'
    return result


def span(header: str | None, size: int) -> tuple[int, int] | None:
    """Return first and end of a requested range of bytes; None where all is asked for.

    Raises:
        ValueError: The range lies outside the file.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match[1], match[2]
    begin = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if begin >= end:
        raise ValueError(f"{header} is not within {size} bytes")
    return begin, end


def chunks(file: BinaryIO, begin: int, end: int) -> Iterator[bytes]:
    """Yield the bytes of a range, and close the file."""
    with file:
        file.seek(begin)
        while begin < end and (chunk := file.read(min(_CHUNK_BYTES, end - begin))):
            begin += len(chunk)
            yield chunk
