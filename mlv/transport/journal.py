"""The journal: appends lines of many runs to the streams of one experiment, under claims, and seals them.

The writer process and the inline twin share it. Its own events, such as seals, belong to a run of its own.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep, time_ns
from typing import Any

from mlv.encoding import TAIL, Clean, Composer, dumps, head
from mlv.events import Record, RunEnded, Seal
from mlv.protocols import FileLayer
from mlv.store import claims, ends, layout
from mlv.store.claims import Claim, Granted
from mlv.store.home import Home
from mlv.store.owners import Owner
from mlv.store.seals import Chain, chains_of, run_and_seq
from mlv.store.streams import StreamFile, read_beginnings_from_end
from mlv.transport.spool import new_run_id

_POLL_S = 0.01  # a claim is a file: one can only look again


class Journal:
    """The streams of one experiment, for the one process that may append to them."""

    def __init__(
        self, folder: Path, files: FileLayer | None = None, home: Home | None = None, clean: Clean | None = None
    ) -> None:
        """Prepare to write; with a home, the experiment is followed where it is moved, and no other one is written.

        `clean` is applied to the journal's own events.
        """
        self._folder, self._home = folder, home
        self.run = new_run_id()
        self.stale_streams: list[str] = []
        """Streams taken over from a writer that died: their runs may want verdicts and seals."""
        self._files = files
        self._claim = Claim(Owner.current(), self.run)
        self._composer = Composer(self.run, clean)
        self._seq = 0
        self._streams: dict[str, StreamFile] = {}
        self._actual: dict[str, str] = {}
        self._chains: dict[tuple[str, str], Chain | None] = {}
        """By run and stream; None where only the file knows the run's earlier lines."""
        self._ends: dict[str, str] = {}
        """Digests of the final seals that its streams end with, or ended with before it came."""

    @property
    def folder(self) -> Path:
        """Folder of the experiment.

        Raises:
            OSError: It is gone, or another experiment is at its path.
        """
        if self._home is None:
            return self._folder
        current = self._home.where()
        if current is None:
            raise OSError(errno.ESTALE, "the experiment was moved or removed", str(self._folder))
        return current

    def append(self, run: str, stream: str, lines: Sequence[bytes]) -> None:
        """Append whole lines of one run.

        Raises:
            OSError: None of them was appended.
        """
        # One write for all lines: each call of the system costs more than to make a line.
        self._open(stream).append(b"".join(lines))
        chain = self._chains.setdefault((run, stream), Chain())
        if chain is not None:
            chain.add(lines)

    def append_large(self, run: str, stream: str, chunks: Iterator[bytes], sha256: Any) -> None:
        """Append one line in chunks; `sha256` is the running digest that has seen every chunk by the end.

        Raises:
            OSError: Nothing was appended.
        """
        self._open(stream).append_chunks(chunks)
        chain = self._chains.setdefault((run, stream), Chain())
        if chain is not None:
            chain.add_digest(sha256.digest())

    def say(self, record: Record, stream: str = layout.DEFAULT_STREAM) -> bytes:
        """Append an event of the journal's own run; return its line.

        Raises:
            OSError: It was not appended; its number is given to the next.
        """
        return self.put(head(record.TYPE, "") + b'"data":' + dumps(record.to_data()) + b"}", stream)

    def put(self, payload: bytes, stream: str = layout.DEFAULT_STREAM) -> bytes:
        """Append an event of the journal's own run that is encoded from its type on.

        Raises:
            OSError: As `say`.
        """
        line = self._composer.line(self._seq + 1, time_ns(), b"", TAIL, 0, payload)
        self.append(self.run, stream, [line])
        # After the append: a number whose line failed is given to the next, or there would be a gap.
        self._seq += 1
        return line

    def seal(self, run: str) -> None:
        """Seal the lines of a run since its last seals. May be called again after an error, and then goes on.

        Raises:
            OSError: A seal could not be appended.
        """
        streams = [stream for owner, stream in self._chains if owner == run]
        for stream in sorted(streams, key=lambda stream: stream == layout.DEFAULT_STREAM):  # last: its end tells of the others
            chain = self._chain(run, stream)
            if chain.lines:
                after = (dict(self._ends) or None) if run == self.run else None
                seal = Seal(run, self._actual[stream], chain.lines, chain.hexdigest(), chain.previous, after)
                line = self.say(seal, stream)
                if run == self.run:
                    self._ends[self._actual[stream]] = hashlib.sha256(line).hexdigest()
                # Later lines go on from the seal: whether any come is unknown, if a later step fails.
                self._chains[run, stream] = Chain(seal.sha256)

    def end(self, run: str, status: str, stream: str = layout.DEFAULT_STREAM) -> None:
        """Write `run_ended` for a run whose process died, in the stream in which it began.

        Raises:
            OSError: It was not appended.
        """
        self.say(RunEnded(status, of=run), stream)

    def take_over(self, stream: str) -> None:
        """Make a stream ours whose writer died, unless somebody else is faster.

        Raises:
            OSError: It cannot be opened.
        """
        if stream not in self._streams and claims.take_over(self.folder, stream, self._claim):
            self._open_as(stream, Granted(stream, was_stale=True))

    def wait_for(self, stream: str, timeout_s: float) -> None:
        """Make a stream ours, waiting for its owner; when the time is over, lines go to a stream beside it.

        Raises:
            OSError: It cannot be opened.
        """
        deadline = monotonic() + timeout_s
        # An owner that lives gives the stream back soon; from one that died it is taken over.
        while not claims.claim_exactly(self.folder, stream, self._claim) and monotonic() < deadline:
            self.take_over(stream)
            if stream in self._streams:
                return
            sleep(_POLL_S)
        self._open(stream)

    def adopt(self, run: str, stream: str) -> None:
        """Go on with the lines that an earlier writer of the run left in a stream."""
        self._open(stream)
        self._chains[run, stream] = None

    def resume(self, run: str, streams: Iterable[str], first: int) -> set[int]:
        """Go on with a run that another writer began, or this one before it was interrupted.

        Returns:
            Numbers, from `first` on, of the events of the run that its streams hold, by any writer.

        Raises:
            OSError: A stream cannot be opened.
        """
        seqs: set[int] = set()
        there = layout.streams_in(self.folder)
        ours = {*claims.stale(self.folder), *self._streams}
        for stream in streams:
            files = [name for name in there if layout.logical_stream(name) == stream]
            # Also the lines that an earlier writer wrote beside a stream that was not its to write.
            for name in [stream, *(name for name in files if name in ours and name != stream)] if files else []:
                self.adopt(run, name)  # opening mends: only then it is certain which lines are whole
                for path in self._paths(name):
                    seqs |= _seqs_from(path, run, first)
        return seqs

    def last_seqs(self, run: str) -> set[int]:
        """Return the number of the last line of a run in each stream that it was resumed in."""
        names = [stream for owner, stream in self._chains if owner == run]
        last = (_last_seq(path, run) for name in names for path in self._paths(name))
        return {seq for seq in last if seq is not None}

    def _paths(self, stream: str) -> list[Path]:
        """Return the file that lines of the stream go to, and the stream's own file where another living writer has it."""
        path, own = self.path(stream), self.folder / layout.stream_file(stream)
        return [path, own] if path != own and own.exists() else [path]

    def reopen(self) -> None:
        """Open the files anew, after an append that was interrupted in the middle: nothing about them is certain."""
        for file in self._streams.values():
            with suppress(OSError):  # the descriptor is closed all the same
                file.close()
        mine = list(self._streams)
        self._streams.clear()
        self._seq = max(self.resume(self.run, mine, self._seq), default=self._seq)

    def path(self, stream: str) -> Path:
        """Return the file that lines of the stream go to."""
        return self._open(stream).path

    def sync(self) -> None:
        """Return when everything appended so far is on the disk.

        Raises:
            OSError: It is not.
        """
        for file in self._streams.values():
            file.sync()

    def close(self) -> None:
        """Seal the journal's own lines, sync, and give every stream back.

        Raises:
            OSError: Something could not be written; the claims stay, so that the next writer finishes the work.
        """
        # Before the digests are remembered and the streams given back: what others learn of then is on the disk.
        self.seal(self.run)
        self.sync()
        with suppress(OSError):  # the experiment is gone: there is nothing to prove
            ends.remember(self.folder, {name: digest for name, digest in self._ends.items() if name in self._actual.values()})
        while self._streams:
            stream, file = self._streams.popitem()  # first: a descriptor whose closing failed is closed all the same
            with suppress(OSError):  # it is synced
                file.close()
            with suppress(OSError):
                # Last: the next owner reads the file as soon as the claim is gone.
                claims.release(self.folder, self._actual[stream], self._claim)

    def is_deleted(self) -> bool:
        """Return whether the experiment was deleted, not moved, as far as an open stream or its home shows."""
        if self._home is not None and self._home.is_removed():
            return True
        return not self._folder.exists() and self.is_lost()

    def is_lost(self) -> bool:
        """Return whether an open file has no name any more: nobody will read its lines."""
        return any(file.is_deleted() for file in self._streams.values())

    def abandon(self) -> None:
        """Redirect the files to nothing: in a forked child, no write may reach them."""
        for file in self._streams.values():
            file.abandon()

    def surrender(self) -> None:
        """Leave every stream, with its unfinished runs, to the next writer."""
        for file in self._streams.values():
            with suppress(OSError):  # the descriptor is closed all the same
                file.close()
        with suppress(OSError):  # the folder is gone, and with it whatever was to be left
            for actual in self._actual.values():  # also where the claim was granted and the file not opened
                claims.surrender(self.folder, actual, self._claim)
        self._streams.clear()

    def _open(self, stream: str) -> StreamFile:
        file = self._streams.get(stream)
        return file or self._open_as(stream, claims.claim(self.folder, stream, self._claim))

    def _open_as(self, stream: str, granted: Granted) -> StreamFile:
        if granted.was_stale:
            self.stale_streams.append(stream)
        # Before the file is opened: should that fail, `surrender` still knows of the claim.
        self._actual[stream] = granted.stream
        file = self._streams[stream] = StreamFile(self.folder, granted.stream, self._files)
        if granted.stream not in self._ends and (end := ends.end_of(file.path)) is not None:
            self._ends[granted.stream] = end
        return file

    def _chain(self, run: str, stream: str) -> Chain:
        """Return the chain of a run; where only the file holds it, the file is read, for all runs at once."""
        chain = self._chains[run, stream]
        if chain is not None:
            return chain
        file = self._open(stream)
        # Lines of a failed append are none of the run's, and must not be in its seal.
        file.take_back()
        chains = chains_of(file.path)
        for owner in [owner for (owner, of), cached in self._chains.items() if of == stream and cached is None]:
            self._chains[owner, stream] = chains.get(owner, Chain())
        return chains.get(run, Chain())


def _last_seq(path: Path, run: str) -> int | None:
    """Return the number of the last line of a run in a stream's file."""
    lines = (run_and_seq(beginning) for beginning in read_beginnings_from_end(path))
    return next((who[1] for who in lines if who is not None and who[0] == run), None)


def _seqs_from(path: Path, run: str, first: int) -> set[int]:
    """Return the numbers, from `first` on, of the events of a run that a stream's file holds.

    They ascend at its end: a line that comes later than its number, from a worker, is only appended when all events read
    from the ring are appended and the ring knows it.
    """
    seqs: set[int] = set()
    for beginning in read_beginnings_from_end(path):
        who = run_and_seq(beginning)
        if who is not None and who[0] == run:
            if who[1] < first:
                break
            seqs.add(who[1])
    return seqs
