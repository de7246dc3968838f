"""`mlv dump`: experiments as tables for other tools."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlv import words
from mlv.cli.choose import no_address, writing_to
from mlv.cli.screen import progress, say
from mlv.experiment.experiments import of_folders
from mlv.store import layout


def run(root: Path, folders: Sequence[Path], to: str, out: Path, *, safe: bool = False, bom: bool = False) -> None:
    """Write the files, and say where.

    Raises:
        InvalidArgument: The format is unknown, or the folder is there and not empty.
        FileUnusable: The folder cannot be written.
        MissingExtra: pyarrow is not installed.
    """
    no_address(out, "--out")
    experiments = of_folders(layout.absolute(root), list(map(layout.absolute, folders))).watched(progress)
    with writing_to(out):
        names = experiments.dump(to, out, safe=safe, bom=bom)
    say(f"{out}: {', '.join(names)} of {words.counted(len(experiments), 'experiment')}")
