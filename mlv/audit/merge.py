"""Merging two copies of a tree of experiments: what one lacks of the other is brought there, and nothing is overwritten."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

from mlv.audit import merge_files, merge_lines
from mlv.audit.activity import surroundings
from mlv.errors import InvalidArgument, NotAnExperiment
from mlv.store import blobs, claims, layout, opening
from mlv.store.files import publish
from mlv.store.identities import known_ids
from mlv.store.streams import stream_sizes


@dataclass
class Merged:
    """What was done for one experiment, or would be done."""

    source: Path
    target: Path
    is_new: bool = False
    """Whether the target had no copy of it."""
    lines: dict[str, int] = field(default_factory=dict)
    """Number of lines that were brought, by file."""
    files: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    """What should be equal in both copies, and is not; ours is as it was."""
    notes: list[str] = field(default_factory=list)

    @property
    def is_changed(self) -> bool:
        """Whether anything was brought."""
        return bool(self.is_new or self.lines or self.files)

    def to_data(self) -> dict[str, Any]:
        """A mapping for JSON."""
        return {
            "source": str(self.source), "target": str(self.target), "new": self.is_new, "lines": self.lines,
            "files": self.files, "differences": self.differences, "notes": self.notes,
        }  # fmt: skip


def merge(src: Path, dst: Path, *, dry_run: bool = False) -> Iterator[Merged]:
    """Bring what a tree holds of each experiment into another tree, one experiment after the other.

    Experiments are the same where their IDs are. Doing it again changes nothing; killed in the middle, it goes on when it is
    done again. Runs may go on in both. The source is not changed.

    Args:
        src: An experiment, or a folder with experiments at any depth.
        dst: Its copy, or a folder that may hold copies of them; made if it is missing.
        dry_run: Write nothing.

    Raises:
        NotAnExperiment: The source holds no experiment.
        InvalidArgument: Both are experiments, and not the same one; or one lies in the other.
        ExperimentBusy: Another process merges into an experiment, or redacts it.
        OSError: The target cannot be written.
    """
    _check(src, dst)
    tree = _Tree(dst)
    places: dict[Path, Path] = {}
    for source in layout.walk(src):
        target = tree.copy_of(source, _likely(src, dst, source, places))
        is_new = target is None
        target = target or tree.free(_likely(src, dst, source, places))
        places[source] = target
        yield _merged(source, target, is_new, dry_run)


def _check(src: Path, dst: Path) -> None:
    if next(layout.walk(src), None) is None:
        raise NotAnExperiment(f"{src} holds no experiment: give an experiment, or a folder with some", path=str(src))
    a, b = os.path.realpath(src), os.path.realpath(dst)
    if a == b or (a + os.sep).startswith(b + os.sep) or (b + os.sep).startswith(a + os.sep):
        raise InvalidArgument(f"{src} and {dst} are one folder, or one lies in the other: give two copies", src=src, dst=dst)
    if layout.is_experiment(dst):
        if not layout.is_experiment(src):
            raise InvalidArgument(f"{dst} is an experiment, and {src} is none: give the folder around {dst}", src=src, dst=dst)
        if not {*known_ids(src)} & {*known_ids(dst)}:
            text = f"{src} and {dst} are two different experiments: give the folder around {dst} to keep both"
            raise InvalidArgument(text, src=src, dst=dst)


def _likely(src: Path, dst: Path, source: Path, places: dict[Path, Path]) -> Path:
    """Where a copy of an experiment belongs: below the copy of the experiment around it, else at the same path."""
    around = next((folder for folder in source.parents if folder in places), None)
    if around is not None:
        return places[around] / source.relative_to(around)
    if source != src:
        return dst / source.relative_to(src)
    return dst / src.resolve().name if dst.is_dir() and not layout.is_experiment(dst) else dst


class _Tree:
    """The experiments of the target, by their IDs."""

    def __init__(self, root: Path) -> None:
        self._folders = [folder for folder in layout.walk(root) if layout.exp_id(folder)]
        self._taken: set[Path] = set()

    @cached_property
    def _by_id(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for folder in self._folders:
            found.setdefault(layout.exp_id(folder), []).append(folder)
        return found

    @cached_property
    def _by_any_id(self) -> dict[str, list[Path]]:
        """As `_by_id`, with the IDs from before meta.json was redacted: their logs have to be looked through."""
        found: dict[str, list[Path]] = {}
        for folder in self._folders:
            for identity in known_ids(folder):
                found.setdefault(identity, []).append(folder)
        return found

    def copy_of(self, source: Path, likely: Path) -> Path | None:
        """The copy of an experiment, that at the likely place before others; None if there is none."""
        found = self._by_id.get(layout.exp_id(source))
        if found is None:
            found = next((self._by_any_id[one] for one in known_ids(source) if one in self._by_any_id), [])
        return likely if likely in found else next(iter(found), None)

    def free(self, likely: Path) -> Path:
        """A place for a new copy: the likely one, or one with a suffix where that is taken."""
        for number in count():
            place = likely if number == 0 else likely.with_name(f"{likely.name}_{number}")
            if place not in self._taken and not _is_taken(place):
                self._taken.add(place)
                return place
        raise AssertionError("count() does not end")


def _is_taken(place: Path) -> bool:
    """Whether a folder cannot become an experiment: an empty one can, as can one that holds experiments only."""
    return os.path.lexists(place) and not (place.is_dir() and not any(place.iterdir()))


def _merged(source: Path, target: Path, is_new: bool, dry_run: bool) -> Merged:
    done = Merged(source, target, is_new)
    if (source / layout.META).is_symlink():
        done.differences.append(f"{source / layout.META} is a symbolic link, which may lead anywhere: nothing is brought")
        return done
    if dry_run:
        _bring(source, target, done, dry_run=True)
    elif is_new:
        _make(source, target, done)
    else:
        with claims.changing(target):
            _bring(source, target, done, dry_run=False)
    return done


def _make(source: Path, target: Path, done: Merged) -> None:
    """Make a new copy beside its place, and move it there when it is whole."""
    temporary = blobs.temporary_beside(target)
    try:
        temporary.mkdir()
        meta = opening.content(source / layout.META)
        publish(temporary / layout.META, meta, (source / layout.META).stat().st_mode & 0o777)
        _bring(source, temporary, done, dry_run=False)
        if target.is_dir():
            target.rmdir()  # it is empty
        blobs.move_into_place(temporary, target, is_new=True)
    finally:
        blobs.remove(temporary)


def _bring(source: Path, target: Path, done: Merged, *, dry_run: bool) -> None:
    """Bring the files, then the lines that speak of them; lines that came since the sizes were looked at come next time."""
    before = surroundings(source)
    sizes = {stream: size for stream, size in stream_sizes(source).items() if not _is_link(source, stream, done)}
    _compare_meta(source, target, done)
    ours = merge_lines.sources(target, stream_sizes(target)) if target.is_dir() else {}
    found = [
        merge_lines.missing(stream, theirs, ours.get(stream, []))
        for stream, theirs in merge_lines.sources(source, sizes).items()
    ]
    brought = merge_files.bring(source, target, may_change=before.may_change, dry_run=dry_run)
    done.files += brought.files
    for what in found:
        done.differences += what.differences
        done.notes += [note for note in what.notes if note not in done.notes]
        if what.lines:
            stream = merge_lines.place_for(target, what.stream) if dry_run else merge_lines.bring(target, what)
            done.lines[layout.stream_file(stream)] = what.lines
    done.differences += brought.differences
    done.notes += brought.notes
    if not dry_run:
        merge_lines.let_go(target)


def _is_link(source: Path, stream: str, done: Merged) -> bool:
    path = source / layout.stream_file(stream)
    if path.is_symlink():
        done.differences.append(f"{path} is a symbolic link, which may lead anywhere: no line is brought from it")
        return True
    return False


def _compare_meta(source: Path, target: Path, done: Merged) -> None:
    theirs, ours = layout.exp_id(source), layout.exp_id(target)
    if not ours or theirs == ours:
        return
    if theirs in known_ids(target):
        done.notes.append(f"{layout.META} was redacted here, and not in the copy that was merged: redact it too")
    else:
        done.differences.append(f"{layout.META} was redacted there, and ours was not: redact it too")
