"""The root logger of helios 2, which keeps its state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlv.compat.helios.core.loggers.base import Logger
from mlv.compat.helios.core.loggers.storage import path_in, run_in
from mlv.compat.helios.core.root import RootLoggerBase


class RootLogger(RootLoggerBase, Logger):
    """Logger used to log while training, optionally to a file."""

    _saved: Path | None = None

    def setup(self, run_name: str, log_root: Path | None, is_resume: bool) -> None:
        """Log into `<log_root>/<name>.log`, or go on with the file of the state; None is no file."""
        if log_root is not None:
            self.attach(run_in(run_name, Path(log_root), self._saved if is_resume else None, None, log=True, board=False))

    def state_dict(self) -> dict[str, Any]:
        """Return the state: `log_file`, None where there is none."""
        return {"log_file": self.log_file}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a state, whose path may be a text; `setup` with `is_resume` goes on with it."""
        self._saved = path_in(state_dict, "log_file")

    @property
    def saved(self) -> Path | None:
        """The file of the state that was taken."""
        return self._saved
