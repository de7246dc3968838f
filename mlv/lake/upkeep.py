"""The upkeep of a lake's tables, by its builders alone: few large files, and no files that nobody reads any more."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from datetime import datetime
from typing import Any

from mlv.errors import MlvWarning
from mlv.lake.columns import KEYED, MONTH
from mlv.lake.tables import LakeTables, files_of, for_each_table, is_refusal, translated
from mlv.notices import warn
from mlv.optional import package

MOST_FILES = 64
"""Most files of a month; then they are written as a few."""
ENDED_FILES = 4
"""Most files of a month that has ended: it gets few new rows, and is sorted as a whole."""
LIST_FILES = 2
"""Most files of a month of the tables that are little and that a list is made of: whoever lists fetches each."""
RETENTION_H = 7 * 24
"""Hours for which files stay that a table no longer names: a reader may have opened it before."""
_FILE_BYTES = 128 << 20


def maintain(tables: LakeTables, now: datetime, retention_h: int = RETENTION_H) -> None:
    """Write months of many files as few, and remove files that no table has named for a week.

    Another builder may commit meanwhile; then the table stays as it is until the next time.
    """
    for_each_table(lambda name: _maintain(tables, name, now, retention_h))


def _maintain(tables: LakeTables, name: str, now: datetime, retention_h: int) -> None:
    refused = package("deltalake.exceptions", "lake").CommitFailedError
    with suppress(refused), translated(tables.uri(name)):
        table = tables.opened(name)
        months = [month for month, count in _counts(table).items() if _is_crowded(name, month, count, now)]
        for month in months:
            _compact(tables, name, month, has_ended=_has_ended(month, now))
        if months:
            table = tables.opened(name)
        # Also where nothing was written anew: old files may hold what was redacted since. Never `full`: that removes the
        # files which another builder is about to commit.
        _vacuum(table, tables.uri(name), retention_h)


def _vacuum(table: Any, uri: str, retention_h: int) -> None:
    try:
        table.vacuum(retention_h, dry_run=False, enforce_retention_duration=False)
    except (package("deltalake.exceptions", "lake").DeltaError, OSError) as error:
        if not is_refusal(error):
            raise
        # The lake is right all the same, in a bucket that keeps all for good.
        text = f"{uri}: files that the table no longer names stay, as the store refuses to delete them"
        warn(f"{text}: where one holds what was redacted, somebody who may has to", MlvWarning)


def _counts(table: Any) -> Counter[str]:
    """Return the number of files of each month."""
    return Counter(files_of(table)[f"partition.{MONTH}"].to_pylist())


def _has_ended(month: str, now: datetime) -> bool:
    return month < f"{now:%Y-%m}"


def _is_crowded(name: str, month: str, count: int, now: datetime) -> bool:
    most = ENDED_FILES if _has_ended(month, now) else MOST_FILES
    return count > (min(most, LIST_FILES) if name in KEYED else most)


def _compact(tables: LakeTables, name: str, month: str, *, has_ended: bool) -> None:
    table = tables.opened(name)
    options = {"partition_filters": [(MONTH, "=", month)], "target_size": _FILE_BYTES, "writer_properties": tables.writing}
    if has_ended and name == "metrics":
        table.optimize.z_order(["name", "exp", "step"], **options)
    else:
        table.optimize.compact(**options)
