"""How many events pass when many processes log at once: each into an experiment of its own, and children into one."""

from __future__ import annotations

import os
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter, time

from orjson import dumps

from benchmarks.figures import Figure, ratio
from benchmarks.measuring import ACC, LOSS, LR, check_count, experiment, folder, in_turn, metric_lines
from mlv import Exp

EXPERIMENTS = 64
CHILDREN = 16
_DEADLINE_S = 120.0

Logging = Callable[[int], Callable[[], None]]
"""Prepares the n-th process, and gives what it does then."""


def experiments(quick: bool) -> list[Figure]:
    """64 processes log at once into 64 experiments of one root, through close()."""
    count, repetitions = (500, 1) if quick else (5000, 5)

    def by_hand() -> float:
        with folder() as place:
            return _rate(EXPERIMENTS, count, lambda number: _by_hand(place / f"{number}.jsonl", count))

    def mlv() -> float:
        with folder() as place:

            def logging(number: int) -> Callable[[], None]:
                exp = Exp(place, f"exp{number}", capture=())
                exp.log.info("warm")
                exp.flush()
                return lambda: _log(exp, count)

            rate = _rate(EXPERIMENTS, count, logging)
            found = sum(metric_lines(Exp.open(path)) for path in place.iterdir())
            check_count(found, EXPERIMENTS * count)
            return rate

    a, b = in_turn(by_hand, mlv, repetitions)
    what = f"{EXPERIMENTS} processes into {EXPERIMENTS} experiments of one root, {count:,} calls each, through close()"
    return [ratio(what, "/s", median(a), median(b), at_most=False)]


def children(quick: bool) -> list[Figure]:
    """16 forked children log at once into the experiment of their parent, until all is in the file."""
    count, repetitions = (1000, 1) if quick else (20_000, 5)

    def by_hand() -> float:
        with folder() as place:
            return _rate(CHILDREN, count, lambda number: _by_hand(place / "all.jsonl", count))

    def mlv() -> float:
        with folder() as place, experiment(place) as exp:

            def logging(_: int) -> Callable[[], None]:
                exp.log.info("warm")
                exp.flush()
                return lambda: _log(exp, count)

            rate = _rate(CHILDREN, count, logging)
            check_count(metric_lines(exp), CHILDREN * count)
            return rate

    a, b = in_turn(by_hand, mlv, repetitions)
    what = f"{CHILDREN} children into one experiment, {count:,} calls each, through close()"
    return [ratio(what, "/s", median(a), median(b), at_most=False)]


def _rate(processes: int, count: int, logging: Logging) -> float:
    """Calls a second of all processes together, from when all of them are ready until the last has ended."""
    context = get_context("fork")
    barrier = context.Barrier(processes + 1)

    def run(number: int) -> None:
        go_on = logging(number)
        barrier.wait(_DEADLINE_S)
        go_on()

    running = [context.Process(target=run, args=(number,)) for number in range(processes)]
    for process in running:
        process.start()
    barrier.wait(_DEADLINE_S)
    began = perf_counter()
    for process in running:
        process.join(_DEADLINE_S)
    spent_s = perf_counter() - began
    if any(process.exitcode != 0 for process in running):
        raise RuntimeError(f"exit codes: {[process.exitcode for process in running]}")
    return processes * count / spent_s


def _by_hand(path: Path, count: int) -> Callable[[], None]:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def run() -> None:
        for i in range(count):
            os.write(fd, dumps({"time": time(), "step": i, "loss": LOSS, "acc": ACC, "lr": LR}) + b"\n")
        os.close(fd)

    return run


def _log(exp: Exp, count: int) -> None:
    log = exp.log
    for i in range(count):
        log({"loss": LOSS, "acc": ACC, "lr": LR}, step=i)
    exp.close()
