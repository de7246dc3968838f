"""The calls of an Exp that lead to others: those above and below it, and what references point to."""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mlv.encoding import TAG, Reference
from mlv.errors import MlvWarning, NotAnExperiment
from mlv.experiment.session import DRAIN_TIMEOUT_S
from mlv.notices import warn
from mlv.store import layout
from mlv.store import meta as meta_
from mlv.store.identities import known_ids

if TYPE_CHECKING:
    from mlv.experiment.exp import Exp


class References:
    """The part of `Exp` that leads to other experiments, and to the files that references point to."""

    __slots__ = ()

    @property
    def parent(self) -> Exp | None:
        """The experiment whose checkpoint this one began from, None if it has none.

        Raises:
            NotAnExperiment: It is not where it was, nor is any experiment around this one the parent.
        """
        exp = cast("Exp", self)
        parent = exp._meta.content.get("parent") or {}
        parent_id = parent.get("id")
        if parent_id is None:
            return None
        from mlv.store import moves  # `import mlv` does without

        path = str(parent.get("path", ".."))
        for folder in chain(moves.candidates(exp._folder, path, parent_id), exp._folder.parents):
            if layout.is_experiment(folder) and parent_id in known_ids(folder):
                return type(exp).open(folder)
        expected = os.path.normpath(exp._folder / path)
        raise NotAnExperiment(
            f"the parent {parent_id} of {exp._folder} is neither at {expected} nor around it: move it back, or open it by its "
            f"path",
            path=expected,
        )

    @property
    def sub_exps(self) -> list[Exp]:
        """The experiments below this one that name it as their parent, in order of path; one that cannot be read warns."""
        exp = cast("Exp", self)
        below = (folder for folder in layout.walk(exp._folder) if folder != exp._folder)
        ids = known_ids(exp._folder)
        return [type(exp).open(folder) for folder in below if _parent_id(folder) in ids]

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


def _parent_id(folder: Path) -> str | None:
    try:
        parent = meta_.read_meta(folder).content.get("parent")
    except NotAnExperiment as error:
        warn(str(error), MlvWarning)
        return None
    return parent.get("id") if isinstance(parent, dict) else None
