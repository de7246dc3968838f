"""The page of experiments in a notebook: as they are now, in a frame that needs no server."""

from __future__ import annotations

import html
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mlv import words
from mlv.errors import FileUnusable, InvalidArgument

MOST = 500
"""Experiments of one page."""


class NotebookPage:
    """The page of some experiments, as one file of HTML with all that it shows. A notebook shows it in a frame."""

    def __init__(self, content: str, count: int, height: int) -> None:
        """Keep the page. Not called by users: `exp.show()` and `mlv.find(...).show()` give these."""
        self.html = content
        """The page; written into a file, a browser opens it offline."""
        self._count, self._height = count, height

    def _repr_html_(self) -> str:
        # Without the notebook's origin: texts and scripts of the page reach nothing of the notebook.
        return (
            f'<iframe srcdoc="{html.escape(self.html)}" sandbox="allow-scripts allow-downloads" '
            f'style="width: 100%; height: {self._height}px; border: 0" title="mlv"></iframe>'
        )

    def __repr__(self) -> str:
        return f"<page of {words.counted(self._count, 'experiment')}, {words.size(len(self.html))}: a notebook shows it>"


def page_of(root: Path, ids: Sequence[str], height: int) -> NotebookPage:
    """Return the page of experiments below a folder.

    Raises:
        InvalidArgument: There are too many, or the height is none.
        FileUnusable: The page could not be made; the text says what to do.
    """
    if not isinstance(height, int) or height < 1:
        raise InvalidArgument(f"height={height!r}: give a number of pixels, such as 600", height=height)
    if len(ids) > MOST:
        raise InvalidArgument(f"{len(ids)} experiments: choose up to {MOST}, or run `mlv ui {root}`", count=len(ids))
    if not ids:  # it was deleted
        return NotebookPage("<!doctype html><p>Nothing of this experiment is on disk.</p>", 0, height)
    with tempfile.TemporaryDirectory(prefix="mlv-page-") as folder:
        path = Path(folder, "page.html")
        chosen = f"id in ({', '.join(map(repr, ids))})"
        # The page belongs to the command line, which stands above this module, and may not disturb the notebook's process.
        command = [sys.executable, "-m", "mlv", "ui", os.fspath(root), "--export", os.fspath(path), "--where", chosen]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        # The page appears whole. What goes wrong afterwards, while libraries' threads end with the process, costs nothing.
        if not path.exists():
            raise FileUnusable(done.stderr.strip() or f"`mlv ui` ended with {done.returncode}", path=str(path))
        return NotebookPage(path.read_text("utf-8"), len(ids), height)
