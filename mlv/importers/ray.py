"""Results of Ray Tune and Train: a folder for each trial, with `params.json` and a line of `result.json` for each report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from mlv.experiment.importing.source import Item, RunBegins, SourceEvent, SourceExperiment, SourceFile
from mlv.importers import jsonl, tables
from mlv.importers.endings import end_of
from mlv.importers.listing import SourceListing, size_of
from mlv.importers.reading import Opened, SourceReading, Unit
from mlv.importers.values import moment

NAME = "ray"
_RESULTS, _PARAMS, _ERROR = "result.json", "params.json", "error.txt"
_RUN = "trial"
_ITERATION = "training_iteration"
_OF_TRIALS = (_RESULTS, _PARAMS, _ERROR, "params.pkl", "error.pkl", "progress.csv")
_OF_SWEEPS = ("experiment_state-", "basic-variant-state-", "searcher-state-", ".validate_storage_marker")
"""Beginnings of the names of files beside trials."""
_OF_RAY = {
    "config", "date", "timestamp", "done", "hostname", "node_ip", "pid", "trial_id", "experiment_tag", "experiment_id",
    "training_iteration", "iterations_since_restore", "time_since_restore", "time_this_iter_s", "timesteps_total",
    "should_checkpoint", "checkpoint_dir_name",
}  # fmt: skip
"""Fields of a result that Ray adds, and that are no metrics, or told by times and steps."""


def units(listing: SourceListing) -> Iterator[Unit]:
    """Yield the sweeps, each before its trials."""
    sweeps: set[Path] = set()
    for folder, names in list(listing.folders.items()):
        if _RESULTS not in names or not (_PARAMS in names or _is_of_ray(folder / _RESULTS)):
            continue
        listing.take(path for path in listing.below(folder) if _is_of_trial(path, folder))
        sweep = folder.parent
        if sweep not in sweeps:
            sweeps.add(sweep)
            listing.take(path for path in listing.files() if path.parent == sweep and _is_of_sweep(path))
            yield Unit(NAME, sweep, 0, _Sweep(sweep).open, key=str(sweep))
        yield Unit(NAME, folder, size_of([folder / _RESULTS]), _Trial(folder).open, key=str(folder), parent=str(sweep))


def _is_of_ray(path: Path) -> bool:
    """Return whether the first line of a file is a result as Ray writes it."""
    try:
        return _ITERATION in next(iter(jsonl.rows(path, SourceReading())), {})
    except OSError:
        return False


def _is_of_sweep(path: Path) -> bool:
    return path.name.startswith(_OF_SWEEPS) or path.suffix == ".pkl"


def _is_of_trial(path: Path, folder: Path) -> bool:
    """Return whether a file is one that Ray writes: its event files and tables have the same numbers as its results."""
    if path.relative_to(folder).parts[0].startswith("checkpoint_"):
        return True
    return path.parent == folder and (path.name in _OF_TRIALS or path.name.startswith("events.out.tfevents"))


class _Sweep:
    """The folder around trials."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, _: SourceReading) -> Opened:
        """Return the experiment, in which nothing happens but its trials."""
        name = self._folder.resolve().name
        created = datetime.fromtimestamp(self._folder.stat().st_mtime, timezone.utc)
        identity = {"format": NAME, "experiment": name}
        experiment = SourceExperiment(name, created, identity, kind="sweep", tags=["imported", NAME])
        return Opened(experiment, lambda created: iter(()))


class _Trial:
    """The folder of a trial."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, reading: SourceReading) -> Opened:
        """Return the experiment, and its items."""
        first = next(iter(jsonl.rows(self._folder / _RESULTS, SourceReading(reading.options))), {})
        try:
            params = json.loads((self._folder / _PARAMS).read_bytes())
        except FileNotFoundError:
            reading.leave(f"{_PARAMS} that is gone")
            params = first.get("config", {})
        except (ValueError, RecursionError):
            reading.leave(f"{_PARAMS} that is no JSON")
            params = {}
        begun, elapsed = first.get("timestamp"), first.get("time_total_s") or 0
        is_timed = isinstance(begun, (int, float)) and isinstance(elapsed, (int, float))
        oldest = self._folder / (_PARAMS if (self._folder / _PARAMS).exists() else _RESULTS)
        created = (moment(begun - elapsed) if is_timed else None) or tables.modified(oldest)  # type: ignore[operator]
        machine = {"host": first["hostname"]} if isinstance(first.get("hostname"), str) else None
        experiment = SourceExperiment(
            self._folder.name,
            created,
            {"format": NAME, "experiment": self._folder.resolve().parent.name, "trial": self._folder.name},
            params if isinstance(params, dict) else {"value": params},
            kind="trial",
            tags=["imported", NAME],
            captured={"machine": machine} if machine else {},
        )
        return Opened(experiment, lambda created: self._items(created, reading))

    def _items(self, created: datetime, reading: SourceReading) -> Iterator[Item]:
        latest, count, is_done = created, 0, False
        yield RunBegins(_RUN, created)
        for row in jsonl.rows(self._folder / _RESULTS, reading):
            stamp = row.get("timestamp")
            time = (moment(stamp) if isinstance(stamp, (int, float)) else None) or latest
            latest, count, is_done = max(latest, time), count + 1, bool(row.get("done"))
            step = row.get(_ITERATION)
            metrics = {name: value for name, value in row.items() if name not in _OF_RAY}
            if metrics:
                yield SourceEvent(_RUN, time, "metrics", metrics, "", step if isinstance(step, int) else None)
        exception = self._exception(reading)
        status = "failed" if exception else "ok" if is_done else None
        yield from end_of(
            _RUN,
            latest,
            status,
            lambda run: self._files(run, latest, reading),
            reading,
            length=f"{count} results",
            exception=exception,
        )

    def _exception(self, reading: SourceReading) -> dict[str, str] | None:
        path = self._folder / _ERROR
        if not reading.takes_file(path, self._folder):
            return None
        text = path.read_text(encoding="utf-8", errors="backslashreplace")
        kind, _, message = text.strip().rpartition("\n")[2].partition(": ")
        return {"type": kind or "Exception", "message": message, "traceback": text}

    def _files(self, run: str, time: datetime, reading: SourceReading) -> Iterator[SourceEvent]:
        for path in sorted(self._folder.glob("checkpoint_*/**/*")):
            if reading.takes_file(path, self._folder):
                name = f"checkpoints/{path.relative_to(self._folder).as_posix()}"
                yield SourceEvent(run, time, "file", SourceFile(path, path.suffix, is_linked=True), name)
