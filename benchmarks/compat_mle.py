"""The drop-in for mle-logging: what an update that is saved takes, early and late."""

from __future__ import annotations

from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.figures import Figure
from benchmarks.measuring import ACC, LOSS, folder

_ROWS = 50_000


def saves(quick: bool) -> list[Figure]:
    """`MLELogger.update(..., save=True)` at row 10 and at row 50,000; beside it the original's, where it is installed."""
    from mlv.compat.mle_logging import MLELogger

    repetitions = 20 if quick else 100
    with folder() as place:
        few = _logger(MLELogger, place / "few", 10)
        many = _logger(MLELogger, place / "many", _ROWS)
        early, late = _in_turn_ms(few, many, repetitions)
        theirs = _original_ms(place, 2 if quick else 5)
    figures = [Figure("MLELogger.update(save=True) at row 50,000, by row 10", "ms", early, late, late / early, "x row 10", 1.2)]
    if theirs is not None:
        figures.append(Figure("the same, by the original's at row 50,000", "ms", theirs, late, late / theirs, "x original"))
    return figures


def _logger(make: Any, path: Any, rows: int) -> Any:
    """A logger with so many rows, all of them saved."""
    log = make(experiment_dir=str(path), time_to_track=["num_epochs"], what_to_track=["loss", "acc"])
    for row in range(rows):
        log.update({"num_epochs": row}, {"loss": LOSS, "acc": ACC})
    log.save()
    return log


def _in_turn_ms(few: Any, many: Any, repetitions: int) -> tuple[float, float]:
    """Medians of saved updates of both, one after the other, so that a noisy neighbour meets both."""
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(repetitions):
        for log, times in zip((few, many), found, strict=True):
            times.append(_saved_ms(log))
    return median(found[0]), median(found[1])


def _saved_ms(log: Any) -> float:
    began = perf_counter()
    log.update({"num_epochs": 1}, {"loss": LOSS, "acc": ACC}, save=True)
    return 1000 * (perf_counter() - began)


def _original_ms(place: Any, repetitions: int) -> float | None:
    """The same of the original package, None where it is not installed."""
    try:
        from mle_logging import MLELogger
    except ImportError:
        return None
    log = _logger(MLELogger, place / "original", _ROWS)
    return median(_saved_ms(log) for _ in range(repetitions))
