"""The check of a lake: its rows are counted and hashed, beside those that other readers make of the logs."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlv.bucket.store import open_store
from mlv.digests import sha256
from mlv.errors import FileUnusable, MlvWarning
from mlv.lake.builder import source_of
from mlv.lake.history import following
from mlv.lake.lake import Lake
from mlv.lake.plans import LogKey, LogPosition, Positions
from mlv.lake.sources import LogSource
from mlv.notices import warn
from mlv.optional import package
from mlv.query.digest import Digest
from mlv.query.metrics import long_table
from mlv.query.rewinds import ALL
from mlv.query.sql import views
from mlv.store import layout
from mlv.store.files import publish
from mlv.store.reading import read_state

SAMPLE = 100
"""Experiments that are checked where not all are."""
_COMPARED = {
    "metrics": ("stream", "run", "seq", "time", "step", "name", "value", "text", "at"),
    "events": ("stream", "run", "seq", "time", "type", "name", "step", "at", "data", "nonfinite"),
    "files": ("stream", "run", "seq", "time", "type", "name", "step", "place", "path", "size", "sha256", "media_type"),
}


@dataclass
class Checked:
    """The outcome of a check."""

    experiments: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    """Number of rows that were compared, by table."""
    differences: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """Paths of experiments that are no longer there; their rows stay."""

    def to_data(self) -> dict[str, Any]:
        """Return a mapping for JSON."""
        return dict(vars(self))


def check(url: str | os.PathLike[str], src: str | os.PathLike[str] | None = None, *, everything: bool = False) -> Checked:
    """Compare the rows of experiments, of a sample or of all, with what the logs say up to where they were taken.

    Args:
        url: Of the lake.
        src: The tree; by default the one that the latest plan was made of.
        everything: Check all experiments.

    Raises:
        LakeMissing, LakeDamaged, LakeTooNew, InvalidArgument, MissingExtra: As `mlv.lake.open` and `mlv.lake.build`.
    """
    lake = Lake(url)
    positions = Positions()
    root = ""
    for plan, gone in following(open_store(lake.url), positions):
        root = plan.source
        if gone is not None:
            positions.add(plan, gone)
    source = source_of(src if src is not None else root or positions.source)
    checked = Checked(rows=dict.fromkeys(_COMPARED, 0))
    exps = sorted(positions.experiments)
    chosen = exps if everything or len(exps) <= SAMPLE else sorted(random.sample(exps, SAMPLE))
    for start in range(0, len(chosen), SAMPLE):
        _check_some(lake, source, positions, chosen[start : start + SAMPLE], checked)
    checked.differences += [f"{exp}: it stands {count} times in experiments" for exp, count in _doubled(lake)]
    return checked


def _check_some(lake: Lake, source: LogSource, positions: Positions, exps: Sequence[str], checked: Checked) -> None:
    tables = {name: _rows_in_lake(lake, name, exps, positions) for name in _COMPARED}
    for exp in exps:
        folders = positions.experiments[exp].folders
        logged: dict[str, list[Any]] = {name: [] for name in _COMPARED}
        copies, missing = [], []
        for path, logs in folders.items():
            if source.meta(path) is None:
                missing.append(path)
                continue
            for copy in {copy for _, copy in logs}:
                own = {key: position for key, position in logs.items() if key[1] == copy}
                copies.append((path, copy))
                with _as_taken(source, path, own) as folder:
                    for name, table in _rows_in_logs(folder, exp).items():
                        logged[name].append(table)
        if len(missing) == len(folders):
            checked.missing += list(folders)
            continue
        if not copies:  # without any line
            checked.experiments += 1
            continue
        checked.experiments += 1
        for name, columns in _COMPARED.items():
            pa, pc = package("pyarrow"), package("pyarrow.compute")
            ours = tables[name].filter(pc.equal(tables[name]["exp"], exp)).select(columns)
            theirs = _distinct(pa.concat_tables(logged[name]).select(columns), len(copies) > 1)
            ours = _of_lines(ours, theirs) if missing else ours  # what a copy alone had that is gone stays
            checked.rows[name] += ours.num_rows
            if ours.num_rows != theirs.num_rows:
                text = f"{ours.num_rows} rows in {name}, and the logs have {theirs.num_rows}"
            elif digest_of(ours) != digest_of(theirs):
                text = f"its {ours.num_rows} rows in {name} are not what the logs say"
            else:
                continue
            checked.differences.append(f"{next(iter(folders))} ({exp[:8]}): {text}")


def _rows_in_lake(lake: Lake, name: str, exps: Sequence[str], positions: Positions) -> Any:
    months = sorted({positions.experiments[exp].month for exp in exps})
    return lake.arrow(name, ["exp", *_COMPARED[name]], [("month", "in", months), ("exp", "in", list(exps))])


@contextmanager
def _as_taken(source: LogSource, path: str, logs: dict[LogKey, LogPosition]) -> Iterator[Path]:
    """Give a folder with the lines of an experiment that were taken, and no later ones."""
    with tempfile.TemporaryDirectory(prefix="mlv-check-") as temporary:
        folder = Path(temporary)
        publish(folder / layout.META, source.meta(path) or b"", 0o644)
        for key, position in logs.items():
            try:
                content = b"".join(source.blocks(path, key, 0, position.end))
            except FileNotFoundError:
                continue
            except FileUnusable as error:  # then its rows are not what the logs say
                warn(f"{path}: {error}", MlvWarning)
                continue
            publish(folder / layout.stream_file(key[0]), content, 0o644)
        yield folder


def _rows_in_logs(folder: Path, exp: str) -> dict[str, Any]:
    """Return the rows of each table by the readers of `mlv export`."""
    pc = package("pyarrow.compute")
    digest = Digest(folder, exp, {}, read_state(folder))
    events = views.events([digest], [])
    return {
        "metrics": long_table.metrics(folder, branches=ALL),
        "events": events.filter(pc.not_equal(events["type"], "metrics")),
        "files": views.files([digest], []),
    }


def _distinct(table: Any, has_copies: bool) -> Any:
    """Return the rows of several copies, each once."""
    return table.group_by(table.column_names).aggregate([]).select(table.column_names) if has_copies else table


def _of_lines(ours: Any, theirs: Any) -> Any:
    """Return the rows of the lake that are of lines in a table of the logs."""
    pa = package("pyarrow")
    kinds = {"stream": pa.string(), "run": pa.string(), "seq": pa.int64()}
    lines = pa.table({name: theirs[name].cast(kind) for name, kind in kinds.items()})
    return ours.join(lines.group_by(list(kinds)).aggregate([]), list(kinds), join_type="left semi").select(ours.column_names)


def digest_of(table: Any) -> str:
    """Return a SHA-256 of rows that does not depend on their order."""
    pc, np, pa = package("pyarrow.compute"), package("numpy"), package("pyarrow")
    names = sorted(table.column_names)
    ordered = table.select(names).sort_by([(name, "ascending") for name in ("run", "seq", "stream", "name")])
    ties = [name for name in ("place", "text", "value") if name in names]
    if ties:
        keys = [(name, "ascending") for name in ("run", "seq", "stream", "name", *ties)]
        ordered = table.select(names).sort_by(keys)
    digest = sha256()
    for name in names:
        column = ordered[name].combine_chunks()
        digest.update(name.encode() + np.asarray(column.is_null()).tobytes())
        if pa.types.is_floating(column.type):
            values = np.nan_to_num(pc.fill_null(column, 0.0).to_numpy(zero_copy_only=False), nan=1.5e300, posinf=1e308)
            digest.update(values.tobytes())
        elif pa.types.is_timestamp(column.type) or pa.types.is_integer(column.type):
            digest.update(pc.fill_null(column.cast(pa.int64()), 0).to_numpy(zero_copy_only=False).tobytes())
        else:
            texts = pc.fill_null(column.cast(pa.string()), "").to_pylist()
            digest.update("\0".join(texts).encode())
    return digest.hexdigest()


def _doubled(lake: Lake) -> list[tuple[str, int]]:
    """Return the experiments that stand more than once in the table of experiments."""
    pc = package("pyarrow.compute")
    counts = pc.value_counts(lake.arrow("experiments", ["id"])["id"])
    return [(each["values"], each["counts"]) for each in counts.to_pylist() if each["counts"] > 1]
