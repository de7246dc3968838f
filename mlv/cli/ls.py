"""`mlv ls`: a table of the experiments at and below a folder."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any, NoReturn

from rich.cells import cell_len
from rich.text import Text

from mlv import __version__, words
from mlv.cli.blocks import GAP, NAMES, WHOLE, Listing
from mlv.cli.forks import in_processes
from mlv.cli.glance import glance_at
from mlv.cli.index import Index
from mlv.cli.overview import METRICS_SHOWN, Branch, Overview, look_at, tree, without_archived
from mlv.cli.screen import Screen, encodable, print_json, say
from mlv.errors import NotAnExperiment
from mlv.store import layout


def run(root: Path, as_json: bool, with_archived: bool = False) -> None:
    """Print the table, or one JSON object per experiment; archived ones only if they are asked for.

    Raises:
        NotAnExperiment: There is none at or below the root.
    """
    if as_json:
        folders = list(layout.walk(root))
        rows = [data for batch in in_processes(_all_data, folders, _BATCH) for data in batch]
        for data in _listed(rows or _refuse_none(root), with_archived):
            print_json(data)
        return
    gc.disable()  # rows are many and no garbage, and the process ends soon
    now, screen = datetime.now(timezone.utc), Screen()
    index, setting = Index(root, partial(glance_at, now=now)), _setting(root, screen, now, with_archived)
    text = None if screen.is_styled else index.text(setting)
    if text is None:
        every = list(index.glances()) or _refuse_none(root)
        listed = every if with_archived else list(without_archived(every))
        text = _print_table(tree(listed, root, screen.speaks_unicode), screen) if listed else ""
        say_hidden(len(every) - len(listed))
        index.save(*((setting, text) if text and len(listed) == len(every) else ()))
    else:
        sys.stdout.write(text)


def say_hidden(count: int) -> None:
    """Say how many experiments are left out because they, or those around them, are archived."""
    if count:
        say(f"{count} archived: --all lists them too")


def _listed(rows: Sequence[dict[str, Any]], with_archived: bool) -> Iterator[dict[str, Any]]:
    """Yield the rows without those of archived experiments and of those below them, unless these are asked for."""
    hidden = [] if with_archived else [os.path.join(row["path"], "") for row in rows if row["archived"]]
    return (row for row in rows if not os.path.join(row["path"], "").startswith(tuple(hidden)))


def _setting(root: Path, screen: Screen, now: datetime, with_archived: bool) -> str:
    """Return everything else that the text depends on: the version, the root, the encoding, the year and the time zone."""
    zone = [os.environ.get("TZ"), os.path.realpath("/etc/localtime"), *time.tzname]
    return repr([__version__, str(root), with_archived, screen.speaks_unicode, now.astimezone().year, *zone])


def _print_table(branches: Sequence[Branch[Any]], screen: Screen) -> str:
    """Print the table; return its text, empty where it is styled or errors were printed, so that it cannot be reused."""
    text = "" if screen.is_styled else "".join(f"{words.printable(line)}\n" for line in plain_lines(branches))
    if screen.is_styled:
        screen.show(table(branches, screen.width))
    sys.stdout.write(text)
    errors = [branch for branch in branches if branch.overview.error]
    for branch in errors:
        screen.show(Text.assemble((f"{branch.label}: ", "bold"), (words.printable(branch.overview.error), "red")))
    damages = [branch.overview.damage for branch in branches if branch.overview.damage]
    for damage in damages:
        say(damage)
    return "" if errors or damages else text


_Cell = list[tuple[str, str]]
"""Texts and their styles."""
_BATCH = 20
"""Least number of experiments per process, when each is read as a whole."""


def _all_data(folders: Sequence[Path]) -> list[dict[str, Any]]:
    return [to_data(look_at(folder, datetime.now(timezone.utc))) for folder in folders]


def _refuse_none(root: Path) -> NoReturn:
    text = f"no experiments at or below {str(root)!r}: give the folder that was the savedir"
    raise NotAnExperiment(text, path=str(root))


def overviews(root: Path) -> Iterator[Overview]:
    """Yield every experiment at or below a folder, read now."""
    for folder in layout.walk(root):
        yield look_at(folder, datetime.now(timezone.utc))


def table(branches: Sequence[Branch[Any]], width: int) -> Listing:
    """Return the experiments as rows, without empty columns; with little room, without the less important ones."""
    columns = {heading: [Text.assemble(*cell(branch)) for branch in branches] for heading, cell in _COLUMNS.items()}
    columns = {heading: cells for heading, cells in columns.items() if any(cell.plain for cell in cells)}
    if not _listing(columns).fits(width):
        columns["started"] = [Text.assemble(*_started(branch, "day")) for branch in branches]
    for heading in ("duration", "kind", "started"):
        if not _listing(columns).fits(width):
            columns.pop(heading, None)
    listing = _listing(columns)
    if "metrics" in columns and not listing.fits(width):  # on pages, one below the other
        return _listing({**columns, "metrics": [Text(cell.plain.replace("  ", "\n")) for cell in columns["metrics"]]})
    return listing


def _listing(columns: Mapping[str, list[Text]]) -> Listing:
    numbers = {heading: number for number, heading in enumerate(columns)}
    narrow = {number: NAMES for heading, number in numbers.items() if heading in ("name", "metrics")}
    units = {
        number: WHOLE if heading == "started" else NAMES
        for heading, number in numbers.items()
        if heading in ("name", "started")
    }
    headings = [Text(_heading(heading)) for heading in columns]
    return Listing(headings, list(zip(*columns.values(), strict=True)), units=units, narrow=narrow)


def _heading(column: str) -> str:
    """Return the heading of a column; that of times names their zone, so that the cells need not."""
    return f"{column} ({words.zone()})" if column == "started" else column


def plain_lines(branches: Sequence[Branch[Any]]) -> Iterator[str]:
    """Yield the table as lines without wrapping or styles: a fast path, as fast as the rows are read."""
    columns = ([_heading(heading), *map(_plain, map(cell, branches))] for heading, cell in _COLUMNS.items())
    padded = [_padded(texts) for texts in columns if any(texts[1:])]
    return (row.rstrip(" ") for row in map((" " * GAP).join, zip(*padded, strict=True)))


def _plain(cell: _Cell) -> str:
    return cell[0][0] if len(cell) == 1 else "".join([text for text, _ in cell])


def _padded(texts: Sequence[str]) -> Iterator[str]:
    """Return the texts, padded to the width of the widest."""
    if "".join(texts).isascii():
        return map(str.ljust, texts, repeat(max(map(len, texts))))
    lengths = [cell_len(text) for text in texts]
    width = max(lengths)
    return (text + " " * (width - length) for text, length in zip(texts, lengths, strict=True))


def _printable(text: str) -> str:
    return encodable(words.printable(text))


def _name(branch: Branch[Any]) -> _Cell:
    return [(branch.guide, "dim"), (_printable(branch.label), "" if branch.guide else "bold")]


def _kind(branch: Branch[Any]) -> _Cell:
    return [(_printable(branch.overview.kind or ""), "")]


def _status(branch: Branch[Any]) -> _Cell:
    return [(branch.overview.status, words.STATUS_STYLES.get(branch.overview.status, ""))]


def _started(branch: Branch[Any], precision: str = "minute") -> _Cell:
    overview = branch.overview
    return [(words.moment(overview.started, overview.now or datetime.now(timezone.utc), precision), "")]


def _duration(branch: Branch[Any]) -> _Cell:
    return [(words.duration(branch.overview.duration_s), "")]


def _metrics(branch: Branch[Any]) -> _Cell:
    overview = branch.overview
    cell = [("see below", "red")] if overview.error else []
    for name, value in overview.metric_texts(METRICS_SHOWN):
        cell += [("  " if cell else "", ""), (f"{_printable(name)}=", "dim"), (encodable(value), "")]
    return cell


def _id(branch: Branch[Any]) -> _Cell:
    return [(branch.overview.id[:8], "dim")]


_COLUMNS: dict[str, Callable[[Branch[Any]], _Cell]] = {
    "name": _name,
    "kind": _kind,
    "status": _status,
    "started": _started,
    "duration": _duration,
    "metrics": _metrics,
    "id": _id,
}


def to_data(overview: Overview) -> dict[str, Any]:
    """Return the row as a mapping for JSON."""
    return {
        "path": overview.path,
        "name": overview.name,
        "made_as": overview.made_as,
        "id": overview.id or None,
        "kind": overview.kind,
        "status": overview.status,
        "created": overview.created,
        "started": overview.started,
        "duration_s": overview.duration_s,
        "tags": overview.tags,
        "archived": overview.is_archived,
        "parent": overview.parent.get("id"),
        "metrics": {name: latest.value for name, latest in overview.metrics.items()},
        "damaged": [str(hole) for hole in overview.damage],
        "error": overview.error,
    }
