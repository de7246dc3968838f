"""Ways of bringing in a file that is there: copying, linking, moving."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from mlv.errors import InvalidArgument, MlvWarning
from mlv.experiment.files.publishing import FileTarget, publish, temporary_of
from mlv.notices import warn, warn_once
from mlv.store import blobs, copying, layout

_ELSEWHERE = (errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS)


def _attach_copy(target: FileTarget, source: Path) -> Path:
    with temporary_of(target) as temporary:
        content = copying.copy_hashed(source, temporary)
        return publish(target, temporary, content)


def _attach_link(target: FileTarget, source: Path) -> Path:
    with temporary_of(target) as temporary:
        if not copying.link_or_copy(source, temporary, reflink=True):
            text = f"{source} is copied, not linked: there are no links from there to {target.path.parent}"
            warn_once(text, MlvWarning)
        return publish(target, temporary)


def _attach_move(target: FileTarget, source: Path) -> Path:
    before = os.lstat(source)
    path = _attach_by_rename(target, source) or _attach_copy(target, source)
    if _is_at(source, before):  # it was copied, or its content was stored already
        blobs.remove(source)
    if _is_at(source, before):
        warn(f"{source} is attached, but could not be removed from there: {path} is a copy", MlvWarning)
    return path


def _is_at(path: Path, file: os.stat_result) -> bool:
    """Return whether a path is still this very file: somebody may have made a new one of that name by now."""
    try:
        return os.path.samestat(os.lstat(path), file)
    except OSError:
        return False


def _attach_by_rename(target: FileTarget, source: Path) -> Path | None:
    """Move in one step; None, and nothing done, where that is impossible."""
    if blobs.has_links(source):
        return None
    try:
        return publish(target, source)
    except OSError as error:
        if error.errno not in _ELSEWHERE:
            raise
        return None


ATTACH_BY: dict[str, Callable[[FileTarget, Path], Path]] = {"copy": _attach_copy, "link": _attach_link, "move": _attach_move}


def refuse_own(source: Path, folder: Path, how: str) -> None:
    """Keep an experiment from being attached to itself, and from losing its own files."""
    real, real_folder = Path(os.path.realpath(source)), Path(os.path.realpath(folder))
    if real == real_folder or real in real_folder.parents:
        text = f"{str(source)!r} holds the experiment {folder} that it would be attached to: give a folder beside it"
        raise InvalidArgument(text, path=str(source))
    owner = layout.enclosing_experiment(real)
    if how == "move" and owner is not None and layout.is_own(owner, real):
        text = f"{str(source)!r} is a part of the experiment {owner}, and stays there: attach it with how='copy'"
        raise InvalidArgument(text, path=str(source), how=how)
