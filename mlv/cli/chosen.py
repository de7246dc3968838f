"""`mlv ls --where --sort --columns`: a list of selected experiments, in a requested order and with requested columns."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timezone
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlv import words
from mlv.cli import lakes
from mlv.cli.blocks import Listing
from mlv.cli.ls import say_hidden, to_data
from mlv.cli.ls import table as usual_table
from mlv.cli.overview import read_row
from mlv.cli.row import Branch
from mlv.cli.screen import Screen, print_json, progress, say, styled
from mlv.errors import InvalidArgument
from mlv.experiment.experiments import find, in_lake
from mlv.query.digest import STATS, Depth, Digest
from mlv.query.many.table import columns as columns_of
from mlv.query.many.table import rows as rows_of
from mlv.store import layout
from mlv.store.reading import read_state

if TYPE_CHECKING:
    from mlv.lake.reading import LakeReader

Row = Mapping[str, Any]


def run(
    root: Path,
    as_json: bool,
    *,
    where: str | None,
    sort: str | None,
    columns: str | None,
    newest: int | None = None,
    with_archived: bool = False,
    lake: LakeReader | None = None,
) -> None:
    """Print the experiments for which `where` holds; with `newest`, only that many, whose latest run began last.

    They are read from a lake, where one is given.

    Archived ones, and those below them, are left out unless they are asked for.

    Raises:
        QueryFailed: The predicate cannot be evaluated.
        InvalidArgument: No experiment has such a column.
        NotAnExperiment: There is none below the root.
    """
    now = datetime.now(timezone.utc)
    experiments = find(root, where=where, fresh=True) if lake is None else in_lake(lake, where=where)
    digests = experiments.watched(progress).digests(Depth.METRICS)
    top = layout.absolute(root)
    listed = digests if with_archived else [digest for digest in digests if not _is_archived(digest, top, lake)]
    say_hidden(len(digests) - len(listed))
    rows: list[Row] = list(rows_of(listed, STATS, now))
    if not rows and not digests:
        say(f"no experiment at or below {str(root)!r} matches --where {where}")
        return
    if newest is not None:
        rows = in_order(rows, "-started")[: max(0, newest)]
    if sort is not None:
        rows = in_order(rows, sort)
    if columns is not None:
        show_columns(rows, _columns(columns, rows), as_json)
    else:
        _show_usual(root, [Path(row["path"]) for row in rows], as_json, now, lake)


def _is_archived(digest: Digest, root: Path, lake: LakeReader | None) -> bool:
    """Return whether an experiment is archived, or lies below one that is, within the root."""
    if lake is not None:
        return lake.is_archived(digest.path)
    around = (folder for folder in digest.path.parents if folder == root or root in folder.parents)
    return digest.is_archived or any(layout.is_experiment(each) and read_state(each).is_archived for each in around)


def in_order(rows: Sequence[Row], sort: str) -> list[Row]:
    """Return the rows sorted by a column, or by `-column` with the greatest first; rows without a value come last.

    Raises:
        InvalidArgument: No row has such a column.
    """
    column = _existing_column(sort.removeprefix("-"), rows)
    numbers = [row for row in rows if _is_number(row.get(column))]
    texts = [row for row in rows if _has_value(row.get(column)) and not _is_number(row.get(column))]
    is_reversed = sort.startswith("-")
    return [
        # Numbers come before texts, whichever way: "n/a" is not the greatest accuracy.
        *sorted(numbers, key=lambda row: row[column], reverse=is_reversed),
        *sorted(texts, key=lambda row: _as_text(row[column]), reverse=is_reversed),
        *(row for row in rows if not _has_value(row.get(column))),
    ]


VARYING = "varying"
"""A name in the list of columns for all params that differ between experiments."""


def _columns(text: str, rows: Sequence[Row]) -> list[str]:
    """Return the columns that a list names; `*` stands for any characters, `varying` for the params that differ.

    Raises:
        InvalidArgument: No experiment has such a column.
    """
    existing = columns_of(rows)
    result: list[str] = []
    for name in map(str.strip, text.split(",")):
        if "*" in name and name not in existing:
            pattern = re.compile(".*".join(map(re.escape, name.split("*"))), re.DOTALL)
            matching = [column for column in existing if pattern.fullmatch(column)]
            if not matching:
                raise InvalidArgument(f"no experiment has a column like {name!r}: give one of {', '.join(existing[:12])} ...")
            result += matching
        elif name == VARYING and name not in existing:
            params = [column for column in existing if column.startswith("params.")]
            differing = [column for column in params if len({repr(row.get(column)) for row in rows}) > 1]
            if not differing:
                say(f"no param differs among {words.counted(len(rows), 'experiment')}")
            result += differing
        else:
            result.append(_existing_column(name, rows))
    return list(dict.fromkeys(result))


def _existing_column(column: str, rows: Sequence[Row]) -> str:
    existing = columns_of(rows)
    if column in existing:
        return column
    ends = {name.partition(".")[2]: name for name in reversed(existing) if "." in name}
    close = [*get_close_matches(column, existing), *(ends[end] for end in get_close_matches(column, ends))]
    hint = " or ".join(dict.fromkeys(close[:3])) if close else f"one of {', '.join(existing[:12])} ..."
    raise InvalidArgument(f"no experiment has a column {column!r}: did you mean {hint}?", column=column)


def _has_value(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and _has_value(value)


def _as_text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def show_columns(rows: Sequence[Row], columns: Sequence[str], as_json: bool, right: Collection[str] = ()) -> None:
    """Print a table of these columns, or a JSON object per row; numbers, and the columns in `right`, are aligned right."""
    if as_json:
        for row in rows:
            print_json({column: row.get(column) for column in columns})
        return
    numbers = [
        index for index, column in enumerate(columns)
        if column in right or all(isinstance(row.get(column), (int, float, type(None))) for row in rows)
    ]  # fmt: skip
    is_setting = [column.startswith("params.") for column in columns]
    cells = [[styled(cell(row.get(name), own)) for name, own in zip(columns, is_setting, strict=True)] for row in rows]
    Screen().show(Listing([styled(words.printable(column)) for column in columns], cells, numbers))


_SHORT = 10


def cell(value: Any, is_setting: bool = False) -> str:
    """Return a value as text for a table: empty for None, times in local time, all digits of settings and short numbers."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return words.full_time(value)
    is_short = isinstance(value, float) and len(repr(value)) <= _SHORT
    return words.exact(value) if is_setting or is_short else words.number(value)


def _show_usual(root: Path, folders: Sequence[Path], as_json: bool, now: datetime, lake: LakeReader | None) -> None:
    top = layout.absolute(root)
    paths = [root / os.path.relpath(folder, top) for folder in folders]
    if lake is None:
        rows = [read_row(path, None, now, is_whole=as_json) for path in paths]
    else:
        by_path = {row.path: row for row in lakes.rows(lake, root, is_whole=as_json)}
        rows = [by_path[str(path)] for path in paths]
    if as_json:
        for row in rows:
            print_json(to_data(row))
        return
    screen = Screen()
    labels = ["/".join(Path(os.path.relpath(row.path, root)).parts) or row.name for row in rows]
    screen.show(usual_table([Branch(row, "", label) for row, label in zip(rows, labels, strict=True)], screen.width))
