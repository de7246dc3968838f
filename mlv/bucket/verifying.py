"""Verify an experiment where it lies in a bucket: segments are read and seals proven in memory, and nothing is written."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from urllib.parse import quote

from mlv import words
from mlv.audit.findings import Report
from mlv.audit.verify import examined
from mlv.audit.verify_many import Judged
from mlv.bucket.bucket_subject import bucket_subject
from mlv.bucket.listing import ListedExperiment, listed
from mlv.bucket.mirror import tell
from mlv.bucket.store import ObjectStore, open_store
from mlv.bucket.urls import checked_url, refuse_missing_folder
from mlv.errors import InvalidArgument, MlvError, NoSuchObject, NotAnExperiment
from mlv.executors import On, executor_of, run_tasks

_THREADS = 8
_AT_ONCE = 4
"""Experiments that are read at the same time: of each some segments lie in memory."""
_MOST = 32
"""Experiments that a worker judges at a time."""
_LOOKS = 4
"""Listings of an experiment whose objects go away between listing and reading, before that is an error."""


def verify_url(url: str, expect: str | None = None, *, with_files: bool = False, store: ObjectStore | None = None) -> Report:
    """Judge an experiment in a bucket. What has not arrived is not shipped yet, and never missing, until a copy is whole.

    Args:
        url: Of the experiment.
        expect: The digest that was printed when a run ended.
        with_files: Read and hash each file too; else it is only looked whether it is there.
        store: The objects below the URL, where they are open already.

    Raises:
        InvalidArgument: The URL or the digest is none.
        NotAnExperiment: There is no experiment.
        BucketError: The bucket cannot be read.
        MissingExtra: `obstore` is not installed.
    """
    store = store or _opened(url)
    address, _ = checked_url(url)
    there = listed(store.objects())
    if "" not in there.experiments:
        advice = f"`mlv ls {address}` lists those below" if there.experiments else "give the URL of one"
        raise NotAnExperiment(f"{address} is no experiment: {advice}", path=address)
    return _examined(address, store, there.experiments[""], there.problems, expect, with_files=with_files)


def verify_below(
    url: str, expect: str | None = None, on: On = None, *, with_files: bool = False, store: ObjectStore | None = None
) -> Iterator[Judged]:
    """Judge the experiment at a URL, or else all below it, in the order of their paths; one listing names them.

    Args:
        url: Of an experiment, or of a root around some.
        expect: As for `verify_url`; of one experiment only.
        on: Where experiments below are judged, as for `executor_of`. None: several at once in this process.
        with_files: As for `verify_url`.
        store: The objects below the URL, where they are open already.

    Raises:
        NotAnExperiment: There is none at or below the URL.
        InvalidArgument: The URL or the digest is none, the digest is for several, or `on` names no executor.
        BucketError, MissingExtra, TaskNotDone: As `verify_url` and `run_tasks`. Where one of several experiments cannot be
            read, its error is a result.
    """
    store = store or _opened(url)
    address, _ = checked_url(url)
    there = listed(store.objects())
    if (own := there.experiments.get("")) is not None:
        yield Judged(address, _examined(address, store, own, there.problems, expect, with_files=with_files))
        return
    if not there.experiments:
        raise NotAnExperiment(f"{address} holds no experiment: give the URL that experiments were shipped to", path=address)
    if expect is not None:
        count = words.counted(len(there.experiments), "experiment")
        raise InvalidArgument(f"--expect is the digest of one experiment, and {address} holds {count}: name one", expect=expect)
    tell([f"{address}: {problem}" for problem in there.problems])
    with executor_of(on) as executor:
        experiments = iter(there.experiments.values())
        tasks = (
            _Experiments(url, batch, with_files, store if on is None else None)
            for batch in iter(lambda: tuple(islice(experiments, _MOST)), ())
        )
        for results in run_tasks(executor, _judged, tasks):
            yield from results


def _opened(url: str) -> ObjectStore:
    refuse_missing_folder(url)
    return open_store(url)


@dataclass(frozen=True)
class _Experiments:
    """Experiments of a root that are judged together."""

    url: str
    there: tuple[ListedExperiment, ...]
    with_files: bool
    store: ObjectStore | None
    """None where a worker opens it."""


def _judged(task: _Experiments) -> list[Judged]:
    store = task.store or open_store(task.url)
    address, _ = checked_url(task.url)

    def judge(there: ListedExperiment) -> Judged:
        path = f"{address}/{quote(there.path)}"
        try:
            return Judged(path, _examined(path, store, there, [], None, with_files=task.with_files))
        except MlvError as error:
            return Judged(path, None, str(error))

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return list(threads.map(judge, task.there))


def _examined(
    address: str, store: ObjectStore, there: ListedExperiment, problems: list[str], expect: str | None, *, with_files: bool
) -> Report:
    """Return the report on an experiment; it is listed again where objects go away between listing and reading.

    Segments are merged, and meta.json is redacted, at any time.
    """
    if there.lost:  # segments may have been merged while the first pages were listed
        there = _listed_again(address, store, there.path)
    looks = 1
    while True:
        try:
            with ThreadPoolExecutor(_THREADS) as requests:
                subject = bucket_subject(address, store, there, requests, problems, with_files=with_files)
                return examined(subject, expect)
        except NoSuchObject:
            if looks == _LOOKS:
                raise
        there, looks = _listed_again(address, store, there.path), looks + 1


def _listed_again(address: str, store: ObjectStore, path: str) -> ListedExperiment:
    own = listed(store.objects(path)).experiments.get(path)
    if own is None:
        raise NotAnExperiment(f"{address} was removed while it was read: list the root again", path=address)
    return own
