"""What a folder of many experiments held when it was last listed, so that only what has changed since is read again.

It is one file in `$XDG_CACHE_HOME/mlv/trees`, may be deleted at any time, and is replaced as a whole. Listing changes nothing
in the folder itself. It is believed only where this very user signed it. Folders and files are believed to be what they were
while inode, size and time of change stay: nobody can set the time of change (`ctime`), and what changed too recently for the
next change to show is looked at again.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from mlv.cli.forks import in_processes
from mlv.cli.overview import Glance
from mlv.store import keys, layout, opening

_VERSION = 3
_PURPOSE = "mlv index"
_WORTH = 100
"""Fewer experiments are read sooner than a file is written."""
_SETTLED_NS = 2_000_000_000
"""A change within the same tick of a file system's clock leaves the times as they are; that of the coarsest is 2 s."""
_LASTING = frozenset({"ok", "failed", "interrupted", "preempted", "ended", "killed"})
"""What an experiment stays while its files do."""

_PART = 250
"""So many folders that are read, at 150 us each, are worth a process of their own, which takes 3 ms."""
_KNOWN_PART = 1000
"""So many that are known: to see that they are as they were takes 10 us each."""

Look = Callable[[str, Sequence[str]], Glance]
"""Reads an experiment, from its folder and the names of its files."""
_Stamp = list[int]
"""Inode, size and time of change; of several files, one after the other."""
_WIDTH = 3


def glances(root: Path, look: Look) -> Iterator[Glance]:
    """Every experiment at and below a folder, as `layout.walk` finds them; those that have changed are looked at."""
    index = Index(root, look)
    yield from index.glances()
    index.save()


def path_of(root: Path) -> Path:
    """Where the index of a folder lies."""
    name = hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()
    return keys.cache_folder() / "trees" / f"{name}.json"


class _Folder(NamedTuple):
    """What is known of a folder."""

    stamp: _Stamp
    """Of the folder and its files."""
    folders: list[str]
    """Names of the folders in it that may hold experiments; that of a link ends in a slash."""
    files: list[str]
    """Of an experiment: meta.json and its streams."""
    row: list[Any] | None
    """Of an experiment: what it is listed with."""


_News = dict[str, "_Folder | None"]
"""Folders that are not as they were before, by path below the root; None where one cannot be listed any more."""


