"""From the objects of a root to its experiments: which segments, files and marks belong to each. Pure."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from mlv import words
from mlv.bucket import names
from mlv.bucket.names import Segment, Whole
from mlv.bucket.segments import end
from mlv.bucket.store import StoredObject
from mlv.store import attached, layout

PLAIN = "plain"
"""The copy that a stream's file as such makes up, as `aws s3 sync` and `rclone copy` lay it there."""
LONGEST_PATH = 1024
"""Bytes of a key: as many as S3 has, and fewer than any file system takes."""
_LONGEST_NAME = 255


class Version(NamedTuple):
    """One content of a file."""

    sha256: str
    """Empty for the one that was published first."""
    key: str
    size: int
    modified: float


@dataclass
class ListedExperiment:
    """The objects of one experiment; their keys are those below it, whatever root was listed."""

    path: str
    """Below the root; empty for the root itself."""
    metas: list[StoredObject] = field(default_factory=list)
    """Versions of its meta.json, in the order of time: a redaction makes a new one."""
    segments: dict[tuple[str, str], dict[Segment, StoredObject]] = field(default_factory=dict)
    """By stream and copy."""
    plain: dict[str, StoredObject] = field(default_factory=dict)
    """Files of streams that are there as such."""
    files: dict[str, list[Version]] = field(default_factory=dict)
    """By path in the experiment, in the order of time."""
    wholes: set[Whole] = field(default_factory=set)

    @property
    def copies(self) -> set[str]:
        """The copies that shipped lines."""
        return {copy for _, copy in self.segments} | ({PLAIN} if self.plain else set())

    @property
    def is_whole(self) -> bool:
        """Whether nothing more is on its way: a copy has shipped its seal, all its lines and files, and no other is longer.

        The copy of a node that died never becomes whole; that of the run that went on elsewhere holds what it had shipped.
        """
        if self.copies == {PLAIN}:
            return True
        ends = {copy: self._ends(copy) for copy in self.copies}
        whole = [ends.pop(mark.copy) for mark in self.wholes if mark.size == sum(ends.get(mark.copy, {}).values()) != 0]
        return bool(whole) and not any(
            end > max(other.get(stream, 0) for other in whole) for own in ends.values() for stream, end in own.items()
        )

    @property
    def lost(self) -> dict[str, int]:
        """By copy, the bytes that were there when it was marked as whole, and are not any more; no copy holds all instead."""
        lacking = {mark.copy: mark.size - sum(self._ends(mark.copy).values()) for mark in sorted(self.wholes)}
        return {} if self.is_whole else {copy: size for copy, size in lacking.items() if size > 0}

    @property
    def losses(self) -> list[str]:
        """A sentence on each copy of `lost`."""
        return [
            f"the copy {copy} was shipped whole, and {words.size(size)} of its lines are not there any more: restore them"
            for copy, size in self.lost.items()
        ]

    def _ends(self, copy: str) -> dict[str, int]:
        """Return the bytes of each stream that a copy has shipped."""
        if copy == PLAIN:
            return {stream: stored.size for stream, stored in self.plain.items()}
        return {stream: end(held) for (stream, name), held in self.segments.items() if name == copy}


class Listed(NamedTuple):
    """The experiments below a root, and the keys that no reader can use."""

    experiments: dict[str, ListedExperiment]
    """By path."""
    problems: list[str]
    has_table: bool
    """Whether a Delta table lies there."""


def listed(objects: Iterable[StoredObject]) -> Listed:
    """Group the objects below a root by experiment.

    An experiment is a folder with a meta.json, as on a disk; one among the files or checkpoints of another is a file of that.
    Objects that belong to none are passed over.
    """
    everything = list(objects)
    problems: list[str] = []
    safe = [stored for stored in everything if _is_usable(stored.key, problems.append)]
    around = _folders_around(safe)
    # A browser of buckets marks a folder by an empty object, `files/plots/`, whose name comes without the slash.
    safe = [stored for stored in safe if stored.size or stored.key not in around]
    # Also of a version alone: somebody deleted the former one, as its redaction asked for.
    metas = (names.version_of(stored.key)[0] for stored in safe if layout.META in stored.key)
    folders = {_folder(path) for path in metas if _is_meta(path)}
    heads = {folder for folder in folders if not _is_kept(folder, folders)}
    for head in sorted(head for head in heads if _is_in_a_file(head, folders)):
        heads.remove(head)
        problems.append(f"the experiment {head[:300]!r} is passed over: another one has a file at its path")
    experiments = {head: ListedExperiment(head) for head in sorted(heads)}
    owners: dict[str, str | None] = {}
    for stored in safe:
        folder = _folder(stored.key)
        if folder not in owners:
            owners[folder] = _owner(folder, heads)
        owner = owners[folder]
        if owner is not None:
            key = stored.key[len(owner) + 1 :] if owner else stored.key
            _take(experiments[owner], stored._replace(key=key))
    for experiment in experiments.values():
        experiment.metas.sort(key=lambda stored: stored.modified)
        for versions in experiment.files.values():
            versions.sort(key=lambda version: version.modified)
    return Listed(experiments, problems, any("_delta_log/" in stored.key for stored in everything))


