"""SIGKILL and SIGSTOP of training process, writer and forked children, alone and together, at random moments."""

from __future__ import annotations

import mmap
import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import wait_until
from contracts.evidence import assert_complete, events, payloads

import mlv
from crash.victims import AT_ONCE, SEED, finish, is_there, kill, moment, scaled, writer_at_work, writer_of
from mlv.audit.verify import verify
from mlv.store.owners import Owner
from mlv.transport import spool

pytestmark = [pytest.mark.crash, pytest.mark.timeout(scaled(120, soak=1800))]

TRIALS = scaled(30, soak=500)
CHILDREN = 2
STOPPING, FIRST_PID = 0, 1
FIRST_COUNT = FIRST_PID + CHILDREN
"""Words of the shared file: whether to stop, process IDs of the children, then calls that have returned, the parent's last."""

TRAINING = f"""
import mmap, os, random, sys, threading, time, warnings
import mlv

warnings.filterwarnings("ignore", "This process .* is multi-threaded")
savedir, counters, seed = sys.argv[1:4]
words = memoryview(mmap.mmap(os.open(counters, os.O_RDWR), 0)).cast("Q")
exp = mlv.Exp(savedir, "exp", capture=())
val = exp.logger("val")

def log(process):
    chance, i = random.Random(seed + str(process)), 0
    while words[{STOPPING}] == 0:
        if chance.random() < 0.001:
            exp.log("large", {{"i": i, "x": "y" * 100_000}})
        else:
            (val if i % 2 else exp.log)({{"i": i}}, step=i)
        i += 1
        words[{FIRST_COUNT} + process] = i
        if chance.random() < 0.2:
            time.sleep(0.001)

def fork():
    chance = random.Random(seed)
    for process in range({CHILDREN}):
        time.sleep(chance.random() * 0.02)
        pid = os.fork()  # while the other thread logs
        if pid == 0:
            words[{FIRST_PID} + process] = os.getpid()
            log(process)
            exp.close()
            os._exit(0)

thread = threading.Thread(target=fork)
thread.start()
log({CHILDREN})
thread.join()
for process in range({CHILDREN}):
    os.wait()
exp.close()
"""


