"""New lines of watched experiments, and changes of the whole tree, as server-sent events; read while a page is connected."""

from __future__ import annotations

import base64
import math
import os
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import orjson

from mlv.encoding import BadLine, event_from_line
from mlv.errors import InvalidArgument, MlvError, NotAnExperiment
from mlv.events import Event, metrics_of
from mlv.optional import package
from mlv.store import layout
from mlv.store.reading import while_there
from mlv.store.streams import read_lines, whole_end
from mlv.web.limits import LIMITS
from mlv.web.lists import ExperimentList
from mlv.web.plain import as_text, plain

MOST_WATCHED, MOST_STREAMS = 200, 8
_LOOK_S, _LEAST_INDEX_S, _INDEX_SHARE, _SILENCE_S = 0.1, 2.0, 10, 15.0
"""Watched files are looked at every 0.1 s; the tree every 2 s, or ten times as long as looking takes, if that is more."""
_MOST_POINTS = 2000
"""More new points of a metric are not sent: the page asks for its curves again."""

Message = tuple[str, dict[str, Any]]
"""Name of a server-sent event, and its data."""


@dataclass
class _Watched:
    """An experiment whose streams are followed."""

    folder: Path
    offsets: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    """Of each stream at the last look: a line that somebody began and never ended is not read again and again."""
    inodes: dict[str, int] = field(default_factory=dict)
    """Of each stream's file at the last look."""
    is_begun: bool = False
    """Whether the offsets are those up to which lines were sent."""


class Follower:
    """The watched experiments, each from the offsets up to which its lines were sent."""

    def __init__(self, folders: Mapping[str, Path], cursor: str = "") -> None:
        """Begin at the ends of the streams, or where a cursor says.

        Raises:
            InvalidArgument: It is no cursor that was sent.
        """
        before = _offsets(cursor)
        self._watched = {
            identity: _Watched(folder, before.get(identity, {}), is_begun=identity in before)
            for identity, folder in folders.items()
        }
        self._waiting: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._busy: set[str] = set()
        """The experiments that a look is at; of one that lasts, the disk hangs."""
        self._look = 0
        self._lock = threading.Lock()
        self._wait_for(self._begin)

    @property
    def folders(self) -> list[Path]:
        """The folders of the experiments."""
        return [watched.folder for watched in self._watched.values()]

    @property
    def cursor(self) -> str:
        """Where to go on after a lost connection."""
        return base64.urlsafe_b64encode(
            orjson.dumps({identity: own.offsets for identity, own in self._watched.items() if own.is_begun})
        ).decode()

    def news(self) -> list[Message]:
        """Return what has been logged since the last call, but of experiments whose disk hangs."""
        self._wait_for(self._read)
        messages = []
        with suppress(queue.Empty):
            while True:
                messages.append(self._waiting.get_nowait())
        return messages

    def _wait_for(self, read: Callable[[str, _Watched], None]) -> None:
        """Look at each experiment in another thread, and go on without it where a disk hangs."""
        with self._lock:
            self._look += 1
        thread = threading.Thread(target=self._look_at_all, args=(read, self._look), daemon=True)
        thread.start()
        thread.join(LIMITS.look_s)

    def _look_at_all(self, read: Callable[[str, _Watched], None], look: int) -> None:
        for identity, watched in self._watched.items():
            with self._lock:
                if look != self._look:
                    return  # this one hung, and another look goes on
                if identity in self._busy:
                    continue
                self._busy.add(identity)
            with suppress(Exception):  # one that cannot be followed stays busy, and holds up no other
                read(identity, watched)
                self._busy.discard(identity)

    def _begin(self, identity: str, watched: _Watched) -> None:
        """Note where the streams end, unless a cursor says where to go on."""
        if not watched.is_begun:
            for stream in streams_of(watched.folder):
                with suppress(OSError), while_there(watched.folder, stream):
                    watched.offsets[stream] = whole_end(watched.folder / layout.stream_file(stream))
            watched.is_begun = True
            if self._look > 1:  # a disk has hung since the page is connected: it may have asked for curves before
                self._waiting.put(("stale", {"id": identity}))

    def _read(self, identity: str, watched: _Watched) -> None:
        self._begin(identity, watched)
        for message in _news(identity, watched):
            self._waiting.put(message)


def _offsets(cursor: str) -> dict[str, dict[str, int]]:
    if not cursor:
        return {}
    try:
        saved = orjson.loads(base64.urlsafe_b64decode(cursor))
        return {str(identity): {str(name): max(0, int(at)) for name, at in own.items()} for identity, own in saved.items()}
    except (ValueError, TypeError, AttributeError):
        raise InvalidArgument(f"cursor={cursor!r:.80} is none that was sent", cursor=cursor) from None


def streams_of(folder: Path) -> list[str]:
    """Return the streams of an experiment; none where it is gone."""
    with suppress(OSError):
        return layout.streams_in(folder)
    return []


