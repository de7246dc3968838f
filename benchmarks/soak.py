"""Ten minutes at 5,000 events a second: memory and file handles of all processes stay flat, and nothing is lost.

Run with `python -m benchmarks.soak`; the exit status is 1 where that does not hold. Not one of the rows: it takes too long.
"""

from __future__ import annotations

import argparse
import array
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep

import orjson
import psutil

from benchmarks.measuring import ACC, LOSS, LR, folder, writer_pid
from mlv import Exp
from mlv.audit.verify import verify

TURNS_PER_S = 100
SAMPLE_EVERY_S = 5.0
WARM_UP = 0.2
"""Share of the time after which memory and handles may not grow any more."""
MOST_GROWTH_MB = 4.0
MOST_GROWTH_HANDLES = 4
"""Some come and go with the array that is being stored."""


@dataclass(frozen=True)
class Sample:
    """What the processes hold at a moment."""

    time_s: float
    logged: int
    trainer_mb: float
    writer_mb: float
    """Of the writer and its worker."""
    trainer_handles: int
    writer_handles: int

    def __str__(self) -> str:
        return (
            f"{self.time_s:6.0f} s  {self.logged:>10,} events"
            f"  trainer {self.trainer_mb:6.1f} MB {self.trainer_handles:3} handles"
            f"  writer {self.writer_mb:6.1f} MB {self.writer_handles:3} handles"
        )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=int, default=5000, help="events a second")
    options = parser.parse_args()
    with folder() as place:
        exp = Exp(place, "soak", capture=())
        samples = train(exp, options.minutes * 60, options.rate)
        began = perf_counter()
        exp.close()
        print(f"closed after {perf_counter() - began:.1f} s")
        problems = [*growth(samples), *losses(exp, samples[-1].logged)]
    print("\n".join(problems) or "flat, and nothing is lost")
    return 1 if problems else 0


def train(exp: Exp, length_s: float, rate: int) -> list[Sample]:
    """Log at an even rate: metrics into two streams, and once a second a message and an array."""
    log, val = exp.log.sub("train"), exp.logger("val")
    exp.log.array("weights", array.array("d", range(100)), step=0)
    exp.flush()
    trainer, writer = psutil.Process(), psutil.Process(writer_pid(exp))
    samples, logged, next_sample = [], 0, 0.0
    began = perf_counter()
    for turn in range(round(length_s * TURNS_PER_S)):
        for _ in range(rate // TURNS_PER_S):
            (val if logged % 5 == 0 else log)({"i": logged, "loss": LOSS, "acc": ACC, "lr": LR}, step=logged)
            logged += 1
        if turn % TURNS_PER_S == 0:
            exp.log.info("at %d", logged)
            exp.log.array("weights", array.array("d", range(100)), step=logged)
        spent_s = perf_counter() - began
        if spent_s >= next_sample:
            samples.append(sample(spent_s, logged, trainer, writer))
            print(samples[-1], flush=True)
            next_sample += SAMPLE_EVERY_S
        sleep(max(0.0, (turn + 1) / TURNS_PER_S - spent_s))
    samples.append(sample(perf_counter() - began, logged, trainer, writer))
    print(samples[-1], flush=True)
    return samples


def sample(time_s: float, logged: int, trainer: psutil.Process, writer: psutil.Process) -> Sample:
    """Look at both processes; the worker counts as the writer's."""
    writers = [writer, *writer.children()]
    memory = [process.memory_info().rss / 1e6 for process in (trainer, *writers)]
    handles = [process.num_fds() for process in (trainer, *writers)]
    return Sample(time_s, logged, memory[0], sum(memory[1:]), handles[0], sum(handles[1:]))


def growth(samples: Sequence[Sample]) -> list[str]:
    """What grew after the first part of the time."""
    settled = [found for found in samples if found.time_s >= WARM_UP * samples[-1].time_s]
    bounds = {
        "trainer_mb": MOST_GROWTH_MB, "writer_mb": MOST_GROWTH_MB,
        "trainer_handles": MOST_GROWTH_HANDLES, "writer_handles": MOST_GROWTH_HANDLES,
    }  # fmt: skip
    problems = []
    for what, most in bounds.items():
        values = [getattr(found, what) for found in settled]
        print(f"{what}: {values[0]:.1f} at first, {max(values):.1f} at most, {values[-1]:.1f} at last")
        if max(values) - values[0] > most:
            problems.append(f"{what} grew from {values[0]:.1f} to {max(values):.1f}")
    return problems


def losses(exp: Exp, logged: int) -> list[str]:
    """What is missing, doubled or out of order, and what the verification says."""
    problems = []
    for stream, numbers in {"log": [n for n in range(logged) if n % 5], "val": list(range(0, logged, 5))}.items():
        if (found := list(numbers_in(exp.path / ("log.jsonl" if stream == "log" else f"{stream}.log.jsonl")))) != numbers:
            problems.append(f"stream {stream} holds {len(found):,} of {len(numbers):,} events, or not in their order")
    report = verify(exp.path)
    print(f"{logged:,} events; verification: {report.verdict}, {report.lines:,} lines, {report.size_bytes / 1e6:,.0f} MB")
    return problems + [str(finding.text) for finding in report.findings if finding.verdict != "intact"]


def numbers_in(path: Path) -> list[int]:
    """What the metrics of a stream count."""
    with open(path, "rb") as file:
        return [orjson.loads(line)["data"]["i"] for line in file if b'"type":"metrics"' in line]


if __name__ == "__main__":
    sys.exit(main())
