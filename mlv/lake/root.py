"""The experiments of a lake at and below a root: where they are, how their logs come here, and the views of their lines."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from mlv.bucket.mirror import Mirror, tell
from mlv.bucket.urls import checked_url, is_url, refuse_missing_folder
from mlv.errors import (
    BucketError,
    BucketMissing,
    InvalidArgument,
    LakeError,
    LakeMissing,
    MissingExtra,
    MlvWarning,
    NotAnExperiment,
)
from mlv.lake.digest import Record, run_views
from mlv.lake.lake import RAW, Lake, reading
from mlv.lake.views import SUPERSEDED
from mlv.notices import warn
from mlv.optional import package
from mlv.query.metrics.schema import from_json_text
from mlv.query.runs import RunView
from mlv.query.sql.arrow import text as text_of
from mlv.query.sql.engine import Stored
from mlv.settings import LAKE
from mlv.store import layout
from mlv.store.paths import bucket_url

_RUN = (
    "exp", "run", "status", "started", "ended", "duration_s", "paused", "parent_run", "exception", "message", "host",
    "params",
)  # fmt: skip
_METRICS, _FILES, _REWINDS = "metrics", "files", "rewinds"
_WHOLE_FROM = 32
"""So many experiments are brought by one listing of all."""


class LakeRoot:
    """A root that a lake was built from, or a folder in it."""

    def __init__(self, lake: Lake, root: str | os.PathLike[str]) -> None:
        """Look for the root in the lake.

        Raises:
            LakeError: No build has ended, or the lake was built from another source.
        """
        self.lake = lake
        look = lake.look
        if look is None or not look.source:
            raise no_build(lake.url)
        self.url = bucket_url(str(root))
        self.folder = layout.absolute(root) if self.url is None else Mirror(self.url).folder
        """The folder that the experiments are below, whether they are on this machine or not."""
        self.as_of = look.moment
        """The moment from before which all lines are in the lake."""
        subpath = _below(root, self.url, look.source)
        if subpath is None:
            raise LakeError(
                f"the lake {lake.url} was built from {look.source}, and {str(root)!r} is not there: give a lake of this root, "
                f"or fresh=True",
                url=lake.url,
            )
        self.subpath = subpath
        """The path from the source of the lake to the root; empty where they are the same."""

    @property
    def age_s(self) -> float:
        """Seconds since the moment of the lake."""
        return max(0.0, (datetime.now(timezone.utc) - self.as_of).total_seconds())

    def fetch(self, folders: Sequence[Path]) -> None:
        """Bring the logs of experiments of a bucket to this machine.

        Raises:
            BucketError, ExperimentBusy, FileUnusable: As `mlv.bucket.mirror.Mirror.refresh`.
        """
        if self.url is not None:
            paths = [""] if len(folders) > _WHOLE_FROM else [folder.relative_to(self.folder).as_posix() for folder in folders]
            for path in paths:
                self.fetch_path(path)

    def fetch_path(self, path: str) -> None:
        """Bring the logs at and below a path of a bucket to this machine; those that were removed since are passed over.

        Raises:
            BucketError, ExperimentBusy, FileUnusable: As `mlv.bucket.mirror.Mirror.refresh`.
        """
        base, mark, options = (self.url or "").partition("?")
        url = base if path in ("", ".") else f"{base.rstrip('/')}/{quote(path)}"
        try:
            tell(Mirror(f"{url}{mark}{options}").refresh().notices)
        except NotAnExperiment:  # who reads the log says so, and has the others
            return
        except BucketMissing:
            if not base.startswith("file:"):
                raise
            refuse_missing_folder(base)

    def metrics_view(self, chosen: Any) -> Stored:
        """Return the view `metrics` of experiments, of which a table of Arrow has the columns `exp` and `exp_name`."""
        metrics, rewinds = self.lake.files(_METRICS), self.lake.files(_REWINDS)
        # Most trees have none, and to look for them takes longer than all else.
        surviving = f"where not {SUPERSEDED.format(rewinds=f'({self.lake.scan_of(_REWINDS, rewinds)})')}" if rewinds else ""
        select = f"""
            select m.exp, c.exp_name, m.stream, m.run, m.seq, m.time, m.step, m.name,
                if(isnan(m.value), null, m.value) as value, {_PLAIN_TEXT} as text, m.at
            from ({self.lake.scan_of(_METRICS, metrics)}) m join beside.chosen c on m.exp = c.exp {surviving}"""  # noqa: S608
        functions = {"_plain_text": _plain_text}
        return Stored(select, [*metrics, *rewinds], {"chosen": chosen}, functions, partial(reading, self.lake))

    def files_view(self, chosen: Any) -> Stored:
        """Return the view `files` of experiments, as `metrics_view`."""
        files = self.lake.files(_FILES)
        select = f"""
            select m.exp, c.exp_name, m.* exclude (exp, month)
            from ({self.lake.scan_of(_FILES, files)}) m join beside.chosen c on m.exp = c.exp"""  # noqa: S608
        return Stored(select, files, {"chosen": chosen}, reading=partial(reading, self.lake))

    def runs(self) -> dict[str, tuple[RunView, ...]]:
        """Return the runs of each experiment, those of children below them."""
        rows = self.columns(f"select {', '.join(_RUN)} from {RAW}.runs", "runs")  # noqa: S608 - of our own names
        by_exp: dict[str, list[Record]] = {}
        for cells in zip(*rows.values(), strict=True):
            by_exp.setdefault(cells[0], []).append(dict(zip(_RUN, cells, strict=True)))
        return {exp: run_views(records) for exp, records in by_exp.items()}

    def columns(self, query: str, table: str) -> dict[str, list[Any]]:
        """Return the columns that a query over one table gives.

        Raises:
            LakeError: The table cannot be read.
        """
        with reading(self.lake), self.lake.connected(table) as connection:
            arrow = connection.sql(query).to_arrow_table()
        return {name: values_of(arrow[name]) for name in arrow.column_names}


_PLAIN_TEXT = """case when isnan(m.value) then 'nan' when regexp_full_match(m.text, '"[^"\\\\]*"') then m.text[2:-2]
    else _plain_text(m.text) end"""
"""The text of a value as the view of the logs has it: a text as it was logged, any other value as JSON."""


def _plain_text(text: str) -> str:
    return text_of(from_json_text(text))


def values_of(column: Any) -> list[Any]:
    """Return the values of a column of Arrow, moments in UTC as everywhere else."""
    pa = package("pyarrow")
    if not pa.types.is_timestamp(column.type):
        return column.to_pylist()  # type: ignore[no-any-return]
    moments = column.cast(pa.timestamp("us", "UTC")).to_numpy().astype("datetime64[us]").tolist()
    return [None if moment is None else moment.replace(tzinfo=timezone.utc) for moment in moments]


def no_build(url: str) -> LakeMissing:
    """Return the error of a lake of which no build has ended."""
    return LakeMissing(f"no build of the lake {url} has ended: `mlv lake build SRC {url}` ends one", url=url)


def _below(root: str | os.PathLike[str], url: str | None, source: str) -> str | None:
    """Return the path of a root from the source of a lake; None where it is not at or below it."""
    if (url is None) == is_url(source):
        return None
    if url is None:
        top, path = source, os.path.realpath(root)
    else:
        top, path = (unquote(checked_url(each)[0]).rstrip("/") for each in (source, url))
    if path == top:
        return ""
    begin = os.path.join(top, "")
    return path[len(begin) :].replace(os.sep, "/") if path.startswith(begin) else None


R = TypeVar("R", bound=LakeRoot)


def opened(
    reader: Callable[[Lake, str | os.PathLike[str]], R],
    root: str | os.PathLike[str],
    lake: str | os.PathLike[str] | None = None,
    *,
    fresh: bool = False,
) -> R | None:
    """Return a reader of the lake that a root is read from; None where its logs are read.

    That is the lake of the argument; else that of the settings; else the one of a bucket, at `.mlv/lake` below its root. Where
    one of these two cannot be used, a warning says why, and the next is read, or the logs.

    Raises:
        InvalidArgument: A lake is named, and the logs are asked for.
        LakeError, BucketError, MissingExtra: The lake of the argument cannot be used.
    """
    if lake is not None:
        if fresh:
            raise InvalidArgument("lake= and fresh=True together: give one of them", lake=lake)
        return reader(Lake(lake), root)
    if fresh:
        return None
    problem: Exception | None = None
    for find in (_of_the_settings, _beside):
        try:
            if (usable := find(root)) is None:
                continue
            made = reader(usable, root)
        except (LakeError, BucketError, InvalidArgument, MissingExtra) as error:
            problem = problem or error
            continue
        if problem is not None:
            warn(f"the bucket's own lake is read, and not that of MLV_LAKE: {problem}", MlvWarning)
        return made
    if problem is not None:
        warn(f"the logs are read, and not the lake: {problem}", MlvWarning)
    return None


def _of_the_settings(_: str | os.PathLike[str]) -> Lake | None:
    """Return the lake of `MLV_LAKE`, or of pyproject.toml, if one is set.

    Raises:
        LakeError, BucketError, InvalidArgument, MissingExtra: It cannot be used.
    """
    named = LAKE.get()
    return None if named is None else Lake(named)


def _beside(root: str | os.PathLike[str]) -> Lake | None:
    """Return the lake of a bucket, if it has one.

    Raises:
        LakeError, MissingExtra: It cannot be used.
    """
    url = bucket_url(root if isinstance(root, str) else os.fspath(root))
    if url is None:
        return None
    base, mark, options = url.partition("?")
    try:
        return Lake(f"{base.rstrip('/')}/{layout.HOUSEKEEPING}/lake{mark}{options}")
    except (LakeMissing, BucketError, InvalidArgument):  # `deltalake` keeps no table in a folder of such a name
        return None  # where the bucket cannot be read, the error of who reads the logs says more
