"""helios' writer for Weights & Biases: it only begins, goes on with and finishes a run there; imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, TypedDict

from mlv.compat.helios.core.loggers.base import Logger
from mlv.compat.helios.core.runs import global_rank

wandb_sdk: Any = None
"""A module to use instead of the package; tests of scripts set this name and the next one."""
_WANDB_AVAILABLE = True
"""Whether it may be imported; a missing package shows when a writer is made."""


class _Project(TypedDict):
    project: str


class WandbArgs(_Project, total=False):
    """The arguments of a `WandbWriter`; only `project` is needed."""

    name: str
    config: dict[str, Any]
    extra_args: dict[str, Any]


class WandbWriter(Logger):
    """A run of Weights & Biases, on rank 0, whose files are below `<log_root>/wandb`."""

    def __init__(
        self,
        project: str,
        name: str | None = None,
        config: dict[str, Any] | None = None,
        extra_args: dict[str, Any] | None = None,
    ) -> None:
        """Prepare a run.

        Raises:
            ImportError: wandb is not installed.
        """
        self._wandb = _imported()
        self._project, self._name, self._config, self._extra_args = project, name, config, extra_args or {}
        self._rank = global_rank()
        self._run: Any = None
        self._run_id: str | None = None
        self._saved_run_id: str | None = None

    def setup(self, run_name: str, log_root: Path | None, is_resume: bool) -> None:
        """Begin the run, or go on with that of the state; without a `log_root` wandb chooses its folder."""
        if self._rank != 0:
            return
        folder = Path(log_root) / "wandb" if log_root is not None else None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        run_id = self._saved_run_id if is_resume else None
        self._run = self._wandb.init(
            project=self._project,
            name=run_name if self._name is None else self._name,
            config=self._config,
            dir=None if folder is None else str(folder),
            id=run_id,
            resume=None if run_id is None else "allow",
            **self._extra_args,
        )
        self._run_id = self._run.id

    def flush(self) -> None:
        """Do nothing: wandb sends its records by itself."""

    def close(self) -> None:
        """Finish the run."""
        if self._run is not None:
            run, self._run = self._run, None
            run.finish()

    def state_dict(self) -> dict[str, Any]:
        """Return the state: `run_id`, None where there is no run."""
        return {"run_id": self._run_id}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a state; `setup` with `is_resume` goes on with its run."""
        self._saved_run_id = state_dict.get("run_id")


def _imported() -> Any:
    try:
        if not _WANDB_AVAILABLE:
            raise ImportError("it may not be imported")
        return wandb_sdk or import_module("wandb")
    except ImportError as error:
        raise ImportError("wandb is required to use the WandbWriter. Install it with: pip install wandb") from error
