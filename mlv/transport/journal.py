"""The journal: appends lines of many runs to the streams of one experiment, under claims, and seals them.

It is what the writer process and the inline twin share. It has a run of its own for what it has to say itself.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import time_ns
from typing import Any

from mlv.encoding import TAIL, Composer, dumps, head
from mlv.events import Record, RunEnded, Seal
from mlv.protocols import FileLayer
from mlv.store import claims, layout
from mlv.store.claims import Claim
from mlv.store.owners import Owner
from mlv.store.seals import Chain, chains_of
from mlv.store.streams import StreamFile, read_lines

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"


def new_run_id() -> str:
    """A run ID: `r` and nine random letters or digits."""
    return "r" + "".join(secrets.choice(_ALPHABET) for _ in range(9))


class Journal:
    """The streams of one experiment, for the one process that may append to them."""

    def __init__(self, folder: Path, files: FileLayer | None = None) -> None:
        self.folder = folder
        self.run = new_run_id()
        self.stale_streams: list[str] = []
        """Streams taken over from a writer that died: their runs may want verdicts and seals."""
        self._files = files
        self._claim = Claim(Owner.current(), self.run)
        self._composer = Composer(self.run)
        self._seq = 0
        self._streams: dict[str, StreamFile] = {}
        self._actual: dict[str, str] = {}
        self._chains: dict[tuple[str, str], Chain] = {}

    def append(self, run: str, stream: str, lines: Sequence[bytes]) -> None:
        """Append whole lines of one run.

        Raises:
            OSError: None of them was appended.
        """
        self._open(stream).append(b"".join(lines))
        self._chain(run, stream).add(lines)

    def append_large(self, run: str, stream: str, pieces: Iterator[bytes], sha256: Any) -> None:
        """Append one line in pieces; `sha256` is the running digest that has seen every piece by the end.

        Raises:
            OSError: Nothing was appended.
        """
        self._open(stream).append_pieces(pieces)
        self._chain(run, stream).add_digest(sha256.digest())

    def say(self, record: Record, stream: str = layout.DEFAULT_STREAM) -> None:
        """Append an event of the journal's own run.

        Raises:
            OSError: It was not appended; its number is given to the next.
        """
        payload = b'"data":' + dumps(record.to_data()) + b"}"
        line = self._composer.line(self._seq + 1, time_ns(), head(record.TYPE, ""), TAIL, 0, payload)
        self.append(self.run, stream, [line])
        self._seq += 1

    def seal(self, run: str) -> None:
        """Seal what the run wrote since its last seals. May be called again after an error, and then goes on.

        Raises:
            OSError: A seal could not be appended.
        """
        mine = [(stream, chain) for (owner, stream), chain in self._chains.items() if owner == run]
        for stream, chain in mine:
            if chain.lines:
                said = Seal(run, self._actual[stream], chain.lines, chain.hexdigest(), chain.previous)
                self.say(said, stream)
            del self._chains[run, stream]

    def end(self, run: str, status: str) -> None:
        """Say that a run ended which could not say so itself.

        Raises:
            OSError: It was not appended.
        """
        self.say(RunEnded(status, of=run))

    def adopt(self, run: str, stream: str, chain: Chain) -> None:
        """Go on with a chain that an earlier writer left."""
        self._open(stream)
        self._chains[run, stream] = chain

    def path(self, stream: str) -> Path:
        """The file that lines of the stream go to."""
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
            OSError: Something could not be written; the claims stay, so that the next writer looks after the rest.
        """
        self.seal(self.run)
        self.sync()
        for stream, file in self._streams.items():
            file.close()
            claims.release(self.folder, self._actual[stream], self._claim)
        self._streams.clear()

    def _open(self, stream: str) -> StreamFile:
        file = self._streams.get(stream)
        if file is None:
            granted = claims.claim(self.folder, stream, self._claim)
            if granted.was_stale:
                self.stale_streams.append(stream)
            self._actual[stream] = granted.stream
            file = self._streams[stream] = StreamFile(self.folder, granted.stream, self._files)
        return file

    def _chain(self, run: str, stream: str) -> Chain:
        chain = self._chains.get((run, stream))
        if chain is None:
            chain = self._chains[run, stream] = Chain()
        return chain


def open_chains(folder: Path, streams: Sequence[str]) -> Mapping[str, dict[str, Chain]]:
    """For each stream, the runs with lines that no seal covers, and their chains."""
    found = {stream: chains_of(folder / layout.stream_file(stream)) for stream in streams}
    return {stream: {run: chain for run, chain in chains.items() if chain.lines} for stream, chains in found.items()}


def seqs_from(path: Path, run: str, first: int) -> set[int]:
    """Numbers, from `first` on, of the events of a run that a stream's file holds."""
    from mlv.store.seals import run_and_seq

    try:
        found = (run_and_seq(line) for _, line in read_lines(path))
        return {who[1] for who in found if who is not None and who[0] == run and who[1] >= first}
    except FileNotFoundError:
        return set()
