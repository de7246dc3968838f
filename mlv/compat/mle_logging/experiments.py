"""The experiments behind the log files of a folder, `.mlv-experiments/<seed>` in it, and the latest of each seed."""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlv
from mlv.compat.mle_logging.records import META, changes
from mlv.compat.mle_logging.seed_file import SeedFile
from mlv.compat.room import room_in
from mlv.projections import replay

TAG = "mle_logging"

live: weakref.WeakSet[Any] = weakref.WeakSet()
"""The loggers of this process, as long as they are used; functions that load files let them flush first."""


@dataclass
class Restored:
    """The columns that the log of an experiment adds up to."""

    stats: dict[str, list[Any]] = field(default_factory=dict)
    time: dict[str, list[Any]] = field(default_factory=dict)
    meta: dict[str, list[Any]] = field(default_factory=dict)
    models: int = 0
    """How many models were saved."""


def restored(exp: mlv.Exp) -> Restored:
    """Read the columns from the log, independent of the files made of it."""
    result = Restored()
    for event in exp.events(("metrics", "event")):
        result.models += event.name == META and "model_ckpt" in event.data
        for group, key, value, slot, is_whole in changes(event):
            columns = getattr(result, group)
            values = columns.setdefault(key, [])
            if is_whole:
                columns[key] = list(value)
            elif slot is None:
                values.append(value)
            else:
                values.extend([None] * (slot + 1 - len(values)))
                values[slot] = value
    return result


def latest(folder: Path) -> dict[str, Path]:
    """Return the latest experiment of each seed in a folder."""
    experiments = sorted((meta["created"], meta["tags"][1], path) for path, meta in _metas(room_in(folder)))
    return {seed_id: path for _, seed_id, path in experiments}


def _metas(room: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    for path in sorted(room.glob("*/meta.json")):
        with suppress(OSError, ValueError, AttributeError, TypeError):
            meta = json.loads(path.read_bytes())
            if (meta.get("tags") or [None])[0] == TAG and "created" in meta:
                yield path.parent, meta


def bring_up_to_date(experiment_dir: str) -> None:
    """Bring the log files of a folder up to date, for loggers of this process and for those that were killed."""
    folder = Path(os.path.abspath(experiment_dir))
    for logger in list(live):
        if logger.folder == folder:
            logger.flush()
    for seed_id, path in latest(folder).items():
        if (folder / "logs" / f"log_{seed_id}.hdf5").exists():  # else it was merged, and taken away
            with suppress(mlv.MlvError, OSError):  # somebody keeps it, or nobody may write here: it is read as it is
                replay(mlv.Exp.open(path), SeedFile(seed_id=seed_id, path=folder / "logs"))
