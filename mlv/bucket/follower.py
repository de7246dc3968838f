"""The process beside the writer that ships a run to a bucket: every few seconds, at its end, and when it is woken.

It waits out any outage: an error is a reason to try again later, never to end. Lines never wait for files, which a second
thread ships. Others learn how far it is from the position file alone.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any

from mlv.bucket import names, pending, positions
from mlv.bucket.patience import ShippingPatience, jittered
from mlv.bucket.pauses import StreamPauses
from mlv.bucket.positions import alone
from mlv.bucket.pushed_tree import path_below
from mlv.bucket.shipper import Shipper
from mlv.bucket.store import ObjectStore, open_store
from mlv.bucket.wish import Wish
from mlv.capture.redaction import Redactor
from mlv.errors import BucketError, BucketUnreachable, ObjectDiffers
from mlv.store import layout
from mlv.store.home import Home
from mlv.transport import orders
from mlv.transport.orders import Order
from mlv.transport.run_end import RunEnd

_WAKE_S = 0.1
"""Between two looks whether somebody wakes the process."""
_OVER_S = 0.25
"""Between two looks whether the run is over."""
_REST = 50
"""How many times as long as the look itself."""
_WALK_S = 1.0
"""Least time between two searches for experiments below."""
_ATTEND_S = 0.2
"""Between two looks whether the process that ships the same folder is gone."""
_SETTLED_S = 10.0
"""Seconds for which a file that anybody may still write must not have changed."""
_LONGEST_S = 86400.0
"""Seconds for which a run that is over waits for its bucket; then the next run, or `mlv recover`, begins again."""
_REFUSALS = 3
"""After the end of a run a file that the bucket refuses so often is left to `mlv push`: waiting changes no policy."""
_AWAY_S = 300.0
"""Seconds for which the folder may be away: a mount may come back."""


def main(fd: str, path: str, folder: str) -> None:
    """Carry out the order in an open file; then remove it from the spool that it may lie in."""
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(ignored, signal.SIG_IGN)
    orders.complete(fd, path, folder, serve)


def serve(order: Order) -> bool:
    """Ship a run to its end; return whether nothing is left to do."""
    wish, ending = Wish.from_bytes(order.projection), RunEnd(order, follows_moves=True)
    folder = Path(order.folder)
    follower = ShippingFollower(Home(folder, order.exp), wish, lambda: open_store(wish.url), ending)
    # A batch system ends all processes of a job: what it leaves time for is shipped.
    signal.signal(signal.SIGTERM, follower.wake)
    while True:
        with alone(folder, wish.url) as is_alone:
            if is_alone:
                return follower.follow() and not ending.is_given_up
        sleep(_ATTEND_S)  # an earlier run is still being shipped: by its process, with the lines of this one


class ShippingFollower:
    """Ships an experiment, and those below it, until the run is over and all of it is up that the bucket takes."""

    def __init__(self, home: Home, wish: Wish, opened: Callable[[], ObjectStore], is_over: Callable[[], bool]) -> None:
        """Prepare; `opened` opens the bucket, as often as that fails, `is_over` tells whether the run is over."""
        self._home, self._wish, self._opened, self._is_over = home, wish, opened, is_over
        self._store: ObjectStore | None = None
        self._folder = Path()
        self._shippers: dict[Path, Shipper] = {}
        self._mine: list[Shipper] = []
        """Those that no other process ships."""
        self._is_woken = False
        """No event: a signal comes in the middle of waiting for that, too, and would wait for its lock for ever."""
        self._next_walk = 0.0
        self._pauses = StreamPauses()
        self._files = _Files(self._problem)

    def wake(self, *_: Any) -> None:
        """Ship at once; also as the handler of a signal."""
        self._is_woken = True

    def follow(self) -> bool:
        """Ship until the run is over and everything is up; return False where the folder stays away before that."""
        self._files.start()
        try:
            return self._follow()
        finally:
            self._files.stop()

    def _follow(self) -> bool:
        patience, away_since, is_over = ShippingPatience(), 0.0, False
        next_turn = next_look = over_since = 0.0
        while True:
            now, was_over = monotonic(), is_over
            folder = self._home.where()
            if folder is None:
                away_since = away_since or now
                if self._home.is_removed() or now - away_since > _AWAY_S:
                    return self._home.is_removed()
                sleep(_ATTEND_S)
                continue
            away_since = 0.0
            if now >= next_look:
                is_over = self._is_over()
                # Without a ring the log tells, all of it: of a large one that takes its time.
                next_look = monotonic() + max(_OVER_S, _REST * (monotonic() - now))
            over_since = (over_since or now) if is_over else 0.0
            if over_since and now - over_since > _LONGEST_S:
                return False
            is_woken = self._take_wake(folder)
            if is_woken or is_over != was_over or now >= next_turn:
                try:
                    if self._turn(folder, is_woken=is_woken, is_over=is_over):
                        return True
                    patience.reset()
                    next_turn = now + (_WAKE_S if is_over else jittered(self._wish.every_s))
                except (BucketError, OSError) as error:
                    self._problem(error)
                    next_turn = monotonic() + patience.next_s()
            sleep(_WAKE_S)

    def _take_wake(self, folder: Path) -> bool:
        """Return whether somebody asks for a turn at once."""
        is_woken = self._is_woken
        if is_woken:  # else a signal that comes between these two lines would be lost
            self._is_woken = False
        for path in {folder, *(shipper.folder for shipper in self._mine)}:
            # Before the turn: what is asked for from now on is the next one's.
            with suppress(OSError):
                positions.wake_path(path, self._wish.url).unlink()
                is_woken = True
        return is_woken

    def _turn(self, folder: Path, *, is_woken: bool, is_over: bool) -> bool:
        """Ship what there is now; return whether the run is over and all of it is up, files included, and marked."""
        self._pauses.begin(monotonic(), is_whole=is_woken or is_over)
        self._mine, count = [], 0
        sizes: dict[Path, dict[str, int]] = {}
        problem: Exception | None = None
        for shipper in self._all(folder):
            with self._alone(shipper) as is_mine, self._passing_differences(shipper):
                if is_mine:
                    # Before: the lines that come meanwhile are those of a later run, and of the process that ships it.
                    sizes[shipper.folder] = pending.sizes(shipper.folder) if is_over else {}
                    try:
                        count += shipper.ship_lines(self._pauses.pausing(shipper.folder))
                        shipper.merge()
                    except (BucketUnreachable, ObjectDiffers):
                        raise
                    except (BucketError, OSError) as error:
                        problem = problem or error  # of one experiment, maybe: the others do not wait for it
                        continue
                    self._mine.append(shipper)
        # Of a run that is over once: else the lines of a later run would ask for it in each turn.
        if not self._files.is_asked(self._mine, is_over) or (not is_over and (count or is_woken)):
            self._files.look(self._mine, is_over)
        if problem is not None:
            raise problem
        if not (is_over and (self._files.are_up or self._files.are_refused)):
            return False
        for shipper in self._mine:
            shipper.settle_former()
            shipper.mark_whole()
        return all(shipper.has_all_of(sizes[shipper.folder]) for shipper in self._mine)

    @contextmanager
    def _passing_differences(self, shipper: Shipper) -> Iterator[None]:
        """Leave out an experiment whose path in the bucket is another one's: waiting changes nothing."""
        try:
            yield
        except ObjectDiffers as error:
            shipper.save(_censored(error))

    @contextmanager
    def _alone(self, shipper: Shipper) -> Iterator[bool]:
        """Keep other processes from an experiment below; the one at the top is locked already."""
        if shipper.folder == self._folder:
            yield True
            return
        with alone(shipper.folder, self._wish.url) as is_alone:
            yield is_alone

    def _all(self, folder: Path) -> list[Shipper]:
        """Return the shippers of the experiment and of those below it."""
        if self._store is None:
            self._store = self._opened()
        if folder != self._folder:  # it was moved
            self._folder, self._next_walk = folder, 0.0
            self._shippers.clear()
        if monotonic() >= self._next_walk or not self._shippers:
            self._next_walk = monotonic() + _WALK_S
            for path in layout.walk(folder):
                if path not in self._shippers:
                    below = names.join(self._wish.path, path_below(folder, path))
                    self._shippers[path] = Shipper(path, below, self._store)
            for path in [path for path in self._shippers if path != folder and not layout.is_experiment(path)]:
                del self._shippers[path]
        return list(self._shippers.values())

    def _problem(self, error: Exception) -> None:
        """Leave the reason why nothing can be shipped where others look for it."""
        shipper, folder = self._shippers.get(self._folder), self._home.where()
        if shipper is not None:
            shipper.save(_censored(error))
        elif folder is not None:
            positions.note(folder, self._wish.url, self._wish.path, _censored(error))


