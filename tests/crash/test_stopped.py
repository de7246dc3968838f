"""A writer that stands still, and what it costs in memory when it does not."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import pytest

import mlv
from crash.victims import writer_of
from mlv.query.verify import verify

MOST_MEMORY_BYTES = 60 * 2**20


def test_stopped_writer_loses_nothing(tmp_path):
    """20,000 events logged while the writer is stopped are all there when it goes on."""
    exp = mlv.Exp(tmp_path, "stopped", capture=())
    exp.flush()
    writer = writer_of(exp.path)

    os.kill(writer, signal.SIGSTOP)
    for number in range(20_000):
        exp.log({"number": number, "loss": 0.25}, step=number)
    os.kill(writer, signal.SIGCONT)
    exp.close()

    assert [event.data["number"] for event in exp.events("metrics")] == list(range(20_000))
    assert verify(exp.path).verdict == "intact"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_of_the_writer(tmp_path):
    """The writer needs less than 60 MB, after 300,000 events and one of 100 MB."""
    exp = mlv.Exp(tmp_path, "large", capture=())
    exp.flush()
    writer = writer_of(exp.path)

    for number in range(300_000):
        exp.log({"number": number, "loss": 0.25}, step=number)
    exp.log("large", {"text": "x" * 100_000_000})
    assert exp.flush(60)
    status = Path(f"/proc/{writer}/status").read_text()
    exp.close()

    assert int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024 < MOST_MEMORY_BYTES
    assert verify(exp.path).verdict == "intact"
