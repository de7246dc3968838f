"""A run of MLflow, wherever it is stored, as an experiment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from mlv.experiment.importing.source import Item, RunBegins, SourceEvent, SourceExperiment, SourceFile
from mlv.importers.csv_files import value_of
from mlv.importers.endings import end_of
from mlv.importers.growing import behind_recorded
from mlv.importers.reading import Opened, SourceReading, Unit
from mlv.importers.values import moment, moment_ms, rows_of_moment

NAME = "mlflow"
STATUSES = {"FINISHED": "ok", "FAILED": "failed", "KILLED": "killed"}
"""Of runs that are over; the others are `RUNNING` and `SCHEDULED`."""
_NOTE, _PARENT, _NAME, _COMMIT = "mlflow.note.content", "mlflow.parentRunId", "mlflow.runName", "mlflow.source.git.commit"
_RUN = "run"
_UNSETTLED_MS = 2000
"""Points of a followed run wait so long: others of their moment may still come."""
_LONGEST_TAG = 200
_ARTIFACTS = "artifacts"


class MetricPoint(NamedTuple):
    """A value of a metric."""

    time_ms: int
    step: int
    name: str
    value: float


@dataclass
class MlflowRun:
    """A run as its store has it."""

    id: str
    experiment: str
    name: str
    status: str
    started_ms: int
    ended_ms: int | None
    is_deleted: bool
    params: dict[str, str]
    tags: dict[str, str]
    artifacts: Path | None
    """Folder of its artifacts, where it is on this machine."""
    artifact_uri: str
    points: Callable[[SourceReading], Iterator[MetricPoint]]
    """Yields the points by time, step and name."""
    inputs: list[Mapping[str, Any]] = field(default_factory=list)
    """Data sets that it used."""
    models: list[tuple[str, Path]] = field(default_factory=list)
    """Name and folder of the models that it logged."""

    @property
    def parent(self) -> str:
        """ID of the run that it is nested in; empty if it is in none."""
        return self.tags.get(_PARENT, "")

    def unit(self, path: Path, size_bytes: int) -> Unit:
        """Return the unit of it."""
        return Unit(NAME, path, size_bytes, self._open, key=self.id, parent=self.parent)

    def _open(self, reading: SourceReading) -> Opened:
        params = self._params(reading)
        source, commit = self.tags.get("mlflow.source.name"), self.tags.get(_COMMIT)
        captured: dict[str, Any] = {}
        if source:
            captured["script"] = {"kind": "script", "path": source}
        if commit:
            captured["git"] = {"commit": commit}
        if self.tags.get("mlflow.user"):
            captured["machine"] = {"user": self.tags["mlflow.user"]}
        experiment = SourceExperiment(
            self.tags.get(_NAME) or self.name or self.id,
            moment_ms(self.started_ms) or moment(0),  # type: ignore[arg-type]
            {"format": NAME, "id": self.id},
            params=params,
            kind="nested" if self.parent else None,
            tags=["imported", NAME],
            captured=captured,
            folders=(self.experiment,),
        )
        return Opened(experiment, lambda created: self._items(params, created, reading), may_gain_params=True)

    def _params(self, reading: SourceReading) -> dict[str, Any]:
        if not reading.options.parse_params:
            return dict(self.params)
        return {name: value_of(text) for name, text in self.params.items()}

    def _items(self, params: Mapping[str, Any], created: datetime, reading: SourceReading) -> Iterator[Item]:
        is_over, latest, count = self.status in STATUSES, created, 0
        yield RunBegins(_RUN, created)
        for row in behind_recorded(self._rows(is_over, created, reading), _RUN, reading, is_timed=True):
            latest, count = max(latest, row.time), count + 1
            yield row
        latest = max(latest, moment_ms(self.ended_ms or 0) or latest)
        length = f"{count} lines, {len(self.params)} params and {len(self.tags)} tags"
        yield from end_of(
            _RUN,
            latest,
            STATUSES.get(self.status),
            lambda run: self._last(run, params, latest, reading),
            reading,
            length=length,
        )

    def _rows(self, is_over: bool, created: datetime, reading: SourceReading) -> Iterator[SourceEvent]:
        time = created
        for (time_ms, step), points in groupby(self._settled(is_over, reading), key=lambda point: point[:2]):
            time = moment_ms(time_ms) or time
            for row in rows_of_moment((point.name, point.value) for point in points):
                yield SourceEvent(_RUN, time, "metrics", row, "", step)

    def _settled(self, is_over: bool, reading: SourceReading) -> Iterator[MetricPoint]:
        waiting: list[MetricPoint] = []
        for point in self.points(reading):
            if is_over or not reading.options.follows:
                yield point
                continue
            waiting.append(point)
            while waiting[0].time_ms < point.time_ms - _UNSETTLED_MS:
                yield waiting.pop(0)

    def _last(self, run: str, params: Mapping[str, Any], time: datetime, reading: SourceReading) -> Iterator[SourceEvent]:
        """Yield what has no time of its own."""
        if added := reading.params_to_add(params):
            yield SourceEvent(run, time, "params", added)
        own = {key: value for key, value in self.tags.items() if not key.startswith("mlflow.")}
        words = [f"{key}={value}" if value else key for key, value in sorted(own.items())]
        if words:
            yield SourceEvent(run, time, "tags", {"tags": [word[:_LONGEST_TAG] for word in words]})
        if self.tags.get(_NOTE):
            yield SourceEvent(run, time, "note", {"text": self.tags[_NOTE]})
        if self.tags:
            yield SourceEvent(run, time, "event", dict(sorted(self.tags.items())), "mlflow/tags")
        for data in self.inputs:
            yield SourceEvent(run, time, "event", data, "mlflow/dataset")
        yield from self._files(run, time, reading)
        if self.is_deleted:
            yield SourceEvent(run, time, "archived", {"archived": True})

    def _files(self, run: str, time: datetime, reading: SourceReading) -> Iterator[SourceEvent]:
        local = _local(self.artifact_uri) if self.artifact_uri else None
        if self.artifacts is None and self.artifact_uri and local is None:
            # There may be none: a store elsewhere does not tell.
            reading.note(
                f"artifacts that lie at {urlsplit(self.artifact_uri).scheme}:, if there are some, are not on this machine"
            )
        elif self.artifacts is None and local is not None and local.is_dir():
            reading.leave("folders of artifacts that do not end in the ID of their run and `artifacts`, as those of MLflow do")
        for prefix, folder in [("artifacts", self.artifacts), *((f"models/{name}", folder) for name, folder in self.models)]:
            for path in sorted(folder.rglob("*")) if folder is not None else ():
                if reading.takes_file(path, folder):  # type: ignore[arg-type]
                    name = f"{prefix}/{path.relative_to(folder).as_posix()}"  # type: ignore[arg-type]
                    # Files of a run that goes on may be written again, in place.
                    file = SourceFile(path, path.suffix, is_linked=self.status in STATUSES)
                    yield SourceEvent(run, time, "file", file, name)


def _local(uri: str) -> Path | None:
    """Return the path of a URI on this machine."""
    parts = urlsplit(uri)
    if parts.scheme in ("", "file") or len(parts.scheme) == 1:
        return Path(unquote(parts.path) if parts.scheme == "file" else uri)
    return None


def artifacts_of(run: str, uri: str, beside: Path, store: Path) -> Path | None:
    """Return the folder of a run's artifacts: the one beside the store, since trees are moved, else the one that its URI names.

    MLflow ends that in the ID of the run and `artifacts`. Another folder, which a store that came from elsewhere may name, is
    none of artifacts.
    """
    named = _local(uri) if uri else None
    candidates = [beside, *([store / named] if named is not None else [])]
    return next((path for path in candidates if path.parts[-2:] == (run, _ARTIFACTS) and path.is_dir()), None)


def in_order(runs: list[MlflowRun]) -> list[MlflowRun]:
    """Return runs by their times, each behind the one that it is nested in."""
    runs = sorted(runs, key=lambda run: (run.started_ms, run.id))
    by_id = {run.id: run for run in runs}
    ordered: dict[str, MlflowRun] = {}

    def add(run: MlflowRun, within: tuple[str, ...]) -> None:
        parent = by_id.get(run.parent)
        if parent is not None and parent.id not in within:
            add(parent, (*within, run.id))
        ordered.setdefault(run.id, run)

    for run in runs:
        add(run, ())
    return list(ordered.values())
