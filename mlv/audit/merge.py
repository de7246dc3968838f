"""Merge two copies of a tree of experiments: lines and files that the target lacks are copied, nothing is overwritten."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

from mlv.audit import merge_files, merge_lines
from mlv.audit.activity import surroundings
from mlv.encoding import canonical, loads
from mlv.errors import InvalidArgument, NotAnExperiment
from mlv.store import blobs, claims, layout, opening
from mlv.store.files import publish
from mlv.store.identities import known_ids
from mlv.store.streams import stream_sizes


@dataclass
class Merged:
    """The changes that a merge made to one experiment, or would make."""

    source: Path
    target: Path
    is_new: bool = False
    """Whether the target had no copy of it."""
    lines: dict[str, int] = field(default_factory=dict)
    """Number of lines that were added, by file."""
    files: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    """Lines and files that should be equal in both copies, and are not; ours stay as they were."""
    notes: list[str] = field(default_factory=list)

    @property
    def is_changed(self) -> bool:
        """Whether anything was added."""
        return bool(self.is_new or self.lines or self.files)

    def to_data(self) -> dict[str, Any]:
        """Return a mapping for JSON."""
        return {
            "source": str(self.source), "target": str(self.target), "new": self.is_new, "lines": self.lines,
            "files": self.files, "differences": self.differences, "notes": self.notes,
        }  # fmt: skip


def merge(src: Path, dst: Path, *, dry_run: bool = False, chosen: Collection[Path] | None = None) -> Iterator[Merged]:
    """Merge each experiment of a tree into its copy in another tree, one after the other.

    Two experiments are copies of each other if they have the same ID. A second merge changes nothing. A merge that was killed
    is completed by the next one. Runs may go on in both. The source is not changed.

    Args:
        src: An experiment, or a folder with experiments at any depth.
        dst: Its copy, or a folder that may hold copies of them; made if it is missing.
        dry_run: Write nothing.
        chosen: Only these of the source; None takes all.

    Raises:
        NotAnExperiment: The source holds no experiment.
        InvalidArgument: Both are experiments, and not the same one; or one lies in the other.
        ExperimentBusy: Another process merges into an experiment, or redacts it.
        OSError: The target cannot be written.
    """
    _check(src, dst)
    tree = Tree(dst)
    targets: dict[Path, Path] = {}
    for source in layout.walk(src):
        if chosen is not None and source not in chosen:
            continue
        target = tree.copy_of(source, _expected_target(src, dst, source, targets))
        is_new = target is None
        target = target or tree.free(_expected_target(src, dst, source, targets))
        targets[source] = target
        yield _merged(source, target, is_new, dry_run)


def _check(src: Path, dst: Path) -> None:
    for folder in (src, dst):
        if os.path.lexists(folder) and not folder.is_dir():
            raise InvalidArgument(f"{folder} is no folder: give an experiment, or a folder with some", src=src, dst=dst)
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


def _expected_target(src: Path, dst: Path, source: Path, targets: dict[Path, Path]) -> Path:
    """Return the path where a copy of an experiment belongs: below the copy of its parent, else at the same path."""
    around = next((folder for folder in source.parents if folder in targets), None)
    if around is not None:
        return targets[around] / source.relative_to(around)
    if source != src:
        return dst / source.relative_to(src)
    return dst / src.resolve().name if dst.is_dir() and not layout.is_experiment(dst) else dst


class Tree:
    """The experiments of a tree that others are brought into, by their IDs."""

    def __init__(self, root: Path) -> None:
        """Look for the experiments at and below a folder."""
        self.root = root
        self._folders = [folder for folder in layout.walk(root) if layout.exp_id(folder)]
        self._reserved: set[Path] = set()

    @cached_property
    def _by_id(self) -> dict[str, list[Path]]:
        folders_of: dict[str, list[Path]] = {}
        for folder in self._folders:
            folders_of.setdefault(layout.exp_id(folder), []).append(folder)
        return folders_of

    @cached_property
    def _by_any_id(self) -> dict[str, list[Path]]:
        """As `_by_id`, with the IDs from before meta.json was redacted: these need a search of the logs."""
        folders_of: dict[str, list[Path]] = {}
        for folder in self._folders:
            for identity in known_ids(folder):
                folders_of.setdefault(identity, []).append(folder)
        return folders_of

    def copy_of(self, source: Path, expected: Path) -> Path | None:
        """Return the copy of an experiment, the one at the expected path before others; None if there is none."""
        copies = self._by_id.get(layout.exp_id(source))
        if copies is None:
            copies = next((self._by_any_id[identity] for identity in known_ids(source) if identity in self._by_any_id), [])
        return expected if expected in copies else next(iter(copies), None)

    @cached_property
    def _by_source(self) -> dict[bytes, list[Path]]:
        """Folders by the field `source` of their meta.json, which importers write."""
        folders_of: dict[bytes, list[Path]] = {}
        for folder in self._folders:
            source = _source_of(folder)
            if source:
                folders_of.setdefault(canonical(source, {}), []).append(folder)
        return folders_of

    def imported_from(self, source: Mapping[str, Any], expected: Path) -> Path | None:
        """Return the experiment that was imported from a source, the one at the expected path first; None if none was."""
        folders = self._by_source.get(canonical(source, {}), [])
        return expected if expected in folders else next(iter(folders), None)

    def add(self, folder: Path) -> None:
        """Note an experiment that was made meanwhile."""
        for folders_of in (self._by_id, self._by_any_id):
            folders_of.setdefault(layout.exp_id(folder), []).append(folder)
        source = _source_of(folder)
        if source:
            self._by_source.setdefault(canonical(source, {}), []).append(folder)

    def free(self, expected: Path) -> Path:
        """Return the path for a new copy: the expected one, with a suffix where that is taken."""
        for number in count():
            folder = expected if number == 0 else expected.with_name(f"{expected.name}_{number}")
            if folder not in self._reserved and not _is_taken(folder):
                self._reserved.add(folder)
                return folder
        raise AssertionError("count() does not end")


def _source_of(folder: Path) -> Any:
    """Return the field `source` of a meta.json, None where there is none."""
    try:
        content = loads(opening.content(folder / layout.META))
        return content.get("source") if isinstance(content, dict) else None
    except (OSError, ValueError, RecursionError):
        return None


def _is_taken(folder: Path) -> bool:
    """Return whether a path cannot become an experiment: only a missing one, or an empty folder, can."""
    return os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir()))


def bring_into(source: Path, target: Path) -> Merged:
    """Merge one experiment into its copy.

    Raises:
        ExperimentBusy: Another process merges into it, or redacts it.
        OSError: It cannot be written.
    """
    return _merged(source, target, is_new=False, dry_run=False)


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
    """Make a new copy beside its final path, and move it there when it is whole."""
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
    """Copy the files, then the lines that refer to them; lines written after the sizes were read wait for the next merge."""
    before = surroundings(source)
    # Before the files are copied: lines up to here refer to files that are there by now.
    sizes = {stream: size for stream, size in stream_sizes(source).items() if not _is_link(source, stream, done)}
    _compare_meta(source, target, done)
    ours = merge_lines.sources(target, stream_sizes(target)) if target.is_dir() else {}
    absent = [
        merge_lines.missing(stream, theirs, ours.get(stream, []))
        for stream, theirs in merge_lines.sources(source, sizes).items()
    ]
    # Files first: a merge that is interrupted leaves no line that refers to nothing.
    brought = merge_files.bring(source, target, may_change=before.may_change, dry_run=dry_run)
    done.files += brought.files
    for lacking in absent:
        done.differences += lacking.differences
        done.notes += [note for note in lacking.notes if note not in done.notes]
        if lacking.lines:
            stream = merge_lines.stream_for(target, lacking.stream) if dry_run else merge_lines.bring(target, lacking)
            done.lines[layout.stream_file(stream)] = lacking.lines
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
