"""A writer of texts."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any

from mlv.compat.allogger.writers.abstract_writer import AbstractWriter
from mlv.compat.allogger.writers.helpers import gen_filename


class FileWriter(AbstractWriter):
    """A line for each text and number, `[root.main/value] 2026-11-21 03:24:18 > ...`, in `<time>_<host>.log`."""

    def __init__(self, **kwargs: Any) -> None:
        """Begin like `AbstractWriter`."""
        super().__init__(**kwargs)
        self.filename = gen_filename()
        self._lines: list[str] = []

    def add_text(self, key: str, value: str, step: int) -> None:
        """Add a line."""
        self._lines.append(f"[{key}] {datetime.now():%Y-%m-%d %H:%M:%S} > {value}\n")

    def add_scalar(self, key: str, value: Any, step: int) -> None:
        """Add a line."""
        self.add_text(key, f"{step} {value}", step)

    def _run(self) -> None:
        """Write the lines."""
        if self._lines:
            with open(os.path.join(self.output_dir, f"{self.filename}.log"), "a", encoding="utf-8") as file:
                file.write("".join(self._lines))
            self._lines.clear()
