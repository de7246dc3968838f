"""The checkpoint: a file or folder saved at a step, with the metrics of that step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from mlv.encoding import Reference
from mlv.errors import CheckpointMissing, CheckpointNotLoaded, FileUnusable
from mlv.experiment.checkpoints import savers
from mlv.frozen import FrozenDict
from mlv.retention import PortfolioState, Saved
from mlv.store import attached
from mlv.store.contents import content_of
from mlv.store.references import portable


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A saved file or folder, as recorded in the log."""

    path: Path
    """Path in the folder where the policy keeps it longest."""
    step: int | float | None
    metrics: Mapping[str, Any] = field(hash=False)
    """The metrics passed to `save`, NaN and infinities included; read-only."""
    sha256: str
    """In hexadecimal; of a folder, that of the list of its files with theirs."""
    size: int
    """In bytes."""
    save: int
    """Its number among all saves of the portfolio, from 1."""
    reference: Reference = field(repr=False, hash=False)
    """The reference to the file, as in events of its own experiment."""

    def __mlv_reference__(self) -> Reference:
        # The form in `log("evaluated", {"model": checkpoint})`, in any experiment.
        return portable(self._folder, self.reference)

    @property
    def _folder(self) -> Path:
        """Folder of the experiment."""
        return self.path.parents[len(PurePosixPath(self.reference["path"]).parts) - 1]

    def load(self, *, trust: bool = False) -> Any:
        """Read it back: a state dict, a tree of arrays, a model, an estimator; tensors come to the CPU.

        Nothing is unpickled, and no code that the file may hold runs, unless it is trusted.

        Args:
            trust: Unpickle as well, which `.joblib` and `.pkl` need: only for files that you, or those you trust, have made.

        Raises:
            CheckpointMissing: The file is gone.
            CheckpointNotLoaded: It was changed since, would have to be trusted, or nobody knows how to read it.
            MissingExtra: The library that reads it is not installed.
        """
        self._check()
        return savers.load(self.path, trust)

    def _check(self) -> None:
        try:
            attached.checked(self._folder, self.reference["path"])
            content = content_of(self.path)
        except FileUnusable as error:
            raise CheckpointNotLoaded(f"save {self.save} is not loaded: {error}", path=str(self.path)) from None
        except FileNotFoundError:
            raise CheckpointMissing(
                f"save {self.save} is not at {self.path} any more: it was let go or removed; see kept, best and latest",
                path=str(self.path),
            ) from None
        if content.sha256 != self.sha256:
            raise CheckpointNotLoaded(
                f"{self.path} was changed since it was saved: its SHA-256 is {content.sha256}, not {self.sha256}. If you know "
                f"why, read it yourself, from .path",
                path=str(self.path),
            )


def checkpoint_of(exp_folder: Path, folder: str, state: PortfolioState, saved: Saved) -> Checkpoint:
    """Return the checkpoint, with its path in the folder where it stays longest."""
    path = f"{folder}/{state.sections_of(saved)[0]}/{saved.name}"
    file = {**saved.file, "path": path}
    metrics = FrozenDict(saved.metrics)
    sha256, size = str(file.get("sha256", "")), file.get("size", 0)
    return Checkpoint(
        exp_folder / path, saved.step, metrics, sha256, size if isinstance(size, int) else 0, saved.save, Reference(file)
    )
