"""What `mlv.compat.wandb` costs, beside wandb offline; the rows are left out where wandb is not installed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.figures import Figure, ratio
from benchmarks.measuring import ACC, LOSS, LR, folder, in_turn, timed_ms


def wandb(quick: bool) -> list[Figure]:
    """`log` of three numbers, with and without a step, and the import in a fresh interpreter."""
    if find_spec("wandb") is None:
        return []
    figures = []
    with folder() as place:
        theirs, ours = _theirs(place / "theirs"), _ours(place / "ours")
        count, repetitions = (1_000, 4) if quick else (5_000, 12)
        for what, has_step in (("log(3 metrics)", False), ("log(3 metrics, step=i)", True)):
            measured = in_turn(_spent(theirs, count, has_step), _spent(ours, count, has_step), repetitions)
            figures.append(ratio(f"wandb: {what}, beside wandb offline", "us", *map(median, measured), 0.05))
        ours.finish()
        theirs.finish()
    figures.append(_imports(5 if quick else 20))
    return figures


def _theirs(place: Path) -> Any:
    place.mkdir()
    os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", WANDB_CONSOLE="off")
    return import_module("wandb").init(project="bench", dir=place)


def _ours(place: Path) -> Any:
    return import_module("mlv.compat.wandb").init(project="bench", dir=place)


def _spent(run: Any, count: int, has_step: bool) -> Callable[[], float]:
    """Return a function that logs rows, and returns the microseconds that one takes."""

    def spent() -> float:
        loss, acc, lr, log, first = LOSS, ACC, LR, run.log, run.step + 1
        began = perf_counter()
        if has_step:
            for step in range(first, first + count):
                log({"loss": loss, "acc": acc, "lr": lr}, step=step)
        else:
            for _ in range(count):
                log({"loss": loss, "acc": acc, "lr": lr})
        return (perf_counter() - began) / count * 1e6

    return spent


def _imports(repetitions: int) -> Figure:
    def interpreter(program: str) -> float:
        return timed_ms(lambda: subprocess.run([sys.executable, "-c", program], check=True))

    bare = min(interpreter("pass") for _ in range(5))
    for module in ("wandb", "mlv.compat.wandb"):
        interpreter(f"import {module}")  # compiles what was not yet
    theirs, ours = in_turn(lambda: interpreter("import wandb"), lambda: interpreter("import mlv.compat.wandb"), repetitions)
    return ratio("wandb: the import, over a bare interpreter", "ms", median(theirs) - bare, median(ours) - bare, 0.25)
