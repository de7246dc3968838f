"""The contents of files and folders: hash, size and media type, and the reference by which an event names one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from mlv.digests import sha256
from mlv.encoding import Reference
from mlv.store import opening

CHUNK_BYTES = 1 << 20  # beside the hash of so much, a call of the system takes no time
FOLDER = "inode/directory"
"""The media type of a folder."""
_MEDIA_TYPES = {
    ".npy": "application/x-npy", ".npz": "application/x-npz", ".pt": "application/x-pytorch", ".pth": "application/x-pytorch",
    ".parquet": "application/vnd.apache.parquet", ".safetensors": "application/x-safetensors", ".onnx": "application/x-onnx",
    ".keras": "application/x-keras", ".joblib": "application/x-joblib", ".pkl": "application/x-pickle",
    ".jsonl": "application/x-ndjson", ".yaml": "application/yaml", ".yml": "application/yaml", ".md": "text/markdown",
    ".wav": "audio/wav", ".flac": "audio/flac", ".webp": "image/webp", ".gz": "application/gzip", ".bz2": "application/x-bzip2",
    ".xz": "application/x-xz", ".zst": "application/zstd",
}  # fmt: skip


class Content(NamedTuple):
    """The content of a file, or of a folder as a whole, by its hash and size."""

    sha256: str
    """In hexadecimal; of a folder, that of its manifest: a line `<sha256>  <path>` for each file, in order of path."""
    size: int
    """In bytes; of a folder, that of all its files."""
    is_folder: bool


def content_of(path: Path) -> Content:
    """Hash a file or a folder, with no more than one chunk in memory.

    Raises:
        OSError: It cannot be read, or changed meanwhile.
    """
    if path.is_dir():
        contents = [(name, content_of(path / name)) for name in files_in(path)]
        return folder_content([(name, content.sha256, content.size) for name, content in contents])
    digest = sha256()
    with opened(path) as file:
        before = os.fstat(file.fileno())
        buffer = memoryview(bytearray(min(CHUNK_BYTES, before.st_size + 1)))
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
        size = file.tell()
        refuse_changed(path, before, os.fstat(file.fileno()), size)
    return Content(digest.hexdigest(), size, is_folder=False)


def folder_content(rows: list[tuple[str, str, int]]) -> Content:
    """Return the content of a folder from the paths, hashes and sizes of its files, in order of path."""
    manifest = "".join(_manifest_line(name, sha256) for name, sha256, _ in rows)
    return Content(sha256(os.fsencode(manifest)).hexdigest(), sum(size for _, _, size in rows), is_folder=True)


def _manifest_line(name: str, sha256: str) -> str:
    """Format a line as sha256sum does: names with line breaks are escaped, so that each line has one reading only."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    mark = "" if escaped == name else "\\"
    return f"{mark}{sha256}  {escaped}\n"


def files_in(folder: Path) -> list[str]:
    """Return relative paths, with `/`, of the files below a folder, in order of their bytes; symbolic links are followed.

    Raises:
        OSError: A folder cannot be read, or symbolic links lead in a circle.
    """
    return sorted(_files_in(folder, "", (os.path.realpath(folder),)), key=os.fsencode)


def _files_in(folder: Path, prefix: str, around: tuple[str, ...]) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in list(entries):
            if not entry.is_dir():
                yield prefix + entry.name
                continue
            real = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(around[-1], entry.name)
            if real in around:
                raise OSError(errno.ELOOP, "is a symbolic link to a folder around it", entry.path)
            yield from _files_in(Path(entry.path), f"{prefix}{entry.name}/", (*around, real))


def opened(path: Path) -> Any:
    """Open a file without a buffer: it is read in chunks as large as one would be, or not at all."""
    return opening.reading(path, buffering=0)


def refuse_changed(path: Path, before: os.stat_result, after: os.stat_result, size: int) -> None:
    """Refuse a file that changed while it was read.

    Raises:
        OSError: It did.
    """
    is_whole = size == after.st_size or after.st_size == 0  # files of the system say that they are empty
    if not is_whole or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise OSError(errno.EBUSY, "changed while it was read: do this when it is finished", str(path))


def media_type(name: str) -> str:
    """Return the media type of a file by its suffix; the same on every machine."""
    suffix = os.path.splitext(name)[1].lower()
    return _MEDIA_TYPES.get(suffix) or _standard_types().get(suffix, "application/octet-stream")


@lru_cache(maxsize=1)
def _standard_types() -> dict[str, str]:
    import mimetypes

    return mimetypes.MimeTypes(filenames=()).types_map[True]  # without the tables of the machine, which differ


def reference(folder: Path, path: Path, content: Content) -> Reference:
    """Make the reference by which an event names a file of the experiment in a folder."""
    kind = FOLDER if content.is_folder else media_type(path.name)
    return Reference({
        "_mlv": "file", "path": path.relative_to(folder).as_posix(), "size": content.size, "sha256": content.sha256,
        "media_type": kind,
    })  # fmt: skip
