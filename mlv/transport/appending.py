"""Appending the frames of a ring: they become lines of streams, and jobs of the backlog."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from mlv import wire
from mlv.encoding import TAIL, Composer
from mlv.events import Dropped
from mlv.transport import spool
from mlv.transport.backlog import Backlog
from mlv.transport.censor import Censor
from mlv.transport.frames import BIG, LAST, Frame
from mlv.transport.journal import Journal
from mlv.transport.source import Source

_CHUNK_BYTES = 1 << 18  # a large event is copied without ever being whole in memory
_JOB = spool.JOB_SUFFIX.encode()


class FrameAppender:
    """Appends one stretch of frames of one run, in order."""

    __slots__ = ("_backlog", "_censor", "_composer", "_journal", "_source")

    def __init__(self, journal: Journal, backlog: Backlog, source: Source, composer: Composer, censor: Censor) -> None:
        self._journal, self._backlog, self._source = journal, backlog, source
        self._composer, self._censor = composer, censor

    def append(self, frames: list[Frame]) -> None:
        """Append the frames that no stream holds yet.

        Raises:
            OSError: Not all could be appended; those that could are among the source's `already`.
        """
        # One look at all payloads together: nearly always it finds nothing, and spares one at each line.
        are_clean = self._censor.are_clean([frame.payload for frame in frames if frame.kind != BIG])
        compose = self._composer.clean_line if are_clean else self._composer.line
        batches: dict[str, tuple[list[bytes], list[int]]] = {}
        cursors: dict[int, tuple[str, bytes, list[bytes], list[int]]] = {}
        already = self._source.already  # bound once: the loop below runs for each event that was ever logged
        for frame in frames:
            seq, time_ns, step, index, kind, payload = frame
            try:
                stream, head, lines, seqs = cursors[index]
            except KeyError:
                try:
                    stream, head = self._source.cursor(index)
                except KeyError:
                    self._say_lost(frame, "its stream has no name that a file may have")
                    continue
                head = self._censor.head(head) if are_clean else head
                lines, seqs = batches.setdefault(stream, ([], []))
                cursors[index] = stream, head, lines, seqs
            if kind == BIG:
                # First those before it: within a stream the numbers of the events from the ring ascend.
                self._flush(batches)
                cursors.clear()  # their lists of lines belong to the batches that are gone
                if payload.endswith(_JOB):
                    self._take_job(frame)
                else:
                    self._append_big(frame, stream, head)
                continue
            if not head and payload.startswith(wire.RUN_ENDED):
                self._source.said_end = True
            if seq in already:
                continue
            lines.append(compose(seq, time_ns, head, kind, step, payload))
            seqs.append(seq)
        self._flush(batches)

    def _flush(self, batches: dict[str, tuple[list[bytes], list[int]]]) -> None:
        for stream, (lines, seqs) in batches.items():
            if not lines:  # it had a large event, or nothing new
                continue
            self._journal.append(self._source.run, stream, lines)
            self._source.already.update(seqs)
        batches.clear()

    def _append_big(self, frame: Frame, stream: str, head: bytes) -> None:
        """Copy a large event from its spool file into the stream, in chunks, unless it is there."""
        path: Path | None = None
        if frame.seq not in self._source.already:
            try:
                path = spool.own_file(frame.payload, self._source.run, self._source.path)
                file = open(spool.opened(path, os.O_RDONLY), "rb")  # noqa: SIM115 - closed below
            except (FileNotFoundError, PermissionError):
                self._say_lost(frame, "its spool file is gone")
            else:
                with file:
                    self._append_from(file, frame, stream, head)
            self._source.already.add(frame.seq)
        if not head and frame.step == LAST:
            self._source.said_end = True
        # Last: until its line is in the stream, the file is the only copy, which the next writer would need.
        with suppress(OSError):
            os.unlink(path or spool.own_file(frame.payload, self._source.run, self._source.path))

    def _append_from(self, file: BinaryIO, frame: Frame, stream: str, head: bytes) -> None:
        is_looked_at = self._censor.may_hold(file)
        file.seek(0)
        if is_looked_at:
            # Whole in memory, this once: what may hold a credential has to be parsed.
            self._journal.append(
                self._source.run, stream, [self._composer.line(frame.seq, frame.time_ns, head, TAIL, 0, file.read())]
            )
            return
        digest, opening = hashlib.sha256(), self._composer.opening(frame.seq, frame.time_ns) + self._censor.head(head)
        self._journal.append_large(self._source.run, stream, _hashed(_chunks(opening, file), digest), digest)

    def _take_job(self, frame: Frame) -> None:
        if frame.seq in self._source.already:
            return
        try:
            path = spool.own_file(frame.payload, self._source.run, self._source.path)
            self._backlog.take(self._source, path, frame.seq, frame.time_ns, frame.cursor)
        except FileNotFoundError:
            self._say_lost(frame, "its spool file is gone")
        self._source.already.add(frame.seq)  # until the ring has let go of it, it is not done either: it would be taken again

    def _say_lost(self, frame: Frame, reason: str) -> None:
        if frame.seq not in self._source.already:
            self._journal.say(Dropped(frame.seq, frame.seq, 1, reason, of=self._source.run), self._source.home)
            self._source.already.add(frame.seq)


def _chunks(opening: bytes, file: BinaryIO) -> Iterator[bytes]:
    yield opening
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk
    yield b"\n"


def _hashed(chunks: Iterator[bytes], digest: Any) -> Iterator[bytes]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk
