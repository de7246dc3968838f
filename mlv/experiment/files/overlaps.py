"""Names of files that would take others away: a file in the place of a folder of attachments, or within one attachment."""

from __future__ import annotations

import os
from pathlib import Path

from mlv.errors import FileUnusable
from mlv.experiment.files.dedup import Contents
from mlv.experiment.session import Session
from mlv.store import layout
from mlv.store.contents import files_in


def refuse_within(session: Session, name: str, path: Path) -> None:
    """Refuse a name whose file would lie within an attachment of another name.

    Raises:
        FileUnusable: It would.
    """
    files = session.folder / layout.FILES
    for outer in path.parents:
        if outer == files:
            return
        if os.path.lexists(outer) and not outer.is_dir():
            raise _overlap(session, name, outer, "is a file of its own: choose a name that does not lie below it")
        if Contents.of(session).is_folder(outer):
            reason = "was attached as one folder, whose content would change: choose a name beside it, or attach it anew"
            raise _overlap(session, name, outer, reason)


def refuse_around(session: Session, name: str, path: Path) -> None:
    """Refuse a name below which attachments of other names lie, which its file would replace.

    An attachment itself is replaced by the next of its name, whichever of the two is a folder.

    Raises:
        FileUnusable: There are such.
    """
    if path.is_symlink() or not path.is_dir():
        return
    inner = _separate(session, path)
    if inner is not None:
        reason = "is a file of its own, in a folder that would be replaced: choose another name, or one below it"
        raise _overlap(session, name, inner, reason)


def _separate(session: Session, path: Path) -> Path | None:
    """Return a file in a folder that is no part of an attachment of the folder's name; None if there is none.

    A folder whose publishing was cut short has no event: it is one of that name all the same.
    """
    attached = Contents.of(session).attached(session)
    separate = next((other for other in sorted(attached) if path in other.parents and os.path.lexists(other)), None)
    mark = layout.unfinished_path(session.folder, path.relative_to(session.folder).as_posix())
    if separate is None and path not in attached and not mark.exists():
        separate = next((path / name for name in files_in(path)), None)
    return separate


def _overlap(session: Session, name: str, other: Path, reason: str) -> FileUnusable:
    others_name = other.relative_to(session.folder / layout.FILES).as_posix()
    return FileUnusable(f"{name!r} is not published in {session.folder}: {others_name!r} {reason}", path=str(other))
