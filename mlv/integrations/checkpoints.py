"""Checkpoints that a framework wrote: linked into a portfolio of the experiment, never copied."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlv import CheckpointNotSaved, FileRef
from mlv.integrations.connection import Connection

_NO_LINKS = frozenset({errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS})
"""Errors of `link` on another file system, or on one without links."""


def keep_link(
    connection: Connection,
    path: str | os.PathLike[str],
    *,
    step: float | None,
    metrics: Mapping[str, Any],
    policy: Mapping[str, Any],
    folder: str = "models",
) -> None:
    """Have the portfolio know a file or folder that a framework saved, under the policy by which the framework removes them.

    Both names lead to the same bytes: nothing is copied, and what the framework and the portfolio have both let go is gone.
    Where links are impossible, as for a file on another disk or in a store of objects, an event refers to it instead.
    No error ends the framework's run.

    Args:
        connection: To the experiment.
        path: Of the file or folder, complete.
        step: The last step that it has seen.
        metrics: Numbers, among them the one that the policy ranks by.
        policy: The arguments of `Exp.checkpoints`.
        folder: The portfolio.
    """
    exp = connection.exp
    with connection.guard("a checkpoint"):
        source = Path(os.path.realpath(path))
        portfolio = exp.checkpoints(**policy, folder=folder)
        try:
            if not source.exists():
                raise CheckpointNotSaved("no file of this machine", errno=errno.EXDEV)
            suffix = source.suffix if source.is_file() else ""
            portfolio.save(lambda target: _link(source, target), step=step, metrics=metrics, suffix=suffix)
        except CheckpointNotSaved as error:
            if getattr(error, "errno", None) not in _NO_LINKS:
                raise
            file = FileRef(source) if source.exists() else str(path)
            exp.log("checkpoint_saved_elsewhere", {"file": file, "metrics": dict(metrics)}, step=step)


def _link(source: Path, target: Path) -> None:
    """Give a file, or each file of a folder, a second name."""
    if not source.is_dir():
        os.link(source, target)
        return
    for parent, folders, files in os.walk(source):
        below = target / os.path.relpath(parent, source)
        below.mkdir(exist_ok=True)
        folders[:] = [name for name in folders if not (Path(parent) / name).is_symlink()]
        for name in files:
            os.link(os.path.realpath(Path(parent) / name), below / name)


def unshare(folder: str | os.PathLike[str]) -> None:
    """Give the files below a folder bytes of their own, where they share them with a portfolio.

    Called before a framework writes into files that it wrote before: a checkpoint in a portfolio keeps its content.
    """
    for parent, _, files in os.walk(folder):
        for path in (Path(parent) / name for name in files):
            if path.is_file() and path.stat().st_nlink > 1:
                content = path.with_name(f".{path.name}.unshared")
                shutil.copy2(path, content)
                os.replace(content, path)
