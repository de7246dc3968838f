"""Positions: how far a copy of an experiment is shipped to one bucket, in `.mlv/shipped/<root>.json`.

The file is a hint. Without it a listing of the bucket tells as much, and shipping again what is there changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from mlv import wire
from mlv.bucket import copies
from mlv.bucket.segments import ByteSpan
from mlv.digests import sha256
from mlv.encoding import BadLine, loads, parse_time
from mlv.store import layout, opening
from mlv.store.blobs import replace_whole

FOLDER = "shipped"
"""Name of the folder in the housekeeping."""
_WAKE, _LOCK = ".wake", ".lock"
_LONGEST = 256 << 20
_TAIL = 1024
"""Bytes before a position by which a file is recognised."""
_WRITTEN_WITHIN_NS = 10_000_000_000
"""Longest time that writing it takes; of a slower disk the bucket is asked once more."""
_MARK_BYTES = 64
_BROUGHT_BACK = "brought back"
"""In the place of a boot, and of no machine's: the bucket is to be asked how far it is."""
_LINE = 4096
"""Bytes of a line within which its time stands."""


@dataclass
class StreamPosition:
    """How far one stream is shipped."""

    end: int = 0
    """Bytes of the file that are in the bucket."""
    tail: str = ""
    """SHA-256 of the last bytes before the end: a file that was cut off and grew again has others."""
    spans: list[ByteSpan] = field(default_factory=list)
    """Those of the segments, in order."""
    made_end: int = 0
    """End of a segment that is being made: it is in the bucket, or not, where the answer was lost or the process is gone."""
    made_tail: str = ""

    def is_of(self, fd: int, size: int) -> bool:
        """Return whether an open file of that size holds what was shipped of the stream, or may have been."""
        marks = ((self.end, self.tail), (self.made_end, self.made_tail))
        return all(end <= size and tail_of(fd, end) == tail for end, tail in marks if end)


@dataclass
class ShippedPosition:
    """How far an experiment is shipped to one bucket."""

    url: str
    """Of the root; it holds nothing secret."""
    path: str
    """Of the experiment below the root."""
    copy: str
    boot: str
    """The boot of the machine: after the next one the disk may lack lines that were shipped."""
    streams: dict[str, StreamPosition] = field(default_factory=dict)
    files: dict[str, list[Any]] = field(default_factory=dict)
    """By path: size, time and inode of each file that was shipped, and its key below the experiment."""
    meta: str = ""
    """SHA-256 of the meta.json that is in the bucket."""
    news: str = ""
    """The day whose news name this copy."""
    whole: int = -1
    """Bytes of all streams when the copy was last marked as whole."""
    redacted: list[str] = field(default_factory=list)
    """Paths of files that were redacted, whose earlier objects are still to be removed."""
    waiting: int = 0
    """Number of files that are still to be shipped."""
    problem: str = ""
    """The reason why nothing can be shipped now; empty while all is well."""
    written_ns: int = 0
    """When its file was written, by the clock of the file system."""
    changed_ns: int = 0
    """When its file became what it is: no tool sets this, so that a file that was brought back is much younger than written."""
    inode: int = 0
    """Inode of its file when that was written; 0 where an earlier version wrote it."""
    inode_now: int = 0
    """Inode of its file: another one where it was brought back, however soon."""

    @property
    def is_restored(self) -> bool:
        """Whether its file was brought back, as from a backup: the bucket may be further, with other lines, than it says."""
        return self.changed_ns - self.written_ns > _WRITTEN_WITHIN_NS or self.inode not in (0, self.inode_now)

    def stream(self, name: str) -> StreamPosition:
        """Return the position of a stream, which may begin here."""
        return self.streams.setdefault(name, StreamPosition())

    def note_redacted(self, paths: Iterable[str]) -> None:
        """Note files that were redacted."""
        self.redacted += [path for path in paths if path not in self.redacted]

    def has_all_of(self, sizes: dict[str, int]) -> bool:
        """Return whether these bytes of each stream are shipped."""
        return all(stream in self.streams and self.streams[stream].end >= size for stream, size in sizes.items() if size)


def position_path(folder: Path, url: str) -> Path:
    """Return the path of the position of an experiment in the bucket of that URL."""
    return folder / layout.HOUSEKEEPING / FOLDER / f"{sha256(url.encode()).hexdigest()[:16]}.json"


def wake_path(folder: Path, url: str) -> Path:
    """Return the path of the file that asks the process that ships to do so at once."""
    return position_path(folder, url).with_suffix(_WAKE)


def mark(folder: Path, url: str) -> bytes:
    """Return the last bytes of the file of a position, which tell when it was written; empty where there is none."""
    with suppress(OSError), opening.reading(position_path(folder, url), 0, follows=False) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _MARK_BYTES))
        return file.read(_MARK_BYTES)
    return b""


def read(folder: Path, url: str) -> ShippedPosition | None:
    """Read the position of an experiment in the bucket of that URL; None where there is none, or a damaged one."""
    position = _read(position_path(folder, url))
    return position if position is not None and position.url == url else None


def positions_of(folder: Path) -> list[ShippedPosition]:
    """Read the positions of an experiment in all buckets that it was shipped to."""
    try:
        names = sorted(os.listdir(folder / layout.HOUSEKEEPING / FOLDER))
    except OSError:
        return []
    paths = (folder / layout.HOUSEKEEPING / FOLDER / name for name in names if name.endswith(".json") and name[0] != ".")
    return [position for path in paths if (position := _read(path)) is not None]


