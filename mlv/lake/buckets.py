"""A bucket as the source of a lake: segments are read where they lie, by whoever does a task."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from mlv.bucket import names
from mlv.bucket.contents import DamagedSegment, lines_of
from mlv.bucket.listing import PLAIN, ListedExperiment, listed
from mlv.bucket.segments import chain, end
from mlv.bucket.store import ObjectStore, open_store
from mlv.bucket.urls import refuse_missing_folder
from mlv.errors import FileUnusable, MlvWarning, NoSuchObject
from mlv.lake.plans import LogKey
from mlv.lake.sources import BLOCK, LogFile
from mlv.lake.survey import REDACTED, lines_by_run, without_repeats
from mlv.notices import warn
from mlv.store import layout
from mlv.store.files import publish

_REQUESTS = 16
_TRIES = 3
"""A segment may be merged into a larger one between a listing and a request."""


class BucketSource:
    """The experiments at and below a URL, as `mlv push` lays them there."""

    def __init__(self, root: str) -> None:
        """Open the bucket; no request is made.

        Raises:
            BucketMissing: It is a folder that is not there.
        """
        refuse_missing_folder(root)
        self.root = root
        self._store: ObjectStore = open_store(root)
        self._listed: dict[str, ListedExperiment] = {}
        self._news: dict[str, str] = {}
        """Path by key of each mark of news."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what travels to a worker, which lists what it needs."""
        return BucketSource, (self.root,)

    def paths(self, since: datetime | None, paths_of: Callable[[str], Iterable[str]]) -> Iterator[str]:
        """Yield the path of each experiment that shipped anything since a moment, of all without one."""
        if since is None:
            there = listed(self._store.objects())
            for problem in there.problems:
                warn(f"{self.root}: {problem}", MlvWarning)
            self._listed = {path or ".": experiment for path, experiment in there.experiments.items()}
            yield from self._listed
            return
        self._listed = {}
        # A day earlier: the clock of who shipped may have been behind, and a mark is made once a day.
        first = f"{names.NEWS}/{since - timedelta(days=1):%Y-%m-%d}"
        keys = [stored.key for stored in self._store.objects(names.NEWS, after=first)]
        marks = [(key, news) for key in keys if (news := names.news_of(key)) is not None]
        unread = [key for key, news in marks if key not in self._news and not list(paths_of(news.exp))]
        with ThreadPoolExecutor(_REQUESTS) as pool:
            self._news.update(zip(unread, pool.map(self._path_in, unread), strict=True))
            marked = (filter(None, [self._news[key]] if key in self._news else paths_of(news.exp)) for key, news in marks)
            paths = dict.fromkeys(path for each in marked for path in each)
            # Together: a day of a large laboratory has tens of thousands, and each waits for an answer.
            for _ in pool.map(self._experiment, paths):
                pass
        yield from paths

    def _path_in(self, key: str) -> str:
        """Return the path that a mark of news holds; empty where it cannot be read."""
        try:
            return str(orjson.loads(self._store.get(key))["path"]) or "."
        except (ValueError, KeyError, TypeError, NoSuchObject):
            return ""

    def _experiment(self, path: str, *, anew: bool = False) -> ListedExperiment:
        if anew or path not in self._listed:
            prefix = "" if path == "." else path
            there = listed(self._store.objects(prefix)).experiments
            self._listed[path] = there.get(prefix, ListedExperiment(prefix))
        return self._listed[path]

    def meta(self, path: str) -> bytes | None:
        """Read a meta.json: the latest, as a redaction makes another one."""
        metas = self._experiment(path).metas
        try:
            return self._store.get(_key(path, metas[-1].key)) if metas else None
        except NoSuchObject:
            return None

    def logs(self, path: str) -> dict[LogKey, LogFile]:
        """List the logs of all copies of an experiment."""
        there = self._experiment(path)
        logs = {
            (stream, copy): LogFile(size, (0, size), max(stored.modified for stored in segments.values()))
            for (stream, copy), segments in there.segments.items()
            if (size := end(segments))
        }
        logs |= {
            (stream, PLAIN): LogFile(stored.size, (round(stored.modified * 1000), stored.size), stored.modified)
            for stream, stored in there.plain.items()
        }
        return {key: logs[key] for key in sorted(logs, key=lambda key: (layout.followed_by(key[0]) is not None, key))}

    def blocks(self, path: str, key: LogKey, start: int, end: int) -> Iterator[bytes]:
        """Read bytes of a log.

        Raises:
            FileUnusable: An object does not hold the bytes that its name promises, and no other one does; those before it came.
        """
        for attempt in range(_TRIES):
            try:
                for block in self._blocks(self._experiment(path, anew=attempt > 0), path, key, start, end):
                    yield block
                    start += len(block)
            except NoSuchObject:
                if attempt == _TRIES - 1:
                    raise
            else:
                return

    def _blocks(self, there: ListedExperiment, path: str, key: LogKey, start: int, end: int) -> Iterator[bytes]:
        stream, copy = key
        if copy == PLAIN and stream in there.plain:
            stored = there.plain[stream]
            for begin in range(start, min(end, stored.size), BLOCK):
                yield self._store.get_range(_key(path, stored.key), begin, min(begin + BLOCK, end, stored.size))
            return
        segments, damage = dict(there.segments.get(key, {})), ""
        while start < end and (slices := chain(segments, start)):
            for each in slices:
                if each.start >= end:
                    return
                name = _key(path, segments[each.segment].key)
                try:
                    content = b"".join(lines_of(each.segment, iter((self._store.get(name),))))
                except DamagedSegment as error:
                    damage = f"the object {name!r} is passed over: {error}"
                    del segments[each.segment]
                    break  # another one may cover its bytes
                yield each.of(content)[: end - each.start]
                start = each.end
            else:
                return
        if damage and start < end:
            raise FileUnusable(f"{self.root}: {damage}. Restore it from a copy", url=self.root)

    @contextmanager
    def folder(self, path: str) -> Iterator[Path]:
        """Give a folder with the lines of all copies, each once; it is removed with the block."""
        with tempfile.TemporaryDirectory(prefix="mlv-lake-") as temporary:
            folder = Path(temporary, _name(self.root, path))
            folder.mkdir()
            publish(folder / layout.META, self.meta(path) or b"", 0o644)
            for stream, content in self._united(path):
                publish(folder / layout.stream_file(stream), content, 0o644)
            yield folder

    def _united(self, path: str) -> Iterator[tuple[str, bytes]]:
        contents: dict[str, list[bytes]] = {}
        for key, log in self.logs(path).items():
            contents.setdefault(key[0], []).append(b"".join(self._usable(path, key, log.size)))
        for stream, copies in contents.items():
            # What was redacted in one copy is not to come from another.
            ordered = sorted(copies, key=lambda content: REDACTED not in content)
            united, taken = b"", dict[str, int]()
            for content in ordered:
                united += without_repeats(content, taken)
                for run, count in lines_by_run(content).items():
                    taken[run] = max(count, taken.get(run, 0))
            yield stream, united

    def _usable(self, path: str, key: LogKey, size: int) -> Iterator[bytes]:
        """Yield the bytes of a log up to the first that no object has."""
        with suppress(FileUnusable):  # the survey of the log told it
            yield from self.blocks(path, key, 0, size)


def _key(path: str, key: str) -> str:
    return names.join("" if path == "." else path, key)


def _name(root: str, path: str) -> str:
    """Return the name of the folder of an experiment; that of the root itself is the end of its URL."""
    return path.rpartition("/")[2] if path != "." else root.partition("?")[0].rstrip("/").rpartition("/")[2]
