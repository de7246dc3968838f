"""What the writer process does to the caller when it is stopped, and how much memory it takes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from time import perf_counter, perf_counter_ns, sleep

from benchmarks.figures import Figure, plain
from benchmarks.measuring import ACC, LOSS, LR, check_count, experiment, folder, metric_lines, writer_pid


def stopped_writer(quick: bool) -> list[Figure]:
    """The longest of 20,000 calls, spread over 5 s in which the writer is stopped, and what was lost in the end."""
    length_s, repetitions = (2, 1) if quick else (5, 3)
    rounds, at_once = 200 * length_s, 20
    longest_ns, lost = 0, 0
    for _ in range(repetitions):
        with folder() as place:
            exp = experiment(place)
            log = exp.log
            pid = writer_pid(exp)
            # A process of its own: the writer goes on even if this one should be killed in between.
            outage = subprocess.Popen(["sh", "-c", f"kill -STOP {pid}; sleep {length_s}; kill -CONT {pid}"])
            _wait_until_stopped(pid)
            began = perf_counter()
            for turn in range(rounds):
                sleep(max(0.0, began + turn * length_s / rounds - perf_counter()))
                for i in range(at_once):
                    before = perf_counter_ns()
                    log({"loss": LOSS, "acc": ACC, "lr": LR}, step=i)
                    longest_ns = max(longest_ns, perf_counter_ns() - before)
            outage.wait(60)
            exp.close()
            lost += rounds * at_once - metric_lines(exp)
    what = f"{rounds * at_once:,} events while the writer is stopped for {length_s} s"
    return [plain(f"{what}: longest call", "ms", longest_ns / 1e6, 20), plain(f"{what}: lost", "events", lost, 0)]


def memory(quick: bool) -> list[Figure]:
    """The writer's largest resident size after 2,000,000 events."""
    count = 200_000 if quick else 2_000_000
    with folder() as place, experiment(place) as exp:
        log = exp.log
        for i in range(count):
            log({"loss": LOSS, "acc": ACC, "lr": LR}, step=i)
        exp.flush(120)
        check_count(metric_lines(exp), count)
        peak_mb = _peak_mb(writer_pid(exp))
    return [plain(f"the writer's memory at its peak, {count:,} events", "MB", peak_mb, 60)]


def _wait_until_stopped(pid: int) -> None:
    deadline = perf_counter() + 10
    while not re.search(r"^State:\s+T", _status(pid), re.MULTILINE):
        if perf_counter() > deadline:
            raise TimeoutError(f"process {pid} did not stop within 10 s")
        sleep(0.001)


def _peak_mb(pid: int) -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", _status(pid))
    if found is None:
        raise RuntimeError(f"/proc/{pid}/status has no VmHWM")
    return int(found[1]) * 1024 / 1e6


def _status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()