class Index:
    """What was known of each folder, by its path below the root, and what is known now."""

    def __init__(self, root: Path, look: Look) -> None:
        self._root, self._look, self._path = str(root), look, path_of(root)
        self._begin = "" if self._root == "." else os.path.join(self._root, "")
        self._settled_ns = time.time_ns() - _SETTLED_NS
        self._before, self._text = self._read()
        self._after: dict[str, list[Any]] = {}
        self._count = 0

    def _read(self) -> tuple[dict[str, Any], list[str]]:
        with suppress(OSError, ValueError, KeyError, TypeError):
            signature, _, content = opening.content(self._path).partition(b"\n")
            if not keys.is_signed(_PURPOSE, content, signature.decode()):
                return {}, []
            said = orjson.loads(content)
            if said["version"] == _VERSION and os.name == "posix":  # Windows calls the time of creation `ctime`
                return dict(said["folders"]), [str(text) for text in said["text"]]
        return {}, []

    def text(self, setting: str) -> str | None:
        """The text that was saved, if nothing has changed since, and it was made in the same setting.

        What lies behind links is looked at only when the glances are given: where there are some, nothing is known before.
        """
        if self._text[:1] != [setting] or self._news:
            return None
        has_links = any(name.endswith("/") for folder in self._before.values() for name in folder[1])
        return None if has_links else self._text[1]

    def glances(self) -> Iterator[Glance]:
        """Every experiment, as `layout.walk` finds them."""
        news, self._after, self._count = self._news, {}, 0
        links = layout.Links(self._root)
        waiting = [("", False)]
        while waiting:
            place, is_behind_link = waiting.pop()
            is_link, place = place.endswith("/"), place.rstrip("/")
            if not links.lead_on(self._path_of(place), is_link):
                continue
            if is_behind_link or is_link:
                # One after the other, in the order of `layout.walk`: of two links to a folder the first leads on.
                self._look_at([place], news)
            found = news[place] if place in news else self._before[place]
            if found is None:
                continue
            if found[3] is not None:
                self._count += 1
                yield _from_row(self._path_of(place), found[3])
            if place not in news:
                self._after[place] = self._before[place]
            elif self._is_settled(found):
                self._after[place] = [*found[:3], found[3] if found[3] and found[3][3] in _LASTING else None]
            if found[1]:
                below = [f"{place}/{name}" if place else name for name in reversed(found[1])]
                waiting += [(path, is_behind_link or is_link) for path in below]

    def save(self, *text: str) -> None:
        """Put what is known in place of what was known before, with a setting and the text made of it, if there is one.

        Call it when all glances were given.
        """
        if self._count >= _WORTH and ([*text] != self._text or self._after != self._before):
            self._save({"version": _VERSION, "text": text, "folders": self._after})

    @cached_property
    def _news(self) -> _News:
        """What has changed; where there are many folders, several processes look."""
        news: _News = {}
        level = [""]
        while 0 < len(level) < 2 * _PART:
            level = self._look_at(level, news)
        for part in in_processes(self._look_below, level, _PART if not self._before else _KNOWN_PART):
            news.update(part)
        return news

    def _look_below(self, places: Sequence[str]) -> _News:
        news: _News = {}
        while places:
            places = self._look_at(places, news)
        return news

    def _look_at(self, places: Sequence[str], news: _News) -> list[str]:
        """Look at some folders, and give those in them."""
        below: list[str] = []
        for place in places:
            before = self._before.get(place)
            try:
                found = self._folder(self._path_of(place), before)
            except OSError as error:
                layout.warn_of_unlisted(self._path_of(place), error)
                news[place] = None
                continue
            if found is not before:
                news[place] = found
            below += [f"{place}/{name}" if place else name for name in found[1] if not name.endswith("/")]
        return below

    def _path_of(self, place: str) -> str:
        return self._begin + place if place else self._root

    def _folder(self, path: str, before: Any) -> Any:
        """What is known of a folder, or else what is there."""
        stamp = _stamp(path)
        is_same = before is not None and before[0][:_WIDTH] == stamp
        folders, files = before[1:3] if is_same else _listed(path)
        for name in files:
            stamp += _stamp(f"{path}/{name}")
        if is_same and before[0] == stamp and (before[3] is not None or not files):
            return before
        return _Folder(stamp, folders, files, _to_row(self._look(path, files)) if files else None)

    def _is_settled(self, found: Any) -> bool:
        """Whether the next change is sure to show."""
        return bool(max(found[0][_WIDTH - 1 :: _WIDTH]) < self._settled_ns)

    def _save(self, content: dict[str, Any]) -> None:
        if os.name != "posix":
            return
        temporary = self._path.with_name(f"{layout.TEMPORARY}{secrets.token_hex(6)}")
        with suppress(OSError, TypeError):  # nowhere to write, or a name that is no text
            text = orjson.dumps(content)
            if (signature := keys.signature(_PURPOSE, text)) is None:
                return  # nobody would believe it
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with opening.new(temporary) as file:
                    file.write(b"%s\n%s" % (signature.encode(), text))
                os.replace(temporary, self._path)
            finally:
                with suppress(OSError):
                    temporary.unlink()


def _stamp(path: str) -> _Stamp:
    found = os.stat(path)
    return [found.st_ino, found.st_size, found.st_ctime_ns]


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False  # a link in a circle


def _listed(path: str) -> tuple[list[str], list[str]]:
    """Names of the folders and the files of a folder that matter."""
    with os.scandir(path) as entries:
        found = list(entries)
    is_experiment = any(entry.name == layout.META and _is_file(entry) for entry in found)
    passed_over = layout.KEEPING if is_experiment else (layout.HOUSEKEEPING,)
    folders = sorted((entry.name, entry.is_symlink()) for entry in found if layout.may_hold_experiments(entry, passed_over))
    streams = sorted(entry.name for entry in found if layout.is_stream(entry))
    names = [f"{name}/" if is_link else name for name, is_link in folders]
    return names, [layout.META, *streams] if is_experiment else []


def _to_row(found: Glance) -> list[Any]:
    _, identity, name, kind, status, started, *rest = found
    return [identity, name, kind, status, started and started.isoformat(), *rest]


def _from_row(place: str, row: list[Any]) -> Glance:
    identity, name, kind, status, started, duration_s, error, first, damage = row
    when = datetime.fromisoformat(started) if started else None
    return Glance(place, identity, name, kind, status, when, duration_s, error, first, damage)
