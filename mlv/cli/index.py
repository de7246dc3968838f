"""An index of a folder of many experiments, so that a listing reads only experiments that have changed since the last one.

The index is one file in `$XDG_CACHE_HOME/mlv/trees`, which may be deleted at any time, and is replaced as a whole. Nothing in
the listed folder is changed. Only an index that this user signed is trusted. A folder or file counts as unchanged while its
inode, size and time of change are the same: nobody can set the time of change (`ctime`). A file that changed so recently that
another change might not show is read again.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from mlv.cli.forks import in_processes
from mlv.cli.row import Row
from mlv.store import keys, layout, opening

_FORM = [4, *Row._fields]
"""The version of the index, and the fields of its rows: an index of another form is not used."""
_PURPOSE = "mlv index"
_LASTING = frozenset({"ok", "failed", "interrupted", "preempted", "ended", "killed"})
"""Statuses that do not change while the files do not."""

Look = Callable[[str, Sequence[str]], Row]
"""A function that reads an experiment, from its folder and the names of its files."""
_Stamp = list[int]
"""Inode, size and time of change, of one file or of several in turn."""
_WIDTH = 3


class IndexLimits(NamedTuple):
    """Numbers from which on an index, and several processes, are worth their while."""

    worth: int = 100
    """Least number of experiments for an index: fewer are read faster than the file is written."""
    settled_ns: int = 2_000_000_000
    """A change within the same tick of a file system's clock leaves the times as they are; that of the coarsest is 2 s."""
    read_batch: int = 250
    """Least number of folders to read per process: each takes 150 us, a process 3 ms."""
    check_batch: int = 1000
    """Least number of folders to check per process: to see that one is unchanged takes 10 us."""


LIMITS = IndexLimits()


def rows(root: Path, look: Look, limits: IndexLimits = LIMITS) -> Iterator[Row]:
    """Yield every experiment at and below a folder, in the order of `layout.walk`; only changed ones are read."""
    index = Index(root, look, limits)
    yield from index.rows()
    index.save()


def path_of(root: Path) -> Path:
    """Return the path of the index of a folder."""
    name = hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()
    return keys.cache_folder() / keys.TREES / f"{name}.json"


_Values = list[Any]
"""The fields of a row, without its path."""


class _Folder(NamedTuple):
    """The entry of a folder in the index."""

    stamp: _Stamp
    """The stamps of the folder and its files."""
    folders: list[str]
    """Names of its folders that may hold experiments; the name of a link ends in a slash."""
    files: list[str]
    """The names of an experiment's meta.json and streams."""
    row: Any
    """The fields of the row of an experiment, None without one; of a saved entry, whether its row is saved."""


_News = dict[str, "_Folder | None"]
"""Entries of changed folders, by path below the root; None for a folder that can no longer be listed."""


