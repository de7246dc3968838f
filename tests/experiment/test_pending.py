"""Events that refer to files: logging does not wait for the hash, and the line has it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from mlv import Exp, FileRef
from mlv.audit.verify import verify


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.npz"
    path.write_bytes(b"weights")
    return path


def test_the_line_has_the_hash(either_log, file):
    """The hash is there when the event is, among metrics as in events; NaN and the user's own keys are as they were."""
    either_log("trained", {"model": [FileRef(file)], "x": float("inf"), "_mlv": "file"}, step=3)
    either_log.at(epoch=1)({"loss": 0.5, "model": FileRef(file)})
    either_log._session.flush(30)

    trained, metrics = Exp.open(either_log._session.folder).events(["event", "metrics"])
    digest = hashlib.sha256(b"weights").hexdigest()
    assert trained.data["model"][0]["sha256"] == metrics.data["model"]["sha256"] == digest
    assert (trained.step, trained.data["x"], trained.data["_mlv"], metrics.at) == (3, float("inf"), "file", {"epoch": 1})


def test_a_file_that_is_gone(either_log, file):
    """A file that was removed before the writer came to it costs its hash, not the event."""
    ref = FileRef(file)
    file.unlink()
    either_log("trained", {"model": ref, "loss": 0.5})
    either_log._session.flush(30)

    [event] = Exp.open(either_log._session.folder).events("event")
    assert (event.data["model"]["problem"], event.data["loss"]) == ("gone before it was hashed", 0.5)


def test_the_file_is_not_read_here(exp, tmp_path, monkeypatch):
    """The training process does not read the file: the writer does."""
    (tmp_path / "large.bin").touch()
    os.truncate(tmp_path / "large.bin", 64 << 20)
    with monkeypatch.context() as patch:
        patch.setattr("mlv.store.references.content_of", None)
        exp.log("trained", {"model": FileRef(tmp_path / "large.bin")})
    exp.close()

    [event] = exp.events("event")
    assert event.data["model"]["sha256"] == hashlib.sha256(bytes(64 << 20)).hexdigest()
    assert verify(exp.path).findings == ()
