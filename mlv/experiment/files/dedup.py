"""The contents of the files of an experiment, so that equal content is stored once."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Union

from mlv.encoding import BadLine, event_from_line
from mlv.errors import FileUnusable
from mlv.events import Event
from mlv.experiment.session import Session
from mlv.query.events import Events
from mlv.store import attached, layout, opening
from mlv.store.contents import FOLDER, Content, content_of, files_in

_State = Union[tuple[Any, ...], None]


class Contents:
    """The contents of the attachments of an experiment, as far as this run has seen them."""

    def __init__(self) -> None:
        self._path_of: dict[Content, Path] = {}
        self._contents: dict[Path, tuple[Content, _State]] = {}

    @classmethod
    def of(cls, session: Session) -> Contents:
        """Return the contents for a run's experiment; attachments of earlier runs are looked up once, in the log."""
        contents: Contents | None = session.memory.get("contents")
        if contents is None:
            contents = session.memory["contents"] = cls()
            if not _is_first(session):
                contents._learn(Events(session.folder, "file"), session.folder)
        return contents

    def add(self, path: Path, content: Content) -> None:
        """Remember a file that was published just now."""
        self._forget(path)
        self._path_of[content] = path
        self._contents[path] = (content, _state(path))

    def holds(self, path: Path, content: Content) -> bool:
        """Return whether a file, as it is now, is known to hold a content."""
        if path not in self._contents or self._contents[path][0] != content:
            return False
        before, now = self._contents[path][1], _state(path)
        if now is None or (now != before and not _has(path, content)):
            self._forget(path)
            return False
        self._contents[path] = (content, now)
        return True

    def path_of(self, content: Content) -> Path | None:
        """Return a file that holds a content; None if none is known."""
        path = self._path_of.get(content)
        return path if path is not None and self.holds(path, content) else None

    def is_folder(self, path: Path) -> bool:
        """Return whether the attachment at a path is a folder as a whole."""
        return path in self._contents and self._contents[path][0].is_folder

    def attached(self, session: Session) -> set[Path]:
        """Return the paths of all attachments, also those that other processes have logged by now."""
        logged = _attachments(Events(session.folder, "file"), session.folder)
        return {*self._contents, *(path for path, _ in logged)}

    def _learn(self, events: Iterable[Event], folder: Path) -> None:
        """Take the hashes from `file` events; each file is checked before its hash is used."""
        for path, content in _attachments(events, folder):
            self._forget(path)
            self._path_of[content] = path
            self._contents[path] = (content, None)

    def _forget(self, path: Path) -> None:
        content, _ = self._contents.pop(path, (None, None))
        if content is not None and self._path_of.get(content) == path:
            del self._path_of[content]


def _attachments(events: Iterable[Event], folder: Path) -> Iterator[tuple[Path, Content]]:
    """Yield path and content of the attachments in `file` events."""
    for event in events:
        try:
            content = Content(event.data["sha256"], event.data["size"], event.data["media_type"] == FOLDER)
            yield attached.checked(folder, event.data["path"]), content
        except (KeyError, TypeError, FileUnusable):
            continue  # written by somebody else


def _is_first(session: Session) -> bool:
    """Return whether nobody wrote into the experiment before this run."""
    session.start()
    try:
        with opening.reading(session.folder / layout.stream_file(layout.DEFAULT_STREAM)) as file:
            line = file.readline(opening.LONGEST_LINE)
        return event_from_line(line, layout.DEFAULT_STREAM).run == session.run
    except FileNotFoundError:
        return True
    except BadLine:
        return not line


def _state(path: Path) -> _State:
    """Return what changes when a file, or one of a folder, is written into; None if it is missing or writable."""
    try:
        files = [path / name for name in files_in(path)] if path.is_dir() else [path]
        statuses = [(str(file), os.lstat(file)) for file in files]
    except OSError:
        return None
    if any(not stat.S_ISREG(status.st_mode) or status.st_mode & 0o222 for _, status in statuses):
        return None
    return tuple((name, status.st_ino, status.st_size, status.st_mtime_ns) for name, status in statuses)


def _has(path: Path, content: Content) -> bool:
    try:
        return content_of(path) == content
    except OSError:
        return False
