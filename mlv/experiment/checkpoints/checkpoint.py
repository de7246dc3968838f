"""The checkpoint: a file that was saved at a step, with what was measured there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from mlv.encoding import Reference
from mlv.errors import CheckpointMissing, CheckpointNotLoaded, FileUnusable
from mlv.experiment.checkpoints import savers
from mlv.frozen import FrozenDict
from mlv.retention import Kept, Saved
from mlv.store import attached
from mlv.store.blobs import content_of
from mlv.store.references import portable


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A file, or a folder, that was saved, as the log knows it."""

    path: Path
    """Where it is as long as the policy keeps it there: the place where it stays longest."""
    step: int | float | None
    metrics: Mapping[str, Any] = field(hash=False)
    """What was given with it, NaN and infinities included; read-only."""
    sha256: str
    """In hexadecimal; of a folder, that of the list of its files with theirs."""
    size: int
    """In bytes."""
    save: int
    """Its number among all saves of the portfolio, from 1."""
    reference: Reference = field(repr=False, hash=False)
    """The same file, as events of its own experiment refer to it."""

    def __mlv_reference__(self) -> Reference:
        # What stands in `log("evaluated", {"model": checkpoint})`, in whatever experiment that is.
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
            found = content_of(self.path)
        except FileUnusable as error:
            raise CheckpointNotLoaded(f"save {self.save} is not loaded: {error}", path=str(self.path)) from None
        except FileNotFoundError:
            raise CheckpointMissing(
                f"save {self.save} is not at {self.path} any more: it was let go or removed; see kept, best and latest",
                path=str(self.path),
            ) from None
        if found.sha256 != self.sha256:
            raise CheckpointNotLoaded(
                f"{self.path} was changed since it was saved: its SHA-256 is {found.sha256}, not {self.sha256}. If you know "
                f"why, read it yourself, from .path",
                path=str(self.path),
            )


def checkpoint_of(exp_folder: Path, folder: str, kept: Kept, saved: Saved) -> Checkpoint:
    """The checkpoint, at the place where it stays longest."""
    path = f"{folder}/{kept.sections_of(saved)[0]}/{saved.name}"
    file = {**saved.file, "path": path}
    metrics = FrozenDict(saved.metrics)
    sha256, size = str(file.get("sha256", "")), file.get("size", 0)
    return Checkpoint(
        exp_folder / path, saved.step, metrics, sha256, size if isinstance(size, int) else 0, saved.save, Reference(file)
    )
