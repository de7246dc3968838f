"""Training processes that are killed while they log, and what must be there afterwards."""

from __future__ import annotations

import mmap
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
from conftest import wait_until
from contracts.evidence import arrays, assert_complete, payloads

from mlv import Exp
from mlv.audit.verify import verify
from mlv.store.owners import Owner, process_start
from mlv.transport import recovery, spool
from mlv.transport.frames import W_WRITER_PID

IS_SOAK = bool(os.environ.get("MLV_SOAK"))
"""Whether there is time for all of it: `tox -e soak`."""
SEED = int(os.environ.get("MLV_CRASH_SEED", random.randrange(10**6) if IS_SOAK else 5))
AT_ONCE = 6
"""Trials that run beside each other: most of the time of each is waiting."""

TRAINING = """
import array, mmap, os, random, sys, time
from mlv import Exp

savedir, counters, seed = sys.argv[1:4]
media = float(sys.argv[4])
words = memoryview(mmap.mmap(os.open(counters, os.O_RDWR), 16)).cast("Q")
chance = random.Random(int(seed))
exp = Exp(savedir, "exp", {"lr": 0.1}, capture=())
val = exp.logger("val")
i = 0
while words[1] == 0:
    if chance.random() < 0.002:
        exp.log("large", {"i": i, "x": "y" * chance.randrange(60_000, 700_000)})
    elif chance.random() < media:
        exp.log.array("maps", array.array("d", [i] * 1000), step=i)
    elif i % 2:
        val({"i": i}, step=i)
    else:
        exp.log.sub("train")({"i": i}, step=i)
    i += 1
    words[0] = i  # so many calls have returned
    if chance.random() < 0.02:
        time.sleep(0.001)
    if chance.random() < 0.0003:
        exp.flush()
exp.close()
"""


def scaled(count: int, *, soak: int) -> int:
    """How many trials there are: a few in the suite, as many as are asked for in the soak."""
    return soak if IS_SOAK else count


class Victim:
    """A training process that logs into two streams until it is told to stop, or killed."""

    def __init__(self, folder: Path, seed: int, media: float = 0.0) -> None:
        """`media` is the part of its calls that hand over arrays."""
        folder.mkdir(parents=True)
        self.exp = folder / "exp"
        counters = folder / "counters"
        counters.write_bytes(bytes(16))
        self._file = os.open(counters, os.O_RDWR)
        self._words = memoryview(mmap.mmap(self._file, 16)).cast("Q")
        command = [sys.executable, "-W", "error", "-c", TRAINING, str(folder), str(counters), str(seed), str(media)]
        self._errors = open(folder / "stderr", "wb")  # noqa: SIM115 - closed when it has ended
        self.process = subprocess.Popen(command, stderr=self._errors, cwd=folder)
        wait_until(lambda: self.returned or self.process.poll() is not None)
        assert self.returned, (folder / "stderr").read_text()

    @property
    def returned(self) -> int:
        """How many calls have returned."""
        return int(self._words[0])

    def writer(self) -> int:
        """Process ID of the writer, once it is at work."""
        return writer_at_work(self.exp)

    def stop(self) -> int:
        """Let the process close the experiment and end; gives its exit status."""
        self._words[1] = 1
        return self.process.wait(60)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)

    def clear(self) -> None:
        """Give all back."""
        self.process.wait(60)
        self._errors.close()
        os.close(self._file)

    def assert_nothing_lost(self, status: str) -> None:
        """Every event whose call had returned is there, once and in order, and the verification is content."""
        returned = self.returned
        (run,) = {event.run for event in Exp.open(self.exp).events("run_started")}
        found = sorted([*payloads(self.exp, run), *arrays(self.exp, run)])
        assert found in (list(range(returned)), list(range(returned + 1))), f"{len(found)} events, {returned} returned"
        assert_complete(self.exp)
        report = verify(self.exp)
        assert report.verdict == "intact", [str(finding) for finding in report.findings]
        assert Exp.open(self.exp).status == status
        for place in spool.find(self.exp, Owner.current()):
            wait_until(lambda place=place: not place.exists())


def writer_of(folder: Path) -> int:
    """Process ID of the writer of an experiment, as a ring's header has it; 0 if there is none."""
    rings = [ring for place in spool.find(folder, Owner.current()) for ring in spool.rings_in(place)]
    for ring in rings:
        with open(ring, "rb") as file:
            file.seek(8 * W_WRITER_PID)
            return int.from_bytes(file.read(8), "little")
    return 0


def writer_at_work(folder: Path) -> int:
    """Process ID of the writer of an experiment, once there is one: never 0, which stands for all processes to the system."""
    found = [0]
    wait_until(lambda: found.append(writer_of(folder)) or is_there(found[-1]))
    return found[-1]


def is_there(pid: int) -> bool:
    """Whether there is such a process."""
    return pid != 0 and process_start(pid) is not None


def kill(pid: int) -> None:
    """Kill a process, if it is there."""
    if pid == 0:
        return  # for the system that is everybody
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def finish(folder: Path, chance: random.Random) -> None:
    """Do what the next person would: recover, open the experiment, or use the command line."""
    way = chance.randrange(20)
    if way == 0:
        subprocess.run(
            [sys.executable, "-m", "mlv", "recover", str(folder.parent)], check=True, capture_output=True, timeout=60
        )
    elif way < 10:
        assert recovery.recover(folder)
    else:
        Exp.open(folder)


def worker_of(folder: Path) -> int:
    """Process ID of the worker of an experiment's writer; 0 if there is none."""
    try:
        children = psutil.Process(writer_of(folder)).children()
    except psutil.Error:
        return 0
    return children[0].pid if children else 0


def trials(folder: Path, count: int, trial: Callable[[Victim, random.Random], None], media: float = 0.0) -> None:
    """Do a trial so many times, several at once; what chance decides depends on MLV_CRASH_SEED, which is printed."""
    print(f"MLV_CRASH_SEED={SEED}")

    def one(number: int) -> None:
        chance = random.Random(f"{SEED} {number}")
        victim = Victim(folder / str(number), chance.randrange(10**6), media)
        try:
            trial(victim, chance)
        finally:
            victim.kill()
            victim.clear()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(one, range(count)):
            pass


def moment(chance: random.Random, longest_s: float = 0.15) -> None:
    """Wait for a random moment."""
    time.sleep(chance.random() * longest_s)
