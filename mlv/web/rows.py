"""Experiments as rows of the page: each as it was read last, with what shows that it has changed since."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mlv.errors import NotAnExperiment
from mlv.experiment.as_of import summary_of
from mlv.query import moments
from mlv.query.digest import Depth, Digest, read_digest
from mlv.query.moments import Moment
from mlv.state import State
from mlv.store import layout
from mlv.store.meta import read_meta
from mlv.web.plain import bounded

Stamp = tuple[Any, ...]
"""Inode, size and time of change of a meta.json; then stream, size, time of change and inode of each log."""
BROKEN = "broken"
"""The status of an experiment that cannot be read."""
PASSING = ("running", "lost")
"""Statuses that change with the time alone."""
SETTLED_NS = 2_000_000_000
"""A change within the same tick of a file system's clock leaves the times as they are; that of the coarsest is 2 s."""
_LARGE_META = 4 << 20
"""Bytes of a meta.json that stay in memory of each section; its own page reads all."""
_KEPT = ("format", "name", "kind", "created", "params", "tags", "notes", "parent", "git", "machine")
"""Sections of meta.json that stay in memory: the captured environment is most of it, and in no column."""


@dataclass(frozen=True)
class IndexRow:
    """An experiment at the moment of its last reading."""

    digest: Digest
    version: int
    depth: Depth
    stamp: Stamp
    status: str
    error: str | None = None
    moment: Moment | None = None
    """Up to which events count; None for all."""


def stamp_of(folder: Path) -> Stamp:
    """Return numbers that change with the files of an experiment."""
    text = os.fspath(folder)  # to join texts takes a tenth of the time that paths take
    with suppress(OSError):
        meta = os.stat(os.path.join(text, layout.META))
        return (meta.st_ino, meta.st_size, meta.st_ctime_ns, *stream_stamps(text))
    return ()


def stream_stamps(folder: str) -> Iterator[tuple[str, int, int, int]]:
    """Yield the name of each stream of an experiment with what shows that its file has changed."""
    for stream in layout.streams_in(folder):
        with suppress(FileNotFoundError):
            status = os.stat(os.path.join(folder, layout.stream_file(stream)))
            yield stream, status.st_size, status.st_ctime_ns, status.st_ino


def changed_ns(stamp: Stamp) -> int:
    """Return the time of the last change of an experiment's files."""
    changed: int = max([stamp[2], *(stream[2] for stream in stamp[3:])])
    return changed


def size_of(stamp: Stamp) -> int:
    """Return the bytes of an experiment's logs."""
    return sum(stream[1] for stream in stamp[3:])


def read(folder: Path) -> IndexRow | None:
    """Read an experiment; None where it is gone."""
    stamp = stamp_of(folder)
    return read_row(folder, Depth.METRICS, stamp) if stamp else None


def read_row(folder: Path, depth: Depth, stamp: Stamp) -> IndexRow:
    """Read an experiment; a broken one has an error."""
    try:
        meta = read_meta(folder)
    except NotAnExperiment as error:
        digest = Digest(folder, layout.exp_id(folder) or secrets.token_hex(32), {"params": {}}, State(), {})
        return IndexRow(digest, 0, Depth.METRICS, stamp, BROKEN, str(error))
    kept = {key: meta.content[key] for key in _KEPT if key in meta.content}
    if stamp and stamp[1] > _LARGE_META:
        kept = {key: bounded(value, _LARGE_META)[0] for key, value in kept.items()}
    if depth == Depth.SETTINGS:
        return IndexRow(Digest(folder, meta.id, kept, State(), {}), 0, depth, stamp, "")
    try:
        read = read_digest(folder, meta.id, kept, depth, by_columns=True)
    except Exception as error:  # one broken log must not hide the others
        return IndexRow(Digest(folder, meta.id, kept, State(), {}), 0, depth, stamp, BROKEN, str(error) or repr(error))
    return with_status(IndexRow(read, 0, depth, stamp, ""))


def with_status(row: IndexRow) -> IndexRow:
    """Return an experiment with its status of now."""
    return replace(row, status=row.digest.status(datetime.now(timezone.utc)))


def as_of(row: IndexRow, asof: datetime) -> IndexRow | None:
    """Return an experiment as of a moment; None if it was made later."""
    digest = row.digest
    created = digest.created_at
    if created is not None and created > asof:
        return None
    if row.status == BROKEN:
        return row
    heard = [run.last_heard for run in digest.state.runs.values() if run.last_heard is not None]
    if heard and max(heard) <= asof:  # nothing has been logged since
        return replace(row, status=moments.status_at(digest.state, asof))
    try:
        moment = moments.moment(digest.path, time=asof)
        state = moments.state_at(digest.path, moment)
        metrics = summary_of(digest.path, state, moment.last, moments.surviving(digest.path, "metrics", moment))
    except Exception as error:  # one broken log must not hide the others
        return replace(row, status=BROKEN, error=str(error) or repr(error))
    past = replace(digest, state=state, metrics=metrics)
    return replace(row, digest=past, status=moments.status_at(state, asof), moment=moment)
