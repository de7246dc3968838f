"""The simulation held against the real thing: the same runs on the same hosts, killed at the same moments, shipped by mlv.

Time is compressed in the trace, not in the code: runs of seconds instead of hours, and an interval to match. The simulation
gets the same short runs, the same interval and the latency of the local store, so that nothing is scaled afterwards. A host is
two processes, one that writes logs as mlv does and `mlv push --follow`; both are ended by SIGKILL, and the folder is removed.

For ten thousand runs the ticks are called one after the other instead of waited for: the same shipper and client, over a
folder, and a host that vanishes is a folder that is removed. That counts the same requests, bytes and lines, and no time.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import compress, pairwise
from pathlib import Path
from random import Random
from statistics import mean, median
from typing import Any

from benchmarks.measuring import folder
from benchmarks.simulation.costs import Costs
from benchmarks.simulation.designs import Segments
from benchmarks.simulation.events import Attempt, Observer
from benchmarks.simulation.far_store import BUCKET, CREDENTIALS, FarStore, far_store
from benchmarks.simulation.host import LoggedRun
from benchmarks.simulation.simulate import simulate
from benchmarks.simulation.trace import Trace
from mlv.bucket import names, segments
from mlv.bucket.push import Push
from mlv.bucket.store import Creation, ObjectStore, StoredObject, open_store

_NEVER = float("inf")
_SHORT = Trace(
    hosts=8, slots=16, median_events=60, p99_events=3_000, shortest_s=5, longest_s=60, preemption_s=60,
    store_outage_s=_NEVER, host_outage_s=_NEVER,
)  # fmt: skip
_STARTING_S = 8.0
"""So long after they are started the hosts begin together."""
_SHIPPED_S = 120.0
"""So long shippers may need for the last lines."""


@dataclass(frozen=True)
class Scale:
    """How many runs, how they are spread, and how often their lines are shipped."""

    runs: int
    trace: Trace
    every_s: float
    is_called: bool = False
    """Whether ticks are called one after the other, instead of waited for."""


# Some shipments a second: hosts and store share two cores here, and a busy processor would be measured, not a shipper.
SCALES = (Scale(1_000, replace(_SHORT, slots=8), 5.0), Scale(10_000, _SHORT, 5.0, is_called=True))
QUICK = (Scale(40, replace(_SHORT, hosts=4, slots=4, longest_s=30), 2.0), Scale(200, _SHORT, 5.0, is_called=True))


def validate(quick: bool) -> Iterator[dict[str, Any]]:
    """Yield each quantity as it was simulated, and as it came."""
    for scale in QUICK if quick else SCALES:
        recorder = _Recorder()
        design = Segments(Costs.load(0), scale.every_s, lake_every_s=None, pulled=0.0, pulls=False)
        simulate(scale.trace, scale.runs, [design], [recorder])
        totals = design.totals
        fast = [attempt.run.rate * scale.every_s >= 2 for attempt in recorder.attempts if attempt.killed]
        simulated = {
            "PUTs": totals.puts,
            "GETs": totals.gets,
            "LISTs": totals.lists,
            "DELETEs": totals.deletes,
            "MB up": totals.bytes_up / 1e6,
            "objects left": totals.objects,
            "MB stored": totals.bytes_stored / 1e6,
            "objects read of a run": mean(totals.objects_read),
            "events lost": totals.lost_events,
            "seconds lost at a kill, median": median(compress(totals.lost_s, fast)),
        }
        real = _called(recorder.attempts, scale, fast) if scale.is_called else _replayed(recorder.attempts, scale, fast)
        for what, value in simulated.items():
            yield {"runs": scale.runs, "what": what, "simulated": value, "real": real[what]}


def _replayed(attempts: list[Attempt], scale: Scale, fast: list[bool]) -> dict[str, float]:
    with far_store(kind="rclone") as store:
        replay = _Replay(attempts, scale, store)
        replay.run()
        return _outcome(store.counts(), replay.url, attempts, fast)


def _called(attempts: list[Attempt], scale: Scale, fast: list[bool]) -> dict[str, float]:
    """Do attempts one after the other, and call the shipper at the moments at which it would wake."""
    draw = Random(f"ticks {scale.trace.seed}").uniform
    with folder(in_memory=True) as scratch:
        (scratch / "bucket").mkdir()
        url = f"file://{scratch}/bucket"
        store = _CountedStore(open_store(url))
        for attempt in attempts:
            run, job = LoggedRun(scratch / "runs", _job(attempt)), _job(attempt)
            push = Push(scratch / "runs", store)
            logged, now = 0, draw(0, scale.every_s)
            while now < attempt.length_s:
                logged = _log_until(run, job, logged, now)
                list(push.run([run.path]))
                now += scale.every_s * draw(0.8, 1.2)
            if not attempt.killed:
                _log_until(run, job, logged, math.inf)
                run.end()
                list(push.run([run.path]))
            shutil.rmtree(run.path)
        return _outcome(store.counts, url, attempts, fast)


def _log_until(run: LoggedRun, job: dict[str, Any], logged: int, now: float) -> int:
    until = min(job["events"], math.floor(now * job["rate"] + 0.5)) if now < math.inf else job["events"]
    for step in range(logged, until):
        run.log(job["first"] + step)
    return max(logged, until)


class _CountedStore:
    """A store that counts requests as the proxy does."""

    def __init__(self, store: ObjectStore) -> None:
        self._store, self.url = store, store.url
        self.counts: Counter[str] = Counter()

    def create(self, key: str, content: bytes | Path) -> Creation:
        self.counts["PUT"] += 1
        self.counts["bytes_up"] += content.stat().st_size if isinstance(content, Path) else len(content)
        return self._store.create(key, content)

    def get(self, key: str) -> bytes:
        self.counts["GET"] += 1
        return self._store.get(key)

    def objects(self, prefix: str = "", after: str = "") -> Iterator[StoredObject]:
        self.counts["LIST"] += 1
        return self._store.objects(prefix, after)

    def delete(self, key: str) -> None:
        self.counts["DELETE"] += 1
        self._store.delete(key)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class _Recorder(Observer):
    def __init__(self) -> None:
        self.attempts: list[Attempt] = []

    def ended(self, now: float, attempt: Attempt) -> None:
        self.attempts.append(attempt)


@dataclass
class _Host:
    """Both processes of a host, and the folder that is its disk."""

    life: _Life
    path: Path
    writer: subprocess.Popen[bytes]
    shipper: subprocess.Popen[bytes]

    def has_vanished(self, began: float) -> bool:
        """Return whether its time is over."""
        return self.life.killed and time.time() >= began + self.life.end

    def is_done(self) -> bool:
        """Return whether its last run has ended."""
        if self.life.killed or self.writer.poll() is None:
            return False
        if self.writer.returncode:
            raise RuntimeError(f"host {self.life.host} ended with {self.writer.returncode}")
        return True

    def vanish(self) -> None:
        """End both at once, and take the disk away."""
        for process in (self.writer, self.shipper):
            process.kill()
        for process in (self.writer, self.shipper):
            process.wait()
        shutil.rmtree(self.path)

    def finish(self) -> None:
        """Let the shipper bring the last lines up, and end."""
        self.shipper.terminate()
        self.shipper.wait(_SHIPPED_S)


class _Replay:
    """Attempts that were simulated, done again by processes."""

    def __init__(self, attempts: list[Attempt], scale: Scale, store: FarStore) -> None:
        self._scale, self._store = scale, store
        self._attempts = attempts
        self._running: list[_Host] = []
        self._environment = {**os.environ, **CREDENTIALS, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self.url = f"s3://{BUCKET}/runs?endpoint={store.endpoint}"

    def run(self) -> None:
        """Let all hosts work, until all runs have ended."""
        lives = sorted(_lives(self._attempts), key=lambda life: life.begin)
        with folder(in_memory=True) as scratch, ExitStack() as stack:
            stack.callback(self._end_all)
            began = time.time() + _STARTING_S
            while lives or self._running:
                # A host is started ahead of its first run: an interpreter takes a while.
                while lives and began + lives[0].begin - _STARTING_S <= time.time():
                    life = lives.pop(0)
                    self._running.append(self._start(life, scratch / f"{life.host}_{life.number}", began))
                for host in list(self._running):
                    if host.has_vanished(began):
                        host.vanish()
                        self._running.remove(host)
                    elif host.is_done():
                        host.finish()
                        self._running.remove(host)
                time.sleep(0.005)

    def _end_all(self) -> None:
        for host in self._running:
            host.vanish()

    def _start(self, life: _Life, path: Path, began: float) -> _Host:
        root = path / "runs"
        root.mkdir(parents=True)
        schedule = path / "schedule.json"
        schedule.write_text(json.dumps({"began": began, "jobs": [_job(attempt) for attempt in life.attempts]}))
        writing = [sys.executable, "-m", "benchmarks.simulation.host", str(root), str(schedule)]
        shipping = [sys.executable, "-m", "mlv", "push", str(root), self.url, "--follow", "--every", str(self._scale.every_s)]
        quiet = subprocess.DEVNULL
        writer, shipper = (subprocess.Popen(command, env=self._environment, stdout=quiet) for command in (writing, shipping))
        return _Host(life, path, writer, shipper)


def _outcome(counts: Mapping[str, int], url: str, attempts: list[Attempt], fast: list[bool]) -> dict[str, float]:
    """Count what came of it, in the bucket and on the way there."""
    store = open_store(url)
    objects = list(store.objects())
    copies: dict[tuple[str, str], list[names.Segment]] = defaultdict(list)
    of_runs: Counter[str] = Counter()
    for stored in objects:
        name, _, key = stored.key.partition("/")
        if (segment := names.segment_of(key)) is not None:
            copies[name, segment.copy].append(segment)
        if name != ".mlv":
            of_runs[name] += 1
    lost_s = list(_lost(store, copies, attempts))
    return {
        "PUTs": counts["PUT"],
        "GETs": counts.get("GET", 0),
        "LISTs": counts.get("LIST", 0),
        "DELETEs": counts.get("DELETE", 0),
        "MB up": counts["bytes_up"] / 1e6,
        "objects left": len(objects),
        "MB stored": sum(stored.size for stored in objects) / 1e6,
        "objects read of a run": mean(of_runs.values()),
        "events lost": sum(seconds * attempt.run.rate for attempt, seconds in lost_s),
        "seconds lost at a kill, median": median(compress((seconds for _, seconds in lost_s), fast)),
    }


def _lost(
    store: ObjectStore, copies: Mapping[tuple[str, str], list[names.Segment]], attempts: list[Attempt]
) -> Iterator[tuple[Attempt, float]]:
    """Yield each killed attempt, and for how many seconds none of its events had arrived."""
    last: dict[tuple[str, str], int] = {}
    for (name, _), of_copy in copies.items():
        if slices := segments.chain(of_copy):
            line = _last_line(store.get(f"{name}/{slices[-1].segment.key}"))
            number = line["run"][1:3]
            last[name, number] = max(line["seq"] - 1, last.get((name, number), 0))
    for attempt in attempts:
        if attempt.killed:
            arrived = last.get((_name(attempt), f"{attempt.number:02d}"), 0)
            yield attempt, max(0.0, attempt.length_s - arrived / attempt.run.rate)


def _last_line(content: bytes) -> dict[str, Any]:
    for line in reversed(gzip.decompress(content).splitlines()):
        if (record := json.loads(line))["type"] in ("metrics", "run_started"):
            return dict(record)
    raise RuntimeError("a segment holds no line of a run")


@dataclass
class _Life:
    """A host from when it came until it vanished, or until all was done."""

    host: int
    number: int
    attempts: list[Attempt]
    killed: bool

    @property
    def begin(self) -> float:
        return min(attempt.begin for attempt in self.attempts)

    @property
    def end(self) -> float:
        return max(attempt.end for attempt in self.attempts)


def _lives(attempts: list[Attempt]) -> list[_Life]:
    """Sort attempts by the hosts that they were on, each until it vanished."""
    of_hosts: dict[int, list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        of_hosts[attempt.host].append(attempt)
    lives = []
    for host, those in of_hosts.items():
        deaths = sorted({attempt.end for attempt in those if attempt.killed})
        bounds = [0.0, *deaths, _NEVER]
        for number, (begin, end) in enumerate(pairwise(bounds)):
            within = [attempt for attempt in those if begin <= attempt.begin < end]
            if within:
                lives.append(_Life(host, number, within, killed=end < _NEVER))
    return lives


def _name(attempt: Attempt) -> str:
    return f"run_{attempt.run.number}"


def _job(attempt: Attempt) -> dict[str, Any]:
    return {
        "name": _name(attempt),
        "run": attempt.run.number,
        "attempt": attempt.number,
        "begin": attempt.begin,
        "rate": attempt.run.rate,
        "first": round(attempt.events_before),
        "events": round(attempt.events),
        "killed": attempt.killed,
    }
