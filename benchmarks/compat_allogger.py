"""What `mlv.compat.allogger` costs, beside what ALLogger does for each value: counters and rows in a process of their own.

ALLogger is on no package index: its way of a value is written out here by hand, with the same round trips and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from multiprocessing import Manager, current_process
from pathlib import Path
from statistics import median
from time import perf_counter, time
from typing import Any

from benchmarks.figures import Figure, ratio
from benchmarks.measuring import LOSS, folder, in_turn
from mlv.compat import allogger


class ByHand:
    """The step of a scope and key, and a row for each output, held by managers until they are written."""

    def __init__(self, outputs: int) -> None:
        self._manager = Manager()
        self._steps = self._manager.dict()
        self._rows = [self._manager.dict() for _ in range(outputs)]
        self._began = time()

    def log(self, value: float, key: str) -> None:
        scope = f"root.main-{current_process().name}"
        if (scope, key) not in self._steps:
            self._steps[scope, key] = 1
        step = self._steps[scope, key]
        self._steps[scope, key] = self._steps[scope, key] + 1
        for rows in self._rows:
            if ("scalar", key) not in rows:
                rows["scalar", key] = self._manager.list()
            rows["scalar", key].append([step, time(), time() - self._began, value])

    def close(self) -> None:
        self._manager.shutdown()


def values(quick: bool) -> list[Figure]:
    """`logger.log(value, key)` to HDF5; to TensorBoard and, by its hook, HDF5; and after a fork, with shared counters."""
    count, repetitions = (300, 4) if quick else (1_000, 10)
    figures = []
    for what, outputs, is_forked in (
        ("hdf", ["hdf"], False),
        ("tensorboard and its hook", ["tensorboard"], False),
        ("hdf, beside a child", ["hdf"], True),
    ):
        theirs = ByHand(2 if "tensorboard" in outputs else 1)
        with folder() as place:
            ours = _begin(place, outputs, is_forked)
            a, b = in_turn(_timed(theirs, count), _timed(ours, count), repetitions)
            allogger.close()
        theirs.close()
        figures.append(ratio(f"allogger: log(value, key), {what}; W: ALLogger's way", "us", median(a), median(b), 0.3))
    return figures


def _begin(place: Path, outputs: list[str], is_forked: bool) -> Any:
    allogger.basic_configure(logdir=str(place / "log"), default_outputs=outputs)
    if is_forked:
        if os.fork() == 0:
            os._exit(0)
        os.wait()
    logger = allogger.get_logger("main")
    logger.log(LOSS, "value")
    return logger


def _timed(logger: Any, count: int) -> Callable[[], float]:
    def spent() -> float:
        began = perf_counter()
        for _ in range(count):
            logger.log(LOSS, "value")
        return (perf_counter() - began) / count * 1e6

    return spent
