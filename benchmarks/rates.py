"""How many events pass: beside a thread that keeps the interpreter busy, and through to the file."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from time import perf_counter, time

from orjson import dumps

from benchmarks.figures import Figure, ratio
from benchmarks.measuring import ACC, LOSS, LR, check_count, experiment, file_by_hand, folder, in_turn, metric_lines

write = os.write


def busy_thread(quick: bool) -> list[Figure]:
    """Calls a second while another thread runs pure Python all the time."""
    length_s, repetitions = (0.5, 3) if quick else (1.5, 7)
    loss, acc, lr = LOSS, ACC, LR
    with folder() as place, file_by_hand(place) as fd, experiment(place) as exp:
        log = exp.log

        def by_hand() -> float:
            calls, began = 0, perf_counter()
            end = began + length_s
            while perf_counter() < end:
                write(fd, dumps({"time": time(), "step": calls, "loss": loss, "acc": acc, "lr": lr}) + b"\n")
                calls += 1
            return calls / (perf_counter() - began)

        def mlv() -> float:
            calls, began = 0, perf_counter()
            end = began + length_s
            while perf_counter() < end:
                log({"loss": loss, "acc": acc, "lr": lr}, step=calls)
                calls += 1
            return calls / (perf_counter() - began)

        with _pure_python_beside():
            a, b = in_turn(by_hand, mlv, repetitions)
    return [ratio("calls beside a busy Python thread", "/s", median(a), median(b), 20, at_most=False)]


def throughput(quick: bool) -> list[Figure]:
    """100,000 calls back to back, until every line is in the file."""
    count, repetitions = 100_000, 3 if quick else 15
    loss, acc, lr = LOSS, ACC, LR
    with folder() as place:

        def by_hand() -> float:
            with file_by_hand(place) as fd:
                began = perf_counter()
                for i in range(count):
                    write(fd, dumps({"time": time(), "step": i, "loss": loss, "acc": acc, "lr": lr}) + b"\n")
                return count / (perf_counter() - began)

        def mlv() -> float:
            exp = experiment(place)
            log = exp.log
            began = perf_counter()
            for i in range(count):
                log({"loss": loss, "acc": acc, "lr": lr}, step=i)
            exp.close()
            spent_s = perf_counter() - began
            check_count(metric_lines(exp), count)
            return count / spent_s

        a, b = in_turn(by_hand, mlv, repetitions)
    return [ratio(f"{count:,} calls through close()", "/s", median(a), median(b), 0.5, at_most=False)]


@contextmanager
def _pure_python_beside() -> Iterator[None]:
    is_over = False

    def run() -> None:
        turns = 0
        while not is_over:
            turns += 1

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over = True
        thread.join()
