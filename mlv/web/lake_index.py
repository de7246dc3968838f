"""The experiments of a lake as the page's list; the logs of one are read when it is opened, drawn or compared."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any

from mlv.errors import InvalidArgument, MlvError, NotAnExperiment
from mlv.lake.listing import LakeListing, Listing
from mlv.optional import package
from mlv.query.digest import Depth, Digest
from mlv.query.sql.engine import LongView
from mlv.store import layout
from mlv.store.identities import known_ids
from mlv.web.index import FIRST_ROWS, LEAST_OF_ID, PageIndex
from mlv.web.lake_columns import columns, within_limit
from mlv.web.limits import LIMITS
from mlv.web.plain import as_text
from mlv.web.rows import IndexRow, as_of

_REQUESTS = 16


class LakeIndex:
    """The list of a lake. It answers what `PageIndex` answers, without reading a log."""

    def __init__(self, lake: LakeListing, logs: PageIndex) -> None:
        """Begin with the list as it was read; `logs` reads the experiments that are asked for one by one."""
        np = package("numpy")
        self._lake = lake
        self._listing = lake.listing
        """The list that the versions below belong to."""
        self._asof: datetime | None = None
        self._logs = logs
        self._brought: dict[Path, float] = {}
        """When each folder of a bucket's mirror was brought up to date."""
        self._nonce = secrets.token_hex(4)
        self._version = len(lake.listing)
        self._versions = np.arange(1, self._version + 1)
        """The version with which each row has changed; the newest row is the first that is sent."""
        self._gone: list[tuple[int, str]] = []
        self._archived = _archived(lake.listing)
        self._problem = ""
        self._next_look = monotonic() + LIMITS.lake_look_s
        self._changed = threading.Lock()
        self._reading = threading.Lock()

    @property
    def version(self) -> int:
        """A number that grows with every change."""
        return self._version

    @property
    def root(self) -> Path:
        """The folder; of a bucket that of its mirror."""
        return self._lake.folder

    @property
    def origin(self) -> str:
        """The folder, or the URL of the bucket, as the page names it."""
        return self._lake.url or str(self.root)

    @property
    def source(self) -> dict[str, Any]:
        """The option with which `mlv.find` has the same list."""
        return {"lake": self._lake.lake.url}

    @property
    def asof(self) -> datetime | None:
        """The moment, if it is not that of the lake."""
        return self._asof

    @property
    def waiting(self) -> None:
        """No disk is waited for."""

    def at_moment(self, asof: datetime) -> LakeIndex:
        """Return the same experiments, of which each is read as of a moment; there is no list of them."""
        past = copy(self)
        past._asof = asof
        return past

    def refresh(self) -> bool:
        """Look whether another build has ended, now and then; return whether this call looked."""
        if monotonic() < self._next_look or not self._reading.acquire(blocking=False):
            return False
        problem = ""
        try:
            if self._lake.refresh():
                self._take(self._lake.listing)
        except MlvError as error:  # it is being built anew, or its store is away: the former list stays
            problem = str(error)
        finally:
            self._next_look = monotonic() + LIMITS.lake_look_s
            self._reading.release()
        with self._changed:
            self._version += problem != self._problem
            self._problem = problem
        return True

    def refresh_soon(self, wait_s: float) -> None:
        """Look whether another build has ended, in another thread; wait for it, unless it takes long."""
        thread = threading.Thread(target=self.refresh, daemon=True)
        thread.start()
        thread.join(wait_s)

    def wait(self, words: Iterable[str] | None, wait_s: float) -> bool:
        """Return whether the list is there: it always is."""
        return True

    def _take(self, listing: Listing) -> None:
        """Take the rows of another build in place of those before; the ones that differ get new versions."""
        np, compute = package("numpy"), package("pyarrow.compute")
        former = self._listing.experiments
        at = compute.index_in(listing.ids, value_set=former["id"].combine_chunks())
        is_former = np.asarray(at.is_valid())
        numbers = np.asarray(compute.fill_null(at, 0))
        versions = np.zeros(len(listing), int)
        if former.num_rows:
            is_same = is_former & (former["fingerprint"].to_numpy()[numbers] == listing.experiments["fingerprint"].to_numpy())
            versions[is_same] = self._versions[numbers[is_same]]
        gone = former["id"].filter(compute.invert(compute.is_in(former["id"], value_set=listing.ids.combine_chunks())))
        archived = _archived(listing)
        if archived != self._archived:
            versions[:] = 0  # a row says whether one around it is archived
        with self._changed:
            changed = versions == 0
            versions[changed] = np.arange(1, int(changed.sum()) + 1) + self._version
            # Also where no row has changed: the moment has.
            self._version += int(changed.sum()) + 1
            self._gone += [(self._version, identity) for identity in gone.to_pylist()]
            self._listing, self._versions, self._archived = listing, versions, archived

    def news(self, cursor: str, wait_s: float) -> dict[str, Any]:
        """Return the rows that have changed since a cursor, and how old the lake is; they are there, so nothing waits.

        Raises:
            InvalidArgument: The list is to be that of another moment.
        """
        self._refuse_past()
        nonce, _, number = cursor.partition(".")
        is_known = nonce == self._nonce and number.isdecimal()
        since = int(number) if is_known else -1
        with self._changed:
            listing, versions, version, archived = self._listing, self._versions, self._version, self._archived
            gone = [identity for at, identity in self._gone if since < at and not listing.numbers(identity)]
            lake = {
                "url": self._lake.lake.url, "as_of": listing.as_of.timestamp(), "far": self._lake.url is not None,
                "experiments": len(listing), "problem": self._problem or None,
            }  # fmt: skip
        np = package("numpy")
        order = np.argsort(versions, kind="stable")
        order = order[np.searchsorted(versions[order], since, side="right") :]
        rows = order[:FIRST_ROWS] if not is_known else within_limit(listing, order)
        is_all = len(rows) == len(order)
        return {
            "cursor": f"{self._nonce}.{version if is_all else versions[rows[-1]]}", "root": as_text(self.origin),
            "reset": not is_known, "complete": is_all, "waiting": None, "gone": gone if is_known else [], "n": len(rows),
            "columns": columns(listing, rows, archived), "lake": lake,
        }  # fmt: skip

    def row(self, word: str) -> IndexRow:
        """Return the experiment whose ID begins with a word of eight digits or more, as the lake has it.

        Raises:
            NotAnExperiment: There is none, or there are several.
        """
        listing = self._listing
        numbers = listing.numbers(word) if len(word) >= LEAST_OF_ID else []
        if len(numbers) != 1:
            count = "are several experiments" if numbers else "is no experiment"
            text = f"there {count} {word!r:.100} in the lake {self._lake.lake.url}: give more of its ID, or read the logs"
            raise NotAnExperiment(text, path=str(self.root))
        return self._row(listing, numbers[0])

    def _row(self, listing: Listing, number: int) -> IndexRow:
        digest = self._lake.digest(listing.record(number))
        return IndexRow(digest, 0, Depth.STATE, (), str(digest.recorded["status"]))

    def current(self, word: str) -> IndexRow:
        """Return an experiment as its log says now; that of a bucket is brought first.

        Raises:
            NotAnExperiment: It is not there any more.
            BucketError, ExperimentBusy, FileUnusable: As `mlv.bucket.mirror.Mirror.refresh`.
        """
        named = self.row(word).digest
        self.bring([named.path])
        row = self._logs.look_at(named.path) if layout.is_experiment(named.path) else None
        # A redaction of meta.json gives another ID.
        if row is None or (row.digest.id != named.id and named.id not in known_ids(named.path)):
            made = f"{self._lake.as_of:%Y-%m-%d %H:%M} UTC"
            text = f"{named.name} is in the lake, which is of {made}, and its log is not at {named.path} any more"
            raise NotAnExperiment(text, path=str(named.path))
        past = row if self._asof is None else as_of(row, self._asof)
        if past is None:
            raise NotAnExperiment(f"{named.name} was made after {self._asof}", path=str(named.path))
        return past

    def bring(self, folders: Sequence[Path]) -> None:
        """Bring the logs of experiments of a bucket, several at once, but those that were brought a moment ago.

        Raises:
            BucketError, ExperimentBusy, FileUnusable: As `mlv.bucket.mirror.Mirror.refresh`.
        """
        if self._lake.url is None:
            return
        now = monotonic()
        due = [folder for folder in folders if now > self._brought.get(folder, float("-inf")) + LIMITS.bring_s]
        paths = {folder: folder.relative_to(self._lake.folder).as_posix() for folder in due}
        if not paths:
            return
        with ThreadPoolExecutor(min(_REQUESTS, len(paths))) as threads:
            for folder, _ in zip(paths, threads.map(self._lake.fetch_path, paths.values()), strict=True):
                self._brought[folder] = monotonic()

    def name_of(self, exp: str) -> str | None:
        """Return the name of an experiment; None where it is not in the list."""
        listing = self._listing
        numbers = listing.numbers(exp)
        return self._row(listing, numbers[0]).digest.name if numbers else None

    def children(self, exp: str) -> list[IndexRow]:
        """Return the experiments that started from another one."""
        listing = self._listing
        return [self._row(listing, number) for number in listing.children(exp)]

    # SQL.

    def ids(self) -> list[str]:
        """Return the IDs of all experiments."""
        self._refuse_past()
        return self._listing.ids.to_pylist()  # type: ignore[no-any-return]

    def experiments(self) -> Any:
        """Return the view `experiments` of SQL."""
        self._refuse_past()
        return self._lake.experiments()

    def digests(self) -> list[Digest]:
        """Return none: each view is made of the tables."""
        return []

    @property
    def views(self) -> Mapping[str, LongView]:
        """The views of SQL over the tables of the lake."""
        return self._lake.views

    def _refuse_past(self) -> None:
        if self._asof is not None:
            text = "a lake has the list of its own moment alone: leave asof out, or read the logs (fresh=1, `mlv ui --fresh`)"
            raise InvalidArgument(text, asof=self._asof.isoformat())


def _archived(listing: Listing) -> frozenset[str]:
    """Return the paths of the experiments that are archived."""
    table = listing.experiments
    return frozenset(table["path"].filter(package("pyarrow.compute").fill_null(table["archived"], False)).to_pylist())
