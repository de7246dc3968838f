"""The TensorBoard writer of helios 2, which keeps its state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlv.compat.helios.core.loggers.base import Logger
from mlv.compat.helios.core.loggers.storage import path_in, run_in
from mlv.compat.helios.core.tensorboard import TensorboardWriterBase


class TensorboardWriter(TensorboardWriterBase, Logger):
    """Writes event files for TensorBoard below `<log_root>/tensorboard`."""

    _saved: Path | None = None

    def setup(self, run_name: str, log_root: Path | None, is_resume: bool) -> None:
        """Write into `<log_root>/tensorboard/<name>`, or go on with the folder of the state; None is no folder."""
        if log_root is not None and self._rank == 0:
            self.attach(run_in(run_name, Path(log_root), None, self._saved if is_resume else None, log=False, board=True))

    def state_dict(self) -> dict[str, Any]:
        """Return the state: `run_path`, None where there is none."""
        return {"run_path": self._run.run_path if self._run is not None else None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a state, whose path may be a text; `setup` with `is_resume` goes on with it."""
        self._saved = path_in(state_dict, "run_path")

    @property
    def saved(self) -> Path | None:
        """The folder of the state that was taken."""
        return self._saved
