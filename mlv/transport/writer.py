"""The writer: the background process that drains the rings of one experiment into its streams.

Started as `python -I -S -c ...` by `launch.py`; also called in place by `mlv recover`.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO

from mlv.encoding import Composer
from mlv.events import Dropped, Heartbeat
from mlv.protocols import FileLayer
from mlv.store import claims
from mlv.store.owners import Owner
from mlv.store.seals import chains_of
from mlv.transport import spool
from mlv.transport.frames import BIG, Frame
from mlv.transport.journal import Journal, seqs_from
from mlv.transport.settle import settle
from mlv.transport.source import Source

POLL_S = 0.02
SYNC_EVERY_S = 1.0
HEARTBEAT_EVERY_S = 60.0
_SCAN_EVERY_S = 0.05
_CHECK_OWNERS_EVERY_S = 0.25
_RETRY_AFTER_S = 0.1
_LOCK_WAIT_S = 10.0
_PIECE = 1 << 18


class Writer:
    """Drains the rings that a spool lists until there are none left."""

    def __init__(self, folder: Path, place: Path, files: FileLayer | None = None) -> None:
        self._folder, self._place = folder, place
        self._me = Owner.current()
        self._journal = Journal(folder, files)
        self._sources: dict[Path, Source] = {}
        self._composers: dict[str, Composer] = {}
        self._heard: dict[str, float] = {}
        self._problem = 0
        self._next_try = self._next_scan = self._next_check = 0.0
        self._next_sync = monotonic() + SYNC_EVERY_S
        self._settled: set[str] = set()

    def serve(self, wait: Callable[[float], None]) -> None:
        """Drain until every run has ended or its process is gone, then seal and leave."""
        while True:
            now = monotonic()
            if now >= self._next_scan:
                self._scan()
                self._next_scan = now + _SCAN_EVERY_S
            moved = self._turn(now)
            for source in self._sources.values():
                source.stamp(self._problem)
            if not self._sources and not self._problem and self._leave():
                return
            if not moved:
                wait(POLL_S)
                if self._sources and not self._problem:
                    self._next_scan = min(self._next_scan, now + _SCAN_EVERY_S)

    def _turn(self, now: float) -> bool:
        """Everything that is due; whether events were moved. A file that cannot be written is tried again later."""
        if self._problem and now < self._next_try:
            return False
        try:
            moved = [self._drain(source) for source in self._sources.values()]
            self._settle_stale()
            self._sync_if_due(now)
            if now >= self._next_check or any(source.is_ended for source in self._sources.values()):
                self._verdicts()
                self._heartbeats(now)
                self._next_check = now + _CHECK_OWNERS_EVERY_S
            self._problem = 0
            return any(moved)
        except OSError as error:
            self._problem = error.errno or errno.EIO
            self._next_try = now + _RETRY_AFTER_S
            return False

    # Draining.

    def _scan(self) -> None:
        """Attach rings that are new in the spool."""
        for path in spool.rings_in(self._place):
            if path in self._sources:
                continue
            try:
                source = Source(path)
            except ValueError:
                path.rename(path.with_suffix(".unreadable"))
            except OSError:
                if not path.exists():  # the link of a ring that is gone
                    with suppress(OSError):
                        path.unlink()
            else:
                self._sources[path] = source
                self._composers[source.run] = Composer(source.run)
                self._heard[source.run] = monotonic()
                if source.attach(self._me):
                    self._find_what_is_there(source)

    def _find_what_is_there(self, source: Source) -> None:
        """After a writer that died: go on with the run's chains, and do not append what it had appended."""
        waiting, _ = source.next_piece()
        source.rewind(0)
        first = waiting[0].seq if waiting else sys.maxsize
        stream = ""
        with suppress(IndexError, OSError):
            for index in range(sys.maxsize):
                stream, _ = source.cursor(index)
                path = self._journal.path(stream)
                chain = chains_of(path).get(source.run)
                if chain is not None:
                    self._journal.adopt(source.run, stream, chain)
                source.already |= seqs_from(path, source.run, first)
                source.said_end |= _says_end(path, source.run)

    def _drain(self, source: Source) -> bool:
        """Move one stretch of a ring into the streams.

        Raises:
            OSError: Not all could be appended; what was is remembered, so that nothing is doubled.
        """
        before = source.last_seq
        frames, end = source.next_piece()
        if end == source.tail:
            return False
        try:
            self._append(source, frames)
        except OSError:
            source.rewind(before)
            raise
        source.advance(end)
        source.already.clear()
        return True

    def _append(self, source: Source, frames: list[Frame]) -> None:
        compose = self._composers[source.run].line
        batches: dict[str, tuple[list[bytes], list[int]]] = {}
        for frame in frames:
            seq, time_ns, step, index, kind, payload = frame
            if seq in source.already:
                continue
            stream, head = source.cursor(index)
            if kind == BIG:
                self._flush_batches(source, batches)
                self._append_big(source, frame, stream, head)
                continue
            if stream not in batches:
                batches[stream] = ([], [])
            lines, seqs = batches[stream]
            lines.append(compose(seq, time_ns, head, kind, step, payload))
            seqs.append(seq)
            if not head and payload.startswith(b'"type":"run_ended"'):
                source.said_end = True
        self._flush_batches(source, batches)
        if frames:
            self._heard[source.run] = monotonic()

    def _flush_batches(self, source: Source, batches: dict[str, tuple[list[bytes], list[int]]]) -> None:
        for stream, (lines, seqs) in batches.items():
            self._journal.append(source.run, stream, lines)
            source.already.update(seqs)
        batches.clear()

    def _append_big(self, source: Source, frame: Frame, stream: str, head: bytes) -> None:
        """Copy a large event from its spool file into the stream, in pieces."""
        path = os.fsdecode(frame.payload)
        opening = self._composers[source.run].opening(frame.seq, frame.time_ns) + head
        try:
            file = open(path, "rb")  # noqa: SIM115 - closed below
        except FileNotFoundError:
            said = Dropped(frame.seq, frame.seq, 1, "its spool file is gone", of=source.run)
            self._journal.say(said)
        else:
            with file:
                digest = hashlib.sha256()
                self._journal.append_large(source.run, stream, _hashed(_pieces(opening, file), digest), digest)
        source.already.add(frame.seq)
        with suppress(OSError):
            os.unlink(path)

    # Verdicts, heartbeats, seals.

    def _verdicts(self) -> None:
        for path, source in list(self._sources.items()):
            if not source.is_empty:
                continue
            if source.is_ended or source.owner.is_gone():
                if not source.is_empty:
                    continue  # it published its last events between the two looks
                self._end(path, source)

    def _end(self, path: Path, source: Source) -> None:
        if not source.said_end:
            self._journal.end(source.run, "killed")
            source.said_end = True
        self._journal.seal(source.run)
        self._sync()
        del self._sources[path]
        del self._composers[source.run]
        del self._heard[source.run]
        source.finish()
        source.close()

    def _heartbeats(self, now: float) -> None:
        for source in self._sources.values():
            if now - self._heard[source.run] >= HEARTBEAT_EVERY_S and "parent_run" not in source.info:
                self._journal.say(Heartbeat(of=source.run))
                self._heard[source.run] = now

    def _settle_stale(self) -> None:
        """Give verdicts and seals to what died with the stream's last writer."""
        fresh = [stream for stream in self._journal.stale_streams if stream not in self._settled]
        if fresh:
            alive = {source.run for source in self._sources.values()}
            settle(self._folder, self._journal, fresh, alive)
            self._settled.update(fresh)

    def _sync_if_due(self, now: float) -> None:
        if now >= self._next_sync or any(source.wants_sync for source in self._sources.values()):
            self._sync()
            self._next_sync = monotonic() + SYNC_EVERY_S

    def _sync(self) -> None:
        positions = [(source, source.tail) for source in self._sources.values()]
        self._journal.sync()
        for source, position in positions:
            source.synced(position)

    def _leave(self) -> bool:
        """Settle what is left, seal the writer's own lines, go; False if a new ring has come or something failed."""
        try:
            for stream in claims.stale(self._folder):
                self._journal.path(stream)
            self._settle_stale()
            if spool.rings_in(self._place):
                return False
            self._journal.close()
            return True
        except OSError as error:
            self._problem = error.errno or errno.EIO
            return not self._folder.exists()


