"""Pushing a tree, or one experiment, to a bucket: what it lacks is shipped, as often as asked, by any number of processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from time import monotonic
from typing import TypeVar

from mlv.bucket import names, positions
from mlv.bucket.patience import ShippingPatience, Stop
from mlv.bucket.pauses import StreamPauses
from mlv.bucket.pushed_tree import PushedTree
from mlv.bucket.ship.effects import Shipped
from mlv.bucket.shipper import Shipper
from mlv.bucket.store import ObjectStore
from mlv.errors import BucketError, BucketUnreachable, ObjectDiffers
from mlv.store import layout

T = TypeVar("T")

_AT_ONCE = 8
"""Experiments that are shipped at the same time: most of it is waiting for answers."""
_TRIES = 4


class Push:
    """Ships the experiments at and below a folder; called again, what they have by then."""

    def __init__(
        self, root: Path, store: ObjectStore, *, with_files: bool = True, settled_s: float = 0.0, defers: bool = False
    ) -> None:
        """Prepare; no request is made. With `defers`, runs that are shipped by a process of their own are left to that."""
        self._defers = defers
        self._tree, self._store, self._with_files, self._settled_s = PushedTree(root, store.url), store, with_files, settled_s
        self._shippers: dict[Path, Shipper] = {}
        self._pauses, self._stopped = StreamPauses(), Stop()

    def stop(self) -> None:
        """Wait for no store any more; what was begun is completed where the store answers."""
        self._stopped.set()

    def experiments(self) -> list[Path]:
        """Return the folders of the experiments, each before those below it.

        Raises:
            NotAnExperiment: There are none.
        """
        return self._tree.experiments()

    def run(self, folders: Sequence[Path], *, is_whole: bool = True) -> Iterator[Shipped]:
        """Ship the experiments in some folders, and yield what was done for each, in order.

        Args:
            folders: Those of the experiments.
            is_whole: Whether all lines go, also those of streams that pause between two shipments.

        Raises:
            BucketError: The store answers none of several tries, or refuses.
        """
        self._pauses.begin(monotonic(), is_whole=is_whole)
        new = [folder for folder in folders if folder not in self._shippers]
        shippers = [self._shipper(folder) for folder in folders]
        former = self._tree.former_paths(new)
        if not self._is_remembered([folder for folder in new if folder not in former]):
            for shipper in shippers:
                shipper.distrust()
        for shipper in shippers:
            shipper.shipped.notes += self._tree.notes_of_move(shipper.folder, former)
        pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="mlv-push")
        try:
            futures: list[Future[Shipped]] = [pool.submit(self._ship, shipper) for shipper in shippers]
            for future in futures:
                yield future.result()
        except KeyboardInterrupt:
            self.stop()  # else the other threads would try for minutes what a store that is away does not answer
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _shipper(self, folder: Path) -> Shipper:
        if folder not in self._shippers:
            self._shippers[folder] = Shipper(folder, self._tree.path(folder), self._store)
        shipper = self._shippers[folder]
        shipper.begin_report()
        return shipper

    def _is_remembered(self, folders: Sequence[Path]) -> bool:
        """Return whether the bucket has what positions tell of it: it may have been emptied since."""
        read = {folder: positions.read(folder, self._store.url) for folder in folders}
        shipped = [folder for folder, position in read.items() if position is not None and position.meta]
        keys = {names.join(self._tree.path(folder), layout.META) for folder in (*shipped[:1], *shipped[-1:])}
        return all(self._patiently(lambda key=key: self._store.head(key)) is not None for key in keys)  # type: ignore[misc]

    def _ship(self, shipper: Shipper) -> Shipped:
        try:
            with positions.alone(shipper.folder, self._store.url) if self._defers else nullcontext(True) as is_alone:
                if is_alone:
                    self._patiently(lambda: self._ship_once(shipper))
        except ObjectDiffers as error:
            shipper.shipped.notes.append(str(error))  # of this experiment: the others are shipped
        except BucketError as error:
            if error in shipper.refused.values():
                return shipper.shipped  # of a file, which is named
            if type(error) is not BucketError:
                raise
            shipper.shipped.unshipped["."] = str(error)  # of this experiment: the others are shipped
        except OSError as error:
            where = error.filename or shipper.folder
            shipper.shipped.unshipped[os.path.relpath(where, shipper.folder)] = error.strerror or str(error)
        return shipper.shipped

    def _ship_once(self, shipper: Shipper) -> None:
        shipper.ship_lines(self._pauses.pausing(shipper.folder))
        are_up = shipper.ship_files(self._stopped.is_set, settled_s=self._settled_s) if self._with_files else False
        shipper.settle_former()
        if not (are_up and shipper.mark_whole()):
            shipper.merge()
        shipper.check_readable()
        for error in shipper.refused.values():
            if isinstance(error, BucketUnreachable):
                raise error  # the next time it may be taken

    def _patiently(self, task: Callable[[], T]) -> T:
        """Do a task, again where the store may answer the next time."""
        patience = ShippingPatience()
        for _ in range(_TRIES - 1):
            try:
                return task()
            except BucketUnreachable:
                if self._stopped.wait(patience.next_s()):
                    raise
        return task()
