"""The paths of the files of a media event: `files/media/<name of the event>/<step>-<run>-<seq>.png`."""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from mlv.encoding import Reference
from mlv.media.jobs import NoPlace, Unusable
from mlv.protocols import Buffer
from mlv.store import blobs, layout, opening
from mlv.store.contents import Content, content_of, reference

MEDIA = "media"
_LONGEST_SEGMENT = 80  # with number, hash and suffix a name stays within what file systems take
_SEGMENT_BYTES, _NAME_BYTES = 180, 800
"""A file system takes 255 bytes for a name, which has more than this segment in it, and 4,096 for a path."""
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,16}\Z")
_UNSAFE = re.compile(r"[^\w.+=@,() -]|^\.|^ | $")


class FolderTarget:
    """Publishes the files of one event below the folder of an experiment.

    Their names follow from the event alone, so that a job that is done twice, after a kill, leaves the same files once.
    """

    def __init__(self, folder: Path, name: str, step: float | None, key: str) -> None:
        """Prepare the folder's path; `key` is a text that no other event of the experiment has, such as its run and number."""
        self._folder = folder
        self._media_folder = folder.joinpath(layout.FILES, MEDIA, *safe_segments(name))
        self._stem = key if step is None else f"{step}-{key}"

    def file(self, suffix: str, content: Buffer | Callable[[str], object], label: str = "") -> Reference:
        """Publish one file of the event; see `Target`.

        Raises:
            OSError: The disk refuses; nothing is left behind.
            Unusable: The suffix is none: a job that asks for it was not made by mlv. Or a link is on the way to the folder.
        """
        if not _SUFFIX.match(suffix):
            raise Unusable(f"{suffix!r} is no suffix of a file: a dot, and at most 16 letters and digits")
        name = f"{self._stem}-{safe_segment(label)}" if label else self._stem
        path = self._media_folder / f"{name}{suffix}"
        temporary = self._temporary(path)
        try:
            if callable(content):
                content(str(temporary))
                stored = content_of(temporary)
            else:
                with opening.emptied(temporary) as file:
                    file.write(content)
                # Hashed from memory: to read it again would take as long as writing it did.
                stored = Content(hashlib.sha256(content).hexdigest(), len(content), is_folder=False)
            blobs.settle(temporary, path)
        except BaseException:
            blobs.remove(temporary)
            raise
        return reference(self._folder, path, stored)

    def _temporary(self, path: Path) -> Path:
        if not self._folder.is_dir():  # and shall not be made again
            raise NoPlace(errno.ENOENT, "the experiment is gone", str(self._folder))
        try:
            opening.check_folders(self._folder, self._media_folder)
            temporary = blobs.temporary_beside(path)
            opening.new(temporary).close()
        except OSError as error:
            if error.errno == errno.ELOOP:  # nobody put it there for a while: to wait helps nothing
                raise Unusable(f"{error.filename} {error.strerror}") from error
            if error.errno not in (errno.EACCES, errno.EPERM, errno.ENOTDIR):
                raise
            raise NoPlace(error.errno, error.strerror, error.filename) from error
        return temporary


def safe_segments(name: str) -> list[str]:
    """Return names of folders for the segments of an event's name; different names may share one."""
    return _cut("/".join(map(safe_segment, name.split("/"))), _NAME_BYTES).rstrip("/").split("/") if name else []


def safe_segment(text: str) -> str:
    """Return a name for one file or folder on any system."""
    return _cut(_UNSAFE.sub("_", text)[:_LONGEST_SEGMENT], _SEGMENT_BYTES) or "_"


def _cut(text: str, most_bytes: int) -> str:
    return text.encode()[:most_bytes].decode(errors="ignore")
