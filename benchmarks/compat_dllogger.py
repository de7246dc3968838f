"""What `mlv.compat.dllogger` costs, beside what DLLogger does for each record: `json.dumps`, and a write to a buffered file.

DLLogger is on no package index: its way of a record is written out here by hand, as its documentation and its files show it.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.figures import Figure, ratio
from benchmarks.measuring import ACC, LOSS, LR, folder, in_turn
from mlv.compat.dllogger import JSONStreamBackend, Logger, Verbosity


class ByHand:
    """A logger with one backend, whose file is open for as long as the process lives."""

    def __init__(self, path: Path) -> None:
        self.verbosity = Verbosity.VERBOSE
        self.starttime = datetime.now()
        self.file = open(path, "w")  # noqa: SIM115

    def log(self, step: Any, data: Any, verbosity: int = Verbosity.VERBOSE) -> None:
        timestamp = datetime.now()
        elapsedtime = (timestamp - self.starttime).total_seconds()
        for backend in (self,):
            if backend.verbosity >= verbosity:
                backend.write(timestamp, elapsedtime, step, data)

    def write(self, timestamp: datetime, elapsedtime: float, step: Any, data: Any) -> None:
        record = {
            "timestamp": str(timestamp.timestamp()),
            "datetime": str(timestamp.astimezone(timezone.utc)),
            "elapsedtime": str(elapsedtime),
            "type": "LOG",
            "step": step,
            "data": data,
        }
        self.file.write(f"DLLL {json.dumps(record)}\n")


def dllogger(quick: bool) -> list[Figure]:
    """`log(step, {"loss": .., "acc": .., "lr": ..})` with a tuple and with a number as step."""
    count, repetitions = (3_000, 6) if quick else (10_000, 20)
    loss, acc, lr = LOSS, ACC, LR
    figures = []
    with folder() as place:
        theirs, backend = ByHand(place / "by_hand.json"), JSONStreamBackend(Verbosity.VERBOSE, place / "log.json")
        ours = Logger([backend])

        def spent(log: Any, is_tuple: bool) -> float:
            backend.flush()  # what runs behind the other's back would be in the way
            began = perf_counter()
            for i in range(count):
                log(step=(1, i) if is_tuple else i, data={"loss": loss, "acc": acc, "lr": lr})
            return (perf_counter() - began) / count * 1e6

        for is_tuple, what in ((True, "(epoch, i)"), (False, "i")):

            def a(is_tuple: bool = is_tuple) -> float:
                return spent(theirs.log, is_tuple)

            def b(is_tuple: bool = is_tuple) -> float:
                return spent(ours.log, is_tuple)

            by_hand, mlv = in_turn(a, b, repetitions)
            figures.append(ratio(f"dllogger: log(step={what}, 3 metrics)", "us", median(by_hand), median(mlv), 1.0))
        theirs.file.close()
    return figures
