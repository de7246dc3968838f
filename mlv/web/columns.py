"""Rows of the page as columns of plain values."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Any

from mlv.query.many.table import flat
from mlv.query.metrics.schema import EXACT
from mlv.web.plain import as_text, plain, shortened
from mlv.web.rows import IndexRow

STATS = ("value", "last", "min", "max", "mean", "count", "nans")
"""Numbers of each metric in the list."""
MOST_NAMES = 500
"""Params, and metrics, of one experiment in the table; its own page has all."""
MOST_CELLS = 1_000_000
"""Cells of one answer: it has fewer rows where these have many columns."""
LONGEST_TEXT = 300


def within_limit(rows: Iterable[IndexRow]) -> Iterator[IndexRow]:
    """Yield rows until an answer has enough cells; always one."""
    names: set[str] = set()
    for count, row in enumerate(rows, 1):
        names.update(islice(row.digest.metrics, MOST_NAMES))
        names.update(islice(row.digest.params, MOST_NAMES))
        if count > 1 and count * len(names) * len(STATS) > MOST_CELLS:
            return
        yield row


def columns(
    rows: Sequence[IndexRow], root: Path, asof: datetime | None = None, archived: frozenset[Path] = frozenset()
) -> dict[str, Any]:
    """Return rows, as of a moment or as of now, as columns of plain values.

    An experiment counts as archived that is, or that lies below one of the archived folders.
    """
    digests = [row.digest for row in rows]
    now = asof or datetime.now(timezone.utc)
    runs = [next(reversed(digest.runs(now)), None) for digest in digests]
    created = [_seconds(digest.created_at) for digest in digests]
    heard = [[run.last_heard for run in digest.state.runs.values() if run.last_heard] for digest in digests]
    result: dict[str, Any] = {
        "id": [digest.id for digest in digests],
        "name": [digest.name for digest in digests],
        "path": [_below(root, digest.path) for digest in digests],
        "kind": [digest.kind for digest in digests],
        "parent": [digest.parent_id for digest in digests],
        "created": created,
        "started": [_seconds(run.started) if run else None for run in runs],
        "age": [_seconds(max(moments)) if moments else at for moments, at in zip(heard, created, strict=True)],
        "duration": [run.duration_s if run else None for run in runs],
        "status": [row.status for row in rows],
        "tags": [list(digest.tags) for digest in digests],
        "notes": [[shortened(note, LONGEST_TEXT) for note in digest.notes] for digest in digests],
        "archived": [
            digest.is_archived or (bool(archived) and not archived.isdisjoint(digest.path.parents)) for digest in digests
        ],
        "error": [row.error for row in rows],
    }
    params = [dict(islice(flat(digest.params), MOST_NAMES)) for digest in digests]
    result["params"] = _by_name(params, lambda value: shortened(plain(value), LONGEST_TEXT))
    metrics = [dict(islice(digest.metrics.items(), MOST_NAMES)) for digest in digests]
    names = dict.fromkeys(name for own in metrics for name in own)
    result = as_text(result)
    result["metrics"] = {as_text(name): _stats([own.get(name) for own in metrics]) for name in names}
    return result


def _stats(summaries: Sequence[Any]) -> dict[str, list[Any]]:
    """Return the numbers of one metric of all experiments as columns."""
    return {stat: _cells([None if own is None else getattr(own, stat) for own in summaries]) for stat in STATS}


def _cells(values: list[Any]) -> list[Any]:
    """Return values in a form of JSON; where all are plain numbers, as they mostly are, as they are."""
    kinds = set(map(type, values))
    if kinds <= {float, int, type(None)}:
        numbers = [value for value in values if value is not None]
        with suppress(OverflowError):  # an integer beyond all floats
            if not numbers or (max(map(abs, numbers)) <= EXACT and math.isfinite(sum(numbers))):
                return values
    return as_text([shortened(plain(value), LONGEST_TEXT) for value in values])


def _below(root: Path, path: Path) -> str:
    """Return the path of a folder from the root on, with slashes."""
    text, around = os.fspath(path), os.path.join(root, "")
    if os.sep != "/" or not text.startswith(around):
        return Path(os.path.relpath(path, root)).as_posix()
    return text[len(around) :]  # in a tenth of the time


def _by_name(mappings: Sequence[Mapping[str, Any]], form: Callable[[Any], Any]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for own in mappings for name in own)
    return {name: [form(own[name]) if name in own else None for own in mappings] for name in names}


def _seconds(when: datetime | None) -> float | None:
    return when.timestamp() if when is not None else None
