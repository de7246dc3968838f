"""Names of events, and the folders that their files lie in."""

from __future__ import annotations

import os

import pytest

from mlv.media.jobs import Job
from mlv.media.target import FolderTarget

NAMES = [
    "", "a", "a/b", "/", "//a//", ".", "..", "../../up", "a/../b", "/etc/passwd", " ", "a ", "a\0b\n\x7f\x1b[31m", "CON:*?<>|",
    "n" * 300, "\u65e5" * 300, "\U00020000" * 300, "/".join(["seg" * 30] * 100), "\U00020000/" * 1000, "e\u0301 \u200b\u202e",
    "a\udcffb",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_files_of_any_name(tmp_path, name):
    """Whatever an event, or a part of it, is called: its file is published below `files/media` of its experiment."""
    packed = Job("image", name, "image", {}).pack()
    job = Job.unpack(b"".join(bytes(part) for part in packed))

    found = FolderTarget(tmp_path, job.name, 3, "rtarget123-17").file(".png", b"content", label=job.name)

    path = tmp_path / found["path"]
    assert path.read_bytes() == b"content"
    assert (tmp_path / "files" / "media") in path.parents
    assert os.path.realpath(path) == str(path)
