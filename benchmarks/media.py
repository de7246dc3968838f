"""What images cost the training loop: the call, what 100 a second add to the loop, and metrics logged beside them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, perf_counter_ns, time
from typing import Any

from orjson import dumps

from benchmarks.calls import amount_of_work, work
from benchmarks.figures import Figure, ratio
from benchmarks.measuring import ACC, LOSS, LR, experiment, file_by_hand, folder, in_turn

EVERY = 10
"""One image for so many steps of 1 ms: 100 a second."""
STEPS = 500


def image(quick: bool) -> list[Figure]:
    """`log.image` of 256x256x3 uint8, beside writing a new file of that size into the same memory."""
    count, repetitions = (20, 4) if quick else (50, 20)
    by_hand: list[float] = []
    mlv: list[float] = []
    with folder() as place, experiment(place) as exp:
        picture = _picture()
        spool = Path(os.environ.get("MLV_SPOOL", place))

        def time_by_hand() -> float:
            exp.flush()
            for i in range(count):
                began = perf_counter_ns()
                with open(spool / f"by_hand{i}", "wb", buffering=0) as file:
                    file.write(picture)
                by_hand.append(perf_counter_ns() - began)
            for i in range(count):
                (spool / f"by_hand{i}").unlink()
            return 0.0

        def time_mlv() -> float:
            exp.flush()
            for i in range(count):
                began = perf_counter_ns()
                exp.log.image("sample", picture, step=i)
                mlv.append(perf_counter_ns() - began)
            return 0.0

        in_turn(time_by_hand, time_mlv, 1 + repetitions)
    a, b = median(by_hand[count:]) / 1000, median(mlv[count:]) / 1000
    return [Figure("log.image(256x256x3 uint8); by hand: a new file in memory", "us", a, b, b, "us", 200)]


def images(quick: bool) -> list[Figure]:
    """Steps of 1 ms with and without 100 images a second, and metrics beside these."""
    amount = amount_of_work(0.001)
    return [
        _slower("a step of 1 ms of matrix products, 100 images a second", _products(0.001), quick, 3),
        # Much of what this shows is where the allocator puts the integers: PYTHONMALLOC=malloc makes most of it go away.
        _slower("the same in pure Python", lambda: work(amount), quick, None),
        *_metrics_beside(quick, amount),
    ]


def _slower(what: str, one_step: Callable[[], object], quick: bool, bar: float | None) -> Figure:
    repetitions = 6 if quick else 120  # of half a second with images each
    with folder() as place, experiment(place) as exp:
        picture = _picture()

        def bare() -> float:
            exp.flush()
            return _timed(lambda i: one_step())

        def with_images() -> float:
            exp.flush()

            def step(i: int) -> None:
                one_step()
                if i % EVERY == 0:
                    exp.log.image("sample", picture, step=i)

            return _timed(step)

        without, beside = in_turn(bare, with_images, repetitions)
    longer = median(b / a for a, b in zip(without, beside, strict=True)) - 1
    before = median(without) / STEPS * 1000
    return Figure(what, "ms", before, before * (1 + longer), 100 * longer, "%", bar)


def _products(wanted_s: float) -> Callable[[], object]:
    """So many small matrix products that they take so long here, in one thread, as a step of training on a CPU does."""
    import numpy as np

    a, b = np.random.default_rng(0).random((2, 64, 64))
    result = np.empty((64, 64))
    began = perf_counter()
    for _ in range(2000):
        np.dot(a, b, out=result)
    count = max(1, round(wanted_s * 2000 / (perf_counter() - began)))

    def step() -> None:
        for _ in range(count):
            np.dot(a, b, out=result)

    return step


def _metrics_beside(quick: bool, amount: int) -> list[Figure]:
    """Each call of W and of mlv timed in turn in one loop, while 100 images a second flow."""
    loss, acc, lr = LOSS, ACC, LR
    by_hand: list[int] = []
    mlv: list[int] = []
    with folder() as place, file_by_hand(place) as fd, experiment(place) as exp:
        picture, log = _picture(), exp.log

        def step(i: int) -> None:
            work(amount)
            began = perf_counter_ns()
            os.write(fd, dumps({"time": time(), "step": i, "loss": loss, "acc": acc, "lr": lr}) + b"\n")
            middle = perf_counter_ns()
            log({"loss": loss, "acc": acc, "lr": lr}, step=i)
            mlv.append(perf_counter_ns() - middle)
            by_hand.append(middle - began)
            if i % EVERY == 0:
                log.image("sample", picture, step=i)

        for _ in range(4 if quick else 20):
            _timed(step)
    return [ratio("log(3 metrics, step) beside 100 images a second", "us", median(by_hand) / 1000, median(mlv) / 1000, 1.25)]


def _timed(step: Callable[[int], object]) -> float:
    began = perf_counter()
    for i in range(STEPS):
        step(i)
    return perf_counter() - began


def _picture() -> Any:
    """A picture as networks see it: smooth shapes with noise, which compress as photographs do."""
    import numpy as np

    y, x = np.mgrid[0:256, 0:256] / 40
    shapes = np.stack([np.sin(x + y), np.cos(x), np.sin(y)], axis=-1)
    noise = np.random.default_rng(0).normal(0, 0.05, shapes.shape)
    return (np.clip(shapes / 2 + 0.5 + noise, 0, 1) * 255).astype("uint8")
