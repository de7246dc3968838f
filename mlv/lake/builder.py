"""Building a lake: the plan that is not done yet, then what is new, plan by plan, until nothing is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import orjson

from mlv.bucket.store import Creation, ObjectStore, open_store
from mlv.bucket.urls import is_url
from mlv.encoding import parse_time, utc_text
from mlv.errors import (
    BucketDenied,
    BucketUnreachable,
    InvalidArgument,
    LakeBusy,
    LakeDamaged,
    LakeError,
    LakeMissing,
    LakeTooNew,
    MlvWarning,
)
from mlv.executors import On, executor_of, run_tasks
from mlv.lake import plans, upkeep
from mlv.lake.buckets import BucketSource
from mlv.lake.columns import APPENDED, KEYED, TABLES, schemas
from mlv.lake.history import following
from mlv.lake.lease import alone
from mlv.lake.planner import Folder, Planner, run_survey
from mlv.lake.plans import Plan, Positions
from mlv.lake.record import KEY as RECORD
from mlv.lake.record import LOOKS, LakeRecord, latest_look, make_record, note_look, read_record
from mlv.lake.sources import LogSource, TreeSource
from mlv.lake.tables import LakeTables, checked, for_each_table
from mlv.lake.tasks import NewFile, Task, TaskResult, blocks_of, run_task, tables_from
from mlv.notices import warn
from mlv.optional import package
from mlv.store import layout

CHECKPOINT_PLANS = 64
"""After so many plans their positions are written in one object, so that a builder elsewhere need not read all plans."""


@dataclass
class Built:
    """What a build did."""

    plans: int = 0
    """Number of plans that it carried out."""
    experiments: int = 0
    """Number of experiments with new lines, or whose status was looked at again."""
    replaced: int = 0
    """Number of experiments whose rows were replaced, as their logs no longer begin with what was taken."""
    rows: dict[str, int] = field(default_factory=dict)
    """Number of new rows of each table."""
    number: int = 0
    """Of the latest plan."""

    def to_data(self) -> dict[str, Any]:
        """Return a mapping for JSON."""
        return dict(vars(self))


Report = Callable[[Built], object]


def build(
    src: str | os.PathLike[str],
    url: str | os.PathLike[str],
    on: On = None,
    *,
    everything: bool = False,
    moved: bool = False,
    every_s: float | None = None,
    report: Report = lambda built: None,
) -> Built:
    """Bring a lake up to what the logs of a tree or a bucket say now; it is made where there is none.

    Each line becomes rows once, whoever builds and whatever is killed: what to take is fixed in a plan, and a table takes each
    plan once. Several may build one lake at the same time, on any machines.

    Args:
        src: A folder with experiments, or the URL of a bucket that `mlv push` ships to.
        url: Of the lake: a folder, `file://`, `s3://`, `gs://` or `az://`.
        on: Where tasks are run: a number of processes, `processes:4`, `dask://host:8786`, or any executor. None: in this one.
        everything: Read all lines again that were taken, and replace the rows of experiments that no longer begin with them.
            Else this is done of files that are others than they were. Of a bucket: list all of it, not only what shipped
            something since the latest build.
        moved: Whether the source is what the one of earlier builds was, which had another path or URL.
        every_s: Build again and again at this interval, in seconds, until the process is interrupted.
        report: Called with what each build did.

    Raises:
        InvalidArgument: There is no such folder, or the URL cannot be used.
        LakeDamaged, LakeTooNew: What is at the URL is not what this version of mlv can go on with.
        LakeBusy: Another builder is at work, and the store does not keep two apart; or the lake is being removed.
        LakeError, BucketError: The lake cannot be written.
        MissingExtra: An optional package is not installed.
    """
    source, url = source_of(src), checked(url)
    builder: Builder | None = Builder(source, url)
    while True:
        started = time.monotonic()
        try:
            builder = builder or Builder(source, url)
            built = builder.build(on, everything=everything, moved=moved)
            report(built)
            if every_s is None:
                return built
            everything = False
        except (BucketUnreachable, BucketDenied, LakeError) as error:
            if every_s is None or isinstance(error, (LakeDamaged, LakeMissing, LakeTooNew)):
                raise
            # A store that is away comes back; what was done until then is done.
            warn(f"this build failed, and the next one goes on from there: {error}", MlvWarning)
            builder = None
        time.sleep(max(0.0, every_s - (time.monotonic() - started)))


def source_of(src: str | os.PathLike[str]) -> LogSource:
    """Return the source at a path or URL.

    Raises:
        InvalidArgument: It is no folder, or the URL cannot be used.
        BucketMissing: It is the URL of a folder that is not there.
    """
    if is_url(src):
        return BucketSource(str(src))
    root = Path(src)
    if not root.is_dir():
        raise InvalidArgument(f"src {str(src)!r} is no folder: give one that holds experiments", src=str(src))
    return TreeSource(os.path.realpath(root))


def rebuild(src: str | os.PathLike[str], url: str | os.PathLike[str], on: On = None) -> Built:
    """Remove a lake, and build it anew: its tables are missing meanwhile, and nobody else may build it.

    Raises:
        LakeDamaged: Another program's table is there, or other objects in the folder of a table: nothing is removed.
        InvalidArgument, LakeError, BucketError, MissingExtra: As `build`.
    """
    source, url = source_of(src), checked(url)
    remove(url)
    return Builder(source, url).build(on)


def remove(url: str) -> None:
    """Remove what mlv made below a root; no other objects.

    Raises:
        LakeDamaged: Another program's table is there, or other objects in the folder of a table: nothing is removed.
    """
    store = open_store(url)
    try:
        record = read_record(store)
    except LakeMissing:
        store.delete(_REMOVAL)
        return
    tables = LakeTables(url, record.id)
    keys = {name: [stored.key for stored in store.objects(name)] for name in TABLES}
    for name in TABLES:
        tables.refuse_others(name)
        _refuse_foreign(store, [key for key in keys[name] if not key.startswith(tables.prefixes(name))])
    # The right to delete is tried first: a lake of which nothing could be removed would be one that is being removed for ever.
    store.delete(_TRIAL)
    # Without some of its objects a lake would seem to be whole.
    store.create(_REMOVAL, b"{}\n")
    for name in TABLES:
        for key in keys[name]:
            store.delete(key)
    for folder in (plans.FOLDER, plans.DONE, plans.POSITIONS, LOOKS):
        for stored in list(store.objects(folder)):
            store.delete(stored.key)
    store.delete(RECORD)
    store.delete(_REMOVAL)


_REMOVAL = f"{layout.HOUSEKEEPING}/removal.json"
"""Is there while a lake is being removed."""
_TRIAL = f"{layout.HOUSEKEEPING}/trial.json"
"""Is never there."""


def _refuse_foreign(store: ObjectStore, keys: Iterable[str]) -> None:
    """Refuse a folder of a table in which somebody else keeps something: a rebuild would remove it.

    Raises:
        LakeDamaged: There is an object.
    """
    for key in keys:
        text = (
            f"{store.url}/{key} lies where a table is to be, and this lake has not made it: give an empty folder for the lake"
        )
        raise LakeDamaged(text, url=store.url, key=key)


def _refuse_used(store: ObjectStore) -> None:
    """Refuse a root that has no record of a lake, and objects where the tables are to be, or is itself a table.

    Raises:
        LakeDamaged: There is an object.
    """
    if next(store.objects("_delta_log"), None) is not None:
        # Who tidies that table up removes all files that it does not name.
        text = f"{store.url} is a Delta table of another program: give a folder for the lake that is in none"
        raise LakeDamaged(text, url=store.url)
    for name in TABLES:
        stored = next(store.objects(name), None)
        if stored is not None and store.head(RECORD) is None:
            _refuse_foreign(store, [stored.key])


class Builder:
    """One process that builds a lake."""

    def __init__(self, source: LogSource, url: str) -> None:
        """Open the lake, or make it."""
        package("pyarrow", "lake")
        self._source, self._url = source, url
        self._store: ObjectStore = open_store(url)
        if self._store.head(RECORD) is None:
            _refuse_used(self._store)
        self._record: LakeRecord = make_record(self._store)
        self._tables = LakeTables(url, self._record.id)
        self._positions = Positions()
        self._since_checkpoint = 0
        self._is_moved = False

    def build(self, on: On = None, *, everything: bool = False, moved: bool = False) -> Built:
        """Carry out what is not done yet, and what is new."""
        if self._store.head(_REMOVAL) is not None:
            raise LakeBusy(
                f"{self._url} is being removed by `mlv lake rebuild`: wait for it, and where it was killed, run it again",
                url=self._url,
            )
        # Where the store keeps conditions, plans and transactions do this, and better.
        with nullcontext(lambda: None) if self._record.keeps_conditions else alone(self._store) as renew:
            return self._build(on, everything, moved, renew)

    def _build(self, on: On, everything: bool, moved: bool, renew: Callable[[], None]) -> Built:
        built, began = Built(), datetime.now(timezone.utc)
        self._is_moved = moved
        for_each_table(self._tables.made)
        with executor_of(on) as executor:
            self._catch_up(executor, built)
            since = None if everything else self._since()
            planner = Planner(
                self._source, self._positions, lambda tasks: run_tasks(executor, run_survey, tasks), everything, since
            )
            for folders in planner.news():
                renew()
                self._take(planner, folders, executor, built)
            if self._positions.gone:
                self._take(planner, [], executor, built)
        upkeep.maintain(self._tables, datetime.now(timezone.utc))
        built.number = self._positions.number
        note_look(self._store, began, self._source.root)
        return built

    def _since(self) -> datetime | None:
        """Return the moment from before which all lines of the source were taken, if there is one."""
        before = self._positions.source
        if before:
            self._refuse_source(before)
        return latest_look(self._store) if before == self._source.root else None

    def _refuse_source(self, before: str) -> None:
        """Refuse to go on with plans of another source.

        Raises:
            LakeError: They are of another one, and it was not moved.
        """
        if before != self._source.root and not self._is_moved:
            raise LakeError(
                f"{self._url} was built from {before}, and this is {self._source.root}: give each root a lake of its own, or "
                f"--moved (in Python moved=True) where this is what the other one was",
                url=self._url,
            )

    def _take(self, planner: Planner, folders: Sequence[Folder], executor: Any, built: Built) -> None:
        """Take what is new in some folders, in one plan or in two."""
        while (plan := planner.plan(folders)) is not None:
            key = plans.key_of(plan.number)
            if self._store.create(key, plan.text) is Creation.DIFFERENT:
                # Another builder was faster: its plan counts, and ours is made anew of what it leaves.
                self._catch_up(executor, built)
                folders = [folder._replace(logs=self._source.logs(folder.path)) for folder in folders]
            else:
                self._fold(plan, self._do(plan, executor, built))
                if not plan.replaced or self._positions.gone:
                    return

    def _catch_up(self, executor: Any, built: Built) -> None:
        """Fold all plans, and carry out the last one where it is not done."""
        for plan, gone in following(self._store, self._positions):
            if gone is None:
                self._refuse_source(plan.source)
                gone = self._do(plan, executor, built)
            self._fold(plan, gone)

    def _fold(self, plan: Plan, gone: Sequence[str]) -> None:
        self._positions.add(plan, gone)
        self._since_checkpoint += 1
        if self._since_checkpoint >= CHECKPOINT_PLANS:
            self._store.create(plans.key_of(plan.number, plans.POSITIONS), self._positions.to_bytes())
            self._since_checkpoint = 0

    def _do(self, plan: Plan, executor: Any, built: Built) -> list[str]:
        """Carry out a plan; return the paths of which the bytes were gone."""
        now = datetime.now(timezone.utc)
        tasks = [
            Task(self._source, self._url, plan.number, number, entries, now, by_driver=bool(plan.replaced))
            for number, entries in enumerate(plan.tasks)
        ]
        results = list(run_tasks(executor, run_task, tasks))
        self._refuse_blind_workers(plan, results)
        rows = for_each_table(lambda name: self._commit(name, plan, results))
        gone = [path for result in results for path in result.gone]
        note = {
            "plan": plan.number, "sha256": plan.sha256, "done": utc_text(datetime.now(timezone.utc)),
            "rows": rows, "gone": gone,
        }  # fmt: skip
        self._store.create(plans.key_of(plan.number, plans.DONE), orjson.dumps(note) + b"\n")
        built.plans += 1
        built.experiments += len({entry.exp for entry in plan.entries})
        built.replaced += len(plan.replaced)
        built.rows = {name: built.rows.get(name, 0) + rows[name] for name in TABLES}
        return gone

    def _refuse_blind_workers(self, plan: Plan, results: Sequence[TaskResult]) -> None:
        """Refuse a plan of which a worker could not read what is there: its rows would be missing.

        Raises:
            LakeError: There is such a worker.
        """
        gone = {path for result in results for path in result.gone}
        for entry in plan.entries:
            if entry.path in gone and blocks_of(self._source, entry) is not None:
                raise LakeError(
                    f"a worker cannot read {entry.path} below {self._source.root}, which is there: give all workers the same "
                    f"folders, or build from a bucket",
                    url=self._url,
                )

    def _commit(self, name: str, plan: Plan, results: Sequence[TaskResult]) -> int:
        """Commit the rows of one table; return their number."""
        files = [each for result in results for each in result.files.get(name, ())]
        rows = self._rows(name, results)
        exps = {entry.exp: entry.month for entry in plan.entries}
        count = sum(each.rows for each in files) + int(rows.num_rows)
        if plan.replaced:
            self._tables.commit(
                name, plan.number,
                lambda table, properties: self._tables.replace_rows(name, table, properties, {**exps, **plan.replaced}, rows),
            )  # fmt: skip
        elif name in APPENDED and files:
            when_ms = int(parse_time(plan.created).timestamp() * 1000)
            self._tables.commit(name, plan.number, lambda table, properties: self._append(table, properties, files, when_ms))
        elif name in KEYED and rows.num_rows:
            # Those of an experiment that was removed meanwhile stay.
            summarized = set(self._rows("experiments", results)["id"].to_pylist())
            exps = {exp: month for exp, month in exps.items() if exp in summarized}
            if any(exp in self._positions.experiments for exp in exps):
                self._tables.commit(
                    name, plan.number, lambda table, properties: self._tables.replace_rows(name, table, properties, exps, rows)
                )
            else:
                self._tables.commit(
                    name, plan.number, lambda table, properties: self._tables.append_rows(table, properties, rows)
                )
        return count

    def _append(self, table: Any, properties: Any, files: Sequence[NewFile], when_ms: int) -> None:
        self._tables.append_files(table, properties, files, when_ms)

    def _rows(self, name: str, results: Sequence[TaskResult]) -> Any:
        pa = package("pyarrow")
        contents = [content for result in results for content in result.tables.get(name, ())]
        return pa.concat_tables([schemas()[name].empty_table(), *tables_from(contents)])
