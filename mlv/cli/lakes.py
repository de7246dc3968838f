"""Lists of experiments from a lake: the rows of `mlv ls`, and the notice that tells how old they are."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mlv import words
from mlv.cli.row import METRICS_SHOWN, Row
from mlv.cli.screen import say
from mlv.cli.urls import url_of
from mlv.encoding import parse_time
from mlv.query.digest import Depth
from mlv.settings import LAKE
from mlv.store import layout

if TYPE_CHECKING:
    from mlv.lake.lake import Lake
    from mlv.lake.listing import LakeListing
    from mlv.lake.reading import LakeReader
    from mlv.lake.root import LakeRoot

R = TypeVar("R", bound="LakeRoot")


def opened(root: Path, lake: str | None, fresh: bool) -> LakeReader | None:
    """Return the reader of the lake that a root is read from, and say how old it is; None where the logs are read.

    Raises:
        InvalidArgument, LakeError, BucketError, MissingExtra: As `mlv.lake.root.opened`.
    """
    if is_without(root, lake, fresh):
        return None
    from mlv.lake.reading import LakeReader  # most lists know no lake, and need none of its packages

    gc.disable()  # rows are many and no garbage, and the process ends soon
    return _told(LakeReader, root, lake, fresh)


def listing(root: Path, lake: str | None, fresh: bool) -> LakeListing | None:
    """Return the list of the lake that a page is read from, and say how old it is; None where the logs are read.

    Raises:
        InvalidArgument, LakeError, BucketError, MissingExtra: As `mlv.lake.root.opened`.
    """
    if is_without(root, lake, fresh):
        return None
    from mlv.lake.listing import LakeListing  # as above

    return _told(LakeListing, root, lake, fresh)


def is_without(root: Path, lake: str | None, fresh: bool) -> bool:
    """Return whether there can be no lake."""
    return lake is None and (fresh or (url_of(root) is None and LAKE.look_up().source == "default"))


def _told(reader: Callable[[Lake, str | os.PathLike[str]], R], root: Path, lake: str | None, fresh: bool) -> R | None:
    from mlv.lake.root import opened  # only where there may be a lake

    made = opened(reader, url_of(root) or root, lake, fresh=fresh)
    if made is not None:
        say(f"as of {words.duration(made.age_s)} ago, from the lake {made.lake.url}: --fresh reads the logs")
    return made


def rows(reader: LakeReader, root: Path, *, is_whole: bool = False) -> Iterator[Row]:
    """Yield the row of each experiment of a lake, parents before their sub-experiments; the paths begin with the root."""
    shown = {} if is_whole else reader.shown(METRICS_SHOWN)
    top = os.fspath(root)
    begin = "" if top == "." else os.path.join(top, "")
    for path, record in reader.listed.items():
        metrics = shown.get(record["id"], [])
        whole: dict[str, Any] = {}
        if is_whole and (digest := reader.digest(reader.folder / path, Depth.METRICS)) is not None:
            values = {name: summary.value for name, summary in digest.metrics.items() if summary.has_value}
            metrics = [(name, value, None) for name, value in list(values.items())[:METRICS_SHOWN]]
            whole = {"tags": list(digest.tags), "metrics": values, "damaged": []}
        yield _row(record, begin + path.replace("/", os.sep) if path else top, metrics, reader.as_of, whole)


def _row(
    record: Mapping[str, Any], path: str, metrics: list[tuple[str, Any, str | None]], as_of: datetime, whole: Mapping[str, Any]
) -> Row:
    created, started = record["created_utc"], record["started_utc"]
    duration_s = record["duration_s"]
    if started is not None and record["status"] == "running":  # whether it went on longer the lake cannot tell
        duration_s = max(duration_s or 0.0, (as_of - parse_time(started)).total_seconds())
    texts = [[name, words.number(value, form)] for name, value, form in metrics]
    return Row(
        path, layout.name_of(path), record["made_as"], record["id"], record["kind"], created, record["parent"],
        record["archived"], record["status"], started or created, duration_s, None, texts, **whole,
    )  # fmt: skip
