"""The file store of MLflow: `mlruns/<experiment>/<run>/`, a file for each metric, param and tag."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from mlv.importers import yaml_files
from mlv.importers.listing import SourceListing, size_of
from mlv.importers.mlflow.run import MetricPoint, MlflowRun, artifacts_of, in_order
from mlv.importers.reading import SourceReading, Unit

_META = "meta.yaml"
_STATUSES = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}
_MOST_OPEN = 128
"""Files of metrics that are read side by side; those of a run with more are read into memory."""


def units(listing: SourceListing) -> Iterator[Unit]:
    """Yield the runs of all stores below a folder."""
    experiments: dict[Path, dict[str, Any]] = {}
    models = _Models()
    runs: list[tuple[MlflowRun, Path]] = []
    for folder, names in list(listing.folders.items()):
        if _META not in names:
            continue
        reading = SourceReading(root=listing.root)
        meta = yaml_files.mapping_of(folder / _META, reading)
        if "run_id" in meta or "run_uuid" in meta:
            experiment = experiments.get(folder.parent) or yaml_files.mapping_of(
                folder.parent / _META, SourceReading(root=listing.root)
            )
            listing.take(listing.below(folder))
            runs.append((_run(folder, meta, experiment, models, listing), folder))
        elif "experiment_id" in meta and "artifact_location" in meta:
            experiments[folder] = meta
            listing.take(path for path in listing.below(folder) if path.relative_to(folder).parts[0] in _OWN)
        elif reading.left and (folder / "metrics").is_dir() and (folder / "params").is_dir():
            listing.take(listing.below(folder))
            runs.append((_run(folder, {}, experiments.get(folder.parent, {}), models, listing), folder))
    folders = {run.id: folder for run, folder in runs}
    for run in in_order([run for run, _ in runs]):
        yield run.unit(folders[run.id], size_of((folders[run.id] / "metrics").rglob("*")))


_OWN = (_META, "datasets", "models", "tags")
"""Files and folders of an experiment beside its runs."""


def _run(
    folder: Path, meta: Mapping[str, Any], experiment: Mapping[str, Any], models: _Models, listing: SourceListing
) -> MlflowRun:
    identity = str(meta.get("run_id") or meta.get("run_uuid") or folder.name)
    status = meta.get("status", 1)
    uri, beside = str(meta.get("artifact_uri") or ""), folder / "artifacts"
    return MlflowRun(
        identity,
        str(experiment.get("name") or folder.parent.name),
        str(meta.get("run_name") or ""),
        _STATUSES.get(status, str(status)) if isinstance(status, int) else str(status),
        _integer(meta.get("start_time")) or 0,
        _integer(meta.get("end_time")),
        meta.get("lifecycle_stage") == "deleted" or experiment.get("lifecycle_stage") == "deleted",
        _texts(folder / "params", listing),
        _texts(folder / "tags", listing),
        beside if beside.is_dir() else artifacts_of(identity, uri, beside, folder),
        uri,
        partial(_points, folder / "metrics"),
        _inputs(folder),
        models.of(folder.parent / "models", identity),
    )


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _texts(folder: Path, listing: SourceListing) -> dict[str, str]:
    """Return the content of each file by its name, which may have slashes."""
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8", errors="backslashreplace").removesuffix("\n")
        for path in sorted(listing.below(folder))
    }


def _points(folder: Path, reading: SourceReading) -> Iterator[MetricPoint]:
    paths = [path for path in sorted(folder.rglob("*")) if reading.takes_file(path, folder)]
    if len(paths) > _MOST_OPEN:
        yield from sorted(point for path in paths for point in _points_of(path, folder, reading))
        return
    with ExitStack() as stack:
        series = [_points_of(path, folder, reading) for path in paths]
        for one in series:
            stack.callback(one.close)
        yield from heapq.merge(*series)


def _points_of(path: Path, folder: Path, reading: SourceReading) -> Any:
    """Yield the points of a file: `milliseconds value step` on each line, in later versions with a data set behind."""
    name = path.relative_to(folder).as_posix()
    with open(path, "rb") as file:
        for line in file:
            reading.advance(len(line))
            words = line.split()
            try:
                point = MetricPoint(int(words[0]), int(words[2]) if len(words) > 2 else 0, name, float(words[1]))
            except (ValueError, IndexError):
                if line.endswith(b"\n"):
                    reading.leave("lines of metrics that are none")
                else:
                    reading.takes_open_line(is_torn=True)
                continue
            # Of `ms value` older versions wrote no step: a line without an end may lack one.
            if line.endswith(b"\n") or reading.takes_open_line(is_torn=len(words) < 3):
                yield point


def _inputs(folder: Path) -> list[Mapping[str, Any]]:
    inputs: list[Mapping[str, Any]] = []
    for path in sorted((folder / "inputs").glob(f"*/{_META}")):
        meta = yaml_files.mapping_of(path, SourceReading())
        data = yaml_files.mapping_of(folder.parent / "datasets" / str(meta.get("source_id")) / _META, SourceReading())
        inputs.append({**data, **({"tags": meta["tags"]} if meta.get("tags") else {})})
    return inputs


class _Models:
    """The models beside the runs of experiments, which are read once for all of these."""

    def __init__(self) -> None:
        self._by_folder: dict[Path, dict[str, list[tuple[str, Path]]]] = {}

    def of(self, folder: Path, run: str) -> list[tuple[str, Path]]:
        """Return name and folder of the models that a run logged."""
        if folder not in self._by_folder:
            self._by_folder[folder] = self._read(folder)
        return self._by_folder[folder].get(run, [])

    @staticmethod
    def _read(folder: Path) -> dict[str, list[tuple[str, Path]]]:
        by_run: dict[str, list[tuple[str, Path]]] = {}
        for path in sorted(folder.glob(f"*/{_META}")):
            meta = yaml_files.mapping_of(path, SourceReading())
            if (path.parent / "artifacts").is_dir():
                model = (f"{meta.get('name') or 'model'}/{path.parent.name}", path.parent / "artifacts")
                by_run.setdefault(str(meta.get("source_run_id")), []).append(model)
        return by_run
