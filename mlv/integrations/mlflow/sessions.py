"""The experiments of mlv that this process has open for MLflow, by their IDs."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlv
from mlv.integrations.mlflow.folders import FolderIdentity

_exps: dict[str, mlv.Exp] = {}
_lock = threading.RLock()

if hasattr(os, "register_at_fork"):

    def _after_fork_in_child() -> None:
        global _lock
        _lock = threading.RLock()

    os.register_at_fork(after_in_child=_after_fork_in_child)


def keep(exp: mlv.Exp) -> mlv.Exp:
    """Keep an experiment open, until `end`."""
    with _lock:
        return _exps.setdefault(exp.id, exp)


def opened(id: str) -> mlv.Exp | None:
    """Return the experiment of an ID, where this process has it open."""
    return _exps.get(id)


def reading(identity: FolderIdentity) -> mlv.Exp:
    """Return an experiment to read."""
    return _exps.get(identity.id) or mlv.Exp.open(identity.path)


@contextmanager
def writing(identity: FolderIdentity) -> Iterator[mlv.Exp]:
    """Yield an experiment to write into. Where its last run has ended, another one begins, and ends with the same status.

    So does MLflow: what is logged after the end of a run does not begin it again.
    """
    with _lock:
        exp = _exps.get(identity.id)
        if exp is None:
            exp = mlv.Exp.open(identity.path, ranks="all")
            status = exp.status
            if status != "running":
                try:
                    yield exp
                finally:
                    exp.close("killed" if status == "lost" else status)
                return
            _exps[identity.id] = exp  # another process goes on with it, and this one takes part
    yield exp


def begin(identity: FolderIdentity) -> mlv.Exp:
    """Open an experiment for another run, which goes on until `end`, or until the process ends."""
    with _lock:
        return _exps.get(identity.id) or keep(mlv.Exp.open(identity.path, ranks="all"))


def end(id: str, status: str) -> None:
    """End the run that this process has going on in an experiment."""
    with _lock:
        exp = _exps.pop(id, None)
    if exp is not None:
        exp.close(status)


def end_below(folder: Path, status: str) -> None:
    """End the runs that this process has going on in a folder."""
    with _lock:
        ids = [exp.id for exp in _exps.values() if folder == exp.path or folder in exp.path.parents]
    for exp_id in ids:
        end(exp_id, status)
