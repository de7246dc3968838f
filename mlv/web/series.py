"""Series of metrics on disk, so that a server that is started again draws long curves without reading their logs again.

`.mlv/cache/NAME.series` in the experiment, or else a file in `$XDG_CACHE_HOME/mlv/ID`, holds every value of one metric, or of
all metrics of a log that is not very long, as floats in the order of logging. All of them, and no tiles of some: so every
column of pixels of every zoom has its true first, least, greatest and last value. The file may be deleted at any time.

It is believed by the rule of the other caches: only where this very user signed it, and then the log decides. Its files have
the same inode, size and time of change, which nobody can set; or else the fingerprints of their bytes are compared. Lines that
were appended since are parsed alone.
"""

from __future__ import annotations

import hashlib
import math
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from mlv.optional import package
from mlv.query import fingerprint
from mlv.query.metrics import cache
from mlv.query.metrics.cache_files import ParsedRange
from mlv.query.metrics.columns import Cut, MetricColumns, points_of, read_points
from mlv.query.metrics.parse import parse
from mlv.query.metrics.selection import series_of
from mlv.store import keys, layout, opening
from mlv.store.files import temporary_beside
from mlv.web.rows import SETTLED_NS, Stamp, changed_ns, stamp_of

_VERSION = 1
_PURPOSE = "mlv series"
_LENGTH_BYTES = 8
_LONGEST_HEADER = 64 << 20
_BLOCK = 3 << 19
_SHARE = 64
"""A file is replaced when the log has grown by more than its length divided by this."""


@dataclass(frozen=True)
class Series:
    """All values of one metric, in the order of logging."""

    step: Any
    """NaN where there is none."""
    time: Any
    """Microseconds since 1970; None where nobody asked for them."""
    values: Any
    began: float
    """Time of the first line of any metric, in microseconds."""


_ByName = dict[str, Series]


def read(folder: Path, stamp: Stamp, metric: str | None, *, needs_time: bool) -> _ByName | None:
    """Return the series of a metric of a long log, or of all metrics; None where a value or a step is no plain number.

    Args:
        folder: Of the experiment.
        stamp: Of its files, as they were just now.
        metric: Its full name; None for all.
        needs_time: Whether times are needed as well.

    Raises:
        MissingExtra: numpy or pyarrow is not installed.
    """
    for cache_folder in cache.cache_folders(folder):
        with suppress(OSError, ValueError, KeyError, TypeError):
            with _File(cache_folder / _file_name(metric), metric) as file:
                if file.is_of(stamp):
                    return file.content(needs_time=needs_time).series
                grown = _grown(folder, stamp, file)
            if grown is not None:
                return grown
    return _read_and_saved(folder, stamp, metric)


def of_log(folder: Path, metric: str | None, cut: Cut) -> _ByName | None:
    """Read the series of a metric, or of all, up to a cut, from the log; return None as `read` does."""
    content = _chosen(read_points(folder, None, cut, None), metric)
    return content.series if content is not None else None


class _Content(NamedTuple):
    """The content of a log, or of a file of series."""

    series: _ByName
    began: float
    """Time of the first line of any metric, in microseconds."""
    writer: tuple[str, int] | None
    """The run that wrote all lines, and its last `seq`; None where there are several runs."""


def _chosen(points: MetricColumns, metric: str | None) -> _Content | None:
    if points.texts is not None or points.step_texts is not None:
        return None
    began = float(points.time.min()) if len(points.time) else math.inf
    series = {
        name: Series(_shared(points.step[lines]), points.time[lines], points.values[indices], began)
        for name, (lines, indices) in series_of(points).items()
        if metric in (None, name)
    }
    return _Content(series, began, points.writer)


