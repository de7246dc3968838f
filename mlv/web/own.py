"""The reader's own things: views, stars, hidden experiments, private notes, colours, layout: lines of a file of the reader.

Nothing is written into an experiment, and no two people, and no two machines, write one file. The latest line about a name
counts; older ones stay as history.
"""

from __future__ import annotations

import errno
import getpass
import hashlib
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import orjson

from mlv.encoding import utc_text
from mlv.errors import InvalidArgument
from mlv.store import layout, opening
from mlv.store.mirrors import is_mirrored
from mlv.web.token import state_folder

KINDS = ("view", "star", "hidden", "note", "color", "column", "layout")
"""What a line may be about."""
MOST_BYTES = 64 << 10
"""Bytes of one line."""
_MOST_FILE_BYTES = 16 << 20
_LONGEST_NAME = 300
_UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)


class Own:
    """The file of a reader on this machine, and those that the same reader wrote on others."""

    def __init__(self, root: Path, user: str = "", machine: str = "") -> None:
        """Choose the file: below the root, unless that lies in an experiment, or is a mirror, which may be deleted."""
        self._root = layout.absolute(root)
        self._user = _word(user or _user())
        self.author = f"{self._user}-{_word(machine or socket.gethostname())}"
        self._lock = threading.Lock()
        self._folder = self._root / layout.HOUSEKEEPING / "ui"
        is_in_experiment = any(layout.is_experiment(folder) for folder in (self._root, *self._root.parents))
        digest = hashlib.sha256(os.fsencode(self._root)).hexdigest()
        self._elsewhere = state_folder() / "ui" / f"{digest[:32]}.jsonl"
        self._path = self._elsewhere if is_in_experiment or is_mirrored(self._root) else self._folder / f"{self.author}.jsonl"

    def fold(self) -> dict[str, Any]:
        """Return the values that count, by kind and name."""
        items: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
        for line in sorted(self._lines(), key=lambda line: line["time"]):
            if line["value"] is None:
                items[line["kind"]].pop(line["name"], None)
            else:
                items[line["kind"]][line["name"]] = line["value"]
        return {"author": self.author, "where": str(self._path), "writable": self._is_writable(), "items": items}

    def add(self, said: Any) -> dict[str, Any]:
        """Append a line, and return the values that count then.

        Raises:
            InvalidArgument: It is no such line.
            OSError: It cannot be written.
        """
        line = _checked(said)
        with self._lock:
            try:
                self._append(self._path, line)
            except OSError as error:
                if error.errno not in _UNWRITABLE or self._path == self._elsewhere:
                    raise
                self._path = self._elsewhere
                self._append(self._path, line)
        return self.fold()

    def _append(self, path: Path, line: dict[str, Any]) -> None:
        if path == self._elsewhere:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        else:
            opening.make_folders(self._root, path.parent)  # not through links that somebody else has put there
        fd = opening.writing(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            status = os.fstat(fd)
            if not _is_mine(status):
                raise PermissionError(errno.EACCES, "belongs to somebody else", str(path))
            if status.st_size > _MOST_FILE_BYTES:
                raise OSError(errno.EFBIG, "has grown too large: move it away, to begin anew", str(path))
            is_torn = status.st_size and os.pread(fd, 1, status.st_size - 1) != b"\n"
            # In one call, so that another server of this reader writes before it or behind it.
            os.write(fd, (b"\n" if is_torn else b"") + orjson.dumps(line) + b"\n")
        finally:
            os.close(fd)

    def _is_writable(self) -> bool:
        folder = self._path.parent
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        return os.access(self._path if self._path.exists() else folder, os.W_OK)

    def _lines(self) -> Iterator[dict[str, Any]]:
        paths = [self._elsewhere]
        begin = f"{self._user}-"
        with suppress(OSError):
            names = sorted(os.listdir(self._folder))
            paths += [self._folder / name for name in names if name.startswith(begin) and name.endswith(".jsonl")]
        for path in paths:
            with suppress(OSError), opening.reading(path, follows=False) as file:
                if _is_mine(os.fstat(file.fileno())):
                    yield from _parsed(file.read(_MOST_FILE_BYTES + MOST_BYTES))


def _parsed(content: bytes) -> Iterator[dict[str, Any]]:
    for text in content.splitlines():
        with suppress(ValueError, InvalidArgument):
            line = orjson.loads(text)
            checked = _checked(line)
            if isinstance(line.get("time"), str):
                yield {**checked, "time": line["time"]}


def _checked(said: Any) -> dict[str, Any]:
    """Return a line, with the time of now.

    Raises:
        InvalidArgument: Its kind or its name cannot be.
    """
    kind, name = (said.get("kind"), said.get("name")) if isinstance(said, dict) else (None, None)
    if kind not in KINDS:
        raise InvalidArgument(f"kind={kind!r:.60}: give one of {', '.join(KINDS)}", kind=kind)
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
        raise InvalidArgument(f"name={name!r:.60}: give a text of up to {_LONGEST_NAME} characters", name=name)
    try:
        orjson.dumps([[[[said]]]])  # an answer holds the value deeper than its line does
    except TypeError:
        raise InvalidArgument("the value is nested too deeply: give one of up to 200 levels", name=name) from None
    return {"format": 1, "time": utc_text(datetime.now(timezone.utc)), "kind": kind, "name": name, "value": said.get("value")}


def _is_mine(status: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or status.st_uid == os.geteuid()


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a user without a name, as in some containers
        return str(os.geteuid()) if hasattr(os, "geteuid") else "reader"


def _word(name: str) -> str:
    """Return a name as a word of a file's name."""
    return re.sub(r"[^\w.+]", "_", name, flags=re.ASCII)[:60]
