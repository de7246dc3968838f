"""One experiment of a mirror: its meta.json, lines and files as a bucket holds them, brought into an ordinary folder.

New lines are added to those that are here. Where the state does not fit the folder, or the bucket holds less than before, as
after a redaction, the folder is built anew and takes the place of the former one file by file.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlv.bucket.contents import DamagedSegment, ExperimentObjects, lines_of
from mlv.bucket.listing import PLAIN, ListedExperiment
from mlv.bucket.mirror_state import MirrorState, read_state, write_state
from mlv.bucket.mirrored_files import MirroredFiles, remove_files
from mlv.bucket.mirrored_lines import MirroredLines, RedactedCopy
from mlv.bucket.names import Segment
from mlv.bucket.segments import end
from mlv.bucket.store import StoredObject
from mlv.digests import sha256
from mlv.errors import BucketError
from mlv.store import layout, opening
from mlv.store.meta import meta_of
from mlv.store.streams import stream_sizes


class ShrunkListing(Exception):
    """A listing holds less of a copy than was taken in: segments are being merged, or something was removed."""


class MirroredExperiment:
    """The folder of one experiment in a mirror, for the one process that brings it up to date."""

    def __init__(
        self, objects: ExperimentObjects, tree: Path, path: str, state_path: Path, scratch: Callable[[], Path]
    ) -> None:
        """Prepare to write into a tree.

        Args:
            objects: Those of the experiment in the bucket.
            tree: The folder of the mirror that holds all experiments.
            path: That of the experiment in the tree.
            state_path: The file for the state.
            scratch: Makes an empty folder on the same file system.
        """
        self._objects, self._tree, self._path, self._folder = objects, tree, path, tree / path
        self._state_path, self._scratch = state_path, scratch

    def current(self, there: ListedExperiment) -> MirrorState | None:
        """Return the state, if nothing is new in a listing and the folder is as it was left; else None. Nothing is changed."""
        state = read_state(self._state_path)
        return state if state is not None and state.listing == _digest_of(there) and self._fits(state) else None

    def update(self, there: ListedExperiment, *, is_sure: bool) -> MirrorState:
        """Take in what is new in a listing.

        Args:
            there: The listing.
            is_sure: Whether a listing that holds less than before is believed.

        Raises:
            ShrunkListing: It holds less, and is not sure.
            NoSuchObject: An object went away since it was listed.
            BucketError: The store does not answer, or refuses.
            OSError: The mirror cannot be written.
        """
        state, digest = read_state(self._state_path), _digest_of(there)
        if state is not None and not self._fits(state):
            state = None
        if state is not None and state.listing == digest:
            return state
        if there.lost and not is_sure:
            raise ShrunkListing(there.path)
        if state is not None:
            self._compare_changed(state, there)
            if self._holds_less(state, there) and not is_sure:
                raise ShrunkListing(there.path)
        meta = self._new_meta(state, there)
        try:
            if state is None or meta is not None or self._holds_less(state, there) or self._plain_changed(state, there):
                state = self._rebuilt(there, meta, state)
            else:
                self._take_into_place(state, there)
        except RedactedCopy:
            state = self._rebuilt(there, meta, state)
        MirroredFiles(self._objects, self._tree, self._folder, state).note(there)
        state.losses = there.losses
        self._save(state, digest, is_whole=there.is_whole)
        return state

    def _save(self, state: MirrorState, listing: str, *, is_whole: bool) -> None:
        """Write the state, last of all: a process that dies before leaves one that does not fit the folder."""
        state.listing, state.is_whole = listing, is_whole
        state.sizes = stream_sizes(self._folder)
        write_state(self._state_path, state)

    def _take_into_place(self, state: MirrorState, there: ListedExperiment) -> None:
        try:
            self._lines(self._folder, state, there, is_new=False).bring()
        except BucketError:
            # Lines that came before the store went away need not be fetched again.
            self._save(state, "", is_whole=False)
            raise

    def _lines(self, folder: Path, state: MirrorState, there: ListedExperiment, *, is_new: bool) -> MirroredLines:
        return MirroredLines(self._objects, folder, state, there, self._scratch, is_new=is_new)

    def _fits(self, state: MirrorState) -> bool:
        """Return whether the folder is as the state describes it."""
        try:
            return stream_sizes(self._folder) == state.sizes and layout.exp_id(self._folder) == state.id
        except OSError:
            return False

    # What changed there.

    def _new_meta(self, state: MirrorState | None, there: ListedExperiment) -> bytes | None:
        """Return the content of meta.json, None where it is here."""
        stored = there.metas[-1]
        if state is not None and state.meta == _stamp(stored):
            return None
        content = self._objects.get(stored)
        if state is None:
            return content
        state.refused.pop(layout.META, None)
        problem = _problem_of_meta(content)
        if problem:  # the one that is here stays
            state.refused[layout.META] = [stored.size, stored.modified, f"it was overwritten since it was read, and {problem}"]
        if problem or sha256(content).hexdigest() == state.id:
            state.meta = _stamp(stored)
            return None
        return content

    def _compare_changed(self, state: MirrorState, there: ListedExperiment) -> None:
        """Read objects again that have another size or time than when they were read: none should ever change."""
        held = {stored.key: (segment, stored) for own in there.segments.values() for segment, stored in own.items()}
        for key, (size, modified, _) in list(state.refused.items()):
            if key == layout.META:
                continue  # of which the next step judges
            if key not in held or _stamp(held[key][1]) != [key, size, modified]:
                state.refused.pop(key)
        for key, (size, modified, digest) in list(state.objects.items()):
            if key not in held:
                if key not in {stored.key for stored in there.plain.values()}:
                    state.objects.pop(key)  # merged into a larger one
                continue
            segment, stored = held[key]
            if [stored.size, stored.modified] != [size, modified]:
                if problem := self._problem_of(segment, stored, digest):
                    state.refused[key] = [stored.size, stored.modified, problem]
                state.objects[key] = [stored.size, stored.modified, digest]

    def _problem_of(self, segment: Segment, stored: StoredObject, digest: str) -> str:
        """Read an object again; return why it is not what it was, empty where it is."""
        content = sha256()
        try:
            for chunk in lines_of(segment, self._objects.chunks(stored)):
                content.update(chunk)
        except DamagedSegment as error:
            return f"it was overwritten since it was read, and {error}"
        return "" if content.hexdigest() == digest else "it was overwritten since it was read, with other lines"

    @staticmethod
    def _holds_less(state: MirrorState, there: ListedExperiment) -> bool:
        # By the names alone: lines that were read from an object that was damaged since stay.
        ends = {f"{stream}/{copy}": end(held) for (stream, copy), held in there.segments.items()}
        ends.update({f"{stream}/{PLAIN}": stored.size for stream, stored in there.plain.items()})
        return any(position > ends.get(name, 0) for name, position in state.positions.items())

    def _plain_changed(self, state: MirrorState, there: ListedExperiment) -> bool:
        """Return whether the file of a stream as such, which may be replaced at any time, is another one now."""
        taken = [(state.objects[stored.key], stored) for stored in there.plain.values() if stored.key in state.objects]
        return any(earlier[:2] != [stored.size, stored.modified] for earlier, stored in taken)

    # Building.

    def _rebuilt(self, there: ListedExperiment, meta: bytes | None, before: MirrorState | None) -> MirrorState:
        """Build the folder anew beside its path, and put it there."""
        if meta is None:
            meta = opening.content(self._folder / layout.META)
        state = MirrorState(self._path)
        state.meta, state.id = _stamp(there.metas[-1]), sha256(meta).hexdigest()
        if before is not None:
            state.refused = dict(before.refused)
        if problem := _problem_of_meta(meta):
            state.refused[layout.META] = [*state.meta[1:], problem]
        building = self._scratch()
        try:
            with opening.new(building / layout.META) as file:
                file.write(meta)
            try:
                self._lines(building, state, there, is_new=True).bring()
            except BucketError:
                if before is None:  # the beginning of a log that was not here: the rest comes next time
                    self._put(building, kept=())
                    self._save(state, "", is_whole=False)
                raise
            self._put(building, kept=before.brought if before is not None else ())
        finally:
            shutil.rmtree(building, ignore_errors=True)
        if before is not None:
            state.brought = before.brought
        return state

    def _put(self, building: Path, *, kept: Collection[str]) -> None:
        """Put the files of the new folder in the place of the former ones; meta.json last, which makes it an experiment.

        Of the files beside them those are kept that a state tells of: any other may hold what was redacted since.
        """
        # From here until a state is written there is none: what a process that dies now leaves is built anew.
        with suppress(FileNotFoundError):
            self._state_path.unlink()
        opening.make_folders(self._tree, self._folder)
        remove_files(self._folder, kept)
        new = layout.streams_in(building)
        for stream in layout.streams_in(self._folder):
            if stream not in new:
                (self._folder / layout.stream_file(stream)).unlink()
        shutil.rmtree(self._folder / layout.HOUSEKEEPING, ignore_errors=True)
        if (building / layout.HOUSEKEEPING).is_dir():
            os.rename(building / layout.HOUSEKEEPING, self._folder / layout.HOUSEKEEPING)
        for name in [*map(layout.stream_file, new), layout.META]:
            os.replace(building / name, self._folder / name)


def _problem_of_meta(content: bytes) -> str:
    """Return why a meta.json cannot be read; empty where it can."""
    try:
        meta_of(content)
    except (ValueError, RecursionError) as error:
        return f"{error}: restore it from a copy"
    return ""


def _stamp(stored: StoredObject) -> list[Any]:
    return [stored.key, stored.size, stored.modified]


def _digest_of(there: ListedExperiment) -> str:
    """Return a digest of everything that a listing holds of an experiment."""
    own = [
        there.metas, sorted(map(repr, there.plain.values())), sorted(map(repr, there.wholes)), sorted(there.files.items()),
        sorted(repr(stored) for held in there.segments.values() for stored in held.values()),
    ]  # fmt: skip
    return sha256(repr(own).encode("utf-8", "backslashreplace")).hexdigest()
