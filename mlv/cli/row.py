"""The rows of a list of experiments, and the tree that they form."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from mlv.bucket import positions
from mlv.encoding import TIME_LENGTH, BadLine, parse_time, utc_text
from mlv.query.view import ExperimentView

METRICS_SHOWN = 4
"""Number of metrics in a row of the table."""


class Row(NamedTuple):
    """An experiment in a list, in values of JSON; times are texts in UTC.

    The fields with a default are those that the ends of a log do not show: they are None in a row that was read from these. In
    the table every row lacks `tags` and `metrics`, however much was read of it.
    """

    path: str
    name: str
    made_as: str | None
    id: str | None
    kind: str | None
    created: str | None
    parent: str | None
    """ID of the experiment that it started from."""
    archived: bool
    """Whether lists leave it out. The ends of a log show it: it is recorded in a stream of its own."""
    status: str
    started: str | None
    """Start of the latest run; before the first run, the time when the experiment was made."""
    duration_s: float | None
    """Seconds that the latest run took, until now if it goes on."""
    error: str | None
    """The reason why it cannot be read, or is not to be believed."""
    metric_texts: list[list[str]]
    """Names, and values in words that stand for them, of the first metrics near the end of the log, described ones first."""
    tags: list[str] | None = None
    metrics: dict[str, Any] | None = None
    """The values that stand for the metrics near the end of each stream, mostly the latest."""
    damaged: list[str] | None = None
    """Damaged lines that were skipped."""
    is_shipped: bool = False
    """Whether anything of it was shipped to a bucket."""


def row_of(view: ExperimentView, **log_fields: Any) -> Row:
    """Return the row of an experiment: its view tells the first fields, its log, however it was read, the others."""
    return Row(
        path=os.fspath(view.path),
        name=view.name,
        made_as=view.made_as,
        id=view.id or None,
        kind=view.kind,
        created=in_utc(view.created),
        parent=view.parent_id,
        archived=view.is_archived,
        is_shipped=positions.is_shipped(view.path),
        **log_fields,
    )


def in_utc(text: str) -> str | None:
    """Return a time in UTC; None where the text is no time."""
    try:
        moment = parse_time(text)
    except BadLine:
        return None
    # What mlv writes is in UTC already: to find that out takes 0.4 of the 4 us of writing it anew.
    return text if len(text) == TIME_LENGTH and text.endswith("Z") else utc_text(moment)


def without_archived(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the experiments that are not archived, nor below one that is; parents come before their sub-experiments."""
    archived = None
    for row in rows:
        if archived is not None and row.path.startswith(os.path.join(archived, "")):
            continue
        archived = row.path if row.archived else None
        if archived is None:
            yield row


@dataclass(frozen=True, slots=True)
class Branch:
    """An experiment in the tree of experiments and sub-experiments."""

    row: Row
    guide: str
    """Lines that draw the tree, before the label."""
    label: str


def tree(rows: Iterable[Row], root: str | os.PathLike[str], unicode: bool = True) -> list[Branch]:
    """Return the experiments as a tree by their folders; parents come before their sub-experiments."""
    children: dict[str | None, list[Row]] = {}
    folders: set[str] = set()
    top = str(root)
    for row in rows:
        around = os.path.dirname(row.path) or "."
        while around not in folders and around != top and len(around) >= len(top):
            around = os.path.dirname(around) or "."
        children.setdefault(around if around in folders else None, []).append(row)
        folders.add(row.path)
    return list(_branches(children, None, top, "", ("├─ ", "└─ ", "│  ") if unicode else ("|- ", "`- ", "|  ")))


def _branches(
    children: Mapping[str | None, list[Row]], around: str | None, root: str, guide: str, lines: tuple[str, str, str]
) -> Iterable[Branch]:
    inner = children.get(around, [])
    for position, row in enumerate(inner):
        is_last = position == len(inner) - 1
        joint = "" if around is None else lines[1 if is_last else 0]
        yield Branch(row, guide + joint, _label(row, around, root))
        if row.path in children:
            below = guide if around is None else guide + ("   " if is_last else lines[2])
            yield from _branches(children, row.path, root, below, lines)


def _label(row: Row, around: str | None, root: str) -> str:
    """Return an experiment's path below its parent, without the folder of its kind, which has a column of its own."""
    base = around or root
    if row.path == base:
        return row.name
    below = row.path if base == "." else row.path[len(base) :].strip(os.sep)
    names = below.split(os.sep)
    return names[1] if around is not None and len(names) == 2 and names[0] == row.kind else "/".join(names)
