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
from typing import TYPE_CHECKING, Any, NoReturn

from rich.cells import cell_len
from rich.text import Text

from mlv import __version__, words
from mlv.bucket import positions
from mlv.cli import lakes
from mlv.cli.blocks import GAP, NAMES, WHOLE, Listing
from mlv.cli.forks import in_processes
from mlv.cli.index import Index
from mlv.cli.overview import read_row
from mlv.cli.row import Branch, Row, tree, without_archived
from mlv.cli.screen import Screen, encodable, passed_over, print_json, say
from mlv.encoding import parse_time
from mlv.errors import NotAnExperiment
from mlv.store import layout

if TYPE_CHECKING:
    from mlv.lake.reading import LakeReader


def run(root: Path, as_json: bool, with_archived: bool = False, lake: LakeReader | None = None) -> None:
    """Print the table, or one JSON object per experiment, from a lake if one is given; archived ones only if asked for.

    Raises:
        NotAnExperiment: There is none at or below the root.
    """
    if lake is not None:
        gc.disable()
        rows = list(lakes.rows(lake, root, is_whole=as_json)) or _refuse_none(root)
        if not as_json:
            _print_rows(rows, root, Screen(), with_archived)
        for row in (rows if with_archived else without_archived(rows)) if as_json else ():
            print_json(to_data(row))
        return
    if as_json:
        folders = list(layout.walk(root))
        rows = [row for batch in in_processes(_whole_rows, folders, _BATCH) for row in batch] or _refuse_none(root)
        for row in rows if with_archived else without_archived(rows):
            print_json(to_data(row))
        return
    gc.disable()  # rows are many and no garbage, and the process ends soon
    now, screen = datetime.now(timezone.utc), Screen()
    index, setting = Index(root, partial(read_row, now=now)), _setting(root, screen, now, with_archived)
    text = None if screen.is_styled else index.text(setting)
    if text is None:
        rows = list(index.rows()) or _refuse_none(root)
        text = _print_rows(rows, root, screen, with_archived)
        # How far a copy is behind changes while the files do not.
        is_lasting = text and not any(map(_behind_s, rows))
        index.save(*((setting, text) if is_lasting else ()))
    else:
        sys.stdout.write(text)


def _print_rows(rows: list[Row], root: Path, screen: Screen, with_archived: bool) -> str:
    """Print rows as a table; return its text, empty where it is not to be used again, or lacks archived ones."""
    listed = rows if with_archived else list(without_archived(rows))
    text = _print_table(tree(listed, root, screen.speaks_unicode), screen) if listed else ""
    say_hidden(len(rows) - len(listed))
    return text if len(listed) == len(rows) else ""


def say_hidden(count: int) -> None:
    """Say how many experiments are left out because they, or those around them, are archived."""
    if count:
        say(f"{count} archived: --all lists them too")


def _setting(root: Path, screen: Screen, now: datetime, with_archived: bool) -> str:
    """Return everything else that the text depends on: the version, the root, the encoding, the year and the time zone."""
    zone = [os.environ.get("TZ"), os.path.realpath("/etc/localtime"), *time.tzname]
    return repr([__version__, str(root), with_archived, screen.speaks_unicode, now.astimezone().year, *zone])


def _print_table(branches: Sequence[Branch], screen: Screen) -> str:
    """Print the table; return its text, empty where it is styled or errors were printed, so that it cannot be reused."""
    text = "" if screen.is_styled else "".join(f"{words.printable(line)}\n" for line in plain_lines(branches))
    if screen.is_styled:
        screen.show(table(branches, screen.width))
    sys.stdout.write(text)
    errors = [(branch.label, branch.row.error) for branch in branches if branch.row.error]
    for label, error in errors:
        screen.show(Text.assemble((f"{label}: ", "bold"), (words.printable(error), "red")))
    damaged = [(branch.row.path, branch.row.damaged) for branch in branches if branch.row.damaged]
    for path, holes in damaged:
        say(passed_over(path, holes))
    return "" if errors or damaged else text


_Cell = list[tuple[str, str]]
"""Texts and their styles."""
_BATCH = 20
"""Least number of experiments per process, when each is read as a whole."""


def _whole_rows(folders: Sequence[Path]) -> list[Row]:
    return [read_row(folder, None, datetime.now(timezone.utc), is_whole=True) for folder in folders]


def _refuse_none(root: Path) -> NoReturn:
    text = f"no experiments at or below {str(root)!r}: give the folder that was the savedir"
    raise NotAnExperiment(text, path=str(root))


def table(branches: Sequence[Branch], width: int) -> Listing:
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


def plain_lines(branches: Sequence[Branch]) -> Iterator[str]:
    """Yield the table as lines without wrapping or styles: a fast path, as fast as the rows are read."""
    cells = {**_COLUMNS, "started": _started_by_minute()}
    columns = ([_heading(heading), *map(_plain, map(cell, branches))] for heading, cell in cells.items())
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


def _name(branch: Branch) -> _Cell:
    return [(branch.guide, "dim"), (_printable(branch.label), "" if branch.guide else "bold")]


def _kind(branch: Branch) -> _Cell:
    return [(_printable(branch.row.kind or ""), "")]


def _status(branch: Branch) -> _Cell:
    return [(branch.row.status, words.STATUS_STYLES.get(branch.row.status, ""))]


def _started(branch: Branch, precision: str = "minute") -> _Cell:
    started = None if branch.row.started is None else parse_time(branch.row.started)
    return [(words.moment(started, datetime.now(timezone.utc), precision), "")]


def _started_by_minute() -> Callable[[Branch], _Cell]:
    """Return `_started`, with a memory: many experiments of a sweep begin in one minute, and to write it takes 4 us."""
    cells: dict[str, _Cell] = {}

    def cell(branch: Branch) -> _Cell:
        started = branch.row.started or ""
        minute = started[:_MINUTE_LENGTH] if started.endswith("Z") else started
        return cells.get(minute) or cells.setdefault(minute, _started(branch))

    return cell


_MINUTE_LENGTH = len("2026-01-01T00:00")


def _duration(branch: Branch) -> _Cell:
    return [(words.duration(branch.row.duration_s), "")]


def _metrics(branch: Branch) -> _Cell:
    cell = [("see below", "red")] if branch.row.error else []
    for name, value in branch.row.metric_texts:
        cell += [("  " if cell else "", ""), (f"{_printable(name)}=", "dim"), (encodable(value), "")]
    return cell


def _behind(branch: Branch) -> _Cell:
    seconds = _behind_s(branch.row)
    return [("" if seconds is None else words.duration(seconds), "" if not seconds else "yellow")]


def _behind_s(row: Row) -> float | None:
    """Return the age in seconds of the oldest line that a bucket lacks; None where nothing is shipped."""
    return positions.behind_s(Path(row.path), datetime.now(timezone.utc)) if row.is_shipped else None


def _id(branch: Branch) -> _Cell:
    return [((branch.row.id or "")[:8], "dim")]


_COLUMNS: dict[str, Callable[[Branch], _Cell]] = {
    "name": _name,
    "kind": _kind,
    "status": _status,
    "started": _started,
    "duration": _duration,
    "behind": _behind,
    "metrics": _metrics,
    "id": _id,
}


def to_data(row: Row) -> dict[str, Any]:
    """Return the row as a mapping for JSON."""
    data = row._asdict()
    del data["is_shipped"]
    data["behind_s"] = _behind_s(row)
    del data["metric_texts"]  # the metrics in words, for the table
    return data
