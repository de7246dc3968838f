"""Files that mlv itself wrote beside an experiment: importing them would double that."""

from __future__ import annotations

from pathlib import Path

from mlv.errors import FileUnusable
from mlv.store import layout

ROOM = ".mlv-experiments"
"""The folder in which the drop-in modules keep the experiments behind the files of their originals."""


def refuse_beside(folder: Path, name: str, path: Path) -> None:
    """Refuse a file of a drop-in module, whose experiment lies beside it.

    Args:
        folder: The folder beside which the experiment would lie.
        name: Name of the experiment.
        path: The file.

    Raises:
        FileUnusable: It is one.
    """
    experiment = folder / ROOM / name
    if (experiment / layout.META).is_file():
        raise own_file(path, str(experiment))


def own_file(path: Path, experiment: str) -> FileUnusable:
    """Return the error for a file that mlv wrote."""
    text = f"{path} is an output that mlv itself wrote of experiment {experiment}: copy or merge that"
    return FileUnusable(text, path=str(path))
