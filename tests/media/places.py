"""A place for the files of one media event, and a way there that is that of every event."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson

from mlv.encoding import Conversion, Reference
from mlv.media import jobs
from mlv.media.jobs import Job, Prepared
from mlv.store import blobs, contents


class Folder:
    """Publishes into a folder, as the writer does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: list[Path] = []

    def file(self, suffix: str, content: Any, label: str = "") -> Reference:
        path = self.path / f"{len(self.files)}{'-' * bool(label)}{label}{suffix}"
        temporary = blobs.temporary_beside(path)
        try:
            if callable(content):
                content(os.fspath(temporary))
            else:
                temporary.write_bytes(content)
            blobs.settle(temporary, path)
        except BaseException:
            blobs.remove(temporary)
            raise
        self.files.append(path)
        return contents.reference(self.path, path, contents.content_of(path))

    def line(self, prepared: Prepared) -> dict[str, Any]:
        """Bring a value to a worker as bytes, do the job there, and give the line's fields from its type on."""
        conversion = Conversion()
        options = conversion.value(prepared.options)
        assert conversion.problems == []
        job = Job(prepared.type, "name", prepared.do, options, 3, {}, conversion.nonfinite, prepared.buffers)
        packed = b"".join(bytes(piece) for piece in job.pack())
        return orjson.loads(b"{" + jobs.perform(Job.unpack(packed), self))

    def data(self, prepared: Prepared) -> dict[str, Any]:
        """The data of the event, which could be stored."""
        line = self.line(prepared)
        assert line["type"] == prepared.type, line
        return line["data"]

    def reason(self, prepared: Prepared) -> str:
        """Why the event was rejected; it left no file."""
        line = self.line(prepared)
        assert line["type"] == "rejected", line
        assert not self.path.exists() or list(self.path.iterdir()) == []
        return line["data"]["reason"]

    def at(self, reference: dict[str, Any]) -> Path:
        """Where a file lies, which is what its reference says."""
        path = self.path / reference["path"]
        content = contents.content_of(path)
        assert (content.sha256, content.size) == (reference["sha256"], reference["size"])
        return path
