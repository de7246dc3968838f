"""Sub-experiments: what a follow-up script does with a checkpoint, kept below the experiment that made it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mlv.errors import CheckpointMissing
from mlv.experiment import creation, identity
from mlv.experiment.captures import CAPTURES, make_redactor
from mlv.experiment.exp import Exp
from mlv.experiment.making import Making, checked_path
from mlv.store import layout
from mlv.store.files import sha256_file


def init_sub_exp(
    checkpoint: Any,
    kind: str,
    name: str | None = None,
    params: Any = None,
    *,
    tags: Iterable[str] = (),
    notes: str | None = None,
) -> Exp:
    """Make `<folder of the checkpoint's experiment>/<kind>/subexp_1` (then `subexp_2` ...) and begin a run in it.

    Its meta.json names the parent's ID, its relative path, and the checkpoint with its SHA-256, so the whole tree may be moved.
    A checkpoint outside any experiment gets its sub-experiment in its own folder, without a parent.

    Args:
        checkpoint: A path, or an object with a `path`; a folder counts as one checkpoint.
        kind: Such as `squeeze`: the name of the folder that holds these sub-experiments.
        name: Instead of `subexp_<n>`; a suffix is added where it is taken.
        params: As in `Exp`.
        tags: As in `Exp`.
        notes: As in `Exp`.

    Raises:
        CheckpointMissing: There is no such file.
        InvalidName, InvalidParams, SavedirUnusable: As in `Exp`.
    """
    layout.check_label(kind, "kind")
    if name is not None:
        layout.check_name(name, "experiment name")
    path = checked_path(getattr(checkpoint, "path", checkpoint), "checkpoint")
    if not path.exists():
        raise CheckpointMissing(
            f"there is no checkpoint at {str(path)!r}: give the path of the file that was saved", path=str(path)
        )
    parent = layout.enclosing_experiment(path)
    making = Making(params, kind, tags, notes, CAPTURES, make_redactor((), ()))
    digest, size = _content(path)
    parent_id = identity.read_meta(parent).id if parent is not None else None
    savedir = (parent or path.parent) / kind
    folder = creation.numbered_folder(savedir, "subexp") if name is None else creation.make_folder(savedir, name, suffix=True)
    reference: dict[str, Any] = {"_mlv": "file", "path": os.path.relpath(path, folder), "sha256": digest, "size": size}
    link: dict[str, Any] = {"checkpoint": reference}
    if parent is not None:
        link = {"_mlv": "exp", "id": parent_id, "path": os.path.relpath(parent, folder), **link}
    return Exp.of_parts(making.make(folder, link))


def _content(path: Path) -> tuple[str, int]:
    """SHA-256 and size of a file; of a folder, the SHA-256 of the list of its files with theirs, in order of path."""
    if path.is_file():
        return sha256_file(path)
    manifest, total = hashlib.sha256(), 0
    for file in sorted(found for found in path.rglob("*") if found.is_file()):
        digest, size = sha256_file(file)
        manifest.update(f"{digest}  {file.relative_to(path).as_posix()}\n".encode())
        total += size
    return manifest.hexdigest(), total
