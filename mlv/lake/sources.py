"""Sources of a lake: trees of experiments, and the bytes of their logs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol

from mlv.errors import MlvWarning
from mlv.lake.plans import LogKey, Stamp
from mlv.notices import warn
from mlv.store import layout, opening


class LogFile(NamedTuple):
    """A log as a listing names it."""

    size: int
    stamp: Stamp
    """Inode and time of change of a file; empty where bytes never change."""
    changed: float
    """Seconds since 1970."""


class LogSource(Protocol):
    """A root with experiments; it travels to workers, and each reads what it needs."""

    @property
    def root(self) -> str:
        """The folder, or the URL."""
        ...

    def paths(self, since: datetime | None, paths_of: Callable[[str], Iterable[str]]) -> Iterator[str]:
        """Yield the path of each experiment from the root, at least of each with lines from after a moment.

        `paths_of` returns the paths at which an experiment was found before, by its ID.
        """
        ...

    def meta(self, path: str) -> bytes | None:
        """Return the bytes of a meta.json; None where they cannot be read."""
        ...

    def logs(self, path: str) -> dict[LogKey, LogFile]:
        """Return the logs of an experiment."""
        ...

    def blocks(self, path: str, key: LogKey, start: int, end: int) -> Iterator[bytes]:
        """Yield bytes of a log, `_BLOCK` at a time; fewer where there are fewer."""
        ...

    def folder(self, path: str) -> AbstractContextManager[Path]:
        """Give the folder of an experiment on this machine."""
        ...


BLOCK = 8 << 20
"""Bytes that are read at once."""


@dataclass(frozen=True)
class TreeSource:
    """A folder with experiments at any depth."""

    root: str

    def paths(self, since: datetime | None, paths_of: Callable[[str], Iterable[str]]) -> Iterator[str]:
        """Yield the path of each experiment."""
        begin = len(os.path.join(self.root, ""))
        for folder in layout.walk_names(self.root):
            path = folder[begin:].replace(os.sep, "/") or "."
            if path.isascii() or _is_text(path):
                yield path
            else:
                warn(f"{folder} is left out: its name is no UTF-8, and a plan cannot hold it", MlvWarning)

    def meta(self, path: str) -> bytes | None:
        """Read a meta.json."""
        try:
            return opening.content(Path(self.root, path, layout.META))
        except OSError:
            return None

    def logs(self, path: str) -> dict[LogKey, LogFile]:
        """List the logs of an experiment."""
        logs: dict[LogKey, LogFile] = {}
        try:
            with os.scandir(os.path.join(self.root, path)) as entries:
                for entry in entries:
                    if (
                        entry.name.endswith("log.jsonl")
                        and _is_text(entry.name)
                        and layout.is_stream(entry)
                        and (name := layout.stream_of(entry.name))
                    ):
                        status = entry.stat()
                        stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
                        logs[name, ""] = LogFile(status.st_size, stamp, status.st_mtime)
        except OSError:  # removed meanwhile, or forbidden
            return {}
        # A merge puts lines of a stream beside it: those count behind its own.
        return {key: logs[key] for key in sorted(logs, key=lambda key: (layout.followed_by(key[0]) is not None, key))}

    def blocks(self, path: str, key: LogKey, start: int, end: int) -> Iterator[bytes]:
        """Read bytes of a log."""
        with opening.reading(Path(self.root, path, layout.stream_file(key[0])), buffering=0) as file:
            file.seek(start)
            while start < end and (block := file.read(min(BLOCK, end - start))):
                yield block
                start += len(block)

    def folder(self, path: str) -> AbstractContextManager[Path]:
        """Give the folder."""
        return nullcontext(Path(self.root, path))


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
