"""Several HDF5 files as one, which is replaced whole."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlv.compat.mle_logging.hdf import opened
from mlv.compat.mle_logging.reading import is_run


def merge_hdf5_files(
    new_filename: str, log_paths: list[str], file_ids: list[str] | None = None, delete_files: bool = False
) -> None:
    """Merge files into one, which is replaced whole; with `file_ids`, each below a group of its own.

    A group that several files have is that of the last of them. `delete_files` removes them once the new one is complete.

    Raises:
        OSError: A file cannot be read, or the new one not be written; all earlier files are still there.
    """
    if file_ids is None:
        write_merged(new_filename, {"": log_paths})
    else:
        write_merged(new_filename, {name: [path] for name, path in zip(file_ids, log_paths, strict=True)})
    if delete_files:
        for path in log_paths:
            if os.path.realpath(path) != os.path.realpath(new_filename):
                os.remove(path)


def write_merged(path: str, sources: Mapping[str, Iterable[str]]) -> None:
    """Write the content of files into one, each below the group of its name; for an empty name, at the top."""
    temporary = f"{path}.tmp"
    try:
        with opened(temporary, "w") as target:
            for name, files in sources.items():
                group = target.require_group(name) if name else target
                for file in files:
                    with opened(file, "r") as source:
                        _copy(source, group, name)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _copy(source: Any, group: Any, config: str) -> None:
    """Copy the runs of a file; from one that was merged from configurations, only the runs of this configuration."""
    for run_id, run in source.items():
        if run_id == config and not is_run(run):
            _copy(run, group, "")
            continue
        if run_id in group:
            del group[run_id]
        source.copy(run, group, run_id)