def _read(path: Path) -> ShippedPosition | None:
    try:
        with opening.reading(path, follows=False) as file:
            data = loads(file.read(_LONGEST))
            status = os.fstat(file.fileno())
            data["changed_ns"], data["inode_now"] = status.st_ctime_ns, status.st_ino
        streams = {str(name): _stream_position(stream) for name, stream in data.pop("streams").items()}
        position = ShippedPosition(
            streams=streams, **{key: data[key] for key in data if key in ShippedPosition.__dataclass_fields__}
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return position if _has_values_of_now(position) else None


def _has_values_of_now(position: ShippedPosition) -> bool:
    """Return whether each field is of its type: another version, or a person, may have written the file."""
    texts = (position.url, position.path, position.copy, position.boot, position.meta, position.news, position.problem)
    return (
        all(isinstance(text, str) for text in texts)
        and all(isinstance(number, int) for number in (position.whole, position.waiting, position.written_ns, position.inode))
        and isinstance(position.redacted, list)
        and all(isinstance(path, str) for path in position.redacted)
        and isinstance(position.files, dict)
        and all(isinstance(entry, list) and len(entry) == 4 and isinstance(entry[3], str) for entry in position.files.values())
    )


def _stream_position(data: dict[str, Any]) -> StreamPosition:
    spans = [ByteSpan(*map(int, span)) for span in data["spans"]]
    made_end, made_tail = int(data.get("made_end", 0)), str(data.get("made_tail", ""))
    return StreamPosition(int(data["end"]), str(data["tail"]), spans, made_end, made_tail)


def to_bytes(position: ShippedPosition) -> bytes:
    """Return the content of the file of a position."""
    streams = {name: {**vars(stream), "spans": [[*span] for span in stream.spans]} for name, stream in position.streams.items()}
    fields = {name: value for name, value in vars(position).items() if name not in _OF_ITS_FILE}
    return orjson.dumps({**fields, "streams": streams})


_OF_ITS_FILE = ("written_ns", "changed_ns", "inode", "inode_now")


def write(folder: Path, url: str, content: bytes) -> bytes:
    """Keep a position, where the folder can be written; return the mark of the file."""
    path, end = position_path(folder, url), b""

    def write_now(file: BinaryIO) -> None:
        nonlocal end
        status = os.fstat(file.fileno())
        end = b',"written_ns":%d,"inode":%d}' % (status.st_ctime_ns, status.st_ino)
        file.write(content[:-1] + end)

    try:
        opening.make_folders(folder, path.parent)
        replace_whole(path, write_now)
    except OSError:
        return mark(folder, url)
    return (content[:-1] + end)[-_MARK_BYTES:]


def note(folder: Path, url: str, path: str, problem: str) -> None:
    """Keep the reason why nothing of an experiment can be shipped now."""
    position = read(folder, url) or ShippedPosition(url, path, "", "")
    position.problem = problem
    if position.is_restored:
        position.boot = _BROUGHT_BACK  # what is written now looks as if it never was
    write(folder, url, to_bytes(position))


@contextmanager
def alone(folder: Path, url: str) -> Iterator[bool]:
    """Tell whether no other process ships the folder to the bucket beside the run, and keep others out meanwhile."""
    fd = _lock(position_path(folder, url).with_suffix(_LOCK), folder)
    try:
        yield fd is not None
    finally:
        if fd:
            os.close(fd)


def _lock(path: Path, folder: Path) -> int | None:
    """Return the descriptor of a locked file, 0 where there are no locks, None where another process has it."""
    try:
        import fcntl  # not everywhere; where it is missing no process can be started, either

        opening.make_folders(folder, path.parent)
        fd = opening.writing(path, os.O_RDWR | os.O_CREAT)
    except (OSError, ImportError):
        return 0
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except OSError:
        os.close(fd)
        return 0
    return fd


def tail_of(fd: int, end: int) -> str:
    """Return the SHA-256 of the last bytes before a position in an open file."""
    start = max(0, end - _TAIL)
    return sha256(os.pread(fd, end - start, start)).hexdigest()


def is_shipped(folder: str | os.PathLike[str]) -> bool:
    """Return whether anything of an experiment was shipped to a bucket."""
    return os.path.isdir(os.path.join(folder, layout.HOUSEKEEPING, FOLDER))


def behind_s(folder: Path, now: datetime) -> float | None:
    """Return the age in seconds of the oldest line that a bucket lacks, 0 if none does; None where nothing was shipped."""
    return max((lag_s(folder, position, now) for position in positions_of(folder)), default=None)


def lag_s(folder: Path, position: ShippedPosition, now: datetime) -> float:
    """Return the age in seconds of the oldest line that one bucket lacks, 0 if none does."""
    return max([0.0, *((now - written).total_seconds() for written in _unshipped(folder, position))])


def _unshipped(folder: Path, position: ShippedPosition) -> Iterator[datetime]:
    """Yield the time of the first line of each stream that is not shipped."""
    with suppress(OSError):
        copy = copies.recorded(folder)
        for stream in layout.streams_in(folder):
            end = position.streams[stream].end if stream in position.streams else 0
            with suppress(OSError, BadLine), opening.reading(folder / layout.stream_file(stream)) as file:
                inode = os.fstat(file.fileno()).st_ino
                # A file that was replaced, as by a redaction, is shipped from its beginning.
                is_replaced = copy is not None and (copy.name != position.copy or not copy.agrees_with({stream: inode}))
                file.seek(0 if is_replaced else end)
                line = file.readline(_LINE)
                # Half a line is not to be shipped: its writer died, or is about to complete it.
                if line.endswith(b"\n") or len(line) == _LINE:
                    yield parse_time(wire.time_in(line).decode())
