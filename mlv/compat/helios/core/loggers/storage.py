"""The files of loggers of helios 2, below one `log_root`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlv.compat.helios.core.runs import HeliosRun, begin, get_default_log_name, global_rank, go_on

BOARDS = "tensorboard"
"""Folder of a `log_root` that holds the folders of runs."""


def run_in(
    name: str, log_root: Path, log_file: Path | None, run_path: Path | None, *, log: bool, board: bool
) -> HeliosRun | None:
    """Return the run of a file and a folder; one that is missing, where `log` or `board` asks for it, gets a new name.

    None where neither is asked for.
    """
    if not log and not board:
        return None
    rank, runs_root = global_rank(), log_root / BOARDS
    named = get_default_log_name(name)
    if log_file is None and run_path is None:
        return begin(
            named,
            lambda free: log_root / f"{free}.log" if log else None,
            lambda free: runs_root / free if board else None,
            rank,
        )
    return go_on(
        (log_file or log_root / f"{named}.log") if log else None, (run_path or runs_root / named) if board else None, rank
    )


def path_in(state: Any, key: str) -> Path | None:
    """Return a path from a state, which may hold it as a text."""
    path = state.get(key)
    return Path(path) if path is not None else None
