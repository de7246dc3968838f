"""Lines of type `metrics` as Arrow columns: many at once where they are alike, one by one where they are not."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from mlv import wire
from mlv.encoding import BadLine, event_from_line
from mlv.events import Event
from mlv.query.fingerprint import Fingerprint
from mlv.query.metrics.parse_json import NotPlain, parsed_at_once
from mlv.query.metrics.parse_template import parse_alike
from mlv.query.metrics.schema import row, table_of
from mlv.store import layout
from mlv.store.reading import passed_over, while_there
from mlv.store.streams import Overlong, Skipped, read_blocks
from mlv.tasks import warnings_of_task

T = TypeVar("T")
R = TypeVar("R")

BLOCK_BYTES = 3 << 19
"""With less, Python takes longer than numpy does; with more, memory grows faster than speed."""
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
_THREADS = min(4, CORES)  # more would take memory, and wait for the interpreter
PARSERS = min(2, CORES)
"""Threads that parse; more of them would only wait for the interpreter's lock."""
_ODD = (b"null", wire.TAGGED)
"""Texts in lines that have to be read one by one: of a number that JSON lacks, and of an object in place of another value."""
MANY = 30
"""From this number on, lines are read faster in one block than one by one."""
_is_metrics = wire.type_filter(("metrics",))


@dataclass(frozen=True)
class Parsed:
    """The lines of one block of a stream."""

    tables: list[Any]
    """Tables of `schema()`: a row for each line of type `metrics`. Plain lines come before the others."""
    unended: list[Any]
    """Tables of a last line which lacks nothing but its newline."""
    skipped: list[Skipped]
    start: int
    end: int
    """Offset behind the last whole line."""
    fingerprint: str
    """Fingerprint of the bytes from `start` to `end`; empty where none was requested."""


def parse(
    folder: Path, stream: str, offset: int = 0, fingerprint: Fingerprint | None = None, block_bytes: int = BLOCK_BYTES
) -> Iterator[Parsed]:
    """Read the lines of type `metrics` of one stream, from an offset on, block by block; a stream that is gone has none.

    With a function `fingerprint` each block has its fingerprint: only a cache of the tables needs one.
    """

    def parsed(offset_and_block: tuple[int, bytes]) -> Parsed:
        start, block = offset_and_block
        skipped: list[Skipped] = []
        if isinstance(block, Overlong):
            skipped.append(passed_over(stream, start, block, BadLine()))
            return Parsed([], [], skipped, start, start + block.size, "")
        end = block.rfind(b"\n") + 1
        whole, last = (block, b"") if end == len(block) else (block[:end], block[end:])
        tables = parse_block(whole, start, stream, skipped) if whole else []
        unended = parse_block(last, start + end, stream, skipped) if last else []
        return Parsed(tables, unended, skipped, start, start + end, fingerprint(whole) if fingerprint is not None else "")

    with while_there(folder, stream):
        yield from in_threads(parsed, read_blocks(folder / layout.stream_file(stream), offset, block_bytes), PARSERS)


def parse_block(
    block: bytes,
    start: int,
    stream: str,
    skipped: list[Skipped],
    many: int = MANY,
    unlike: list[tuple[int, bytes]] | None = None,
) -> list[Any]:
    """Return the tables of some lines; lines that are no events are added to `skipped`.

    Lines that are not like others of type `metrics` are added to `unlike`, each with its position in the block: all lines of
    other types are among them.
    """
    tables, remaining = parse_alike(block) if block.endswith(b"\n") else ([], lines_of(block))
    if unlike is not None:
        unlike += remaining
    return [*tables, *parse_unlike(remaining, start, stream, skipped, many)]


def parse_unlike(
    lines: Sequence[tuple[int, bytes]], start: int, stream: str, skipped: list[Skipped], many: int = MANY
) -> list[Any]:
    """Return the tables of lines that `parse_alike` left over, each with its position in a block that begins at `start`."""
    tables: list[Any] = []
    remaining = [(position, line) for position, line in lines if _is_metrics(line) or not wire.looks_whole(line)]
    if len(remaining) >= many:
        plain = [line for _, line in remaining if _is_plain(line)]
        with suppress(NotPlain):
            tables += parsed_at_once(b"".join(plain))
            remaining = [(position, line) for position, line in remaining if not _is_plain(line)]
    rows = [row(event) for event in metrics_events(remaining, start, stream, skipped)]
    return [*tables, table_of(rows)] if rows else tables


def in_threads(work: Callable[[T], R], arguments: Iterable[T], threads: int = _THREADS) -> Iterator[R]:
    """Yield the results of a function in the order of its arguments, of which only a few are in memory at a time."""
    arguments = iter(arguments)
    first = list(islice(arguments, 2))
    # A short log is read before a thread has begun; and a task of an executor has a core, not a machine.
    if len(first) < 2 or warnings_of_task() is not None:
        yield from map(work, chain(first, arguments))
        return
    from concurrent.futures import Future, ThreadPoolExecutor  # `import mlv` does without

    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[R]] = deque()
        for argument in chain(first, arguments):
            waiting.append(pool.submit(work, argument))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def lines_of(block: bytes) -> list[tuple[int, bytes]]:
    """Return the lines of a block, each with its position in it."""
    lines, position = [], 0
    for line in BytesIO(block):
        lines.append((position, line))
        position += len(line)
    return lines


def _is_plain(line: bytes) -> bool:
    return wire.METRICS in line and line.endswith(b"}\n") and not any(odd in line for odd in _ODD)


def metrics_events(lines: Iterable[tuple[int, bytes]], start: int, stream: str, skipped: list[Skipped]) -> Iterator[Event]:
    """Yield the events of type `metrics` in lines, decoded one by one; lines that are no events are added to `skipped`."""
    for position, line in lines:
        first = start + position
        try:
            event = event_from_line(line, layout.logical_stream(stream))
        except BadLine as error:
            skipped.append(passed_over(stream, first, line, error))
            continue
        if event.type == "metrics" and isinstance(event.data, dict):
            yield event
