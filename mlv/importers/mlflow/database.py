"""The database of MLflow: `mlflow.db`, of SQLite, read by the names of its columns, since versions differ."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from mlv.importers.databases import columns_of, opened, tables_of
from mlv.importers.listing import SourceListing, size_of
from mlv.importers.mlflow.run import NAME, MetricPoint, MlflowRun, artifacts_of, in_order
from mlv.importers.reading import UNREADABLE, SourceReading, Unit, unreadable

_TABLES = {"experiments", "runs", "metrics", "params", "tags"}
_GREATEST = 1.7976931348623157e308
"""MLflow stores an infinity as the greatest number, and NaN as 0 with a mark."""


def units(listing: SourceListing) -> Iterator[Unit]:
    """Yield the runs of all databases below a folder."""
    for path in list(listing.files()):
        if path.suffix.lower() in (".db", ".sqlite", ".sqlite3") and tables_of(path) >= _TABLES:
            listing.take([path, *(path.with_name(path.name + ending) for ending in ("-wal", "-shm", "-journal"))])
            try:
                runs = in_order(_runs(path))
            except UNREADABLE as error:
                yield unreadable(NAME, path, size_of([path]), error)
                continue
            for run in runs:
                yield run.unit(path, size_of([path]) // max(1, len(runs)))


def _runs(path: Path) -> list[MlflowRun]:
    with opened(path) as connection:
        experiments = {row["experiment_id"]: dict(row) for row in connection.execute("select * from experiments")}
        params, tags = (_by_run(connection, table) for table in ("params", "tags"))
        runs = []
        for row in map(dict, connection.execute("select * from runs")):
            identity, experiment = row["run_uuid"], experiments.get(row["experiment_id"], {})
            uri = row.get("artifact_uri") or ""
            beside = path.parent / "mlruns" / str(row["experiment_id"]) / identity / "artifacts"
            runs.append(
                MlflowRun(
                    identity,
                    str(experiment.get("name") or row["experiment_id"]),
                    row.get("name") or "",
                    row.get("status") or "RUNNING",
                    row.get("start_time") or 0,
                    row.get("end_time"),
                    "deleted" in (row.get("lifecycle_stage"), experiment.get("lifecycle_stage")),
                    params.get(identity, {}),
                    tags.get(identity, {}),
                    artifacts_of(identity, uri, beside, path.parent),
                    uri,
                    partial(_points, path, identity),
                    _inputs(connection, identity),
                )
            )
        return runs


def _by_run(connection: sqlite3.Connection, table: str) -> dict[str, dict[str, str]]:
    values: dict[str, dict[str, str]] = {}
    for row in connection.execute(f'select run_uuid, key, value from "{table}" order by run_uuid, key'):  # noqa: S608 - ours
        values.setdefault(row["run_uuid"], {})[row["key"]] = str(row["value"])
    return values


def _points(path: Path, run: str, reading: SourceReading) -> Iterator[MetricPoint]:
    with opened(path) as connection:
        columns = columns_of(connection, "metrics")
        step, is_nan = ("step" if "step" in columns else "0"), ("is_nan" if "is_nan" in columns else "0")
        query = f"select timestamp, {step}, key, value, {is_nan} from metrics where run_uuid = ? order by 1, 2, 3, 4"  # noqa: S608
        for time_ms, step_, name, value, is_nan_ in connection.execute(query, (run,)):
            number = math.nan if is_nan_ else value
            if not is_nan_ and abs(value) >= _GREATEST:
                number = math.copysign(math.inf, value)
            yield MetricPoint(int(time_ms), int(step_), name, number)
    reading.advance(size_of([path]) // 100)


def _inputs(connection: sqlite3.Connection, run: str) -> list[Mapping[str, Any]]:
    wanted = {"source_type", "source_id", "destination_id"}
    if not wanted <= columns_of(connection, "inputs") or "dataset_uuid" not in columns_of(connection, "datasets"):
        return []
    rows = connection.execute(
        "select d.* from inputs i join datasets d on i.source_id = d.dataset_uuid "
        "where i.source_type = 'DATASET' and i.destination_id = ? order by d.dataset_uuid",
        (run,),
    )
    kept = ("name", "digest", "dataset_source_type", "dataset_source", "dataset_schema", "dataset_profile")
    return [{key: row[key] for key in row.keys() if key in kept and row[key] is not None} for row in rows]  # noqa: SIM118