def _censored(error: Exception) -> str:
    return Redactor().text(str(error), "problem")


class _Files(Thread):
    """Ships the files of experiments, beside the lines."""

    def __init__(self, problem: Callable[[Exception], None]) -> None:
        super().__init__(name="mlv-files", daemon=True)
        self._problem = problem
        self._shippers: list[Shipper] = []
        self._asked, self._stopped = Event(), Event()
        self._is_last = False
        self._wanted = self._done = 0
        self._refused = -1
        self._pause_s: float | None = None

    def is_asked(self, shippers: list[Shipper], is_last: bool) -> bool:
        """Return whether the files of these experiments are looked at already."""
        return self._shippers == shippers and self._is_last == is_last

    def look(self, shippers: list[Shipper], is_last: bool) -> None:
        """Ship what there is by now; with `is_last` also files that were written just now."""
        self._shippers, self._is_last = list(shippers), is_last
        self._wanted += 1
        self._asked.set()

    @property
    def are_up(self) -> bool:
        """Whether all files that there were at the latest look are shipped."""
        return self._done == self._wanted

    @property
    def are_refused(self) -> bool:
        """Whether all but some are shipped, which the bucket refused again and again, and not only for the moment."""
        return self._refused == self._wanted

    def stop(self) -> None:
        """End when the file that is being shipped is up."""
        self._stopped.set()
        self._asked.set()

    def run(self) -> None:
        """Ship when asked."""
        patience, refusals = ShippingPatience(), 0
        while not self._stopped.is_set():
            self._asked.wait(self._pause_s)
            self._asked.clear()
            wanted, self._pause_s = self._wanted, None
            is_last, shippers = self._is_last, list(self._shippers)
            settled_s = 0.0 if is_last else _SETTLED_S
            try:
                are_up = [shipper.ship_files(self._stopped.is_set, settled_s=settled_s) for shipper in shippers]
                are_settled = all(is_up or shipper.lacks_only_refused for is_up, shipper in zip(are_up, shippers, strict=True))
                refusals = refusals + 1 if is_last and are_settled and not all(are_up) else 0
                if all(are_up):
                    self._done = wanted
                    patience.reset()
                elif refusals:
                    self._pause_s = patience.next_s()
                    self._refused = wanted if refusals >= _REFUSALS else -1
                else:
                    self._pause_s = _SETTLED_S
            except Exception as error:  # whatever it is: the lines go on, and the files are tried again
                self._problem(error)
                self._pause_s = patience.next_s()
