"""Step counters by scope and key: in memory, and in files from the moment on at which other processes count as well."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

Key = tuple[str, str]
"""A scope with its process (`root.main-MainProcess`), and a key."""

_NAME = ".key"


class Steps(MutableMapping[Key, int]):
    """The next step of each scope and key, from 1; a script may read, save and set them.

    Shared counters are files in a folder on this machine: a counter is as large as it has counted. Appending a byte is atomic,
    so that no process ever waits for another one, nor for one that was killed.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Begin, or count together with those who count in a folder."""
        self.folder = folder
        self._next: dict[Key, int] = {}
        self._lock = threading.RLock()  # a signal handler may log as well
        self._maker: int | None = None

    def take(self, key: Key) -> int:
        """Return the next step, which nobody else gets."""
        with self._lock:
            step = self._taken_from_file(key)
            if step is None:
                step = self._next.get(key, 1)
            self._next[key] = step + 1
            return step

    def share(self) -> None:
        """Count in files from now on. Where none can be made, each process goes on counting for itself."""
        with self._lock:
            if self.folder is not None:
                return
            with suppress(OSError):
                self.folder, self._maker = Path(mkdtemp(prefix="mlv-allogger-", dir=_in_memory())), os.getpid()
                atexit.register(self.discard)
                for key, step in self._next.items():
                    self._set(key, step)

    def discard(self) -> None:
        """Remove the files, in the process that made them; the counters stay."""
        if self._maker == os.getpid() and self.folder is not None:
            atexit.unregister(self.discard)
            self._next = dict(self)
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = self._maker = None

    def before_fork(self) -> None:
        """Share the counters, and hold them still."""
        self.share()
        self._lock.acquire()

    def after_fork(self) -> None:
        """Go on; in the parent and in the child, which has the lock that the parent held."""
        self._lock.release()

    def clear(self) -> None:
        """Forget all counters."""
        for key in list(self):
            del self[key]

    def copy(self) -> dict[Key, int]:
        """Return the counters as they are now."""
        return dict(self)

    def __getitem__(self, key: Key) -> int:
        if self.folder is None:
            return self._next[key]
        try:
            return self._path(key).stat().st_size + 1
        except FileNotFoundError:
            raise KeyError(key) from None

    def __setitem__(self, key: Key, step: int) -> None:
        with self._lock:
            self._next[key] = step
            if self.folder is not None:
                self._set(key, step)

    def __delitem__(self, key: Key) -> None:
        with self._lock:
            if self.folder is None:
                del self._next[key]
                return
            self._next.pop(key, None)
            try:
                self._path(key).unlink()
            except FileNotFoundError:
                raise KeyError(key) from None
            self._path(key).with_suffix(_NAME).unlink(missing_ok=True)

    def __iter__(self) -> Iterator[Key]:
        if self.folder is None:
            yield from list(self._next)
            return
        for path in sorted(self.folder.glob(f"*{_NAME}")):
            scope, key = json.loads(path.read_bytes())
            yield scope, key

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr(dict(self))

    def _taken_from_file(self, key: Key) -> int | None:
        """Return the next step by the shared counter; None if there is none, or no more."""
        if self.folder is None:
            return None
        try:
            fd = os.open(path := self._path(key), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(fd, b"\0")
                step = os.lseek(fd, 0, os.SEEK_CUR)  # behind the own byte, whoever appends meanwhile
            finally:
                os.close(fd)
            if step == 1:
                path.with_suffix(_NAME).write_text(json.dumps(key))
            return step
        except OSError:  # the session that made the folder is closed
            return None

    def _set(self, key: Key, step: int) -> None:
        with open(path := self._path(key), "ab") as file:
            file.truncate(max(0, int(step) - 1))
        path.with_suffix(_NAME).write_text(json.dumps(key))

    def _path(self, key: Key) -> Path:
        assert self.folder is not None
        return self.folder / hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]


class Manager:
    """The object `root.manager` of scripts, which makes the counters that they set: `root.manager.dict(saved)`."""

    @staticmethod
    def dict(*args: Any, **kwargs: Any) -> Mapping[Any, Any]:
        """Return a dict."""
        return dict(*args, **kwargs)

    @staticmethod
    def list(*args: Any) -> Sequence[Any]:
        """Return a list."""
        return list(*args)


def _in_memory() -> str | None:
    """Return a folder without a disk, where there is one."""
    memory = "/dev/shm"  # noqa: S108 - mkdtemp makes a private folder in it
    return memory if os.access(memory, os.W_OK) else None
