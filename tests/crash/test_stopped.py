"""A writer that stands still, and what it costs in memory when it does not."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import pytest
from conftest import wait_until

import mlv
from crash.victims import writer_at_work
from mlv.audit.verify import verify

MOST_MEMORY_BYTES = 60 * 2**20


def test_stopped_writer_loses_nothing(tmp_path):
    """20,000 events logged while the writer is stopped are all there when it goes on."""
    exp = mlv.Exp(tmp_path, "stopped", capture=())
    exp.flush()
    writer = writer_at_work(exp.path)

    os.kill(writer, signal.SIGSTOP)
    for number in range(20_000):
        exp.log({"number": number, "loss": 0.25}, step=number)
    os.kill(writer, signal.SIGCONT)
    exp.close()

    assert [event.data["number"] for event in exp.events("metrics")] == list(range(20_000))
    assert verify(exp.path).verdict == "intact"


def test_patience_with_a_stopped_writer(tmp_path, monkeypatch):
    """A full ring is waited at for a time that can be set; then events are dropped with one warning, and told by number."""
    monkeypatch.setenv("MLV_PATIENCE_S", "0.5")
    exp = mlv.Exp(tmp_path, "dropped", capture=())
    exp.flush()
    writer = writer_at_work(exp.path)

    os.kill(writer, signal.SIGSTOP)
    with pytest.warns(mlv.WritingStalled, match="dropped for now") as warned:
        number = log_until(exp, lambda: len(warned))
    os.kill(writer, signal.SIGCONT)
    assert exp.flush()
    exp.log({"number": number}, step=number)
    exp.close()

    assert len(warned) == 1
    found = [event.data["number"] for event in exp.events("metrics")]
    assert found == [*range(len(found) - 1), number]
    [dropped] = exp.events("dropped")
    assert dropped.data["count"] == number - (len(found) - 1)
    assert (dropped.data["first"], dropped.data["last"]) == (dropped.seq - dropped.data["count"], dropped.seq - 1)
    assert verify(exp.path).verdict == "intact"
    assert exp.status == "ok"


def log_until(exp, is_dropped):
    """Log until events are dropped, because the ring is full, and on; gives the number of events."""
    number = 0
    while not is_dropped() or number % 1000:
        exp.log({"number": number, "filler": "x" * 1000}, step=number)
        number += 1
    return number


def test_a_patience_that_is_no_number(tmp_path, monkeypatch):
    """A setting that cannot be read is said, and the usual one taken."""
    monkeypatch.setenv("MLV_PATIENCE_S", "long")
    with pytest.warns(mlv.MlvWarning, match="MLV_PATIENCE_S='long' is no number"):
        exp = mlv.Exp(tmp_path, "exp", capture=())
    exp.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_after_a_killed_writer(tmp_path):
    """A writer that takes over in the middle of a line of 100 MB needs no more memory."""
    exp = mlv.Exp(tmp_path, "large", capture=())
    for number in range(1000):
        exp.log({"number": number})
    exp.flush()
    first = writer_at_work(exp.path)
    os.kill(first, signal.SIGSTOP)
    exp.log("large", {"number": 1000, "text": "x" * 100_000_000})
    os.kill(first, signal.SIGCONT)
    wait_until(lambda: (exp.path / "log.jsonl").stat().st_size > 20_000_000, 60)  # the text is searched for credentials
    os.kill(first, signal.SIGKILL)

    exp.log({"number": 1001})  # another writer comes, also where the first one was done with the line by then
    assert exp.flush(60)

    second = writer_at_work(exp.path)
    status = Path(f"/proc/{second}/status").read_text()
    exp.close()
    assert second != first
    assert int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024 < MOST_MEMORY_BYTES
    assert [event.data["number"] for event in exp.events(["metrics", "event"])] == list(range(1002))
    assert verify(exp.path).verdict == "intact"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_of_the_writer(tmp_path):
    """The writer needs less than 60 MB, after 300,000 events and one of 100 MB."""
    exp = mlv.Exp(tmp_path, "large", capture=())
    exp.flush()
    writer = writer_at_work(exp.path)

    for number in range(300_000):
        exp.log({"number": number, "loss": 0.25}, step=number)
    exp.log("large", {"text": "x" * 100_000_000})
    assert exp.flush(60)
    status = Path(f"/proc/{writer}/status").read_text()
    exp.close()

    assert int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024 < MOST_MEMORY_BYTES
    assert verify(exp.path).verdict == "intact"
