"""Histories of Hugging Face's Trainer: `trainer_state.json`, in its output folder and in every checkpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from mlv.experiment.importing.source import Item, RunBegins, SourceEvent, SourceExperiment
from mlv.importers import tables
from mlv.importers.endings import end_of
from mlv.importers.listing import SourceListing, size_of
from mlv.importers.reading import Opened, SourceReading, Unit

NAME = "transformers"
_STATE = "trainer_state.json"
_RUN = "train"
_PARAMS = ("max_steps", "num_train_epochs", "train_batch_size")
_EVAL = "eval_"
_COORDINATES = ("step", "epoch")


def units(listing: SourceListing) -> Iterator[Unit]:
    """Yield the output folders: the latest history in one holds those of its earlier checkpoints."""
    folders: dict[Path, list[Path]] = {}
    for path in list(listing.files()):
        if path.name == _STATE:
            listing.take([path])
            is_checkpoint = path.parent.name.startswith("checkpoint-") and not listing.is_file
            folders.setdefault(path.parent.parent if is_checkpoint else path.parent, []).append(path)
    for folder, paths in folders.items():
        yield Unit(NAME, folder, size_of(paths), _Output(folder, listing.place(folder), paths).open)


class _Output:
    """The folder of a training."""

    def __init__(self, folder: Path, place: tuple[tuple[str, ...], str], paths: list[Path]) -> None:
        self._folder, self._place, self._paths = folder, place, paths

    def open(self, reading: SourceReading) -> Opened:
        """Return the experiment, and its items."""
        folders, name = self._place
        state = max(filter(None, [_state(path, reading) for path in self._paths]), key=_progress, default=None)
        if state is None:
            raise ValueError(f"no {_STATE} in it can be read")
        created = min(tables.modified(path) for path in self._paths)
        identity = {"format": NAME, "path": str(self._folder.resolve())}
        params = {key: state[key] for key in _PARAMS if state.get(key) is not None}
        experiment = SourceExperiment(name, created, identity, params, tags=["imported", NAME], folders=folders)
        return Opened(experiment, lambda created: _items(state, created, reading))


def _state(path: Path, reading: SourceReading) -> dict[str, Any] | None:
    try:
        state = json.loads(path.read_bytes())
    except (ValueError, RecursionError, FileNotFoundError):
        reading.leave(f"{_STATE} that cannot be read")
        return None
    reading.advance(path.stat().st_size)
    return state if isinstance(state, dict) and isinstance(state.get("log_history"), list) else None


def _progress(state: dict[str, Any]) -> tuple[int, float]:
    step = state.get("global_step")
    return len(state["log_history"]), step if isinstance(step, (int, float)) else 0


def _items(state: dict[str, Any], created: datetime, reading: SourceReading) -> Iterator[Item]:
    reading.note("the history has no times: events have that of the file")
    yield RunBegins(_RUN, created)
    time = created
    for number, row in enumerate(state["log_history"]):
        time = created + timedelta(microseconds=number)
        if not isinstance(row, dict):
            reading.leave("entries of a history that are none")
            continue
        at = {"epoch": row["epoch"]} if isinstance(row.get("epoch"), (int, float)) else {}
        step = row.get("step") if isinstance(row.get("step"), (int, float)) else None
        is_last = "train_runtime" in row
        totals = {key: row[key] for key in row if is_last and (key.startswith("train_") or key == "total_flos")}
        metrics = {_name(key): value for key, value in row.items() if key not in _COORDINATES and key not in totals}
        if metrics:
            yield SourceEvent(_RUN, time, "metrics", metrics, "", step, at)
        if totals:
            yield SourceEvent(_RUN, time, "summary", totals)
    best = {key: state[key] for key in ("best_metric", "best_model_checkpoint") if state.get(key) is not None}
    length = f"{len(state['log_history'])} entries"
    yield from end_of(
        _RUN,
        time,
        None,
        lambda run: [SourceEvent(run, time, "summary", best)] if best else [],
        reading,
        length=length,
        has_ends=False,
    )


def _name(key: str) -> str:
    """Return the name of a metric as `mlv.integrations.transformers` writes it."""
    return f"eval/{key.removeprefix(_EVAL)}" if key.startswith(_EVAL) else key
