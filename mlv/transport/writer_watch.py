"""The producer's view of its writer: whether it lives and writes, what it reports, and starting another one."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from mmap import mmap
from pathlib import Path
from time import monotonic, monotonic_ns

from mlv.errors import MlvWarning, RedactedWarning, RejectedWarning, WritingStalled
from mlv.interrupts import pass_on
from mlv.media.jobs import rejected_text
from mlv.notices import warn
from mlv.store.owners import process_start
from mlv.transport import spool
from mlv.transport.frames import (
    REASON_OFFSET,
    W_CAPACITY,
    W_ERRNO,
    W_REASON_BYTES,
    W_REDACTED,
    W_REJECTED,
    W_STAMP,
    W_WRITER_PID,
    W_WRITER_START,
)

_STALE_AFTER_S = 2.0
"""A writer stamps its ring every 20 ms, and late on a machine under load."""
BEGINS_WITHIN_S = 1.0
"""A Python takes 0.1 s to start, several times that when many processes of a job start at once."""
_LAUNCHES_BEFORE_WARNING = 2  # the first may be late on a machine under load


class WriterWatch:
    """Watches the writer of one ring; each of its warnings comes once."""

    def __init__(
        self,
        ring: mmap,
        words: memoryview,
        path: Path,
        listed_in: Path,
        folder: str,
        run: str,
        launch: Callable[[], None],
        patience_s: float,
        begins_within_s: float = BEGINS_WITHIN_S,
    ) -> None:
        """Prepare to watch the writer that `launch` is called for at this moment."""
        self._map, self._words = ring, words
        self._path, self._spool, self._folder, self._run = path, listed_in, folder, run
        self._launch, self._patience_s, self._begins_within_s = launch, patience_s, begins_within_s
        self._launched_at = monotonic()
        self._launches = 1
        self._warned: set[str] = set()

    def look(self, is_waiting: bool = False) -> None:
        """See whether the writer lives and writes; start another one, or warn.

        A fresh stamp is taken as a sign of life, unless somebody waits for the writer.
        """
        problem = self._words[W_ERRNO]
        if problem == errno.ESTALE:
            self.warn_of_loss()
        elif problem:
            self.warn_once(
                f"errno {problem}",
                f"the events of run {self._run} wait in memory: {os.strerror(problem)}. They are written as soon as that is "
                f"possible; when {self._words[W_CAPACITY] >> 20} MiB are full, logging waits, at most {self._patience_s:g} s",
            )
        self.warn_of_changed()
        stamp = self._words[W_STAMP]
        is_fresh = stamp and (monotonic_ns() - stamp) / 1e9 < _STALE_AFTER_S
        if (is_fresh and not is_waiting) or self.writer_is_alive():
            self._launches = 0 if is_fresh else self._launches
            return
        # Back off: a writer that cannot start must not be started in a loop.
        has_begun = self._words[W_WRITER_PID] != 0
        wait_s = min(60.0, (0.1 if has_begun else self._begins_within_s) * 2**self._launches)
        if monotonic() - self._launched_at > wait_s:
            if not has_begun and self._launches >= _LAUNCHES_BEFORE_WARNING:
                self.warn_once(
                    "launch",
                    f"the writer of run {self._run} does not begin: its events wait in memory. "
                    f"{self._spool / spool.ERRORS} may say why",
                )
            self._relaunch()

    def _relaunch(self) -> None:
        """Start a writer; if one is there already the new one goes away at once."""
        self._launches += 1
        self._launched_at = monotonic()
        try:
            self._launch()
        except OSError as error:
            pass_on(error)
            self.warn_once("launch", f"the writer of run {self._run} cannot be started: {error}. Its events wait in memory")

    def writer_is_alive(self) -> bool:
        """Return whether the process that has taken the ring is there."""
        # The start as well: the number may belong to another process by now.
        pid, start = self._words[W_WRITER_PID], self._words[W_WRITER_START]
        return pid != 0 and process_start(pid) == str(start)

    def reason(self) -> str:
        """Say for people why nothing is written."""
        problem = self._words[W_ERRNO]
        if problem:
            return f"The writer says: {os.strerror(problem)}. Make room, or look at the disk"
        return "The disk hangs, or the writer was stopped" if self.writer_is_alive() else "The writer is gone"

    def outlook(self) -> str:
        """Describe the fate of the waiting events; see `Channel`."""
        if "loss" in self._warned:
            return ""
        if self.writer_is_alive():
            return "its writer goes on with it"
        if self._path.exists():
            return f"there is no writer. Its events wait in {self._path}: the next run in it, or `mlv recover`, brings them in"
        return f"its events are lost, as {self._path} was removed and there is no writer"

    def warn_of_loss(self) -> None:
        """Say that the files of the run are gone."""
        self.warn_once("loss", loss_text(Path(self._folder), self._run))

    def warn_of_changed(self) -> None:
        """Say that a worker could not complete an event, or that credentials were taken out of some: the log shows it."""
        if self._words[W_REJECTED]:
            text = bytes(self._map[REASON_OFFSET : REASON_OFFSET + self._words[W_REASON_BYTES]]).decode(errors="ignore")
            self.warn_once("rejected", rejected_text(self._run, text, self._words[W_REJECTED]), RejectedWarning)
        if self._words[W_REDACTED]:
            from mlv.transport.censor import redacted_text  # `import mlv` does without

            self.warn_once("redacted", redacted_text(self._run, self._words[W_REDACTED]), RedactedWarning)

    def warn_once(self, topic: str, message: str, category: type[MlvWarning] = WritingStalled) -> None:
        """Warn of a topic, unless that was done, and nothing said since that it is over."""
        if topic not in self._warned:
            self._warned.add(topic)
            warn(message, category)

    def is_over(self, topic: str) -> None:
        """Forget a warning: should it be needed again, it comes again."""
        self._warned.discard(topic)

    def abandon(self, ring: mmap, words: memoryview) -> None:
        """Look at another memory from now on: the ring belongs to the process that this one was forked from."""
        self._map, self._words = ring, words


def loss_text(folder: Path, run: str) -> str:
    """Return the warning that the files of a run are gone while it logs."""
    return f"the experiment in {folder} was removed or replaced during run {run}: what it logged since then is lost"
