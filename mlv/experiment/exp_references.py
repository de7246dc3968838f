"""The calls of an Exp that are about references."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mlv.encoding import TAG, Reference
from mlv.experiment.session import DRAIN_TIMEOUT_S

if TYPE_CHECKING:
    from mlv.experiment.exp import Exp


class References:
    """The part of `Exp` that is about references."""

    __slots__ = ()

    def resolve(self, ref: Any) -> Path | Exp:
        """Return the file or folder that a reference points to, proven by size and SHA-256; or the experiment, by its ID.

        A file of an experiment is looked for where it was recorded, below the experiment where that is now, and wherever the
        log names the same content; any other one where it was recorded, and at the same place relative to the folders around
        this experiment, so that a tree may be moved as a whole. An experiment is looked for where it was, then around this one.

        Args:
            ref: A `FileRef`, an `ExpRef`, an `Exp`, a checkpoint, or what was read back of one from an event or from params.

        Raises:
            InvalidArgument: It is no reference.
            ReferenceBroken: What it points to was changed, or is gone: the text says where it was looked for.
        """
        from mlv.audit.resolve import checked_reference, find_exp, find_file  # `import mlv` does without

        exp, reference = cast("Exp", self), checked_reference(ref)
        if reference[TAG] == "exp":
            return type(exp).open(find_exp(exp.path, reference))
        exp._session.drain(DRAIN_TIMEOUT_S)
        return find_file(exp.path, reference)

    def __mlv_reference__(self) -> Reference:
        exp = cast("Exp", self)
        return Reference({TAG: "exp", "id": exp.id, "path": str(exp.path), "name": exp.name})
