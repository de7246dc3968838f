"""Origins: the folder in which a run began, and the recognition of its copies."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlv.digests import sha256
from mlv.state import State
from mlv.store.mirrors import is_mirrored
from mlv.store.owners import is_of_this_machine


def origin(folder: Path) -> dict[str, Any] | None:
    """Return number and SHA-256 of the path of a folder, by which a copy is recognised; None if it is gone."""
    try:
        return {"inode": os.stat(folder).st_ino, "path_sha256": _digest(folder)}
    except OSError:
        return None


def is_copy(folder: Path, recorded: Mapping[str, Any] | None, process: Mapping[str, Any] | None) -> bool:
    """Return whether a folder provably is not the one that a run of this machine began in.

    One that was renamed has its number still, and one whose file system numbers its folders anew its path. A mirror follows
    the folder that it is one of, so that a run goes on in it as well.
    """
    if not recorded or not process or not is_of_this_machine(process):
        return False
    current = origin(folder)
    if current is None or not all(recorded.get(name) not in (None, value) for name, value in current.items()):
        return False
    return not is_mirrored(folder)


def with_copies(state: State, folder: Path) -> State:
    """Return the state with runs marked that went on elsewhere when the folder was copied."""
    runs = state.runs.values()
    copied = [run for run in runs if run.verdict is None and is_copy(folder, run.folder, run.process)]
    return state.replace(runs={**state.runs, **{run.id: run.replace(is_copied=True) for run in copied}}) if copied else state


def _digest(folder: Path) -> str:
    return sha256(os.fsencode(os.path.realpath(folder))).hexdigest()
