"""Sub-experiments: experiments of follow-up scripts with a checkpoint, kept below the experiment that made it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mlv.capture.redaction import Redactor
from mlv.errors import CheckpointMissing, InvalidArgument
from mlv.experiment.exp import Exp
from mlv.experiment.opening import setup
from mlv.experiment.opening.captures import CAPTURES, make_redactor, redactor_of, refuse_credential
from mlv.experiment.opening.ranks import checked_ranks
from mlv.experiment.opening.rendezvous import together
from mlv.experiment.opening.setup import ExpComponents, Making
from mlv.experiment.session import session_in_this_process
from mlv.store import layout
from mlv.store import meta as meta_
from mlv.store.contents import FOLDER, content_of
from mlv.store.paths import checked_path


def init_sub_exp(
    checkpoint: Any,
    kind: str,
    name: str | None = None,
    params: Any = None,
    *,
    tags: Iterable[str] = (),
    notes: str | None = None,
    outputs: Iterable[Any] = (),
    ranks: str = "main",
    redact: Iterable[str] = (),
    redact_except: Iterable[str] = (),
    keep: Iterable[str] = (),
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
        outputs: As in `Exp`.
        ranks: As in `Exp`.
        redact: As in `Exp`, beside the patterns of the parent, which hold here too.
        redact_except: As `redact`.
        keep: The former name of `redact_except`.

    Raises:
        CheckpointMissing: There is no such file.
        InvalidArgument: An experiment is given, or what is no path.
        InvalidName, InvalidParams, InvalidPattern, MissingExtra, SavedirUnusable: As in `Exp`.
    """
    layout.check_label(kind, "kind")
    if name is not None:
        layout.check_name(name, "experiment name")
    if isinstance(checkpoint, Exp):
        raise InvalidArgument(
            f"checkpoint={checkpoint!r} is an experiment: give one of its checkpoints, such as exp.best, or the path of a file",
            checkpoint=checkpoint,
        )
    path = checked_path(getattr(checkpoint, "path", checkpoint), "checkpoint")
    if not path.exists():
        raise CheckpointMissing(
            f"there is no checkpoint at {str(path)!r}: give the path of the file that was saved", path=str(path)
        )
    parent = layout.enclosing_experiment(path)
    redactor = _redactor(parent, redact, [*redact_except, *keep])
    if name is not None:
        refuse_credential(redactor, name, "name")
    making = Making(params, kind, tags, notes, CAPTURES, redactor, outputs, ship=_ship_of(parent))
    given_ranks = checked_ranks(ranks)
    savedir = (parent or path.parent) / kind
    return Exp.of_components(
        together(
            savedir,
            f"{kind} experiment {name!r}" if name is not None else f"{kind} experiment of {path.name!r}",
            lambda: _make(making, path, parent, savedir, name),
            lambda exp_folder, rank, run: making.join(exp_folder, given_ranks, rank, run),
            differences=making.differences,
            ranks=given_ranks,
        )
    )


def _redactor(parent: Path | None, patterns: Iterable[str], exceptions: Iterable[str]) -> Redactor:
    """Return the redactor of a sub-experiment: that of its parent, with the patterns of a run of this process as well."""
    patterns, exceptions = tuple(patterns), tuple(exceptions)
    if parent is None:
        return make_redactor(patterns, exceptions)
    meta = meta_.read_meta(parent)
    session = session_in_this_process(parent, meta.id)
    if session is not None:
        patterns, exceptions = (*session.wishes.redact, *patterns), (*session.wishes.keep, *exceptions)
    return redactor_of(meta.content, patterns, exceptions)


def _ship_of(parent: Path | None) -> str | None:
    """Return the URL that a run of this process in the parent is shipped to; None where the setting decides."""
    session = session_in_this_process(parent, meta_.read_meta(parent).id) if parent is not None else None
    return session.ship if session is not None else None


def _make(making: Making, path: Path, parent: Path | None, savedir: Path, name: str | None) -> ExpComponents:
    """Make an experiment below the experiment of a checkpoint."""
    content = content_of(path)
    parent_id = meta_.read_meta(parent).id if parent is not None else None
    folder = setup.numbered_folder(savedir, "subexp") if name is None else setup.make_folder(savedir, name, suffix=True)
    where = os.path.relpath(path, folder)
    reference: dict[str, Any] = {"_mlv": "file", "path": where, "sha256": content.sha256, "size": content.size}
    if content.is_folder:
        reference["media_type"] = FOLDER
    link: dict[str, Any] = {"checkpoint": reference}
    if parent is not None:
        link = {"_mlv": "exp", "id": parent_id, "path": os.path.relpath(parent, folder), **link}
    return making.make(folder, link)
