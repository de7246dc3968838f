"""One experiment of a mirror: its meta.json and lines as a bucket holds them, brought into an ordinary folder.

Lines of one copy are appended as they are; those of several are united by the code of `mlv merge`. The state beside the mirror
holds what was read of which object. Where it does not fit the folder, or the bucket holds less than before, as after a
redaction, the folder is built anew and takes the place of the former one file by file.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from mlv.audit import merge_lines
from mlv.audit.file_history import History
from mlv.audit.merge_files import file_histories, files_of
from mlv.audit.merge_lines import LineSpan
from mlv.bucket.contents import DamagedSegment, ExperimentObjects, lines_of
from mlv.bucket.listing import PLAIN, ListedExperiment, Version
from mlv.bucket.names import Segment
from mlv.bucket.segments import SegmentSlice, chain, end
from mlv.bucket.store import StoredObject
from mlv.digests import sha256
from mlv.errors import BucketError
from mlv.store import blobs, layout, opening
from mlv.store.streams import stream_sizes, whole_end

_FORM = 1


@dataclass
class MirrorState:
    """The objects of one experiment that a mirror has taken in."""

    path: str
    """Below the root of the mirror."""
    form: int = _FORM
    listing: str = ""
    """Digest of the listing that was taken in last."""
    meta: list[Any] = field(default_factory=list)
    """Key, size and time of the object."""
    id: str = ""
    sizes: dict[str, int] = field(default_factory=dict)
    """Of each stream's file here."""
    positions: dict[str, int] = field(default_factory=dict)
    """Bytes that were taken in of each `STREAM/COPY`."""
    objects: dict[str, list[Any]] = field(default_factory=dict)
    """Size, time and SHA-256 of the content of each object with lines that was taken in."""
    refused: dict[str, list[Any]] = field(default_factory=dict)
    """Size and time of each object that was passed over, and why."""
    differences: list[str] = field(default_factory=list)
    """Between copies."""
    united: list[str] = field(default_factory=list)
    """Streams that hold lines of several copies."""
    first: list[str] = field(default_factory=list)
    """Copies that were redacted, and go before the others."""
    files: dict[str, list[list[Any]]] = field(default_factory=dict)
    """Versions of each file in the bucket."""
    brought: dict[str, list[Any]] = field(default_factory=dict)
    """The version of each file that is here."""
    is_whole: bool = False
    losses: list[str] = field(default_factory=list)
    """Of copies that were whole once."""

    def notices(self, url: str) -> list[str]:
        """Return a sentence on each object below a URL that was passed over, each difference between copies, and each loss."""
        refused = [f"{url}/{key} is passed over: {why}" for key, (_, _, why) in self.refused.items()]
        return [*refused, *(f"{url}: {text}" for text in [*self.differences, *self.losses])]


def write_state(path: Path, state: MirrorState) -> None:
    """Write the state into a file.

    Raises:
        OSError: It cannot be written; the former one stands.
    """
    blobs.replace_whole(path, orjson.dumps(asdict(state)))


def read_state(path: Path) -> MirrorState | None:
    """Read the state in a file; None where there is none, or one of another form."""
    try:
        data = opening.json_content(path)
        state = MirrorState(**{name.name: data[name.name] for name in fields(MirrorState)})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return state if state.form == _FORM else None


def remove_files(folder: Path, kept: Collection[str] = ()) -> None:
    """Remove the files and checkpoints of an experiment in a mirror but those kept, not its lines, nor what lies below it."""
    for path in list(files_of(folder, unfinished=True)) if folder.is_dir() else ():
        if path not in kept:
            with suppress(FileNotFoundError):
                (folder / path).unlink()


class ShrunkListing(Exception):
    """A listing holds less of a copy than was taken in: segments are being merged, or something was removed."""


class _RedactedCopy(Exception):
    """A copy holds a redacted event that stands here as it was."""

    def __init__(self, copy: str) -> None:
        super().__init__(copy)
        self.copy = copy


