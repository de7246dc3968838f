"""Judging the files of an experiment: whether each is as it was when it was published last."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from mlv.audit.file_history import FileVersion, History, outside
from mlv.audit.findings import Finding
from mlv.errors import FileUnusable
from mlv.store import attached
from mlv.store.contents import FOLDER, Content, content_of


class FileJudge:
    """Compares files, and folders as a whole, with the versions that the log names.

    While lines may still be added a damage is unproven, since one of them may explain it.
    """

    def __init__(self, folder: Path, may_change: bool) -> None:
        self._folder, self._may_change = folder, may_change
        self._contents: dict[tuple[int, ...], Content] = {}

    def findings(self, path: str, history: History) -> Iterator[Finding]:
        """Yield what is to be said of one file."""
        file, latest = self._folder / path, history.latest
        if outside({**(latest.reference or {}), "path": path}):
            if not file.exists():
                yield Finding("intact", f"{path}, outside the experiment, is not there any more")
            return
        try:
            attached.checked(self._folder, path, anywhere=True)
        except FileUnusable as error:
            if os.path.lexists(file) or not history.is_let_go:
                yield Finding("unproven", f"an event names a file that is not looked at: {error}", path)
            return
        if not history.is_let_go:
            yield from self._of_content(path, history, latest)
        elif file.exists() and history.is_redacted:
            yield Finding("unproven", f"{path} is still there, although it was to be redacted: run `mlv redact` again", path)
        elif file.exists():
            yield Finding("intact", f"{path} is still there, although the log says that it was removed", path)

    def _of_content(self, path: str, history: History, latest: FileVersion) -> Iterator[Finding]:
        try:
            content = self._content(self._folder / path)
        except OSError as error:
            yield self._damage("missing", f"{path} cannot be read: {error.strerror}", path)
            return
        if latest.sha256 is None:
            yield Finding("unproven", f"no SHA-256 of {path} was recorded: nothing proves that it is as it was", path)
        elif content.sha256 != latest.sha256:
            yield self._of_change(path, history, content)
        elif len(history.published) > 1:
            yield Finding("intact", f"{path} was published {len(history.published)} times; the latest is there", path)

    def _of_change(self, path: str, history: History, content: Content) -> Finding:
        reference = history.latest.reference or {}
        recorded, kind = reference.get("size"), reference.get("media_type")
        earlier = history.superseded(content.sha256)
        if earlier is not None and history.is_redacted:
            return Finding("unproven", f"{path} is as it was before it was to be redacted: run `mlv redact` again", path)
        if earlier is not None:
            text = f"{path} holds the content published {earlier}, which the one published {history.latest} superseded"
            return self._damage("edited", text, path)
        if kind is not None and content.is_folder != (kind == FOLDER):
            now, before = ("folder", "file") if content.is_folder else ("file", "folder")
            return self._damage("edited", f"{path} is a {now}, and a {before} was recorded", path)
        if content.is_folder:
            text = (
                f"the folder {path} was edited: the SHA-256 of the list of its files is {content.sha256}, and "
                f"{history.latest.sha256} was recorded (size {content.size}, and {recorded} was recorded)"
            )
            return self._damage("edited", text, path)
        if isinstance(recorded, int) and content.size < recorded:
            text = f"{path} is of size {content.size}, and {recorded} was recorded: the rest is cut off"
            return self._damage("truncated", text, path, content.size, recorded)
        text = f"{path} was edited: its SHA-256 is {content.sha256}, and {history.latest.sha256} was recorded"
        return self._damage("edited", text, path)

    def _damage(self, verdict: str, text: str, file: str, start: int | None = None, end: int | None = None) -> Finding:
        if self._may_change:
            return Finding("unproven", f"{text}. It may have been published or removed just now; verify again later", file)
        return Finding(verdict, f"{text}. Restore it from a copy", file, start, end)

    def _content(self, path: Path) -> Content:
        """Return the content of a file or folder; a file with several names is read once.

        Raises:
            OSError: It cannot be read.
        """
        status = path.stat()
        key = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
        if not stat.S_ISREG(status.st_mode):
            return content_of(path)
        if key not in self._contents:
            self._contents[key] = content_of(path)
        return self._contents[key]