def _file_name(metric: str | None) -> str:
    name = "all" if metric is None else hashlib.blake2b(metric.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"{name}.series"


_Blocks = dict[str, list[tuple[int, str]]]
"""Length and fingerprint of each block of each stream."""


def _read_and_saved(folder: Path, stamp: Stamp, metric: str | None) -> _ByName | None:
    """Read series from the log, and save them, unless the log changes meanwhile."""
    began_ns = time.time_ns()
    blocks = _blocks(folder)
    content = _chosen(read_points(folder, None, None, None), metric)
    if content is None:
        return None
    if blocks is not None and _is_unchanged(folder, blocks) and stamp_of(folder) == stamp:
        _save(folder, stamp, began_ns, metric, content, blocks)
    return content.series


def _blocks(folder: Path) -> _Blocks | None:
    """Return the blocks of all streams; None where they cannot be fingerprinted, or a last line is being written."""
    fingerprint_of = fingerprint.of_user()
    if fingerprint_of is None:
        return None
    blocks: _Blocks = {}
    with suppress(OSError):
        for stream in layout.streams_in(folder):
            own, block = blocks.setdefault(stream, []), b"\n"
            with opening.reading(folder / layout.stream_file(stream), buffering=0) as file:
                while content := file.read(_BLOCK):
                    block = content
                    own.append((len(block), fingerprint_of(block)))
            if not block.endswith(b"\n"):
                return None
        return blocks
    return None


def _is_unchanged(folder: Path, blocks: _Blocks) -> bool:
    """Return whether the streams still begin with their blocks, and are no others."""
    with suppress(OSError):
        is_same = set(layout.streams_in(folder)) == blocks.keys()
        return is_same and all(cache.is_unchanged(folder, stream, ParsedRange(0, own)) for stream, own in blocks.items())
    return False


def _grown(folder: Path, stamp: Stamp, file: _File) -> _ByName | None:
    """Return the series of a file with the lines that its log has got since; None where they have to be read anew.

    Raises:
        OSError, ValueError: The file is damaged.
    """
    began_ns = time.time_ns()
    if not _is_unchanged(folder, file.blocks):
        return None
    before = file.content(needs_time=True)
    tail = _Tail(folder, file.blocks)
    if tail.is_unended:
        return None
    if not tail.length:  # copied, or touched
        _save(folder, stamp, began_ns, file.metric, before, file.blocks)
        return before.series
    later = _chosen(points_of(tail.tables), file.metric) if tail.follows(before.writer) else None
    if later is None:
        return None
    content = _joined(before, later)
    if tail.length > sum(length for own in file.blocks.values() for length, _ in own) // _SHARE:
        _save(folder, stamp, began_ns, file.metric, content, tail.blocks)
    return content.series


class _Tail:
    """The lines of streams behind some blocks."""

    def __init__(self, folder: Path, blocks: _Blocks) -> None:
        self.tables: list[Any] = []
        self.blocks = {stream: list(own) for stream, own in blocks.items()}
        self.length = 0
        """Bytes of the lines that have ended."""
        self.is_unended = False
        """Whether an event stands behind them that counts although its line has not ended."""
        self._is_plain = layout.REWOUND not in map(layout.logical_stream, blocks)
        for stream, own in self.blocks.items():
            for parsed in parse(folder, stream, sum(length for length, _ in own), fingerprint.of_user()):
                self.is_unended |= bool(parsed.unended)
                self.tables += [table for table in parsed.tables if table.num_rows]
                if parsed.end > parsed.start:
                    own.append((parsed.end - parsed.start, parsed.fingerprint))
                    self.length += parsed.end - parsed.start

    def follows(self, writer: tuple[str, int] | None) -> bool:
        """Return whether all lines come after those of the only run before, in the order of the events."""
        if not self._is_plain or writer is None:
            return False
        run, last = writer
        runs = {name for table in self.tables for chunk in table["run"].chunks for name in chunk.dictionary.to_pylist()}
        return runs <= {run} and all(int(table["seq"].to_numpy().min()) > last for table in self.tables)


def _joined(before: _Content, later: _Content) -> _Content:
    np, began = package("numpy"), min(before.began, later.began)
    series = dict(before.series)
    for name, own in later.series.items():
        both = [before.series[name], own] if name in before.series else [own]
        step, moments, values = (
            np.concatenate([getattr(each, column) for each in both]) for column in ("step", "time", "values")
        )
        series[name] = Series(step, moments, values, began)
    return _Content(series, began, later.writer or before.writer)


class _File:
    """A file of series, open to be read."""

    def __init__(self, path: Path, metric: str | None) -> None:
        """Open it.

        Raises:
            OSError: It cannot be read, or is a symbolic link, or no regular file.
            ValueError, KeyError, TypeError: It is not signed by this user, or is of another version or metric.
        """
        self.metric = metric
        self._file = opening.reading(path, buffering=0, follows=False)
        try:
            self._read_header()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _read_header(self) -> None:
        length = int.from_bytes(self._file.read(_LENGTH_BYTES), "little")
        if not 0 < length <= _LONGEST_HEADER:
            raise ValueError("it is cut off")
        self._start = _LENGTH_BYTES + length
        document = orjson.loads(self._file.read(length))
        content = document["content"]
        if not keys.is_signed(_PURPOSE, orjson.dumps(content), document["signature"]):
            raise ValueError("it is not signed by this user")
        if (content["version"], content["metric"]) != (_VERSION, self.metric):
            raise ValueError("it is of another version, or of another metric")
        self._content = content
        self.blocks: _Blocks = {stream: [(size, print_) for size, print_ in own] for stream, own in content["blocks"].items()}

    def is_of(self, stamp: Stamp) -> bool:
        """Return whether the files of the log are provably the same since they were read."""
        return self._content["stamp"] is not None and bool(self._content["stamp"] == orjson.loads(orjson.dumps(stamp)))

    def content(self, *, needs_time: bool) -> _Content:
        """Return the series.

        Raises:
            OSError: They cannot be read.
            ValueError: The bytes are not those that were written.
        """
        sections: dict[int, Any] = {}

        def section(number: int, kind: str) -> Any:
            if number not in sections:
                offset, size, print_ = self._content["sections"][number]
                sections[number] = self._section(offset, size, print_, kind)
            return sections[number]

        series, began, writer = {}, self._content["began"], self._content["writer"]
        began = math.inf if began is None else began  # JSON has no infinity
        for name, (count, step, time_, values) in self._content["series"].items():
            steps = _from_range(count, *step) if isinstance(step, list) else section(step, "<f8")
            times = section(time_, "<i8") if needs_time else None
            series[name] = Series(steps, times, section(values, "<f8"), began)
        return _Content(series, began, None if writer is None else (writer[0], writer[1]))

    def _section(self, offset: int, size: int, print_: str, kind: str) -> Any:
        self._file.seek(self._start + offset)
        content, fingerprint_of = self._file.read(size), fingerprint.of_user()
        # Hashed in memory: others may change the bytes on the disk.
        if fingerprint_of is None or len(content) != size or fingerprint_of(content) != print_:
            raise ValueError(f"{size} bytes at {offset} are not those that were written")
        return package("numpy").frombuffer(content, kind)


def _save(folder: Path, stamp: Stamp, began_ns: int, metric: str | None, content: _Content, blocks: _Blocks) -> None:
    """Write series into the first folder that can be written; where none can, nothing is written.

    The stamp is kept only where the next change of the log is sure to change it.
    """
    is_settled = os.name == "posix" and changed_ns(stamp) < began_ns - SETTLED_NS and stamp_of(folder) == stamp
    sections = _Sections()
    series = {name: _entry(sections, own) for name, own in content.series.items()}
    header = {
        "version": _VERSION, "metric": metric, "stamp": stamp if is_settled else None, "blocks": blocks,
        "writer": content.writer, "began": content.began, "series": series, "sections": sections.entries,
    }  # fmt: skip
    with suppress(TypeError):  # a name that is no text
        text = orjson.dumps(header)
        if (signature := keys.signature(_PURPOSE, text)) is not None:
            document = b'{"signature":"%s","content":%s}' % (signature.encode(), text)
            chunks = [len(document).to_bytes(_LENGTH_BYTES, "little"), document, *sections.contents]
            any(_is_written(cache_folder, _file_name(metric), chunks) for cache_folder in cache.cache_folders(folder))


def _is_written(cache_folder: Path, name: str, chunks: list[Any]) -> bool:
    """Replace a file as a whole; return whether that was possible."""
    with suppress(OSError):
        # Not through links, which lead where somebody else wants it, and not in an experiment that is gone.
        opening.make_folders(cache_folder.parents[1], cache_folder)
        temporary = temporary_beside(cache_folder / name)
        try:
            with opening.new(temporary, buffering=0) as file:
                for chunk in chunks:
                    remaining = memoryview(chunk)
                    while remaining:
                        remaining = remaining[file.write(remaining) :]
            os.replace(temporary, cache_folder / name)
            return True
        finally:
            with suppress(OSError):
                temporary.unlink()
    return False


class _Sections:
    """Arrays that follow one another in a file; one that several series share stands there once."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, int, str]] = []
        """Offset, size and fingerprint of each."""
        self.contents: list[Any] = []
        self._numbers: dict[tuple[str, int, str], int] = {}
        self._end = 0

    def add(self, array: Any, kind: str) -> int:
        """Add an array; return its number."""
        content = package("numpy").ascontiguousarray(array, kind).view("u1").data
        fingerprint_of = fingerprint.of_user()
        print_ = fingerprint_of(content) if fingerprint_of is not None else ""
        key = kind, len(content), print_
        if key not in self._numbers:
            self._numbers[key] = len(self.entries)
            self.entries.append((self._end, len(content), print_))
            self.contents.append(content)
            self._end += len(content)
        return self._numbers[key]


def _entry(sections: _Sections, series: Series) -> list[Any]:
    step = _range(series.step)
    return [
        len(series.values), step if step is not None else sections.add(series.step, "<f8"), sections.add(series.time, "<i8"),
        sections.add(series.values, "<f8"),
    ]  # fmt: skip


def _range(steps: Any) -> list[float] | None:
    """Return first step and distance of steps that are evenly spaced, as those of most scripts are; else None."""
    if len(steps) < 2 or not package("numpy").isfinite(steps[:2]).all():
        return None
    first, distance = float(steps[0]), float(steps[1]) - float(steps[0])
    is_even = math.isfinite(distance) and package("numpy").array_equal(steps, _from_range(len(steps), first, distance))
    return [first, distance] if is_even else None


def _shared(steps: Any) -> Any:
    even = _range(steps)
    return steps if even is None else _from_range(len(steps), *even)


@lru_cache(maxsize=4)
def _from_range(count: int, first: float, distance: float) -> Any:
    """Return evenly spaced steps; experiments that log alike share them, and half of their memory."""
    with package("numpy").errstate(over="ignore"):  # steps that only begin so, and whose range would be wider than floats
        steps = first + distance * package("numpy").arange(count)
    steps.flags.writeable = False
    return steps