class MirroredExperiment:
    """The folder of one experiment in a mirror, for the one process that brings it up to date."""

    def __init__(
        self,
        objects: ExperimentObjects,
        tree: Path,
        path: str,
        state_path: Path,
        requests: Executor,
        scratch: Callable[[], Path],
    ) -> None:
        """Prepare to write into a tree.

        Args:
            objects: Those of the experiment in the bucket.
            tree: The folder of the mirror that holds all experiments.
            path: That of the experiment in the tree.
            state_path: The file for the state.
            requests: For requests beside the one that is waited for.
            scratch: Makes an empty folder on the same file system.
        """
        self._objects, self._tree, self._path, self._folder = objects, tree, path, tree / path
        self._state_path, self._requests, self._scratch = state_path, requests, scratch

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
        except _RedactedCopy as redacted:
            first = [redacted.copy, *(state.first if state is not None else [])]
            state = self._rebuilt(there, meta, state, list(dict.fromkeys(first)))
        self._note_files(state, there)
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
            self._take(self._folder, state, there)
        except BucketError:
            # Lines that came before the store went away need not be fetched again.
            self._save(state, "", is_whole=False)
            raise

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
        if state is not None and sha256(content).hexdigest() == state.id:
            state.meta = _stamp(stored)
            return None
        return content

    def _compare_changed(self, state: MirrorState, there: ListedExperiment) -> None:
        """Read objects again that have another size or time than when they were read: none should ever change."""
        held = {stored.key: (segment, stored) for own in there.segments.values() for segment, stored in own.items()}
        for key, (size, modified, _) in list(state.refused.items()):
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

    def _usable(self, state: MirrorState, held: dict[Segment, StoredObject]) -> list[Segment]:
        """Return the segments that may be read: those taken in stay so, whatever was written over them."""
        return [segment for segment, stored in held.items() if stored.key not in state.refused or stored.key in state.objects]

    def _plain_changed(self, state: MirrorState, there: ListedExperiment) -> bool:
        """Return whether the file of a stream as such, which may be replaced at any time, is another one now."""
        taken = [(state.objects[stored.key], stored) for stored in there.plain.values() if stored.key in state.objects]
        return any(earlier[:2] != [stored.size, stored.modified] for earlier, stored in taken)

    # Building.

    def _rebuilt(
        self, there: ListedExperiment, meta: bytes | None, before: MirrorState | None, first: list[str] | None = None
    ) -> MirrorState:
        """Build the folder anew beside its path, and put it there."""
        if meta is None:
            meta = opening.content(self._folder / layout.META)
        state = MirrorState(self._path, first=first if first is not None else before.first if before is not None else [])
        state.meta, state.id = _stamp(there.metas[-1]), sha256(meta).hexdigest()
        if before is not None:
            state.refused = dict(before.refused)
        building = self._scratch()
        try:
            with opening.new(building / layout.META) as file:
                file.write(meta)
            try:
                self._take(building, state, there)
            except _RedactedCopy as redacted:
                if redacted.copy in state.first:
                    raise
                return self._rebuilt(there, meta, before, [redacted.copy, *state.first])
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

    # Lines.

    def _take(self, folder: Path, state: MirrorState, there: ListedExperiment) -> None:
        """Bring the lines that a folder lacks."""
        for stream, own in _by_logical_stream(there).items():
            copies = {copy for copy, _ in own}
            if len(copies) == 1 and stream not in state.united:
                for copy, name in own:
                    self._extend(folder / layout.stream_file(name), 0, name, copy, state, there, state.positions)
            else:
                if stream not in state.united:
                    state.united.append(stream)
                for copy in sorted(copies, key=lambda copy: _rank(copy, state.first)):
                    self._unite(folder, stream, copy, [name for other, name in own if other == copy], state, there)
        if state.united:
            merge_lines.let_go(folder)

    def _unite(
        self, folder: Path, stream: str, copy: str, streams: Sequence[str], state: MirrorState, there: ListedExperiment
    ) -> None:
        """Merge the new lines of one copy of a stream, and of those that go on beside it, into a folder."""
        scratch, positions, objects = self._scratch(), dict(state.positions), dict(state.objects)
        try:
            for name in streams:
                base = state.positions.get(f"{name}/{copy}", 0)
                self._extend(scratch / layout.stream_file(name), base, name, copy, state, there, positions)
            theirs = merge_lines.sources(scratch, stream_sizes(scratch)).get(stream, [])
            ours = merge_lines.sources(folder, stream_sizes(folder)).get(stream, [])
            lacking = merge_lines.missing(stream, theirs, ours)
            if lacking.is_redacted and copy not in state.first:
                raise _RedactedCopy(copy)
            if lacking.lines:
                merge_lines.bring(folder, lacking)
            state.differences += [self._located(text, theirs, copy, state, there) for text in lacking.differences]
            state.positions = positions
        except BaseException:
            state.objects = objects  # whose lines are not here
            raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    @staticmethod
    def _located(text: str, spans: Iterable[LineSpan], copy: str, state: MirrorState, there: ListedExperiment) -> str:
        """Return a difference with the key of the object in the place of a file that is gone."""
        for span in spans:
            stream = layout.stream_of(span.path.name) or layout.DEFAULT_STREAM
            base = state.positions.get(f"{stream}/{copy}", 0)
            match = re.search(rf"{re.escape(str(span.path))}, bytes (\d+) to (\d+)", text)
            if match is not None:
                start, held = base + int(match[1]), there.segments.get((stream, copy), {})
                keys = [stored.key for segment, stored in held.items() if segment.start <= start < segment.end]
                stored = there.plain.get(stream)
                key = keys[-1] if keys else stored.key if stored is not None else stream
                return text.replace(match[0], f"{key}, bytes {start} to {base + int(match[2])} of the copy")
        return text

    def _extend(
        self,
        path: Path,
        base: int,
        stream: str,
        copy: str,
        state: MirrorState,
        there: ListedExperiment,
        positions: dict[str, int],
    ) -> None:
        """Append the bytes of one copy of a stream that are new to a file, which begins with the byte `base` of them.

        The position behind them is noted in `positions`, segment by segment.
        """
        name = f"{stream}/{copy}"
        if copy == PLAIN:
            stored = there.plain[stream]
            if stored.key not in state.objects:
                positions[name] = self._fetch_plain(path, stored, state)
            return
        held = there.segments[stream, copy]
        while slices := chain(self._usable(state, held), positions.get(name, 0)):
            fetched = self._objects.fetched([held[each.segment] for each in slices], self._requests)
            with open(path, "ab+") as file:
                for each, chunks in zip(slices, fetched, strict=True):
                    stored = held[each.segment]
                    try:
                        digest = _append(file, base, each, lines_of(each.segment, chunks))
                    except DamagedSegment as error:
                        state.refused[stored.key] = [stored.size, stored.modified, str(error)]
                        break  # another one may cover its bytes
                    state.objects[stored.key] = [stored.size, stored.modified, digest]
                    positions[name] = each.end

    def _fetch_plain(self, path: Path, stored: StoredObject, state: MirrorState) -> int:
        """Write the whole lines of a stream's file as such; return their number of bytes."""
        with opening.new(path) as file:
            for chunk in self._objects.chunks(stored):
                file.write(chunk)
        position = whole_end(path)
        os.truncate(path, position)
        state.objects[stored.key] = [stored.size, stored.modified, ""]
        return position

    # Files.

    def _note_files(self, state: MirrorState, there: ListedExperiment) -> None:
        """Note the files that are there, and remove those here that are not there any more, or were published again since."""
        state.files = {path: [[*version] for version in versions] for path, versions in there.files.items()}
        several = [path for path in state.brought if len(there.files.get(path, ())) > 1]
        history_of = file_histories(self._folder) if several else {}
        for path, version in list(state.brought.items()):
            versions = there.files.get(path)
            if not versions or version != [*latest(versions, history_of.get(path))[0]]:
                with suppress(FileNotFoundError):
                    (self._folder / path).unlink()
                state.brought.pop(path)