def _folder(key: str) -> str:
    return key.rpartition("/")[0]


def _folders_around(objects: Iterable[StoredObject]) -> set[str]:
    """Return the keys below which objects lie."""
    folders: set[str] = set()
    for folder in {_folder(stored.key) for stored in objects}:
        while folder and folder not in folders:
            folders.add(folder)
            folder = _folder(folder)
    return folders


def _is_meta(key: str) -> bool:
    return key == layout.META or key.endswith(f"/{layout.META}")


def _is_usable(key: str, complain: Callable[[str], object]) -> bool:
    """Return whether a key is the path of a file below the mirror; complain where it would be one elsewhere."""
    problem = problem_of_key(key)
    if problem:
        complain(f"the object {key[:300]!r} is passed over: {problem}")
    return not problem


def problem_of_key(key: str) -> str:
    """Return why a key is not the path of a file on every system, empty where it is."""
    parts = key.split("/")
    if len(key.encode("utf-8", "surrogatepass")) > LONGEST_PATH:
        return f"its key is longer than {LONGEST_PATH} bytes"
    if any(part in ("", ".", "..") for part in parts):
        return "its key is no path of a file"
    if "\\" in key or any(os.path.splitdrive(part)[0] for part in parts):
        return "a part of its key would lead elsewhere on some systems"
    if any(ord(character) < 32 or ord(character) == 127 or "\ud800" <= character <= "\udfff" for character in key):
        return "its key holds a control character"
    if any(len(part.encode()) > _LONGEST_NAME for part in parts):
        return f"a part of its key is longer than {_LONGEST_NAME} bytes, and no file system takes such a name"
    return layout.problem_of_locale(key)


def _is_kept(folder: str, folders: set[str]) -> bool:
    """Return whether a folder with a meta.json lies among the files of an experiment, or in the housekeeping."""
    return any(name == layout.HOUSEKEEPING or (outer in folders and name in layout.KEEPING) for outer, name in _around(folder))


def _around(folder: str) -> list[tuple[str, str]]:
    """Return each folder around a folder, with the name in it that leads there."""
    parts = folder.split("/") if folder else []
    return [("/".join(parts[:count]), parts[count]) for count in range(len(parts))]


def _is_in_a_file(folder: str, folders: set[str]) -> bool:
    """Return whether a folder has the path of the meta.json or of a stream of an experiment around it, or lies below one."""
    return any(outer in folders and (name == layout.META or layout.stream_of(name)) for outer, name in _around(folder))


def _owner(folder: str, heads: set[str]) -> str | None:
    """Return the innermost experiment around a folder."""
    while folder not in heads:
        if not folder:
            return None
        folder = _folder(folder)
    return folder


def _take(experiment: ListedExperiment, stored: StoredObject) -> None:
    key = stored.key
    stream = layout.stream_of(key)
    if (segment := names.segment_of(key)) is not None:
        experiment.segments.setdefault((segment.stream, segment.copy), {})[segment] = stored
    elif (whole := names.whole_of(key)) is not None:
        experiment.wholes.add(whole)
    elif stream is not None and "/" not in key and not key.startswith("."):
        if stream:
            experiment.plain[stream] = stored
    else:
        path, sha256 = names.version_of(key)
        if path == layout.META:
            experiment.metas.append(stored)
        elif attached.is_inside(path) and not _is_of_another(key):
            experiment.files.setdefault(path, []).append(Version(sha256, key, stored.size, stored.modified))


def _is_of_another(key: str) -> bool:
    """Return whether a key is one of lines of an experiment further down, whose meta.json has not arrived."""
    parts = key.split("/")
    is_lines = names.segment_of("/".join(parts[-3:])) is not None or layout.stream_of(parts[-1]) is not None
    return is_lines and parts[0] not in layout.KEEPING
