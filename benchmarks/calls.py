"""What one call costs: its median and its tail, what it adds to a training step, and other ways to log."""

from __future__ import annotations

import os
from collections.abc import Callable
from statistics import median
from time import perf_counter, perf_counter_ns, time

from orjson import OPT_SERIALIZE_NUMPY, dumps

from benchmarks.figures import Figure, ratio
from benchmarks.measuring import ACC, LOSS, LR, experiment, file_by_hand, folder, in_turn, quantile, timed_ms

write = os.write  # by name, as everything else here: W is to be as quick as it can be


def call(quick: bool) -> list[Figure]:
    """`log({"loss": .., "acc": .., "lr": ..}, step=i)`, each call timed."""
    count, repetitions = (5_000, 6) if quick else (20_000, 20)
    loss, acc, lr = LOSS, ACC, LR
    by_hand: list[list[int]] = []
    mlv: list[list[int]] = []
    with folder() as place, file_by_hand(place) as fd, experiment(place) as exp:
        log = exp.log

        def time_by_hand() -> float:
            exp.flush()  # what mlv's writer has still to do would be in W's way
            spent = [0] * count
            for i in range(count):
                began = perf_counter_ns()
                write(fd, dumps({"time": time(), "step": i, "loss": loss, "acc": acc, "lr": lr}) + b"\n")
                spent[i] = perf_counter_ns() - began
            by_hand.append(spent)
            return 0.0

        def time_mlv() -> float:
            exp.flush()
            spent = [0] * count
            for i in range(count):
                began = perf_counter_ns()
                log({"loss": loss, "acc": acc, "lr": lr}, step=i)
                spent[i] = perf_counter_ns() - began
            mlv.append(spent)
            return 0.0

        in_turn(time_by_hand, time_mlv, 1 + repetitions)
    del by_hand[0], mlv[0]  # the first of each warms caches

    def over(repetitions: list[list[int]], q: float) -> float:
        return median(quantile(spent, q) for spent in repetitions) / 1000

    return [
        ratio("log(3 metrics, step), median", "us", over(by_hand, 0.5), over(mlv, 0.5), 1.25),
        ratio("log(3 metrics, step), 99.9th percentile", "us", over(by_hand, 0.999), over(mlv, 0.999), 3),
    ]


def loop(quick: bool) -> list[Figure]:
    """1 ms of pure Python per step, with and without logging each step."""
    steps, repetitions = 50, 40 if quick else 250
    loss, acc, lr = LOSS, ACC, LR
    amount = amount_of_work(0.001)
    with folder() as place, experiment(place) as exp:
        log = exp.log

        def without() -> float:
            began = perf_counter()
            for _ in range(steps):
                work(amount)
            return perf_counter() - began

        def with_logging() -> float:
            began = perf_counter()
            for i in range(steps):
                work(amount)
                log({"loss": loss, "acc": acc, "lr": lr}, step=i)
            return perf_counter() - began

        bare, logged = in_turn(without, with_logging, repetitions)
    # Neighbours in time share the processor's clock: their ratios scatter less than the times do.
    longer = median(b / a for a, b in zip(bare, logged, strict=True)) - 1
    before = median(bare) / steps * 1000
    return [Figure("a step of 1 ms of pure Python, logged", "ms", before, before * (1 + longer), 100 * longer, "%", 0.5)]


def others(quick: bool) -> list[Figure]:
    """Other ways to log, each beside W for the same content; for information."""
    count, repetitions = (2_000, 4) if quick else (10_000, 10)
    ten = {f"metric_{i}": LOSS * i for i in range(10)}
    loss, acc, lr = LOSS, ACC, LR
    with folder() as place, file_by_hand(place) as fd, experiment(place) as exp:
        log, train = exp.log, exp.log.sub("train")

        def compare(what: str, by_hand: Callable[[int], object], mlv: Callable[[int], object]) -> Figure:
            def spent(action: Callable[[int], object]) -> float:
                exp.flush()
                began = perf_counter()
                for i in range(count):
                    action(i)
                return (perf_counter() - began) / count * 1e6

            a, b = in_turn(lambda: spent(by_hand), lambda: spent(mlv), repetitions)
            return ratio(what, "us", median(a), median(b))

        def three_by_hand(i: int) -> None:
            write(fd, dumps({"time": time(), "step": i, "loss": loss, "acc": acc, "lr": lr}) + b"\n")

        def ten_by_hand(i: int) -> None:
            write(fd, dumps({"time": time(), "step": i, **ten}) + b"\n")

        def text_by_hand(i: int) -> None:
            write(fd, dumps({"time": time(), "level": "info", "message": f"epoch {i} is over"}) + b"\n")

        def three(i: int) -> None:
            log({"loss": loss, "acc": acc, "lr": lr}, step=i)

        def three_below(i: int) -> None:
            train({"loss": loss, "acc": acc, "lr": lr}, step=i)

        def three_without_step(_: int) -> None:
            log({"loss": loss, "acc": acc, "lr": lr})

        figures = [
            compare("log(3 metrics, step), in a function", three_by_hand, three),
            compare("log.sub('train')(3 metrics, step)", three_by_hand, three_below),
            compare("log(3 metrics), no step", three_by_hand, three_without_step),
            compare("log(10 metrics, step)", ten_by_hand, lambda i: log({**ten}, step=i)),
            compare("log.info('epoch %d is over', i)", text_by_hand, lambda i: log.info("epoch %d is over", i)),
        ]
        figures += _numpy_scalars(fd, log, compare)
    return [*figures, *_flush(quick)]


def _numpy_scalars(fd: int, log: Callable[..., None], compare: Callable[..., Figure]) -> list[Figure]:
    try:
        import numpy as np
    except ImportError:
        return []
    loss, acc, lr = np.float32(LOSS), np.float32(ACC), np.float32(LR)

    def by_hand(i: int) -> None:
        line = dumps({"time": time(), "step": i, "loss": loss, "acc": acc, "lr": lr}, option=OPT_SERIALIZE_NUMPY)
        write(fd, line + b"\n")

    return [compare("log(3 numpy scalars, step)", by_hand, lambda i: log({"loss": loss, "acc": acc, "lr": lr}, step=i))]


def _flush(quick: bool) -> list[Figure]:
    """An event and a flush() beside a line and an fsync()."""
    with folder() as place, file_by_hand(place) as fd, experiment(place) as exp:

        def by_hand() -> float:
            write(fd, dumps({"time": time(), "loss": LOSS}) + b"\n")
            return timed_ms(lambda: os.fsync(fd))

        def mlv() -> float:
            exp.log({"loss": LOSS})
            return timed_ms(exp.flush)

        a, b = in_turn(by_hand, mlv, 20 if quick else 200)
    return [ratio("flush() after an event; W: fsync", "ms", median(a), median(b))]


def amount_of_work(wanted_s: float) -> int:
    """Iterations that take so long here; counted once, so that both loops do the same."""
    trial = 10_000
    spent_ms = [timed_ms(lambda: work(trial)) for _ in range(1000)]  # long enough for the processor to wake up
    return round(trial * wanted_s * 1000 / median(spent_ms))


def work(iterations: int) -> int:
    total = 0
    for i in range(iterations):
        total += i * i % 7
    return total