class Index:
    """The saved entry of each folder, by its path below the root, and its present entry."""

    def __init__(self, root: Path, look: Look, limits: IndexLimits = LIMITS) -> None:
        self._root, self._look, self._path = str(root), look, path_of(root)
        self._begin = "" if self._root == "." else os.path.join(self._root, "")
        self._limits = limits
        self._settled_ns = time.time_ns() - limits.settled_ns
        self._before, self._text, self._saved_rows = self._read()
        self._after: dict[str, list[Any]] = {}
        self._rows: dict[str, _Values] = {}
        self._count = 0

    def _read(self) -> tuple[dict[str, Any], list[str], bytes]:
        with suppress(OSError, ValueError, KeyError, TypeError):
            signature, _, content = opening.content(self._path).partition(b"\n")
            if not keys.is_signed(_PURPOSE, content, signature.decode()):
                return {}, [], b""
            text, _, rows = content.partition(b"\n")
            saved = orjson.loads(text)
            if saved["form"] == _FORM and os.name == "posix":  # Windows calls the time of creation `ctime`
                return dict(saved["folders"]), [str(text) for text in saved["text"]], rows
        return {}, [], b""

    def text(self, setting: str) -> str | None:
        """Return the saved text, if nothing has changed since, and it was made in the same setting.

        Folders behind links are read only by `rows`: where there are links, there is no saved text.
        """
        if self._text[:1] != [setting] or self._news:
            return None
        has_links = any(name.endswith("/") for folder in self._before.values() for name in folder[1])
        return None if has_links else self._text[1]

    def rows(self) -> Iterator[Row]:
        """Yield every experiment, in the order of `layout.walk`."""
        news, self._after, self._rows, self._count = self._news, {}, {}, 0
        before = orjson.loads(self._saved_rows) if self._saved_rows else {}
        links = layout.Links(self._root)
        stack = [("", False)]
        while stack:
            subpath, is_behind_link = stack.pop()
            is_link, subpath = subpath.endswith("/"), subpath.rstrip("/")
            if not links.lead_on(self._path_of(subpath), is_link):
                continue
            if is_behind_link or is_link:
                # One after the other, in the order of `layout.walk`: of two links to a folder the first leads on.
                self._look_at([subpath], news)
            entry = news[subpath] if subpath in news else self._before[subpath]
            if entry is None:
                continue
            values: Any = entry[3] if subpath in news else before.get(subpath)
            is_lasting = False
            if values is not None:
                row = Row(self._path_of(subpath), *values)
                self._count, is_lasting = self._count + 1, row.status in _LASTING
                yield row
            if subpath not in news or self._is_settled(entry):
                self._after[subpath] = [*entry[:3], is_lasting]
                if is_lasting:
                    self._rows[subpath] = values
            if entry[1]:
                below = [f"{subpath}/{name}" if subpath else name for name in reversed(entry[1])]
                stack += [(path, is_behind_link or is_link) for path in below]

    def save(self, *text: str) -> None:
        """Replace the saved entries by the present ones, with a setting and the text made in it, if there is one.

        Call it when `rows` has ended.
        """
        if self._count >= self._limits.worth and ([*text] != self._text or self._after != self._before):
            self._save({"form": _FORM, "text": text, "folders": self._after}, self._rows)

    @cached_property
    def _news(self) -> _News:
        """The changed folders; several processes search where there are many folders."""
        news: _News = {}
        level = [""]
        while 0 < len(level) < 2 * self._limits.read_batch:
            level = self._look_at(level, news)
        batch = self._limits.check_batch if self._before else self._limits.read_batch
        for changes in in_processes(self._look_below, level, batch):
            news.update(changes)
        return news

    def _look_below(self, subpaths: Sequence[str]) -> _News:
        news: _News = {}
        while subpaths:
            subpaths = self._look_at(subpaths, news)
        return news

    def _look_at(self, subpaths: Sequence[str], news: _News) -> list[str]:
        """Read some folders, and return those in them."""
        below: list[str] = []
        for subpath in subpaths:
            before = self._before.get(subpath)
            try:
                entry = self._folder(self._path_of(subpath), before)
            except OSError as error:
                layout.warn_of_unlisted(self._path_of(subpath), error)
                news[subpath] = None
                continue
            if entry is not before:
                news[subpath] = entry
            below += [f"{subpath}/{name}" if subpath else name for name in entry[1] if not name.endswith("/")]
        return below

    def _path_of(self, subpath: str) -> str:
        return self._begin + subpath if subpath else self._root

    def _folder(self, path: str, before: Any) -> Any:
        """Return the saved entry of a folder if it is unchanged, else a new one."""
        stamp = _stamp(path)
        is_same = before is not None and before[0][:_WIDTH] == stamp
        folders, files = before[1:3] if is_same else _list_folder(path)
        for name in files:
            stamp += _stamp(f"{path}/{name}")
        if is_same and before[0] == stamp and (before[3] or not files):
            return before
        return _Folder(stamp, folders, files, list(self._look(path, files)[1:]) if files else None)

    def _is_settled(self, entry: Any) -> bool:
        """Return whether any later change is certain to change the stamp."""
        return bool(max(entry[0][_WIDTH - 1 :: _WIDTH]) < self._settled_ns)

    def _save(self, *contents: dict[str, Any]) -> None:
        if os.name != "posix":
            return
        temporary = self._path.with_name(f"{layout.TEMPORARY}{secrets.token_hex(6)}")
        with suppress(OSError, TypeError):  # nowhere to write, or a name that is no text
            text = b"\n".join(map(orjson.dumps, contents))  # a printed text again needs no row: these are parsed last
            if (signature := keys.signature(_PURPOSE, text)) is None:
                return  # an unsigned index is never trusted
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with opening.new(temporary) as file:
                    file.write(b"%s\n%s" % (signature.encode(), text))
                os.replace(temporary, self._path)
            finally:
                with suppress(OSError):
                    temporary.unlink()


def _stamp(path: str) -> _Stamp:
    status = os.stat(path)
    return [status.st_ino, status.st_size, status.st_ctime_ns]


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False  # a link in a circle


def _list_folder(path: str) -> tuple[list[str], list[str]]:
    """Return the names of a folder's subfolders that may hold experiments, and of an experiment's files."""
    with os.scandir(path) as scan:
        entries = list(scan)
    is_experiment = any(entry.name == layout.META and _is_file(entry) for entry in entries)
    passed_over = layout.KEEPING if is_experiment else (layout.HOUSEKEEPING,)
    folders = sorted((entry.name, entry.is_symlink()) for entry in entries if layout.may_hold_experiments(entry, passed_over))
    streams = sorted(entry.name for entry in entries if layout.is_stream(entry))
    names = [f"{name}/" if is_link else name for name, is_link in folders]
    return names, [layout.META, *streams] if is_experiment else []
