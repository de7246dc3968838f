"""The experiments below a folder as columns: what has changed since an answer is sent, and nothing else."""

from __future__ import annotations

import hashlib
import math
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any

import orjson

from mlv.errors import MissingExtra, MlvError, NotAnExperiment
from mlv.optional import package
from mlv.query.digest import Depth, Digest
from mlv.query.sql.engine import LongView
from mlv.query.sql.views import LONG_VIEWS, experiments
from mlv.store import layout
from mlv.store.mirrors import is_mirrored
from mlv.web import processes, saved
from mlv.web.columns import columns, within_limit
from mlv.web.limits import LIMITS
from mlv.web.plain import as_text
from mlv.web.processes import Processes
from mlv.web.rows import PASSING, SETTLED_NS, IndexRow, Stamp, as_of, changed_ns, read_row, size_of, stamp_of, with_status

FIRST_ROWS, _ROWS_AT_ONCE = 100, 2500
"""Rows that are waited for while not all have been read: some for the screen, then as many as are worth a question."""
LEAST_OF_ID = 8
_SAVED_EVERY_S = 60.0
_SHARED = ("git", "machine")
"""Sections that are the same in many experiments."""


class PageIndex:
    """The experiments below a folder, each read again only after it has changed; or all of them as of a moment."""

    def __init__(
        self,
        root: Path,
        asof: datetime | None = None,
        present: PageIndex | None = None,
        bring: Callable[[], object] | None = None,
    ) -> None:
        """Begin without any experiment.

        Args:
            root: The folder.
            asof: The moment; None follows the present.
            present: An index without a moment, of which experiments are taken that have not changed since the moment.
            bring: Called before each look at all, to bring the experiments of a bucket up to date.
        """
        self._root = layout.absolute(root)
        self._origin = _origin(self._root) if present is None else present.origin
        self._asof, self._present, self._bring = asof, present, bring
        self._rows: dict[str, IndexRow] = {}
        self._ids: dict[Path, str] = {}
        self._copies: dict[Path, Stamp] = {}
        """Folders whose experiment has its row for another folder, as they were when they were read."""
        self._gone: list[tuple[int, str]] = []
        self._archived: frozenset[Path] = frozenset()
        """The folders of the experiments that are archived, as of the last look at all."""
        self._version = 0
        self._nonce = secrets.token_hex(4)
        self._changed = threading.Condition()
        self._reading = threading.Lock()
        self._at: dict[int, tuple[Path, float]] = {}
        """The folder that each thread which refreshes is reading, and since when."""
        self._sections: dict[bytes, Any] = {}
        """Sections of meta.json that experiments share, by their hashes: they are a quarter of the memory."""
        self._saved: dict[Path, IndexRow] = {}
        """Rows that a former server has left, until their experiments are met."""
        self._saved_at: tuple[int, float] | None = None
        """Version and time of the last saving."""
        self._has_names = False
        """Whether the name of every experiment has been read once."""
        self.is_complete = False
        """Whether every experiment has been read once."""

    @property
    def version(self) -> int:
        """A number that grows with every change."""
        return self._version

    @property
    def root(self) -> Path:
        """The folder."""
        return self._root

    @property
    def origin(self) -> str:
        """The folder, or the URL of the bucket whose mirror it is, as the page names it."""
        return self._origin

    @property
    def archived(self) -> frozenset[Path]:
        """The folders of archived experiments; those below them count as archived too."""
        return self._archived

    @property
    def asof(self) -> datetime | None:
        """The moment, if it is not the present."""
        return self._asof

    def refresh(self) -> bool:
        """Read what has changed, unless another thread is doing so; return whether this one did."""
        if self._asof is not None and self.is_complete:
            return False
        if not self._reading.acquire(blocking=False):
            return False
        try:
            self._refresh()
        finally:
            self._at.clear()
            self._reading.release()
            with self._changed:
                self._changed.notify_all()
        return True

    def refresh_soon(self, wait_s: float) -> None:
        """Read what has changed in another thread; wait for it, unless it takes long: a disk may hang."""
        is_over = threading.Event()

        def run() -> None:
            try:
                if not self.refresh():  # another thread is at it
                    with self._changed:
                        self._changed.wait_for(lambda: not self._reading.locked(), wait_s)
            finally:
                is_over.set()

        if self._reading.locked() and not self.is_complete:
            return
        threading.Thread(target=run, daemon=True).start()
        if self.is_complete:
            is_over.wait(wait_s)

    def wait(self, words: Iterable[str] | None, wait_s: float) -> bool:
        """Read all experiments once, in another thread; return whether those of some IDs, or all, have been read in time."""
        if not self.is_complete:
            self.refresh_soon(0)
        named = None if words is None else list(words)

        def are_there() -> bool:
            return self.is_complete or (named is not None and all(map(self._is_there, named)))

        end = monotonic() + wait_s
        with self._changed:
            while not are_there():
                if monotonic() > min(end, self._longest()[1] + LIMITS.stuck_s):
                    return False
                self._changed.wait(max(0.0, min(0.5, end - monotonic())))
        return True

    def _is_there(self, word: str) -> bool:
        return word in self._rows or sum(identity.startswith(word) for identity in self._rows) == 1

    @property
    def waiting(self) -> dict[str, Any] | None:
        """The folder that does not answer, and for how many seconds; None while all do."""
        folder, since = self._longest()
        seconds = monotonic() - since
        return {"folder": as_text(str(folder)), "seconds": round(seconds)} if seconds > LIMITS.naming_s else None

    def _longest(self) -> tuple[Path, float]:
        """Return the folder that has been read for the longest time, and since when."""
        return min(list(self._at.values()), key=lambda at: at[1], default=(self._root, monotonic()))

    def _refresh(self) -> None:
        begun_ns = time.time_ns()
        own = threading.get_ident()
        self._at[own] = self._root, monotonic()
        if self._bring is not None:
            self._bring()
        if self._saved_at is None and self._asof is None:
            self._saved, self._saved_at = dict(saved.load(self._root)), (-1, -math.inf)
        folders: set[Path] = set()
        unread: dict[Path, int] = {}
        for folder in layout.walk(self._root):
            folders.add(folder)
            self._at[own] = folder, monotonic()
            stamp = self._stamp_to_read(folder, Depth.METRICS)
            if stamp is not None:
                unread[folder] = size_of(stamp)
                if folder not in self._ids and self._asof is None:  # names first: the numbers may take long
                    self._store(folder, read_row(folder, Depth.SETTINGS, stamp))
        self._remove(folders)
        with self._changed:
            self._has_names = True
            self._changed.notify_all()
        self._read_all(unread)
        with self._changed:
            self._pass_on_archived()
            self.is_complete = True
            if not unread and not self._saved and self._saved_at == (-1, -math.inf):
                self._saved_at = self._version, monotonic()  # all is as it was saved
            self._saved.clear()
            self._changed.notify_all()
        self._save(begun_ns - SETTLED_NS)

    def _read_all(self, unread: Mapping[Path, int]) -> None:
        """Read experiments, whose logs have some sizes: many of them in several processes."""
        own = threading.get_ident()
        count = processes.worth(unread.values()) if self._asof is None else 0
        remaining: Iterable[Path] = unread
        if count:
            del self._at[own]  # it waits for others
            remaining = Processes(count, unread, self._take, self._at).run(_import_libraries)
        for folder in remaining:
            self._at[own] = folder, monotonic()
            self._put(folder, Depth.METRICS)

    def _take(self, folder: Path, row: IndexRow | None) -> None:
        """Store what another process has read; None where it could not."""
        if row is None:
            self._put(folder, Depth.METRICS)
        else:
            self._store(folder, row)

    def _pass_on_archived(self) -> None:
        """Send the rows below experiments again that have been archived, or are no longer, since the last look."""
        archived = frozenset(row.digest.path for row in self._rows.values() if row.digest.is_archived)
        changed, self._archived = archived ^ self._archived, archived
        for row in list(self._rows.values()) if changed else ():
            if not changed.isdisjoint(row.digest.path.parents):
                self._version += 1
                self._rows[row.digest.id] = replace(self._rows.pop(row.digest.id), version=self._version)

    def _save(self, settled_ns: int) -> None:
        """Save the rows of experiments that have not changed since a time, now and then."""
        if self._saved_at is None or self._version == self._saved_at[0] or monotonic() < self._saved_at[1] + _SAVED_EVERY_S:
            return
        self._saved_at = self._version, monotonic()
        settled = {row.digest.path: row for row in self.rows() if row.stamp and changed_ns(row.stamp) < settled_ns}
        saved.save(self._root, settled)

    def _put(self, folder: Path, depth: Depth) -> None:
        """Read an experiment at least to a depth, if it has changed or was not read so far."""
        stamp = self._stamp_to_read(folder, depth)
        row = self._read(folder, depth, stamp) if stamp is not None else None
        if row is not None:
            self._store(folder, row)

    def _stamp_to_read(self, folder: Path, depth: Depth) -> Stamp | None:
        """Return the stamp of an experiment that has to be read; None for others, whose rows are brought up to date."""
        before = self._rows.get(self._ids.get(folder, ""))
        stamp = stamp_of(folder)
        if before is not None and before.digest.path != folder:  # a copy of it, until it changes
            return stamp if stamp and stamp != self._copies.get(folder) else None
        if not stamp and before is not None:  # it was deleted while it was shown
            self._remove(self._ids.keys() - {folder})
            return None
        left = self._saved.pop(folder, None)
        if before is None and left is not None and left.stamp == stamp:
            self._store(folder, with_status(left) if left.status in PASSING else left)
            return None
        if before is None or before.stamp != stamp or before.depth < depth:
            return stamp
        if before.status in PASSING and (row := with_status(before)).status != before.status:
            self._store(folder, row)
        return None

    def _store(self, folder: Path, row: IndexRow) -> None:
        """Replace the row of an experiment; of copies that with the longest log stays."""
        sections = row.digest.meta
        shared = {name: self._shared(sections[name]) for name in _SHARED if name in sections}
        if any(section is not sections[name] for name, section in shared.items()):
            row = replace(row, digest=replace(row.digest, meta={**sections, **shared}))
        other = self._rows.get(row.digest.id)
        # That folder may be gone by now, or have another experiment. Before the lock, since a disk may hang.
        is_copy = other is not None and other.digest.path != folder and layout.exp_id(other.digest.path) == row.digest.id
        with self._changed:
            before = self._rows.get(self._ids.get(folder, ""))
            if before is not None and before.digest.path == folder and before.digest.id != row.digest.id:
                self._drop(before.digest.id)
            if is_copy and other is not None:
                self._ids[folder] = row.digest.id
                if size_of(row.stamp) <= size_of(other.stamp):
                    self._copies[folder] = row.stamp
                    return
            self._copies.pop(folder, None)
            self._version += 1
            self._ids[folder] = row.digest.id
            self._rows.pop(row.digest.id, None)
            self._rows[row.digest.id] = replace(row, version=self._version)
            self._changed.notify_all()

    def _shared(self, section: Any) -> Any:
        """Return the same section, as the first experiment has it that was read with it."""
        with suppress(TypeError):
            return self._sections.setdefault(hashlib.blake2b(orjson.dumps(section), digest_size=16).digest(), section)
        return section

    def _read(self, folder: Path, depth: Depth, stamp: Stamp) -> IndexRow | None:
        """Read an experiment; None for one that was made after the moment."""
        if self._asof is None:
            return read_row(folder, depth, stamp)
        present = self._present.at(folder) if self._present is not None else None
        if present is None or present.stamp != stamp or present.depth < depth:
            present = read_row(folder, depth, stamp)
        return as_of(present, self._asof)

    def at(self, folder: Path) -> IndexRow | None:
        """Return the experiment in a folder, as it was read last."""
        with self._changed:
            row = self._rows.get(self._ids.get(folder, ""))
            return row if row is not None and row.digest.path == folder else None

    def _remove(self, folders: Collection[Path]) -> None:
        with self._changed:
            for folder in [folder for folder in self._ids if folder not in folders]:
                self._copies.pop(folder, None)
                row = self._rows.get(self._ids.pop(folder))
                if row is not None and row.digest.path == folder:
                    self._drop(row.digest.id)

    def _drop(self, id: str) -> None:
        self._version += 1
        self._rows.pop(id, None)
        self._gone.append((self._version, id))

    def news(self, cursor: str, wait_s: float) -> dict[str, Any]:
        """Return the rows that have changed since a cursor; wait for one, if not all experiments have been read yet."""
        nonce, _, number = cursor.partition(".")
        is_known = nonce == self._nonce and number.isdecimal()
        since = int(number) if is_known else -1
        with self._changed:
            if not (self.is_complete or (self._has_names and not is_known)):
                most = since + (_ROWS_AT_ONCE if is_known else FIRST_ROWS)
                self._changed.wait_for(lambda: self.is_complete or self._version >= most, wait_s)
            changed = [row for row in self._rows.values() if row.version > since]
            rows = list(within_limit(changed))
            is_all = len(rows) == len(changed)
            until = self._version if is_all else rows[-1].version
            dropped = dict.fromkeys(identity for version, identity in self._gone if since < version <= until)
            gone = [identity for identity in dropped if identity not in self._rows]
            is_complete = self.is_complete and is_all
        return {
            "cursor": f"{self._nonce}.{until}", "root": as_text(self.origin), "reset": not is_known,
            "complete": is_complete, "waiting": self.waiting, "gone": gone, "n": len(rows),
            "columns": columns(rows, self._root, self._asof, self._archived),
        }  # fmt: skip

    def row(self, word: str) -> IndexRow:
        """Return the experiment whose ID begins with a word of eight digits or more.

        Raises:
            NotAnExperiment: There is none, or there are several.
        """
        with self._changed:
            if word in self._rows:
                return self._rows[word]
            matches = [row for row in self._rows.values() if row.digest.id.startswith(word)] if len(word) >= LEAST_OF_ID else []
        if len(matches) != 1:
            count = "are several experiments" if matches else "is no experiment"
            raise NotAnExperiment(f"there {count} {word!r:.100} below {self._root}: give more of its ID", path=str(self._root))
        return matches[0]

    def current(self, word: str) -> IndexRow:
        """Return an experiment as `row` does, read again if it has changed."""
        row = self.row(word)
        self._put(row.digest.path, Depth.METRICS)
        return self.row(row.digest.id)

    def look_at(self, folder: Path) -> IndexRow | None:
        """Return the experiment in a folder, read if it has changed; None where there is none."""
        self._put(folder, Depth.METRICS)
        row = self.at(folder)
        if row is None and folder in self._copies:  # the list has another copy, whose log is longer
            return self._read(folder, Depth.METRICS, stamp_of(folder))
        return row

    def bring(self, folders: Sequence[Path]) -> None:
        """Leave the logs of experiments where they are: on this machine."""

    def rows(self) -> list[IndexRow]:
        """Return all experiments."""
        with self._changed:
            return list(self._rows.values())

    def name_of(self, exp: str) -> str | None:
        """Return the name of an experiment; None where it is not in the list."""
        row = self._rows.get(exp)
        return None if row is None else row.digest.name

    def children(self, exp: str) -> list[IndexRow]:
        """Return the experiments that started from another one."""
        return [row for row in self.rows() if row.digest.parent_id == exp]

    # SQL.

    def ids(self) -> list[str]:
        """Return the IDs of all experiments."""
        return [row.digest.id for row in self.rows()]

    def experiments(self) -> Any:
        """Return the view `experiments` of SQL."""
        return experiments([row.digest for row in self.rows()])

    @property
    def views(self) -> Mapping[str, LongView]:
        """The views of SQL over the logs."""
        return LONG_VIEWS

    def digests(self) -> Sequence[Digest]:
        """Return the experiments that the views are made of."""
        return [row.digest for row in self.rows()]


def _import_libraries() -> None:
    """Import what curves need, which takes as long as to draw a hundred of them."""
    with suppress(MissingExtra):
        package("numpy")
        package("pyarrow.compute")


def _origin(root: Path) -> str:
    """Return the URL whose mirror a folder is, the folder itself where it is none."""
    if is_mirrored(root):
        from mlv.bucket.mirror import mirror_of  # experiments on a disk do without

        with suppress(MlvError):  # a mirror is read without the packages and the credentials of its bucket, too
            if (mirror := mirror_of(root)) is not None:
                return mirror.url
    return str(root)