class Wait:
    """Sleeps until somebody writes into the wake-up pipe of a spool, or the time is over."""

    def __init__(self, place: Path) -> None:
        path = place / spool.WAKE
        with suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def __call__(self, timeout_s: float) -> None:
        ready, _, _ = select.select([self._fd], [], [], timeout_s)
        if ready:
            with suppress(BlockingIOError):
                os.read(self._fd, 4096)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)


def serve(folder: Path, place: Path, lock_wait_s: float = _LOCK_WAIT_S) -> bool:
    """Be the writer of a spool, unless there is one: then see that it takes the rings that are there, and leave.

    Returns:
        Whether this process was the writer.
    """
    fd = lock(place, lock_wait_s)
    if fd is None:
        return False
    wait = Wait(place)
    try:
        Writer(folder, place).serve(wait)
    finally:
        wait.close()
        spool.remove(place)
        os.close(fd)
    return True


def lock(place: Path, wait_s: float) -> int | None:
    """Take the lock that makes a process the writer of a spool; None if another one has it and is at work."""
    deadline = monotonic() + wait_s
    pause = select.select
    while True:
        try:
            fd = os.open(place / spool.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            return None  # the spool was removed: nothing is left to write
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(fd), os.stat(place / spool.LOCK)):
                return fd
        except OSError:
            pass  # held, or removed by the one who had it
        os.close(fd)
        if monotonic() >= deadline:
            return None
        if not any(is_unattended(path) for path in spool.rings_in(place)) and monotonic() >= deadline - wait_s + 0.2:
            return None
        pause([], [], [], 0.01)


