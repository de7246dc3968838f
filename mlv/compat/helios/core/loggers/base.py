"""The role of a logger of helios 2."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from mlv.compat.helios.core.runs import get_default_log_name


class Logger(ABC):
    """A logger with its own files below `log_root`, and a state with which it goes on."""

    @abstractmethod
    def setup(self, run_name: str, log_root: Path | None, is_resume: bool) -> None:
        """Begin to log; with `is_resume`, where the state that was loaded left off."""

    @abstractmethod
    def flush(self) -> None:
        """Bring everything to the disk."""

    @abstractmethod
    def close(self) -> None:
        """Release files and connections."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return the state that `load_state_dict` needs to go on."""

    @abstractmethod
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a state, before `setup`."""


__all__ = ["Logger", "get_default_log_name"]