def latest(versions: Sequence[Version], history: History | None) -> tuple[Version, str | None]:
    """Return the version that was published last, as far as it is in the bucket, and the SHA-256 that it should have."""
    expected = history.latest.sha256 if history is not None else None
    if expected is None:
        return versions[-1], versions[-1].sha256 or None
    exact = [version for version in versions if version.sha256 == expected]
    first = [version for version in versions if not version.sha256]
    return (exact or first or versions)[-1], expected


def _stamp(stored: StoredObject) -> list[Any]:
    return [stored.key, stored.size, stored.modified]


def _digest_of(there: ListedExperiment) -> str:
    """Return a digest of everything that a listing holds of an experiment."""
    own = [
        there.metas, sorted(map(repr, there.plain.values())), sorted(map(repr, there.wholes)), sorted(there.files.items()),
        sorted(repr(stored) for held in there.segments.values() for stored in held.values()),
    ]  # fmt: skip
    return sha256(repr(own).encode("utf-8", "backslashreplace")).hexdigest()


def _by_logical_stream(there: ListedExperiment) -> dict[str, list[tuple[str, str]]]:
    """Return copies and streams by the stream whose lines they hold: those of `val@merged` go on where `val` ends."""
    own: dict[str, list[tuple[str, str]]] = {}
    shipped = [(copy, stream) for stream, copy in there.segments] + [(PLAIN, stream) for stream in there.plain]
    for copy, stream in sorted(shipped):
        own.setdefault(layout.followed_by(stream) or stream, []).append((copy, stream))
    return own


def _rank(copy: str, first: Sequence[str]) -> tuple[int, bool, str]:
    """Return a key to sort copies by: those that were redacted come first."""
    return first.index(copy) if copy in first else len(first), copy == PLAIN, copy


def _append(file: BinaryIO, base: int, each: SegmentSlice, chunks: Iterable[bytes]) -> str:
    """Append the bytes of a slice to a file that begins with the byte `base`; return the SHA-256 of the whole segment.

    Raises:
        DamagedSegment: It is damaged, or holds other bytes than the file where both hold some. As with any other error, the
            file is as it was.
    """
    digest, offset, size = sha256(), each.segment.start, file.seek(0, os.SEEK_END)
    try:
        for chunk in chunks:
            digest.update(chunk)
            common = chunk[: max(0, each.start - offset)]
            if common:
                _compare(file, base, offset, common, offset + len(common) == each.start)
            file.write(chunk[len(common) :])
            offset += len(chunk)
        file.flush()
    except BaseException:
        with suppress(OSError):  # else the state does not fit the folder, and all is read again
            file.truncate(size)
        raise
    return digest.hexdigest()


def _compare(file: BinaryIO, base: int, offset: int, common: bytes, is_end: bool) -> None:
    start = max(base, offset)
    file.seek(start - base)
    if is_end and not common.endswith(b"\n"):
        raise DamagedSegment(f"byte {offset + len(common)} of the copy lies within a line of it, and begins one in others")
    if offset + len(common) > start and file.read(offset + len(common) - start) != common[start - offset :]:
        raise DamagedSegment(f"its bytes {start} to {offset + len(common)} of the copy are others than those of other objects")