def is_unattended(path: Path) -> bool:
    """Whether a ring has no writer that lives."""
    from mlv.store.owners import process_start
    from mlv.transport import frames as f

    try:
        with open(path, "rb") as file:
            header = file.read(f.W_WRITER_START * 8 + 8)
    except OSError:
        return False
    words = [int.from_bytes(header[i : i + 8], "little") for i in range(0, len(header), 8)]
    pid, start = words[f.W_WRITER_PID], words[f.W_WRITER_START]
    return pid == 0 or process_start(pid) != str(start)


def _pieces(opening: bytes, file: BinaryIO) -> Iterator[bytes]:
    yield opening
    while piece := file.read(_PIECE):
        yield piece
    yield b"\n"


def _hashed(pieces: Iterator[bytes], digest: Any) -> Iterator[bytes]:
    for piece in pieces:
        digest.update(piece)
        yield piece


def _says_end(path: Path, run: str) -> bool:
    from mlv.store.streams import read_lines

    wanted = b'{"run":"%s"' % run.encode()
    with suppress(FileNotFoundError):
        return any(b'"type":"run_ended"' in line and line.startswith(wanted) for _, line in read_lines(path))
    return False


def main(folder: str, place: str) -> None:
    """Run as the writer process."""
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        # It goes when the rings are empty and their processes gone: a batch system's SIGTERM must not cost the last lines.
        signal.signal(ignored, signal.SIG_IGN)
    try:
        serve(Path(folder), Path(place))
    except Exception:
        with suppress(OSError), open(Path(place) / "writer.err", "a") as file:
            file.write(traceback.format_exc())
        raise