class Family:
    """A training process and its children, which all log until they are told to stop, or killed."""

    def __init__(self, folder: Path, seed: int) -> None:
        folder.mkdir(parents=True)
        self.exp, counters = folder / "exp", folder / "counters"
        counters.write_bytes(bytes(8 * (FIRST_COUNT + CHILDREN + 1)))
        with open(counters, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self.words = memoryview(self._map).cast("Q")
        command = [sys.executable, "-W", "error", "-c", TRAINING, str(folder), str(counters), str(seed)]
        self._errors = open(folder / "stderr", "wb")  # noqa: SIM115 - closed when it has ended
        self.process = subprocess.Popen(command, stderr=self._errors, cwd=folder)
        wait_until(lambda: all(self.words[FIRST_COUNT:]) or self.process.poll() is not None)
        assert all(self.words[FIRST_COUNT:]), (folder / "stderr").read_text()
        self.pids = [*self.words[FIRST_PID:FIRST_COUNT], self.process.pid]

    def end(self) -> None:
        """Tell all to stop, and wait until they have."""
        self.words[STOPPING] = 1
        self.process.wait(60)
        wait_until(lambda: not any(map(is_running, self.pids)))

    def clear(self) -> None:
        """Give all back."""
        for pid in self.pids:
            kill(pid)
        self.process.wait(60)
        self._errors.close()
        self.words.release()
        self._map.close()

    def assert_nothing_lost(self) -> None:
        """Every event whose call had returned is there, once and in order, whoever logged it, and the seals prove it."""
        found = {event["data"]["process"]["pid"]: event["run"] for event in events(self.exp) if event["type"] == "run_started"}
        for pid, returned in zip(self.pids, self.words[FIRST_COUNT:], strict=True):
            numbers = payloads(self.exp, found[pid])
            assert numbers in (list(range(returned)), list(range(returned + 1))), f"{len(numbers)} of {returned} events"
        assert_complete(self.exp)
        report = verify(self.exp)
        assert report.verdict == "intact", [str(finding) for finding in report.findings]
        for place in spool.find(self.exp, Owner.current()):
            wait_until(lambda place=place: not place.exists())


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie: children of a killed process may wait for init for long."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def kill_training(family: Family, chance: random.Random) -> None:
    kill(family.process.pid)


def kill_child(family: Family, chance: random.Random) -> None:
    kill(chance.choice(family.pids[:CHILDREN]))


def kill_writer(family: Family, chance: random.Random) -> None:
    kill(writer_of(family.exp))


def kill_all(family: Family, chance: random.Random) -> None:
    for pid in chance.sample([*family.pids, writer_of(family.exp)], CHILDREN + 2):
        kill(pid)


def stop_writer(family: Family, chance: random.Random) -> None:
    """Let the writer stand still for a while; another may have come by then."""
    writer = writer_of(family.exp)
    with suppress(ProcessLookupError):
        if writer:
            os.kill(writer, signal.SIGSTOP)
            moment(chance)
            os.kill(writer, signal.SIGCONT)


ACTIONS: tuple[Callable[[Family, random.Random], None], ...] = (
    kill_training, kill_child, kill_writer, kill_writer, stop_writer, kill_all,
)  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_whoever_dies(tmp_path):
    """Of what training process and children had logged nothing is lost or doubled, whoever is killed or stopped, and when."""
    print(f"MLV_CRASH_SEED={SEED}")

    def trial(number: int) -> None:
        chance = random.Random(f"{SEED} {number}")
        family = Family(tmp_path / str(number), chance.randrange(10**6))
        try:
            for _ in range(chance.choice([1, 1, 2, 3])):
                moment(chance, 0.1)
                chance.choice(ACTIONS)(family, chance)
            moment(chance, 0.05)
            family.end()
            finish(family.exp, chance)
            family.assert_nothing_lost()
        finally:
            family.clear()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(trial, range(TRIALS)))


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="the system cannot limit the memory of another process")
def test_writer_that_gets_no_memory(tmp_path):
    """A writer that runs out of memory dies, and another one goes on: nothing is lost or doubled."""
    exp = mlv.Exp(tmp_path, "exp", capture=())
    exp.flush()
    first = writer_at_work(exp.path)

    resource.prlimit(first, resource.RLIMIT_AS, (1 << 20, 1 << 20))
    for number in range(20_000):
        exp.log({"i": number, "text": "x" * 100}, step=number)
    assert exp.flush(60)

    assert writer_of(exp.path) != first
    exp.close()
    wait_until(lambda: not is_there(first))
    assert payloads(exp.path, exp.runs[-1].id) == list(range(20_000))
    assert_complete(exp.path)
    assert verify(exp.path).verdict == "intact"


@pytest.fixture
def cgroup(tmp_path: Path) -> Iterator[Path]:
    """A control group whose processes get no more memory, where one can be made."""
    kinds = {"/sys/fs/cgroup/memory": "memory.limit_in_bytes", "/sys/fs/cgroup": "memory.max"}
    root = next(
        (Path(root) for root, limit in kinds.items() if list(Path(root).glob(f"*/{limit}")) or Path(root, limit).exists()), None
    )
    if root is None:
        pytest.skip("there are no control groups for memory here")
    group = root / f"mlv-{os.getpid()}"
    try:
        group.mkdir()
        (group / kinds[str(root)]).write_text("65536")
    except OSError as error:
        with suppress(OSError):
            group.rmdir()
        pytest.skip(f"no control group for memory can be made here: {error}")
    yield group
    wait_until(lambda: not (group / "cgroup.procs").read_text())
    group.rmdir()


def test_writer_that_the_kernel_kills(tmp_path, cgroup):
    """A writer that the kernel kills, because its group has no memory left, costs nothing."""
    exp = mlv.Exp(tmp_path, "exp", capture=())
    exp.flush()
    first = writer_at_work(exp.path)
    (cgroup / "cgroup.procs").write_text(str(first))

    exp.log("large", {"i": 0, "text": "x" * 10_000_000})
    wait_until(lambda: not is_there(first))
    exp.log({"i": 1})
    exp.close()

    assert payloads(exp.path, exp.runs[-1].id) == [0, 1]
    assert_complete(exp.path)
    assert verify(exp.path).verdict == "intact"
