"""Merging log files of several seeds or configurations into one file; no log is lost by it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from time import monotonic, sleep

from mlv.compat.mle_logging.experiments import bring_up_to_date
from mlv.compat.mle_logging.hdf import opened
from mlv.compat.mle_logging.merge.merge_hdf5 import merge_hdf5_files, write_merged
from mlv.compat.mle_logging.reading import log_files
from mlv.compat.room import put_away, room_in

WAIT_S = 7 * 86400.0
"""How long `merge_seed_logs` waits for the logs of `num_logs` seeds."""
_POLL_S = 1.0


def merge_seed_logs(merged_path: str, experiment_dir: str, num_logs: int | None = None, delete_files: bool = True) -> None:
    """Merge the log files of all seeds into one, with a group for each.

    With `delete_files`, the files of the seeds are removed once it is complete, if it lies in `logs` itself: elsewhere
    `load_log` would not find it. A merged file in `logs` keeps its other seeds; one elsewhere that holds other seeds
    moves to `.mlv-experiments/.replaced` of its folder.

    Args:
        merged_path: The file, replaced whole.
        experiment_dir: Has the log files in `logs`.
        num_logs: Wait until there are so many seeds.
        delete_files: See above.

    Raises:
        FileNotFoundError: There is nothing to merge.
        TimeoutError: There are fewer seeds than that after seven days.
        OSError: A file cannot be read, or the new one not be written; all earlier files are still there.
    """
    bring_up_to_date(experiment_dir)
    merged = os.path.realpath(merged_path)
    _wait_for(num_logs, experiment_dir, merged)
    paths = [path for path in log_files(experiment_dir) if os.path.realpath(path) != merged]
    is_inside = os.path.dirname(merged) == os.path.realpath(os.path.join(experiment_dir, "logs"))
    held = [merged] if os.path.exists(merged) else []
    if held and not is_inside and _ids_in(held) - _ids_in(paths):
        put_away(Path(merged), room_in(Path(merged).parent))
        held = []
    merge_hdf5_files(merged, [*held, *paths])
    if delete_files and is_inside:
        for path in paths:
            os.remove(path)


def _wait_for(num_logs: int | None, experiment_dir: str, merged: str) -> None:
    deadline = monotonic() + WAIT_S
    while num_logs is not None and (count := len(_run_ids(experiment_dir, merged))) < num_logs:
        if monotonic() > deadline:
            raise TimeoutError(f"{experiment_dir} has logs of {count} seeds, and not of {num_logs}, after {WAIT_S:g} s")
        sleep(_POLL_S)


def _run_ids(experiment_dir: str, merged: str) -> set[str]:
    try:
        return _ids_in({*log_files(experiment_dir), *([merged] if os.path.exists(merged) else [])})
    except FileNotFoundError:
        return set()


def _ids_in(paths: Iterable[str]) -> set[str]:
    ids: set[str] = set()
    for path in paths:
        with opened(path, "r") as file:
            ids.update(file)
    return ids


def merge_config_logs(experiment_dir: str, all_run_ids: list[str]) -> None:
    """Merge the logs of configurations, `<...>/<run_id>/logs`, into `<experiment_dir>/meta_log.hdf5`, with their seeds below.

    Raises:
        AssertionError: One of them has no log.
        OSError: A file cannot be read, or the new one not be written; all earlier files are still there.
    """
    sources: dict[str, list[str]] = {}
    for run_id in all_run_ids:
        folder = _folder_of(experiment_dir, run_id)
        assert folder is not None, f"there is no log of {run_id!r} below {experiment_dir}: no .hdf5 file in a {run_id}/logs"
        bring_up_to_date(folder)
        sources[run_id] = log_files(folder)
    write_merged(os.path.join(experiment_dir, "meta_log.hdf5"), sources)


def _folder_of(experiment_dir: str, run_id: str) -> str | None:
    """Return the folder of a configuration: the first in order that has logs."""
    for folder in sorted(Path(experiment_dir).glob(f"**/{run_id}")):
        if any((folder / "logs").glob("*.hdf5")):
            return str(folder)
    return None
