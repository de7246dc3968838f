"""Finding the file, or the experiment, that a reference points to."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from mlv.audit.file_history import outside, versions_of
from mlv.audit.provenance import events_naming
from mlv.encoding import TAG, Reference, as_reference, shown
from mlv.errors import FileUnusable, InvalidArgument, ReferenceBroken
from mlv.store import attached, layout
from mlv.store.blobs import content_of
from mlv.store.identities import known_ids
from mlv.store.owners import host_name
from mlv.store.references import completed, holds


def checked_reference(ref: Any) -> Reference:
    """Accept a reference.

    Raises:
        InvalidArgument: It is none.
    """
    found = as_reference(ref) or (Reference(ref) if isinstance(ref, Mapping) else None)
    if found is None or found.get(TAG) not in ("file", "exp") or not isinstance(found.get("path"), str):
        raise InvalidArgument(f"ref={shown(ref)} is no reference: give a FileRef, an ExpRef, or what an event holds of one")
    return found


def find_file(folder: Path, reference: Reference) -> Path:
    """Where the file is now that an experiment refers to.

    Raises:
        ReferenceBroken: It was changed, or is gone.
    """
    if reference.is_pending:
        reference = completed(reference)
        if "problem" not in reference:
            return Path(reference["path"])
    if "problem" in reference:
        text = f"{reference['path']} cannot be found by its content: it was {reference['problem']}, so its hash is not known"
        raise ReferenceBroken(text, path=reference["path"])
    looked_at: list[Path] = []
    for place in _places(folder, reference):
        if place not in looked_at:
            looked_at.append(place)
            if holds(place, reference):
                return place
    moved = next((place for place in _moved_along(folder, reference) if holds(place, reference)), None)
    if moved is None:
        raise _broken(reference, looked_at)
    return moved


def _places(folder: Path, reference: Reference) -> Iterator[Path]:
    """Where a file may be, the likeliest first."""
    path = Path(os.path.normpath(folder / reference["path"]))
    if not _is_own(reference) or _is_unlinked(folder, reference["path"]):
        yield path
    within = reference.get("within")
    if isinstance(within, Mapping):
        inside = os.path.relpath(reference["path"], str(within.get("path")))
        yield from (around / inside for around in _experiments(folder, Reference(within)))
    if folder in path.parents:
        yield from (folder / other for other in _other_names(folder, reference) if _is_unlinked(folder, other))


def _is_own(reference: Reference) -> bool:
    """Whether a reference names a file of the experiment that holds it, by its path there."""
    return "host" not in reference and not outside(reference)


def _is_unlinked(folder: Path, path: str) -> bool:
    """Whether a path leads to a file in the experiment that is not the store's own, and no symbolic link is on the way."""
    try:
        attached.checked(folder, path, anywhere=True)
    except FileUnusable:
        return False
    return True


def _other_names(folder: Path, reference: Reference) -> Iterator[str]:
    """Paths that the log gives to the same content."""
    for event, data in events_naming(folder, str(reference.get("sha256"))):
        for claim in versions_of(event.type, data, "", "", 0, {}):
            if claim.sha256 == reference.get("sha256"):
                yield claim.path


def _moved_along(folder: Path, reference: Reference) -> Iterator[Path]:
    """The same path, but for what comes first, below each folder around the experiment: it was moved together with them."""
    parts = [part for part in Path(reference["path"]).parts if part not in ("..", os.sep)]
    for around in (folder, *folder.parents):
        for start in range(len(parts)):
            place = around.joinpath(*parts[start:])
            is_below = folder in place.parents
            if place.exists() and (not is_below or _is_unlinked(folder, place.relative_to(folder).as_posix())):
                yield place


def _broken(reference: Reference, places: list[Path]) -> ReferenceBroken:
    recorded, path = reference.get("sha256"), reference["path"]
    fields: dict[str, Any] = {"path": path, "sha256": recorded, "host": reference.get("host")}
    elsewhere = _on_another_host(reference)
    for place in places:
        try:
            actual = content_of(place).sha256
        except OSError:
            continue
        text = f"{place} was changed: its SHA-256 is {actual}, and {recorded} was recorded{elsewhere}. Restore it from a copy"
        return ReferenceBroken(text, actual=actual, **fields)
    looked = ", ".join(map(str, places))
    text = f"{path} is gone: it is neither at {looked} nor around there{elsewhere}. Put it back, and resolve it again"
    return ReferenceBroken(text, places=[str(place) for place in places], **fields)


def _on_another_host(reference: Mapping[str, Any]) -> str:
    named = reference.get("host")
    return f" on the host {named}, and this is {host_name()}" if named not in (None, host_name()) else ""


def find_exp(folder: Path, reference: Reference) -> Path:
    """Where the experiment is now that another one refers to.

    Raises:
        ReferenceBroken: It is neither where it was nor around.
    """
    found = next(_experiments(folder, reference), None)
    if found is None:
        given, wanted = os.path.normpath(folder / reference["path"]), reference.get("id")
        text = f"the experiment {wanted} is neither at {given} nor around {folder}: put it back, or open it by its path"
        raise ReferenceBroken(text, path=given, id=wanted)
    return found


def _experiments(folder: Path, reference: Reference) -> Iterator[Path]:
    """Where an experiment of this ID is: at its path, or among those around, below and beside an experiment."""
    given = Path(os.path.normpath(folder / str(reference.get("path"))))
    wanted = reference.get("id")
    yield from (found for found in chain([given], _around(folder)) if layout.exp_id(found) == wanted)
    yield from (found for found in chain([given], _around(folder)) if wanted in known_ids(found)[1:])


def _around(folder: Path) -> Iterator[Path]:
    around = [place for place in (folder, *folder.parents) if layout.is_experiment(place)]
    yield from around
    top = around[-1] if around else folder
    yield from layout.walk(top)
    for beside in sorted(top.parent.iterdir()):
        if layout.is_experiment(beside):
            yield from layout.walk(beside)
