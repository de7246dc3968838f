"""Events of a logger about the files that it has written."""

from __future__ import annotations

import os
from typing import Any

import mlv
from mlv.compat.mle_logging.records import ADDED, FILE, META, PLACED


class Recorder:
    """Two events for each file: its entries of the log file's meta, and a reference to its content.

    The first is in the log at once; the second comes when the writer has hashed the file.
    """

    exp: mlv.Exp

    def __init__(self, root: str) -> None:
        """Begin; paths are relative to `root`."""
        self._root = root

    def say_file(self, path: str, values: dict[str, Any]) -> None:
        """Log that a figure or another object was written."""
        self.exp.log(ADDED, {"values": values})
        self._refer(path)

    def say_model(self, path: str, values: dict[str, Any], slot: int | None) -> None:
        """Log that a checkpoint was written; one of a portfolio has a slot."""
        if slot is None:
            self.exp.log(META, values)
        else:
            self.exp.log(PLACED, {"values": values, "slot": slot})
        self._refer(path)

    def _refer(self, path: str) -> None:
        try:
            file: Any = mlv.FileRef(os.path.join(self._root, path))
        except mlv.FileUnusable:  # a library gave it another suffix
            file = None
        self.exp.log(FILE, {"path": path, "file": file})
