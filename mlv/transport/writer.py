"""The writer: the background process that drains the rings of one experiment into its streams.

Started as `python -I -S -c ...` by `launch.py`. `recovery.py` calls `rescue` in place, for the rings of the dead alone.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import inf
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from mlv import settings
from mlv.encoding import Composer
from mlv.events import Dropped, Heartbeat
from mlv.protocols import FileLayer
from mlv.store import claims
from mlv.store.home import Home
from mlv.store.layout import SYSTEM_STREAM
from mlv.store.owners import Owner
from mlv.transport import orders, spool
from mlv.transport.appending import FrameAppender
from mlv.transport.backlog import Backlog
from mlv.transport.censor import Censor
from mlv.transport.journal import Journal
from mlv.transport.sampler import Sampler
from mlv.transport.settle import settle
from mlv.transport.source import Source
from mlv.transport.spool_lock import Wait, is_unattended, lock, remove_idle
from mlv.transport.wishes import Wishes
from mlv.transport.worker import complete

POLL_S = 0.02  # with the time that a disk takes, an event is in its file within 100 ms
HEARTBEAT_EVERY_S = 60.0  # five are missed before a run counts as lost: see LOST_AFTER in state.py
_SCAN_EVERY_S = 0.05  # lists a folder, which is dearer than a look into the rings that are known
_CHECK_OWNERS_EVERY_S = 0.25  # asks the system for each process that logs
_LOOK_AFTER_SHIPPERS_S = 30.0  # a run of hours must not go on unshipped
_LOCK_WAIT_S = 10.0  # the writer that leaves has its seals to write and to fsync first


class Endurance(NamedTuple):
    """Times of a writer that can write nothing."""

    retry_after_s: float = 0.1
    linger_s: float = 3600.0
    """How long it goes on trying when all processes whose events it holds are gone: a full disk may be emptied meanwhile."""
    linger_without_folder_s: float = 5.0
    """The same where the experiment is not at its path, long enough for a folder that is being moved."""


_ENDURANCE = Endurance()


class Writer:
    """Drains the rings that a spool lists until there are none left.

    It may be killed at any moment: the rings and the claims that it leaves show the next writer what to do.
    """

    def __init__(
        self,
        folder: Path,
        spool_folder: Path,
        files: FileLayer | None = None,
        serves: Callable[[Source], bool] = lambda source: True,
        backlog: Backlog | None = None,
        sampler: Sampler | None = None,
        fd: int | None = None,
        endurance: Endurance = _ENDURANCE,
    ) -> None:
        """Prepare to drain the rings that `serves` accepts. Without a sampler nothing is measured.

        `fd` is a descriptor of the experiment's folder, from the process that started this one.
        """
        self._folder, self._spool_folder, self._serves = folder, spool_folder, serves
        self._me = Owner.current()
        self._files = files
        self._fd, self._endurance = fd, endurance
        self._home: Home | None = None
        self._journal = Journal(folder, files)
        self._backlog = backlog or Backlog(folder)
        self._sampler = sampler
        self._sources: dict[Path, Source] = {}
        self._composers: dict[str, Composer] = {}
        self._censors: dict[str, Censor] = {}
        self._heard: dict[str, float] = {}
        self._problem = 0
        self._problem_since = 0.0
        self._is_done = False
        self._next_try = self._next_scan = self._next_check = 0.0
        self._next_look = monotonic() + _LOOK_AFTER_SHIPPERS_S
        self._sync_every_s = settings.FSYNC_INTERVAL.look_up().value
        self._next_sync = monotonic() + self._sync_every_s
        self._settled: set[str] = set()

    def serve(self, wait: Callable[[float], None], until: float = inf) -> bool:
        """Drain until every run has ended or its process is gone, then seal and leave.

        Returns:
            Whether all is done; False when the time is over, or the disk refuses for too long.
        """
        try:
            return self._serve(wait, until)
        except BaseException:
            self._give_up()  # the process may live on: somebody interrupts `rescue`
            raise
        finally:
            self._backlog.close()

    def _serve(self, wait: Callable[[float], None], until: float) -> bool:
        while True:
            now = monotonic()
            if now >= self._next_scan:
                self._scan()
                self._next_scan = now + _SCAN_EVERY_S
            moved = self._turn(now)
            for source in self._sources.values():
                # First of all that the files are gone: nothing is to be waited for then, whatever else cannot be written.
                source.stamp(errno.ESTALE if self._journal.is_lost() else self._problem)
            if self._is_done:
                return True
            if now >= until or self._is_in_vain(now):
                self._give_up()
                return False
            if not moved:
                wait(POLL_S)

    def _turn(self, now: float) -> bool:
        """Do everything that is due; return whether events were moved. A file that cannot be written is tried again later."""
        if self._problem and now < self._next_try:
            return False
        # Each by itself: a stream that cannot be written holds up neither the others nor verdicts and heartbeats.
        problems: list[OSError] = []
        moved = [_tried(partial(self._drain, source), problems) for source in self._sources.values()]
        moved.append(_tried(self._work, problems))
        _tried(self._say_samples, problems)
        if not any(moved):
            _tried(self._settle_stale, problems)  # reads much: not while events wait
        _tried(partial(self._sync_if_due, now), problems)
        self._look_after_shippers(now)
        _tried(partial(self._verdicts_if_due, now), problems)
        if not self._sources:
            self._is_done = _tried(self._leave, problems)
        if problems:
            self._hold(problems[0])
        else:
            self._problem = 0
        return any(moved) and not problems

    def _hold(self, error: OSError) -> None:
        """Wait before the next try, and let the producers know why."""
        now = monotonic()
        if not self._problem:
            self._problem_since = now
        self._problem = error.errno or errno.EIO
        self._next_try = now + self._endurance.retry_after_s

    def _is_in_vain(self, now: float) -> bool:
        """Return whether nothing could be written for long, and no process is left that would log more."""
        _, linger_s, linger_without_folder_s = self._endurance
        if not self._problem or now - self._problem_since < linger_without_folder_s:
            return False
        linger_s = linger_s if self._where() is not None else linger_without_folder_s
        is_over = all(source.is_ended or source.owner.is_gone() for source in self._sources.values())
        return is_over and now - self._problem_since >= linger_s

    def _where(self) -> Path | None:
        """Return the experiment's folder; None if it is gone, or another one is at its path."""
        folder = self._folder if self._home is None else self._home.where()
        return folder if folder is not None and folder.exists() else None

    def _give_up(self) -> None:
        is_deleted = self._journal.is_deleted()
        for source in self._sources.values():
            if is_deleted:
                source.stamp(errno.ESTALE)
                source.finish()  # there is no folder any more that its events could go to
            source.detach()
            source.close()
        self._sources.clear()
        self._journal.surrender()

    # Draining.

    def _scan(self) -> None:
        """Attach rings that are new in the spool."""
        for path in spool.rings_in(self._spool_folder):
            if path in self._sources:
                continue
            try:
                source = Source(path)
            except ValueError:
                # It stays for people, under a name that no writer takes for that of a ring.
                with suppress(OSError):
                    path.rename(path.with_suffix(".unreadable"))
            except OSError:
                if path.is_symlink() and not path.exists():  # the link of a ring that is gone
                    with suppress(OSError):
                        path.unlink()
            else:
                self._take(path, source)

    def _take(self, path: Path, source: Source) -> None:
        if not self._serves(source):
            source.close()
            return
        if self._home is None:  # all rings of a spool are of one experiment
            fd = os.dup(self._fd) if self._fd is not None else None  # the next writer of this process gets it, too
            self._home = Home(self._folder, str(source.info.get("id", "")), fd)
            self._journal = Journal(self._folder, self._files, self._home)
        source.attach(self._me)
        self._sources[path] = source
        redactor = Wishes.from_info(source.info).redactor()
        censor = self._censors[source.run] = Censor(redactor, is_resumed=not source.is_new)
        self._composers[source.run] = Composer(source.run, censor.event)
        self._heard[source.run] = monotonic()
        if self._sampler is not None and source.info.get("system_s") and "parent_run" not in source.info:
            self._sampler.follow(source.run, source.owner.pid, source.info["system_s"])

    def _catch_up(self, source: Source) -> None:
        """Go on with the run's chains after a writer that died, without appending its lines again.

        Raises:
            OSError: A stream cannot be opened: its lines are not known yet.
        """
        waiting, _ = source.next_frames()
        source.rewind(0)  # these were only looked at, for the number of the first
        first = waiting[0].seq if waiting else sys.maxsize
        source.already = self._journal.resume(source.run, source.streams(), first)
        self._backlog.adopt(source, first, self._journal.last_seqs(source.run))
        source.is_new = True

    def _drain(self, source: Source) -> bool:
        """Move one stretch of a ring into the streams.

        Raises:
            OSError: Not all could be appended; the appended events are remembered, so that nothing is doubled.
        """
        if not source.is_new:
            self._catch_up(source)
        before, censor = source.last_seq, self._censors[source.run]
        # What a censor knows of lines before (a key over several lines) goes back as well, if these are read again.
        state = censor.state
        frames, end = source.next_frames()
        if end == source.tail:
            return False
        try:
            FrameAppender(self._journal, self._backlog, source, self._composers[source.run], censor).append(frames)
        except OSError:
            source.rewind(before)
            censor.state = state
            raise
        if frames:
            self._heard[source.run] = monotonic()
        source.note_redacted(censor.redacted)
        # Last: the space is the producer's again, and a next writer would not find these events any more.
        source.advance(end)
        source.already.clear()
        return True

    def _work(self) -> bool:
        # Files go to the experiment's present folder; if it is gone, to a path at which nothing can be made.
        self._backlog.move_to(self._where() or Path(os.devnull, "gone"))
        return self._backlog.work(self._journal, self._composers)

    # Verdicts, heartbeats, seals.

    def _verdicts_if_due(self, now: float) -> None:
        if now >= self._next_check or any(source.is_ended for source in self._sources.values()):
            self._verdicts()
            self._heartbeats(now)
            self._next_check = now + _CHECK_OWNERS_EVERY_S

    def _verdicts(self) -> None:
        for path, source in list(self._sources.items()):
            if not source.is_new or not source.is_empty or source.has_jobs:
                continue  # before it has caught up with an earlier writer, it does not know which events are left
            if source.is_ended or source.owner.is_gone():
                if not source.is_empty:
                    continue  # it published its last events between the two looks
                self._end(path, source)

    def _end(self, path: Path, source: Source) -> None:
        # The seals last: they say that nothing more of the run follows.
        if not source.said_end:
            self._journal.end(source.run, "killed", source.home)
            source.say_end()
        if source.dropped is not None and not source.said_dropped:
            first, last = source.dropped
            self._journal.say(Dropped(first, last, last - first + 1, "no room in the ring", of=source.run), source.home)
            source.said_dropped = True
        self._journal.seal(source.run)
        source.stamp(errno.ESTALE if self._journal.is_lost() else 0)
        if spool.rings_in(self._spool_folder) == [path]:
            self._close_journal()  # before the producer learns that all is done: then nothing is left to happen
        else:
            self._sync()  # before `finish`, at which the producer's `close` returns
        del self._sources[path]
        del self._composers[source.run], self._censors[source.run]
        del self._heard[source.run]
        if self._sampler is not None:
            self._sampler.forget(source.run)
        source.finish()
        source.close()
        self._complete_outputs(source.run)

    def _complete_outputs(self, run: str) -> None:
        """Start completing the outputs of a run that nobody is at work on: its process may have died before it did."""
        for path in orders.orders_of(run, self._spool_folder.name):
            with suppress(OSError):  # the order stays, and recovery finds it
                orders.begin(path, self._where())

    def _look_after_shippers(self, now: float) -> None:
        """Start the processes that ship runs again where they were killed: nobody else sees that while the runs go on."""
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_AFTER_SHIPPERS_S
        for source in self._sources.values():
            for path in orders.orders_of(source.run, self._spool_folder.name):
                with suppress(OSError):  # it is tried again
                    if (order := orders.read(path)) is not None and order.module == orders.SHIPPER:
                        orders.begin(path, self._where())

    def _heartbeats(self, now: float) -> None:
        for source in self._sources.values():
            if now - self._heard[source.run] >= HEARTBEAT_EVERY_S and "parent_run" not in source.info:
                self._journal.say(Heartbeat(of=source.run), source.home)
                self._heard[source.run] = now

    def _say_samples(self) -> None:
        """Write the samples that the sampler has taken.

        Raises:
            OSError: It waits.
        """
        while self._sampler is not None and (sample := self._sampler.first()) is not None:
            self._journal.say(sample, SYSTEM_STREAM)
            self._sampler.let_go(sample)

    def _settle_stale(self) -> None:
        """Give verdicts and seals to runs that died with the stream's last writer."""
        fresh = [stream for stream in self._journal.stale_streams if stream not in self._settled]
        if fresh:
            alive = {source.run for source in self._sources.values()}
            settle(self._journal.folder, self._journal, fresh, alive)
            self._settled.update(fresh)

    def _sync_if_due(self, now: float) -> None:
        if now >= self._next_sync or any(source.wants_sync for source in self._sources.values()):
            self._sync()
            self._next_sync = monotonic() + self._sync_every_s

    def _sync(self) -> None:
        positions = [(source, source.complete) for source in self._sources.values() if source.is_new]
        self._journal.sync()
        for source, position in positions:
            source.synced(position)

    def _leave(self) -> bool:
        """Finish all work; False if a new ring has come.

        Raises:
            OSError: Something is left to do.
        """
        self._close_journal()
        # Once more, now that the streams are free: a process that came meanwhile found this one at the lock, and relies on it.
        self._scan()
        return not self._sources

    def _close_journal(self) -> None:
        """Settle the runs of dead processes, seal the writer's own lines, and give the streams back.

        Raises:
            OSError: Something is left to do.
        """
        for stream in claims.stale(self._where() or self._folder):
            self._journal.take_over(stream)
        self._settle_stale()
        self._journal.close()
        self._journal = Journal(self._folder, self._files, self._home)
        self._settled.clear()


