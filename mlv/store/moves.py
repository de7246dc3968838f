"""Where experiments were moved to, and the trash: notes in the housekeeping of the folders that they left."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import orjson

from mlv.errors import InvalidArgument, SavedirUnusable
from mlv.state import fold, in_order
from mlv.store import layout, opening
from mlv.store.blobs import remove, replace_whole
from mlv.store.reading import Lines

_MOVED, _TRASH = "moved", "trash"
_MOST_MOVES = 100  # notes on moves may lead in a circle


def trash_path(folder: Path, now: datetime) -> Path:
    """Return the path in the trash for an experiment: in the folder around the outermost one, under the time."""
    top = _outermost(folder).parent
    return top / layout.HOUSEKEEPING / _TRASH / now.strftime("%Y%m%dT%H%M%S.%f") / folder.relative_to(top)


def is_in_trash(folder: Path) -> bool:
    """Return whether an experiment lies in a trash."""
    names = layout.absolute(folder).parts
    return (layout.HOUSEKEEPING, _TRASH) in pairwise(names)


def _outermost(folder: Path) -> Path:
    """Return the outermost of the experiments around a folder, or the folder itself."""
    return next((around for around in reversed(folder.parents) if layout.is_experiment(around)), folder)


def move(folder: Path, target: Path, *, is_noted: bool = True) -> None:
    """Rename the folder of an experiment, and leave a note for each experiment in it, by which references follow.

    Raises:
        InvalidArgument: The target is in the experiment itself.
        SavedirUnusable: The target is taken or on another disk, or nothing may be renamed there.
    """
    if folder in target.parents:
        raise InvalidArgument(
            f"{target} is in {folder}, which cannot be moved into itself: give another folder", path=str(target)
        )
    # Before the move: afterwards there is nothing left to walk at the old path.
    identities = {layout.exp_id(inner): inner.relative_to(folder) for inner in layout.walk(folder)}
    top = _outermost(folder).parent
    try:
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "it is there already")
        target.parent.mkdir(parents=True, exist_ok=True)
        # One step, on one disk: there is never half an experiment at either path.
        os.rename(folder, target)
    except OSError as error:
        advice = f"`mlv merge {folder} {target}` copies it" if error.errno == errno.EXDEV else "choose another place"
        text = f"{folder} cannot be moved to {target}: {error.strerror}. It stays where it is; {advice}"
        raise SavedirUnusable(text, path=str(target), errno=error.errno) from error
    for identity, inner in identities.items() if is_noted else ():
        note = _note_path(top, identity)
        opening.make_folders(top, note.parent)
        replace_whole(note, orjson.dumps({"to": os.path.relpath(target / inner, top)}))


def delete(path: Path) -> None:
    """Remove an experiment that lies in the trash, and the folders of the trash that are empty then.

    Raises:
        SavedirUnusable: Something of it is left.
    """
    remove(path)
    if path.exists():
        raise SavedirUnusable(f"not all of {path} can be deleted: see what is left there", path=str(path))
    with suppress(OSError):  # something else is in them
        for around in path.parents:
            if around.name == layout.HOUSEKEEPING:
                break
            around.rmdir()


def candidates(folder: Path, path: str, identity: str) -> Iterator[Path]:
    """Yield the folders where an experiment may be now that another one recorded by a path, the likeliest first.

    These are the path itself, as seen from the present and the former folders of the one that recorded it, and the folders to
    which it was moved from there.
    """
    recorded = Path(os.path.normpath(folder / path))
    yield recorded
    former = [Path(os.path.normpath(before / path)) for before in former_folders(folder)]
    yield from former
    for start in (recorded, *former):
        yield from followed(start, identity)


def former_folders(folder: Path) -> tuple[Path, ...]:
    """Return the folders in which an experiment was before it was moved, the latest first."""
    with suppress(OSError):
        streams = [name for name in layout.streams_in(folder) if layout.logical_stream(name) == layout.ANNOTATIONS]
        return tuple(map(Path, reversed(fold(in_order(Lines(folder, streams, ("moved",)))).former_folders)))
    return ()


def followed(path: Path, identity: str) -> Iterator[Path]:
    """Yield the folders to which an experiment of that ID was moved from a path, as the notes around it say."""
    seen = {path}
    for _ in range(_MOST_MOVES):
        moved = next((new for around in path.parents if (new := _noted(around, identity)) not in (None, *seen)), None)
        if moved is None:
            return
        yield moved
        seen.add(moved)
        path = moved


def _note_path(around: Path, identity: str) -> Path:
    return around / layout.HOUSEKEEPING / _MOVED / f"{identity}.json"


def _noted(around: Path, identity: str) -> Path | None:
    """Return the path in a folder's note about an experiment; None where there is none that can be read."""
    try:
        content = opening.json_content(_note_path(around, identity))
        return Path(os.path.normpath(around / content["to"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
