"""The lines of one experiment of a mirror: of one copy appended as they are, of several united as by `mlv merge`."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from mlv.audit import merge_lines
from mlv.audit.merge_lines import LineSpan
from mlv.bucket.contents import DamagedSegment, ExperimentObjects, lines_of
from mlv.bucket.listing import PLAIN, ListedExperiment
from mlv.bucket.mirror_state import MirrorState
from mlv.bucket.names import Segment
from mlv.bucket.segments import SegmentSlice, chain
from mlv.bucket.store import StoredObject
from mlv.digests import sha256
from mlv.store import layout, opening
from mlv.store.streams import stream_sizes, whole_end


class RedactedCopy(Exception):
    """A copy holds a redacted event that stands here as it was, and what was made of it may lie beside it."""


class MirroredLines:
    """The lines of an experiment in a mirror, for the one process that brings it up to date."""

    def __init__(
        self,
        objects: ExperimentObjects,
        folder: Path,
        state: MirrorState,
        there: ListedExperiment,
        scratch: Callable[[], Path],
        *,
        is_new: bool,
    ) -> None:
        """Prepare.

        Args:
            objects: Those of the experiment in the bucket.
            folder: The one that the lines go into.
            state: What was taken in, which goes on with it.
            there: The listing.
            scratch: Makes an empty folder on the same file system.
            is_new: Whether nobody has read the folder yet.
        """
        self._objects, self._folder, self._state, self._there = objects, folder, state, there
        self._scratch, self._is_new = scratch, is_new

    def bring(self) -> None:
        """Bring the lines that the folder lacks.

        Raises:
            RedactedCopy: The folder has to be built anew.
            NoSuchObject: An object went away since it was listed.
            BucketError: The store does not answer, or refuses.
            OSError: The mirror cannot be written.
        """
        for stream, own in _by_logical_stream(self._there).items():
            copies = {copy for copy, _ in own}
            if len(copies) == 1 and stream not in self._state.united:
                for copy, name in own:
                    self._extend(self._folder / layout.stream_file(name), 0, name, copy, self._state.positions)
            else:
                if stream not in self._state.united:
                    self._state.united.append(stream)
                for copy in sorted(copies, key=lambda copy: (copy == PLAIN, copy)):
                    self._unite(stream, copy, [name for other, name in own if other == copy])
        if self._state.united:
            merge_lines.let_go(self._folder)

    def _unite(self, stream: str, copy: str, streams: Sequence[str]) -> None:
        """Merge the new lines of one copy of a stream, and of those that go on beside it, into the folder."""
        state, folder = self._state, self._folder
        scratch, positions, objects = self._scratch(), dict(state.positions), dict(state.objects)
        try:
            for name in streams:
                base = state.positions.get(f"{name}/{copy}", 0)
                self._extend(scratch / layout.stream_file(name), base, name, copy, positions)
            theirs = merge_lines.sources(scratch, stream_sizes(scratch)).get(stream, [])
            ours = merge_lines.sources(folder, stream_sizes(folder)).get(stream, [])
            lacking = merge_lines.missing(stream, theirs, ours)
            if lacking.is_redacted:
                if not self._is_new:
                    raise RedactedCopy(copy)
                merge_lines.redact_alike(theirs, ours)
                ours = merge_lines.sources(folder, stream_sizes(folder)).get(stream, [])
                lacking = merge_lines.missing(stream, theirs, ours)
            if lacking.lines:
                merge_lines.bring(folder, lacking)
            state.differences += [self._located(text, theirs, copy) for text in lacking.differences]
            state.positions = positions
        except BaseException:
            state.objects = objects  # whose lines are not here
            raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _located(self, text: str, spans: Iterable[LineSpan], copy: str) -> str:
        """Return a difference with the key of the object in the place of a file that is gone."""
        for span in spans:
            stream = layout.stream_of(span.path.name) or layout.DEFAULT_STREAM
            base = self._state.positions.get(f"{stream}/{copy}", 0)
            match = re.search(rf"{re.escape(str(span.path))}, bytes (\d+) to (\d+)", text)
            if match is not None:
                start, held = base + int(match[1]), self._there.segments.get((stream, copy), {})
                keys = [stored.key for segment, stored in held.items() if segment.start <= start < segment.end]
                stored = self._there.plain.get(stream)
                key = keys[-1] if keys else stored.key if stored is not None else stream
                return text.replace(match[0], f"{key}, bytes {start} to {base + int(match[2])} of the copy")
        return text

    def _extend(self, path: Path, base: int, stream: str, copy: str, positions: dict[str, int]) -> None:
        """Append the bytes of one copy of a stream that are new to a file, which begins with the byte `base` of them.

        The position behind them is noted in `positions`, segment by segment.
        """
        name = f"{stream}/{copy}"
        if copy == PLAIN:
            stored = self._there.plain[stream]
            if stored.key not in self._state.objects:
                positions[name] = self._fetch_plain(path, stored)
            return
        held = self._there.segments[stream, copy]
        while slices := chain(self._usable(held), positions.get(name, 0)):
            fetched = self._objects.fetched([held[each.segment] for each in slices])
            with open(path, "ab+") as file:
                for each, chunks in zip(slices, fetched, strict=True):
                    stored = held[each.segment]
                    try:
                        digest = _append(file, base, each, lines_of(each.segment, chunks))
                    except DamagedSegment as error:
                        self._state.refused[stored.key] = [stored.size, stored.modified, str(error)]
                        break  # another one may cover its bytes
                    self._state.objects[stored.key] = [stored.size, stored.modified, digest]
                    positions[name] = each.end

    def _usable(self, held: dict[Segment, StoredObject]) -> list[Segment]:
        """Return the segments that may be read: those taken in stay so, whatever was written over them."""
        return [
            segment
            for segment, stored in held.items()
            if stored.key not in self._state.refused or stored.key in self._state.objects
        ]

    def _fetch_plain(self, path: Path, stored: StoredObject) -> int:
        """Write the whole lines of a stream's file as such; return their number of bytes."""
        with opening.new(path) as file:
            for chunk in self._objects.chunks(stored):
                file.write(chunk)
        position = whole_end(path)
        os.truncate(path, position)
        self._state.objects[stored.key] = [stored.size, stored.modified, ""]
        return position


def _by_logical_stream(there: ListedExperiment) -> dict[str, list[tuple[str, str]]]:
    """Return copies and streams by the stream whose lines they hold: those of `val@merged` go on where `val` ends."""
    own: dict[str, list[tuple[str, str]]] = {}
    shipped = [(copy, stream) for stream, copy in there.segments] + [(PLAIN, stream) for stream in there.plain]
    for copy, stream in sorted(shipped):
        own.setdefault(layout.followed_by(stream) or stream, []).append((copy, stream))
    return own


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
