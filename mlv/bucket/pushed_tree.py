"""The tree that is pushed to a bucket: its experiments, their paths there, and the lines and files that are not shipped.

All of it is known from the folders; no request is made, and nothing is written.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from mlv.bucket import copies, names, pending, positions
from mlv.bucket.ship.effects import Shipped
from mlv.errors import NotAnExperiment
from mlv.store import layout


class PushedTree:
    """The experiments at and below a folder, as a bucket has them or will have them."""

    def __init__(self, root: Path, url: str) -> None:
        """Take the folder, and the URL of the bucket in its normal form."""
        self._root, self._url = root, url
        # One experiment that was shipped to this root goes on where it is there.
        shipped = positions.read(root, url) if layout.is_experiment(root) else None
        self._base = shipped.path if shipped is not None else ""

    def experiments(self) -> list[Path]:
        """Return the folders of the experiments, each before those below it.

        Raises:
            NotAnExperiment: There are none.
        """
        folders = list(layout.walk(self._root))
        if not folders:
            text = f"no experiments at or below {str(self._root)!r}: give the folder that was the savedir"
            raise NotAnExperiment(text, path=str(self._root))
        return folders

    def pending(self, folder: Path, *, with_files: bool) -> Shipped:
        """Return what would be shipped of an experiment, as far as its folder knows; neither it nor the bucket changes."""
        shipped = Shipped(self.path(folder))
        position = pending.position_of(folder, shipped.path, self._url)
        lines, files = pending.lines(position, pending.sizes(folder)), pending.files(folder, position)
        shipped.lines_bytes, shipped.segments = sum(lines.values()), len(lines)
        if with_files:
            shipped.files, shipped.files_bytes = len(files), sum(files.values())
        former = self.former_paths([*folder.parents, folder])
        shipped.notes += self.notes_of_move(folder, former)
        return shipped

    def path(self, folder: Path) -> str:
        """Return the path of an experiment below the root of the bucket."""
        return names.join(self._base, path_below(self._root, folder))

    def former_paths(self, folders: Iterable[Path]) -> dict[Path, str]:
        """Return the paths at which experiments were shipped to this root, of those that have another one now."""
        former = {}
        for folder in folders:
            shipped = positions.read(folder, self._url)
            # A clone brings along where its original was shipped.
            is_its_own = shipped is not None and bool(shipped.meta) and copies.recorded(folder) is not None
            if shipped is not None and is_its_own and shipped.path != self.path(folder):
                former[folder] = shipped.path
        return former

    def notes_of_move(self, folder: Path, former: Mapping[Path, str]) -> list[str]:
        """Tell of an experiment that was moved since it was shipped; of those below it, which moved along, nothing is told."""
        if folder not in former or any(parent in former for parent in folder.parents):
            return []
        before, now = former[folder] or ".", self.path(folder) or "."
        text = f"was shipped to {self._url} at {before} before, and goes to {now} now"
        return [f"{folder} {text}: what is at {before} stays there until you remove it"]


def path_below(root: Path, folder: Path) -> str:
    """Return the path of an experiment below the root of a bucket: that of its folder below another, with `/`."""
    path = os.path.relpath(folder, root).replace(os.sep, "/")
    return "" if path == "." else path