def _news(identity: str, watched: _Watched) -> Iterator[Message]:
    points: dict[str, dict[str, list[Any]]] = {}
    types: dict[str, None] = {}
    for stream in streams_of(watched.folder):
        offset, path = watched.offsets.setdefault(stream, 0), watched.folder / layout.stream_file(stream)
        with suppress(OSError):
            status = os.stat(path)
            size, inode = status.st_size, status.st_ino
            is_other = watched.inodes.setdefault(stream, inode) != inode
            if size in (offset, watched.sizes.get(stream)) and not is_other:
                continue
            watched.sizes[stream], watched.inodes[stream] = size, inode
            # Replaced, perhaps by the log of another experiment, or written while nobody was connected.
            if is_other or size < offset or size - offset > LIMITS.news_bytes:
                watched.offsets[stream] = whole_end(path)
                yield "stale", {"id": identity}
                continue
            for start, line in read_lines(path, offset):
                if not line.endswith(b"\n"):
                    break  # being written
                watched.offsets[stream] = start + len(line)
                with suppress(BadLine):
                    event = event_from_line(line, layout.logical_stream(stream))
                    if event.type == "metrics":
                        _add(points, event)
                    else:
                        types[event.type] = None
    if "rewound" in types:
        yield "stale", {"id": identity}
    elif types:
        yield "changed", {"id": identity, "types": list(types)}
    for metric, columns in points.items():
        is_much = len(columns["y"]) > _MOST_POINTS
        yield ("stale", {"id": identity, "m": metric}) if is_much else ("points", {"id": identity, "m": metric, **columns})


def _add(points: dict[str, dict[str, list[Any]]], event: Event) -> None:
    """Add the values of an event to the points of their metrics: steps, times, coordinates and values."""
    for metric, value in metrics_of(event):
        columns = points.setdefault(metric, {"x": [], "t": [], "at": [], "y": []})
        columns["x"].append(plain(event.step))
        columns["t"].append(event.time.timestamp())
        columns["at"].append(plain(dict(event.at)))
        columns["y"].append(plain(value))


class Live:
    """The streams of server-sent events of all connected pages."""

    def __init__(self, index: ExperimentList) -> None:
        self._index = index
        self._followers: set[Follower] = set()
        self._next_look = 0.0

    @property
    def is_full(self) -> bool:
        """Whether no more pages may connect."""
        return len(self._followers) >= MOST_STREAMS

    def folders(self, ids: Iterable[str]) -> dict[str, Path]:
        """Return the folders of experiments; those that are gone are left out.

        Raises:
            InvalidArgument: There are too many.
        """
        result: dict[str, Path] = {}
        for word in filter(None, ids):
            with suppress(NotAnExperiment):
                row = self._index.row(word)
                result[row.digest.id] = row.digest.path
        if len(result) > MOST_WATCHED:
            raise InvalidArgument(f"{len(result)} experiments are too many to watch: give up to {MOST_WATCHED}")
        return result

    async def messages(self, follower: Follower) -> AsyncIterator[bytes]:
        """Yield messages until the page goes away."""
        in_thread = package("anyio.to_thread", "ui").run_sync
        sleep = package("anyio", "ui").sleep
        self._followers.add(follower)
        try:
            version, spoken = self._index.version, monotonic()
            yield _encoded("hello", {}, follower.cursor)
            while True:
                news = await in_thread(follower.news)
                for number, (name, data) in enumerate(news, 1):
                    spoken = monotonic()
                    # The cursor stands behind all of them: one that comes with the first would lose the others.
                    yield _encoded(name, data, follower.cursor if number == len(news) else None)
                self._look_around()
                if self._index.version != version:
                    version, spoken = self._index.version, monotonic()
                    yield _encoded("index", {}, follower.cursor)
                if monotonic() > spoken + _SILENCE_S:
                    spoken = monotonic()
                    yield b": nothing new\n\n"  # a proxy cuts off what is silent
                await sleep(_LOOK_S)
        finally:
            self._followers.discard(follower)

    def _look_around(self) -> None:
        """Look at the whole tree, if it is time: beside the streams, whose points must not wait for it."""
        if monotonic() >= self._next_look:
            self._next_look = math.inf
            threading.Thread(target=self._refresh, daemon=True).start()

    def _refresh(self) -> None:
        begin = monotonic()
        try:
            self._index.refresh()
            with suppress(MlvError):  # its store is away: the next look tries again
                self._index.bring([folder for follower in list(self._followers) for folder in follower.folders])
        finally:
            self._next_look = monotonic() + max(_LEAST_INDEX_S, _INDEX_SHARE * (monotonic() - begin))


def _encoded(name: str, data: dict[str, Any], cursor: str | None) -> bytes:
    identity = b"" if cursor is None else b"id: %s\n" % cursor.encode()
    return b"%sevent: %s\ndata: %s\n\n" % (identity, name.encode(), orjson.dumps(as_text(data)))
