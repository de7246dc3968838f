"""The survey of a log before it is planned: whether it still begins with what was taken, and what is new in it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from mlv import wire
from mlv.digests import sha256
from mlv.errors import BucketError, FileUnusable, MlvWarning
from mlv.lake.plans import TASK_BYTES, LogKey, LogPosition, Mark
from mlv.lake.sources import LogFile, LogSource
from mlv.notices import warn
from mlv.query.view import ExperimentView
from mlv.store.meta import meta_of
from mlv.store.seals import run_and_seq

NO_MONTH = "none"
"""The month of an experiment that does not say when it was made."""
_SEAL = wire.mark("seal")
REDACTED = b'Z","redacted":{'
"""Stands behind the time of a line that was redacted."""
_RUN = re.compile(rb'^\{"run":"([^"\\]*)","seq":\d', re.MULTILINE)
_OTHER = rb'\n\{"run":"(?!%s")([^"\\]*)","seq":\d'
_TAIL_BYTES = 1 << 12
_MOST_RUNS = 4
"""Runs of a block that are counted one after the other."""


class NewRange(NamedTuple):
    """Whole lines that were not taken yet."""

    start: int
    end: int
    sha256: str
    lines: dict[str, int]
    """Number of lines of each run."""
    is_redacted: bool
    """Whether any of its lines may have been redacted."""


@dataclass(frozen=True)
class Log:
    """A log to survey."""

    key: LogKey
    file: LogFile
    position: LogPosition
    """How far it was taken."""


class Identity(NamedTuple):
    """An experiment, by its meta.json."""

    exp: str
    month: str
    """In which it was made."""


@dataclass(frozen=True)
class Survey:
    """What there is to take of one folder."""

    path: str
    identity: Identity | None = None
    """The experiment that is there; None where its meta.json is missing or cannot be read: then nothing else is said."""
    logs: tuple[tuple[LogKey, LogPosition, tuple[NewRange, ...]], ...] = ()
    """Of each log the position behind its last whole line, and what is new up to there."""
    is_changed: bool = False
    """Whether a log no longer begins with what was taken, or another experiment is there: then nothing else is said."""
    missing: tuple[LogKey, ...] = ()
    """Logs that were listed and are not there."""
    has_meta: bool = True
    """Whether a meta.json was there."""


class FolderToSurvey(NamedTuple):
    """A folder and its logs."""

    path: str
    exp: str | None
    """The experiment that was there before; None where nothing of the folder was taken."""
    logs: tuple[Log, ...]

    @property
    def size(self) -> int:
        """Bytes of its new lines."""
        return sum(max(0, log.file.size - log.position.end) for log in self.logs)


def identity_of(path: str, text: bytes | None) -> Identity | None:
    """Return the experiment that the bytes of a meta.json name; None where there are none, or they name none."""
    if text is None:
        return None  # removed, or being made
    try:
        meta = meta_of(text)
    except (ValueError, RecursionError) as error:
        warn(f"{path}/meta.json is not a meta.json: {error}. The experiment is left out", MlvWarning)
        return None
    created = ExperimentView(Path(path), meta.id, meta.content).created_at
    return Identity(meta.id, NO_MONTH if created is None else f"{created:%Y-%m}")


def survey(source: LogSource, folder: FolderToSurvey, *, is_thorough: bool = False) -> Survey:
    """Survey one folder.

    All lines that were taken are read again where a file is another one than then, and with `is_thorough`; else their last ones
    are.
    """
    path, text = folder.path, source.meta(folder.path)
    identity = identity_of(path, text)
    if identity is None or folder.exp not in (None, identity.exp):
        return Survey(path, identity, is_changed=True, has_meta=text is not None)
    results, missing = [], []
    for log in folder.logs:
        try:
            result = _surveyed(source, path, log, is_thorough)
        except FileNotFoundError:  # merged into another stream since it was listed
            missing += [log.key] if log.file.size else []
            result = None if log.position.end else (log.position, ())
        except BucketError:
            raise
        except OSError as error:
            warn(f"{path}: {log.key[0]} cannot be read ({error}), and is left out", MlvWarning)
            result = (log.position, ())
        if result is None:
            return Survey(path, identity, (), True, tuple(missing))
        results.append((log.key, *result))
    return Survey(path, identity, tuple(results), False, tuple(missing))


def _surveyed(source: LogSource, path: str, log: Log, is_thorough: bool) -> tuple[LogPosition, tuple[NewRange, ...]] | None:
    before, size = log.position, log.file.size
    if size < before.end:
        # Cut off, unless the listing is older than what another builder has read since: a mount may cache it for a while.
        return (before, ()) if _tail(source, path, log.key, before.end) == before.tail else None
    is_same_file = before.stamp[:1] == log.file.stamp[:1]
    joins = _first_to_join(before.marks, size)
    # Of a log that has grown by much nothing is joined: each new range is a stretch, and is hashed once.
    joined = sha256() if joins < len(before.marks) else None
    if is_same_file and not is_thorough:
        # What is replaced whole is another file then, and what was cut off and written on ends in other lines.
        is_as_it_was = not before.end or _tail(source, path, log.key, before.end) == before.tail
        is_as_it_was = is_as_it_was and _begins_with(source, path, log.key, before.marks, joins, joins, joined)
    else:
        is_as_it_was = _begins_with(source, path, log.key, before.marks, 0, joins, joined)
    if not is_as_it_was:
        return None
    damage: list[FileUnusable] = []
    new = list(_new_ranges(source, path, log.key, before.end, size, joined, damage))
    if damage and not new:
        raise damage[0]
    if not new:
        return replace(before, stamp=log.file.stamp), ()
    ranges, last = tuple(new_range for new_range, _ in new), new[-1][1]
    lines = Counter(before.lines)
    for new_range in ranges:
        lines.update(new_range.lines)
    end, stamp = ranges[-1].end, log.file.stamp
    if damage:
        warn(f"{path}: {log.key[0]} is left out from byte {end} on: {damage[0]}", MlvWarning)
        stamp = (*stamp[:1], end)  # that of another log, so that the next build looks at it again
    stretches = [(each.end, each.sha256) for each in ranges] if joined is None else [(end, joined.hexdigest())]
    is_all_there = len(last) >= min(_TAIL_BYTES, end)
    tail = sha256(last[-_TAIL_BYTES:]).hexdigest() if is_all_there else _tail(source, path, log.key, end)
    is_sealed = _SEAL in last[last.rfind(b"\n", 0, len(last) - 1) + 1 :]
    marks = (*before.marks[:joins], *stretches)
    return LogPosition(marks, tail, dict(lines), stamp, is_sealed), ranges


def _start(marks: Sequence[Mark], index: int) -> int:
    return marks[index - 1][0] if index else 0


def _first_to_join(marks: Sequence[Mark], size: int) -> int:
    """Return the index of the first stretch that becomes one with the new lines, as those behind it do.

    Each stretch stays twice as long as the one behind it: so there are few, and a byte is read again a few times at most.
    """
    first = len(marks)
    while first > 0 and marks[first - 1][0] - _start(marks, first - 1) <= 2 * (size - marks[first - 1][0]):
        first -= 1
    return first


def _begins_with(source: LogSource, path: str, key: LogKey, marks: Sequence[Mark], first: int, joins: int, joined: Any) -> bool:
    """Return whether stretches of a log are what they were; hash those from `joins` on together."""
    for index in range(first, len(marks)):
        digest = sha256()
        for block in source.blocks(path, key, _start(marks, index), marks[index][0]):
            digest.update(block)
            if joined is not None and index >= joins:
                joined.update(block)
        if digest.hexdigest() != marks[index][1]:
            return False
    return True


def _tail(source: LogSource, path: str, key: LogKey, end: int) -> str:
    """Return the SHA-256 of the last bytes before a position."""
    digest = sha256()
    for block in source.blocks(path, key, max(0, end - _TAIL_BYTES), end):
        digest.update(block)
    return digest.hexdigest()


def _new_ranges(
    source: LogSource, path: str, key: LogKey, start: int, size: int, joined: Any, damage: list[FileUnusable]
) -> Iterator[tuple[NewRange, bytes]]:
    """Yield the ranges of whole lines from a position on, each with bytes at its end; they end where objects are damaged."""
    digest, lines, position = sha256(), Counter[str](), start
    whole, remainder, is_redacted = b"", [b""], False
    for block in _until_damage(source.blocks(path, key, start, size), damage):
        cut = block.rfind(b"\n") + 1
        if not cut:
            remainder.append(block)
            continue
        whole = b"".join([*remainder, block[:cut]])
        remainder = [block[cut:]]
        digest.update(whole)
        if joined is not None:
            joined.update(whole)
        lines.update(lines_by_run(whole))
        is_redacted = is_redacted or REDACTED in whole
        position += len(whole)
        if position - start >= TASK_BYTES:
            yield NewRange(start, position, digest.hexdigest(), dict(lines), is_redacted), whole
            digest, lines, start, is_redacted = sha256(), Counter(), position, False
    if position > start:
        yield NewRange(start, position, digest.hexdigest(), dict(lines), is_redacted), whole


def _until_damage(blocks: Iterator[bytes], damage: list[FileUnusable]) -> Iterator[bytes]:
    try:
        yield from blocks
    except FileUnusable as error:
        damage.append(error)


def lines_by_run(block: bytes) -> dict[str, int]:
    """Return the number of lines of each run in whole lines; those that are no events belong to none.

    A text in JSON holds no line break, so that the beginnings of lines can be counted without splitting the block: 1,000
    lines take 20 us, and one by one 400.
    """
    remaining, counts = block.count(b"\n"), Counter[str]()
    match = _RUN.match(block)
    for _ in range(_MOST_RUNS):
        if match is None:
            break
        run = match[1].decode("utf-8", "replace")
        begin = wire.beginning(run) + b","
        counts[run] = block.count(b"\n" + begin) + block.startswith(begin)
        remaining -= counts[run]
        if remaining <= 0:
            return dict(counts)
        runs = b"|".join(re.escape(each.encode()) for each in counts)
        match = re.compile(_OTHER.replace(b"%s", b"(?:" + runs + b")")).search(block)
    whole = Counter[str]()
    for line in BytesIO(block):
        if (who := run_and_seq(line)) is not None:
            whole[who[0]] += 1
    return dict(whole)


def without_repeats(block: bytes, repeats: Mapping[str, int]) -> bytes:
    """Return whole lines without the first ones of each run, which another copy brought before."""
    if not repeats:
        return block
    waiting, lines = dict(repeats), []
    for line in BytesIO(block):
        who = run_and_seq(line)
        if who is not None and waiting.get(who[0], 0) > 0:
            waiting[who[0]] -= 1
        else:
            lines.append(line)
    return b"".join(lines)
