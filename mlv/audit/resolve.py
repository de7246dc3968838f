"""Find the file, or the experiment, that a reference points to."""

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
from mlv.store import attached, layout, moves
from mlv.store.contents import content_of
from mlv.store.identities import known_ids
from mlv.store.mirrors import is_mirrored
from mlv.store.owners import host_name
from mlv.store.references import completed, holds


def checked_reference(ref: Any) -> Reference:
    """Return a value as a reference.

    Raises:
        InvalidArgument: It is no reference.
    """
    reference = as_reference(ref) or (Reference(ref) if isinstance(ref, Mapping) else None)
    if reference is None or reference.get(TAG) not in ("file", "exp") or not isinstance(reference.get("path"), str):
        raise InvalidArgument(f"ref={shown(ref)} is no reference: give a FileRef, an ExpRef, or what an event holds of one")
    return reference


def find_file(folder: Path, reference: Reference) -> Path:
    """Return the present path of the file that a reference in an experiment points to.

    Raises:
        ReferenceBroken: The file was changed, or is gone.
    """
    if reference.is_pending:
        reference = completed(reference)
        if "problem" not in reference:
            return Path(reference["path"])
    if "problem" in reference:
        text = f"{reference['path']} cannot be found by its content: it was {reference['problem']}, so its hash is not known"
        raise ReferenceBroken(text, path=reference["path"])
    absence = _brought(folder, reference)
    candidates: list[Path] = []
    for path in _candidates(folder, reference):
        if path not in candidates:
            candidates.append(path)
            if holds(path, reference):
                return path
    # Last: it reads the notes of all folders around, and hashes what lies there.
    moved = next((path for path in _moved_along(folder, reference) if holds(path, reference)), None)
    if moved is None and absence:
        text = f"{reference['path']} cannot be had: {absence}"
        raise ReferenceBroken(text, path=reference["path"], sha256=reference.get("sha256"))
    if moved is None:
        raise _broken(reference, candidates)
    return moved


def _brought(folder: Path, reference: Reference) -> str:
    """Bring a file of an experiment in a bucket; return why it cannot be had, an empty text for experiments elsewhere."""
    if _is_own(reference) and is_mirrored(folder):
        try:
            attached.checked(folder, reference["path"])
        except FileUnusable as error:
            return str(error)
    return ""


def _candidates(folder: Path, reference: Reference) -> Iterator[Path]:
    """Yield the paths where a file may be, the likeliest first."""
    path = Path(os.path.normpath(folder / reference["path"]))
    if not _is_own(reference) or _is_unlinked(folder, reference["path"]):
        yield path
    if not _is_own(reference):
        yield from (Path(os.path.normpath(former / reference["path"])) for former in moves.former_folders(folder))
    within = reference.get("within")
    if isinstance(within, Mapping):
        inside = os.path.relpath(reference["path"], str(within.get("path")))
        yield from (around / inside for around in _experiments(folder, Reference(within)))
    if folder in path.parents:
        yield from (folder / name for name in _other_names(folder, reference) if _is_unlinked(folder, name))


def _is_own(reference: Reference) -> bool:
    """Return whether a reference names a file of the experiment that holds it, by its path there."""
    return "host" not in reference and not outside(reference)


def _is_unlinked(folder: Path, path: str) -> bool:
    """Return whether a path leads, without symbolic links, to a file of the experiment that is not one of the store's own."""
    try:
        attached.checked(folder, path, anywhere=True)
    except FileUnusable:
        return False
    return True


def _other_names(folder: Path, reference: Reference) -> Iterator[str]:
    """Yield the paths that the log records for the same content."""
    for event, data in events_naming(folder, str(reference.get("sha256"))):
        for claim in versions_of(event.type, data, "", "", 0, {}):
            if claim.sha256 == reference.get("sha256"):
                yield claim.path


def _moved_along(folder: Path, reference: Reference) -> Iterator[Path]:
    """Yield existing paths with the same last names below each folder around the experiment: they were moved together."""
    names = [name for name in Path(reference["path"]).parts if name not in ("..", os.sep)]
    for around in (folder, *folder.parents):
        for start in range(len(names)):
            path = around.joinpath(*names[start:])
            is_below = folder in path.parents
            if path.exists() and (not is_below or _is_unlinked(folder, path.relative_to(folder).as_posix())):
                yield path


def _broken(reference: Reference, candidates: list[Path]) -> ReferenceBroken:
    recorded, path = reference.get("sha256"), reference["path"]
    fields: dict[str, Any] = {"path": path, "sha256": recorded, "host": reference.get("host")}
    elsewhere = _on_another_host(reference)
    for candidate in candidates:
        try:
            actual = content_of(candidate).sha256
        except OSError:
            continue
        text = f"{candidate} was changed: its SHA-256 is {actual}, and {recorded} was recorded{elsewhere}"
        return ReferenceBroken(f"{text}. Restore it from a copy", actual=actual, **fields)
    looked = ", ".join(map(str, candidates))
    text = f"{path} is gone: it is neither at {looked} nor around there{elsewhere}. Put it back, and resolve it again"
    return ReferenceBroken(text, places=[str(candidate) for candidate in candidates], **fields)


def _on_another_host(reference: Mapping[str, Any]) -> str:
    named = reference.get("host")
    return f" on the host {named}, and this is {host_name()}" if named not in (None, host_name()) else ""


def find_exp(folder: Path, reference: Reference) -> Path:
    """Return the present folder of the experiment that a reference in another one points to.

    Raises:
        ReferenceBroken: It is neither at its recorded path nor around the experiment.
    """
    match = next(_experiments(folder, reference), None)
    if match is None:
        path, identity = os.path.normpath(folder / reference["path"]), reference.get("id")
        text = f"the experiment {identity} is neither at {path} nor around {folder}: put it back, or open it by its path"
        raise ReferenceBroken(text, path=path, id=identity)
    return match


def _experiments(folder: Path, reference: Reference) -> Iterator[Path]:
    """Yield the folders of the experiment with this ID: its recorded path, where it was moved, those around and beside."""
    path, identity = str(reference.get("path")), str(reference.get("id"))
    for is_meant in (lambda candidate: layout.exp_id(candidate) == identity, lambda own: identity in known_ids(own)[1:]):
        yield from filter(is_meant, chain(moves.candidates(folder, path, identity), _around(folder)))


def _around(folder: Path) -> Iterator[Path]:
    around = [path for path in (folder, *folder.parents) if layout.is_experiment(path)]
    yield from around
    top = around[-1] if around else folder
    yield from layout.walk(top)
    for beside in sorted(top.parent.iterdir()):
        if layout.is_experiment(beside):
            yield from layout.walk(beside)
