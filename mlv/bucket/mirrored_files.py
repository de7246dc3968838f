"""The files of one experiment of a mirror: fetched when somebody asks for them, in the version that was published last."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mlv.audit.file_history import History
from mlv.audit.merge_files import file_histories, files_of
from mlv.bucket.contents import ExperimentObjects
from mlv.bucket.listing import ListedExperiment, Version
from mlv.bucket.mirror_state import MirrorState
from mlv.digests import sha256
from mlv.errors import MlvError, NoSuchObject
from mlv.store import blobs, opening

_OF_A_NAME = (
    errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP, errno.EILSEQ
)  # fmt: skip
"""Errors about one path: something else stands there, or it is none of this system."""


def without_path(name: str, error: OSError) -> str:
    """Return the notice that something has no path in the mirror, where an error says so; raises any other one."""
    if isinstance(error, MlvError) or error.errno not in _OF_A_NAME:
        raise error
    return f"{name} is passed over: it has no path in the mirror ({error})"


class _Request(NamedTuple):
    """A file to fetch."""

    path: str
    version: Version
    sha256: str | None
    """Of its content, where that is known."""


class MirroredFiles:
    """The files of an experiment in a mirror, for the one process that brings it up to date."""

    def __init__(self, objects: ExperimentObjects, tree: Path, folder: Path, state: MirrorState) -> None:
        self._objects, self._tree, self._folder, self._state = objects, tree, folder, state

    def bring(self, paths: Collection[str] | None, threads: Executor) -> list[str]:
        """Bring the files that are not here, and note them in the state; return a notice for each that cannot be had.

        Args:
            paths: Files, or folders of files; None takes all.
            threads: For requests, several at once.

        Raises:
            BucketError: The store does not answer, or refuses.
            OSError: The mirror cannot be written.
        """
        history_of = file_histories(self._folder)
        listed = {path: [Version(*version) for version in versions] for path, versions in self._state.files.items()}
        requests = [
            _Request(path, *_latest(versions, history_of.get(path)))
            for path, versions in listed.items()
            if _is_chosen(path, paths) and not _is_let_go(path, history_of)
        ]
        lacking = [request for request in requests if not self._is_here(request)]
        notices = []
        for request, notice in zip(lacking, threads.map(self._fetch, lacking), strict=True):
            if notice:
                notices.append(notice)
            else:
                self._state.brought[request.path] = [*request.version]
        return [*notices, *self._unlisted(paths, listed, history_of)]

    def note(self, there: ListedExperiment) -> None:
        """Note the files that are there, and remove those here that are not there any more, or were published again since."""
        state = self._state
        state.files = {path: [[*version] for version in versions] for path, versions in there.files.items()}
        several = [path for path in state.brought if len(there.files.get(path, ())) > 1]
        history_of = file_histories(self._folder) if several else {}
        for path, version in list(state.brought.items()):
            versions = there.files.get(path)
            if not versions or version != [*_latest(versions, history_of.get(path))[0]]:
                with suppress(FileNotFoundError):
                    (self._folder / path).unlink()
                state.brought.pop(path)

    def _unlisted(
        self, paths: Collection[str] | None, listed: Collection[str], history_of: Mapping[str, History]
    ) -> Iterator[str]:
        """Yield a notice for each file that the log names, and the bucket has not."""
        for path, history in history_of.items():
            is_there = path in listed or any(other.startswith(f"{path}/") for other in listed)
            if _is_chosen(path, paths) and not history.is_let_go and not is_there:
                yield f"{path} {self._absence}"

    @property
    def _absence(self) -> str:
        return "is not in the bucket" if self._state.is_whole else "is not shipped yet"

    def _is_here(self, request: _Request) -> bool:
        with suppress(OSError):
            size = (self._folder / request.path).stat().st_size
            return self._state.brought.get(request.path) == [*request.version] and size == request.version.size
        return False

    def _fetch(self, request: _Request) -> str:
        """Bring a file; return why it cannot be had, an empty text where it is here now."""
        version, path = request.version, self._folder / request.path
        try:
            opening.make_folders(self._tree, path.parent)
            temporary = blobs.temporary_beside(path)
            try:
                digest = self._write(temporary, version)
                if request.sha256 is not None and digest != request.sha256:
                    return self._refused(request)
                os.utime(temporary, (version.modified, version.modified))
                os.replace(temporary, path)
            finally:
                blobs.remove(temporary)
        except NoSuchObject:
            return f"{version.key} was removed from the bucket a moment ago"
        except OSError as error:
            return without_path(version.key, error)
        return ""

    def _write(self, path: Path, version: Version) -> str:
        digest = sha256()
        with opening.new(path) as file:
            for chunk in self._objects.chunks(version):
                digest.update(chunk)
                file.write(chunk)
        return digest.hexdigest()

    def _refused(self, request: _Request) -> str:
        if request.version.sha256 or self._state.is_whole:
            return f"{request.version.key} is passed over: it holds other bytes than were published"
        return f"{request.path}: the version that was published last is not shipped yet"


def _latest(versions: Sequence[Version], history: History | None) -> tuple[Version, str | None]:
    """Return the version that was published last, as far as it is in the bucket, and the SHA-256 that it should have."""
    expected = history.latest.sha256 if history is not None else None
    if expected is None:
        return versions[-1], versions[-1].sha256 or None
    exact = [version for version in versions if version.sha256 == expected]
    first = [version for version in versions if not version.sha256]
    return (exact or first or versions)[-1], expected


def _is_chosen(path: str, paths: Collection[str] | None) -> bool:
    return paths is None or any(path == each or path.startswith(f"{each}/") for each in paths)


def _is_let_go(path: str, history_of: Mapping[str, History]) -> bool:
    """Return whether a file, or a folder around it that was published as a whole, was removed or redacted away."""
    parts = path.split("/")
    histories = (history_of.get("/".join(parts[:count])) for count in range(1, len(parts) + 1))
    return any(history is not None and history.is_let_go for history in histories)


def remove_files(folder: Path, kept: Collection[str] = ()) -> None:
    """Remove the files and checkpoints of an experiment in a mirror but those kept, not its lines, nor what lies below it."""
    for path in list(files_of(folder, unfinished=True)) if folder.is_dir() else ():
        if path not in kept:
            with suppress(FileNotFoundError):
                (folder / path).unlink()
