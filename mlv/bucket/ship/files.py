"""The files of one experiment, shipped as objects, the most wanted first; one that is published again is another object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any

from mlv import words
from mlv.bucket import names, pending, published
from mlv.bucket.positions import ShippedPosition
from mlv.bucket.ship.announcement import Announcement
from mlv.bucket.ship.progress import MOST_COPIES, Progress
from mlv.bucket.ship.redactions import Redactions
from mlv.bucket.ship.target import Target
from mlv.bucket.store import Creation
from mlv.capture.redaction import Redactor
from mlv.errors import BucketError, BucketUnreachable, ObjectDiffers

_SAVE_S = 1.0
"""Between two records of the files that are up: of many files, each time all of them are written."""


class FileShipper:
    """Ships the files of an experiment."""

    def __init__(
        self,
        target: Target,
        progress: Progress,
        announcement: Announcement,
        redactions: Redactions,
        now: Callable[[], datetime],
    ) -> None:
        """Prepare; `now` is the clock that files were written by."""
        self._target, self._progress, self._now = target, progress, now
        self._announcement, self._redactions = announcement, redactions
        self.refused: Mapping[str, BucketError] = {}
        """Reasons by path why the bucket, which answered, did not take files; those are tried again with the next call."""
        self.lacks_only_refused = False
        """Whether the latest call left nothing but files that the bucket refuses, and not only for the moment."""
        self._next_save = 0.0

    def ship(self, is_over: Callable[[], bool] = lambda: False, *, settled_s: float = 0.0) -> bool:
        """Ship the files that are published, the most wanted first, until `is_over`; return whether all are up.

        A file that anybody may still write is left until it has not changed for `settled_s` seconds.
        """
        up: dict[str, list[Any]] = {}
        for _ in range(MOST_COPIES):
            position = self._progress.position_of_some_copy()
            with self._progress.lock:
                position.files = {**up, **position.files}
            are_up = self._ship_waiting(position, is_over, settled_s)
            # Else another process kept a position meanwhile: those that are up are added to it, and not looked for there.
            if is_over() or self._progress.keeps(position):
                return are_up
            up = position.files
        return False

    def _ship_waiting(self, position: ShippedPosition, is_over: Callable[[], bool], settled_s: float) -> bool:
        waiting = [file for file in published.files(self._target.folder) if not pending.is_shipped(position, file)]
        young = [file for file in waiting if file.is_writable and self._now().timestamp() - file.modified_ns / 1e9 < settled_s]
        # Those that were refused the last time come last: no other file waits for them.
        last = self.refused
        waiting = sorted((file for file in waiting if file not in young), key=lambda file: (file.path in last, file.urgency))
        refused: dict[str, BucketError] = {}
        for number, file in enumerate(waiting):
            with self._progress.lock:
                position.waiting = len(waiting) - number + len(young)
            if is_over():
                return False
            if (error := self._refusal(position, file)) is not None:
                refused[file.path] = error
            if monotonic() >= self._next_save:
                self._progress.save()
                self._next_save = monotonic() + _SAVE_S
        with self._progress.lock:
            position.waiting = len(young) + len(refused)
            self.refused = refused
            self._progress.refusal = Redactor().text(_text_of(refused), "problem")
        self._redactions.remove_files(position)
        self._progress.save()
        is_for_good = refused and not any(isinstance(error, BucketUnreachable) for error in refused.values())
        self.lacks_only_refused = bool(is_for_good) and not (young or position.redacted)
        return not (young or refused or position.redacted)

    def _refusal(self, position: ShippedPosition, file: published.File) -> BucketError | None:
        """Ship a file; return why the bucket does not take it, None where it does."""
        try:
            self._ship(position, file)
        except ObjectDiffers:
            raise
        except BucketError as error:
            if not self._target.answers():
                raise
            self._target.shipped.unshipped[file.path] = str(error)
            return error
        return None

    def _ship(self, position: ShippedPosition, file: published.File) -> None:
        shipped = self._target.shipped
        if problem := published.problem_of_name(file.path):
            shipped.unshipped[file.path] = problem
            return
        try:
            with published.opened(self._target.folder, file) as path:
                self._announcement.make(position)
                key = self._make(file, path)
        except BucketError:
            raise  # also where it is that something in the bucket is not there
        except FileNotFoundError:
            return  # a checkpoint that was let go meanwhile
        except OSError as error:
            shipped.unshipped[file.path] = error.strerror or str(error)
            return
        if key is None:
            shipped.different.append(self._target.key(file.path))
            return
        shipped.unshipped.pop(file.path, None)
        with self._progress.lock:
            position.files[file.path] = [*file.stamp, key]
        shipped.files += 1
        shipped.files_bytes += file.size

    def _make(self, file: published.File, content: Path) -> str | None:
        """Make the object of a file, under the name of a version where its own is taken; return its name, None if refused."""
        store = self._target.store
        for name in (file.path, ""):
            name = name or names.version_key(file.path, published.digest(content))
            key = self._target.key(name)
            # Looked for first: some stores replace an object without a word.
            there = store.head(key)
            if there is not None and there.size != file.size:
                continue
            if there is not None and published.digest_of(store.chunks(key)) == published.digest(content):
                return name
            outcome = store.create(key, content) if there is None else Creation.DIFFERENT
            if outcome is Creation.MADE and not published.is_there(self._target.folder, file):
                # Redacted meanwhile, maybe, and another process has removed the objects that held it.
                self._target.delete([key], "are of files that were changed while they were shipped")
                raise FileNotFoundError(file.path)
            if outcome is not Creation.DIFFERENT:
                return name
        return None


def _text_of(refused: Mapping[str, BucketError]) -> str:
    """Return the reason of the first refusal, which names its file, and how many there are beside it."""
    first = str(next(iter(refused.values()), ""))
    return f"{first}; and {words.counted(len(refused) - 1, 'more file')}" if len(refused) > 1 else first
