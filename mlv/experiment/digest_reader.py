"""Reading many experiments: each once, again only when it has changed, and of copies one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlv.errors import MlvWarning, NotAnExperiment
from mlv.notices import warn
from mlv.query.digest import Depth, Digest, fingerprint, read_digest
from mlv.query.many import axes
from mlv.query.unreadable import leaving_out
from mlv.store import layout
from mlv.store import meta as meta_

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from mlv.executors import On
    from mlv.query.many.tasks import TaskBatch


class DigestReader:
    """Reads experiments, and again only those that have changed since."""

    def __init__(self) -> None:
        self._metas: dict[Path, meta_.Meta] = {}
        self._digests: dict[Path, tuple[Any, Depth, Digest]] = {}
        self._by_id: dict[str, Path] | None = None

    def meta(self, folder: Path) -> meta_.Meta | None:
        """Return the meta.json of an experiment; None, and a warning, where it cannot be read."""
        try:
            meta = self._metas.get(folder) or meta_.read_meta(folder)
        except NotAnExperiment as error:
            warn(str(error), MlvWarning)
            return None
        return self._metas.setdefault(folder, meta)

    def walk(self, root: Path) -> Iterator[Path]:
        """Yield the folder of each experiment at or below the root, as `layout.walk`."""
        return layout.walk(root)

    def digest(self, folder: Path, depth: Depth = Depth.STATE) -> Digest | None:
        """Return an experiment as it is now, read at least to the depth; None where it cannot be read."""
        meta = self.meta(folder)
        if meta is None:
            return None
        before = self._digests.pop(folder, None)
        with leaving_out(folder):
            now = fingerprint(folder)
            if before is None or before[0] != now or before[1] < depth:
                before = (now, depth, read_digest(folder, meta.id, meta.content, depth))
            self._digests[folder] = before
        return before[2] if folder in self._digests and before is not None else None

    def digests(self, folders: Iterable[Path], depth: Depth, executor: Executor) -> Iterator[Digest]:
        """Yield experiments as `digest` returns them; those that have changed are read on an executor."""
        from mlv.query.many.tasks import batches, run_on_experiments  # executors take 10 ms to import

        asked: list[Path] = []

        def unread() -> Iterator[Path]:
            for folder in folders:
                asked.append(folder)
                if not self._is_fresh(folder, depth) and self.meta(folder) is not None:
                    yield folder

        for entries in run_on_experiments(executor, partial(_read, depth), batches(unread(), Path)):
            for folder, entry in entries:
                self._digests.pop(folder, None)
                if entry is not None:
                    stamp, digest = entry
                    meta = self._metas[folder]
                    self._digests[folder] = (stamp, depth, replace(digest, id=meta.id, meta=meta.content))
        for folder in asked:
            if folder in self._digests and folder in self._metas:
                yield self._digests[folder][2]

    def _is_fresh(self, folder: Path, depth: Depth) -> bool:
        before = self._digests.get(folder)
        with suppress(OSError):
            return before is not None and before[1] >= depth and before[0] == fingerprint(folder)
        return False

    def parent(self, root: Path, digest: Digest) -> Digest | None:
        """Return the parent of an experiment; None where it is neither at its recorded path nor below the root."""
        parent_id = digest.parent_id
        if parent_id is None:
            return None
        recorded = Path(os.path.normpath(digest.path / str(digest.captured("parent").get("path", ".."))))
        if layout.is_experiment(recorded) and (meta := self.meta(recorded)) is not None and meta.id == parent_id:
            return self.digest(recorded, Depth.SETTINGS)
        if self._by_id is None:
            self._by_id = {meta.id: folder for folder in layout.walk(root) if (meta := self.meta(folder)) is not None}
        folder = self._by_id.get(parent_id)
        return None if folder is None else self.digest(folder, Depth.SETTINGS)


def _read(depth: Depth, batch: TaskBatch[Path]) -> list[tuple[Path, tuple[Any, Digest] | None]]:
    """Read experiments, without their meta.json; None for one that cannot be read."""
    entries: list[tuple[Path, tuple[Any, Digest] | None]] = []
    for folder in batch.items:
        entry = None
        with leaving_out(folder):
            stamp = fingerprint(folder)
            entry = stamp, read_digest(folder, "", {}, depth)
        entries.append((folder, entry))
    return entries


def without_copies(digests: Sequence[Digest]) -> list[Digest]:
    """Keep one copy of each experiment: that with the longest log, of equal ones the first. Warn about the others."""
    chosen: dict[str, Digest] = {}
    for digest in digests:
        longest = chosen.setdefault(digest.id, digest)
        if longest is not digest and _size(digest) > _size(longest):
            chosen[digest.id] = digest
    if len(chosen) < len(digests):
        copy = next(digest for digest in digests if chosen[digest.id] is not digest)
        text = f"{copy.path} is a copy of {chosen[copy.id].path}"
        more = len(digests) - len(chosen) - 1
        warn(f"{text}{f', and there are {more} more copies' if more else ''}: each experiment counts once", MlvWarning)
    chosen_ids = {id(digest) for digest in chosen.values()}
    return [digest for digest in digests if id(digest) in chosen_ids]


def _size(digest: Digest) -> int:
    with suppress(OSError):
        return sum(size for _, size, _ in fingerprint(digest.path))
    return 0


def depth_for(x: Any) -> Depth:
    """Return how much of an experiment an x axis needs: times count from when its runs began, and None asks it."""
    if x is None:
        return Depth.DESCRIPTIONS
    return Depth.STATE if x in (axes.ELAPSED, axes.ACTIVE) else Depth.SETTINGS


def depth_of(predicate: str) -> Depth:
    """Return how much of an experiment a predicate of SQL needs."""
    return Depth.METRICS if "metrics" in predicate.lower() else Depth.STATE


@contextmanager
def opened(on: On) -> Iterator[Executor | None]:
    """Give the executor that `on` names, as `mlv.executors.executor_of`; None for this process."""
    if on is None:
        yield None
        return
    from mlv.executors import executor_of  # takes 10 ms to import

    with executor_of(on) as executor:
        yield executor