def serve(folder: Path, spool_folder: Path, fd: int | None = None) -> None:
    """Be the writer of a spool, unless there is one: then see that it takes the rings in the spool, and leave."""

    def drain(wait: Wait) -> bool:
        return Writer(folder, spool_folder, sampler=Sampler(folder), fd=fd).serve(wait)

    while serve_once(spool_folder, _LOCK_WAIT_S, drain):
        # A ring that came while this one was leaving may have met neither this writer nor, at the lock, the next one.
        if not any(is_unattended(ring) for ring in spool.rings_in(spool_folder)):
            return


def rescue(folder: Path, spool_folder: Path, timeout_s: float) -> None:
    """Drain the rings that get no more events, from within the calling process; the others are not touched."""
    until = monotonic() + timeout_s
    backlog = Backlog(folder, complete=partial(complete, folder))  # in this process: it may not have children of ours
    writer = partial(Writer, folder, spool_folder, serves=_is_over, backlog=backlog)
    serve_once(spool_folder, timeout_s, lambda wait: writer().serve(wait, until))


def _is_over(source: Source) -> bool:
    return source.is_ended or source.owner.is_gone()


def serve_once(spool_folder: Path, lock_wait_s: float, serve: Callable[[Wait], bool]) -> bool:
    """Do the writer's work under the lock of the spool; return whether the lock could be taken and all was done."""
    fd = lock(spool_folder, lock_wait_s)
    if fd is None:
        return False
    wait = Wait(spool_folder)
    try:
        return serve(wait)
    finally:
        wait.close()
        remove_idle(spool_folder)  # while the lock is held: nobody else is at work in what is removed
        os.close(fd)


def _tried(task: Callable[[], object], problems: list[OSError]) -> bool:
    """Do a task; return whether it gave a true value. An error of the system is added to the problems."""
    try:
        return bool(task())
    except OSError as error:
        problems.append(error)
        return False


def main(folder: str, spool_folder: str, fd: str = "") -> None:
    """Run as the writer process."""
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        # It ends when the rings are empty and their processes gone: a batch system's signals must not cost the last lines.
        signal.signal(ignored, signal.SIG_IGN)
    spool.bases()  # imports the search for the temporary folder: at the end of a run its `close` would wait for that
    serve(Path(folder), Path(spool_folder), int(fd) if fd else None)
