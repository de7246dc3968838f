"""Publishing a file: from a temporary path to its own, with its event, in one step that the others see."""

from __future__ import annotations

import os
import threading
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlv.encoding import Reference
from mlv.errors import FileExists, FileUnusable, MlvError
from mlv.experiment.session import Session
from mlv.frozen import FrozenRecord
from mlv.interrupts import pass_on
from mlv.store import blobs, layout, opening
from mlv.store.contents import Content, content_of, reference
from mlv.store.locks import alone_in


class FileTarget(FrozenRecord):
    """The path at which a file is published, and the other fields of its event."""

    session: Session
    path: Path
    name: str
    step: float | None
    is_new: bool
    """Whether the path must not exist yet."""
    published: list[Reference]
    """The reference within the experiment, once it is published."""


_publishing = threading.RLock()
"""Held while a file gets its path and its event, so that threads that publish the same name do both in the same order.

Between processes, a lock on the folder does the same.
"""


def _after_fork_in_child() -> None:
    global _publishing
    _publishing = threading.RLock()  # another thread of the parent may hold the old one, and is not there to let go of it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def check_separate(target: FileTarget, *, is_final: bool = True) -> None:
    """Refuse a name whose file would take others away, before anything is written for it.

    Args:
        target: What is to be published.
        is_final: Whether its path is: a library may add a suffix.

    Raises:
        FileUnusable: It would.
    """
    is_below, is_folder = target.path.parent != target.session.folder / layout.FILES, is_final and target.path.is_dir()
    if is_below or is_folder:  # nearly all names are neither
        from mlv.experiment.files.overlaps import refuse_around, refuse_within  # read much that `import mlv` does without

        with _publishing:
            refuse_within(target.session, target.name, target.path)
            if is_folder:
                refuse_around(target.session, target.name, target.path)


def publish(target: FileTarget, temporary: Path, content: Content | None = None) -> Path:
    """Publish a finished file or folder, and emit its event; `temporary` is left over if its content is stored already."""
    from mlv.experiment.files.dedup import Contents  # reads much that `import mlv` does without
    from mlv.experiment.files.overlaps import refuse_around, refuse_within

    # Before it has a name in the experiment. It becomes read-only there: one whose content is stored already stays as it was.
    blobs.make_durable(temporary, read_only=False)
    content = content or content_of(temporary)
    with _publishing, alone_in(target.session.folder / layout.FILES):
        refuse_within(target.session, target.name, target.path)
        refuse_around(target.session, target.name, target.path)
        contents = Contents.of(target.session)
        mark = None
        if target.is_new or not contents.holds(target.path, content):
            mark = _marked(target) if temporary.is_dir() else None
            try:
                _move(temporary, target, contents.path_of(content))
            except BaseException:
                _remove(mark)
                raise
            blobs.make_durable(target.path)
            contents.add(target.path, content)
        data = reference(target.session.folder, target.path, content)
        target.session.emit("file", data, name=target.name, step=target.step)
        _remove(mark)
        target.published.append(data)
    return target.path


def _marked(target: FileTarget) -> Path | None:
    """Mark a folder as one that has no event yet: whoever publishes it after this process was killed may replace it.

    Without the mark it looks like one that somebody put there by hand.
    """
    folder = target.session.folder
    mark = layout.unfinished_path(folder, target.path.relative_to(folder).as_posix())
    with suppress(OSError):  # then it is taken for one that was put there by hand
        opening.make_folders(folder, mark.parent)
        blobs.replace_whole(mark, b"")
        return mark
    return None


def _remove(mark: Path | None) -> None:
    if mark is not None:
        with suppress(OSError):
            mark.unlink()


def _move(temporary: Path, target: FileTarget, twin: Path | None) -> None:
    """Move a file to its path; if a twin with the same content exists, link the path to that instead."""
    with temporary_of(target) as link:
        is_linked = twin is not None and _is_linked(twin, link)
        try:
            blobs.move_into_place(link if is_linked else temporary, target.path, is_new=target.is_new)
        except FileExistsError as error:
            raise (already_there(target) if target.is_new else error) from error


def _is_linked(twin: Path, link: Path) -> bool:
    from mlv.store.copying import link_or_copy  # `import mlv` does without

    try:
        return link_or_copy(twin, link)
    except OSError:
        return False


@contextmanager
def temporary_of(target: FileTarget) -> Iterator[Path]:
    """Yield a temporary path beside the target, and remove whatever is left there at the end."""
    with translated_os_errors(not_published(target)):
        temporary = blobs.temporary_beside(target.path)
    pid = os.getpid()
    try:
        yield temporary
    finally:
        if os.getpid() == pid:  # a forked child that leaves the block does not own the file
            blobs.remove(temporary)


def not_published(target: FileTarget) -> str:
    """Begin the message of an error."""
    return f"{target.name!r} is not published in {target.session.folder}"


@contextmanager
def translated_os_errors(context: str, errnos: Container[int] | None = None) -> Iterator[None]:
    """Translate errors of the system, or only those of `errnos`: others are the caller's own."""
    try:
        yield
    except MlvError:
        raise
    except OSError as error:
        pass_on(error)
        if errnos is not None and error.errno not in errnos:
            raise
        where = f" ({error.filename})" if error.filename else ""
        text = f"{context}: {error.strerror or error}{where}. What was there before still is; mend that, and do it again"
        raise FileUnusable(text, errno=error.errno, path=error.filename) from error


def already_there(target: FileTarget) -> FileExists:
    """Make the error for a name that must be new, and is not."""
    text = f"{target.name!r} is published already, and mode 'x' asks for a new file: choose another name, or mode 'w'"
    return FileExists(text, path=str(target.path))
