"""What saving a checkpoint costs after many: beside the first saves of the same portfolio."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure
from benchmarks.measuring import check_count, experiment, folder, timed_ms

_WEIGHTS = bytes(1000)


def saves(quick: bool) -> list[Figure]:
    """Ten thousand saves of small files, of which every tenth stays, and the best: the last thousand, over the first."""
    count, window = (1_000, 100) if quick else (10_000, 1_000)
    with folder() as place, experiment(place) as exp:
        portfolio = exp.checkpoints(every=10, top=5, metric="loss", mode="min", latest=3)

        def save(step: int) -> None:
            portfolio.save(lambda path: Path(path).write_bytes(_WEIGHTS), step=step, metrics={"loss": math.sin(step)})

        spent = [timed_ms(lambda step=step: save(step)) for step in range(count)]  # type: ignore[misc]
        check_count(len(list((exp.path / "models" / "every_k").iterdir())), count // 10)
    first, last = median(spent[:window]), median(spent[-window:])
    what = f"save of a checkpoint: the last {window:,} of {count:,}; reference: the first"
    return [Figure(what, "ms", first, last, last / first, "x", 1.5)]
