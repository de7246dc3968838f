"""Events that refer to files: the training process notes the file, a worker hashes it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import orjson
import pytest

from mlv import FileRef
from mlv.encoding import Conversion, Reference, event_from_line, restored
from mlv.media.jobs import Job, perform

WEIGHTS = hashlib.sha256(b"weights").hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.npz"
    path.write_bytes(b"weights")
    return path


def handed_over(data: Any) -> Job:
    """The job of an event, as a worker gets it: converted, packed into bytes, and unpacked."""
    conversion = Conversion()
    converted = conversion.value({"data": data})
    assert conversion.pending
    job = Job("event", "trained", "references", converted, 3, {"epoch": 1}, conversion.nonfinite)
    return Job.unpack(b"".join(bytes(part) for part in job.pack()))


def line_of(job: Job) -> dict[str, Any]:
    """The line that a worker makes of a job."""
    found: dict[str, Any] = orjson.loads(b"{" + perform(job, None))  # type: ignore[arg-type]
    return found


def test_the_hash_is_filled_in(file):
    """The event is the one that was logged, with the hash of the file."""
    line = line_of(handed_over({"model": FileRef(file), "loss": 0.5}))

    assert (line["type"], line["name"], line["step"], line["at"]) == ("event", "trained", 3, {"epoch": 1})
    assert line["data"] == {"model": {**FileRef(file).__mlv_reference__(), "sha256": WEIGHTS}, "loss": 0.5}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda path: path.write_bytes(b"others, longer"), "changed before it was hashed"),
        (lambda path: path.unlink(), "gone before it was hashed"),
    ],
    ids=["changed", "gone"],
)
def test_a_file_that_is_not_as_it_was(file, change, problem):
    """A file that changed meanwhile costs its hash, not the event; the rest stands there."""
    job = handed_over({"model": FileRef(file), "loss": 0.5})
    change(file)

    data = line_of(job)["data"]

    assert (data["model"]["sha256"], data["model"]["problem"], data["loss"]) == (None, problem, 0.5)


def test_whatever_else_the_event_holds(file):
    """What JSON cannot hold, and a user's own keys that look like the format's, come through as they were logged."""
    others = {"_mlv": "file", "_mlv_x": {"_mlv": "exp", "path": 3}, "n": float("inf"), "b": b"\xff", "i": 2**70, "t": "\ud800"}

    line = line_of(handed_over({"file": FileRef(file), **others}))
    event = event_from_line(orjson.dumps({"run": "ra", "seq": 1, "time": "2026-01-01T00:00:00.000000Z", **line}), "log")

    assert {key: value for key, value in event.data.items() if key != "file"} == others
    assert isinstance(event.data["file"], Reference)
    assert event.data["file"]["sha256"] == WEIGHTS


def test_references_are_read_back_as_references(file):
    """What was read can be logged again: a reference stays one, and a user's key stays the user's."""
    data = {"file": FileRef(file), "_mlv": "file"}
    first = Conversion().value(data)

    assert Conversion().value(restored(first, {})) == first
    assert first["_mlv_"] == "file"
