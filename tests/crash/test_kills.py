"""SIGKILL of the trainer, of the writer, or of both, at random moments: nothing accepted is lost or doubled."""

from __future__ import annotations

import mmap
import os
import random
import signal
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

import mlv
from mlv.query.verify import verify
from mlv.store.owners import Owner
from mlv.transport import frames, recovery, spool
from tests.conftest import wait_until

TRAINER = Path(__file__).with_name("trainer.py")
MOMENTS = int(os.environ.get("MLV_TEST_KILLS", "100"))
LOGGING_S = 0.5
LATEST_S = 0.35
AT_ONCE = 4


@pytest.mark.crash
@pytest.mark.timeout(900)
@pytest.mark.parametrize("victims", ["trainer", "writer", "both"])
def test_killed_at_random_moments(tmp_path, victims):
    """Every event whose call had returned is in the log after a recovery, once and in order, and all is sealed."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    moments = [random.Random(f"{seed} {number}").uniform(0, LATEST_S) for number in range(MOMENTS)]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        faults = list(pool.map(lambda trial: fault_of(tmp_path / str(trial[0]), victims, trial[1]), enumerate(moments)))

    assert [fault for fault in faults if fault] == []


def fault_of(folder: Path, victims: str, after_s: float) -> str:
    """Kill after some seconds of logging, recover, and say what is wrong; empty if nothing is."""
    folder.mkdir()
    counter = folder / "counter"
    counter.write_bytes(bytes(24))
    with open(counter, "r+b") as file:
        words = memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")
    command = [sys.executable, "-W", "error", str(TRAINER), str(folder), str(counter), str(LOGGING_S)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as trainer:
        wait_until(lambda: words[1] or trainer.poll() is not None)
        with suppress(subprocess.TimeoutExpired):
            trainer.wait(after_s)
        writer = writer_of(folder / "killed") if victims != "trainer" else None
        if victims != "writer":
            trainer.kill()
        if writer is not None:
            with suppress(ProcessLookupError):
                os.kill(writer, signal.SIGKILL)
        said = trainer.communicate(timeout=60)[1]
    returned, was_closed = words[0], bool(words[2])

    if not recovery.recover(folder / "killed"):
        return f"{folder.name}: the recovery did not finish"
    exp = mlv.Exp.open(folder / "killed")
    numbers = [event.data["number"] for event in exp.events(["metrics", "event"])]
    expected = "ok" if was_closed else "killed"
    report = verify(exp.path)
    wrong = {
        f"{returned} calls had returned, and {len(numbers)} events are there": returned <= len(numbers) <= returned + 1,
        f"the events are not there once and in order: {numbers[:5]} ...": numbers == list(range(len(numbers))),
        f"the status is {exp.status}, not {expected}": exp.status == expected,
        f"verify says {report}": report.verdict == "intact",
        f"the trainer said {said!r}": said.count("\n") <= 1,
    }
    return "; ".join(f"{folder.name}: {what}" for what, is_well in wrong.items() if not is_well)


def writer_of(folder: Path) -> int | None:
    """Pid of the writer, once it has signed the ring; None if the run ended meanwhile."""
    found: list[int] = []

    def is_known() -> bool:
        rings = [ring for place in spool.find(folder, Owner.current()) for ring in spool.rings_in(place)]
        for ring in rings:
            with suppress(OSError), open(ring, "rb") as file:
                found.extend(pid for pid in struct.unpack_from("<Q", file.read(256), frames.W_WRITER_PID * 8) if pid)
        return bool(found) or not rings

    wait_until(is_known)
    return found[0] if found else None
