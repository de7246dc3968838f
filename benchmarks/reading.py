"""What it costs to read a million metric lines into a data frame, beside DuckDB's `read_json` of the same file to pandas."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from statistics import median
from time import sleep

from benchmarks.figures import Figure
from benchmarks.measuring import check_count, folder, in_turn, timed_ms
from mlv import Exp

_TICK_S = 0.05
"""So long after its last change, a log is believed to be the same by its times: that is more than one tick of Linux."""

_MEMORY = """
import json, re, sys
from pathlib import Path
import pandas, pyarrow.compute, pyarrow.json, pyarrow.parquet
from mlv import Exp

memory = lambda name: int(re.search(rf"{name}:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
exp = Exp.open(sys.argv[1])
before = memory("VmRSS")
table = exp.history()
print(json.dumps([(memory("VmHWM") - before) * 1024 / 1e6, int(table.memory_usage(deep=True).sum()) / 1e6, len(table)]))
"""


def history(quick: bool) -> list[Figure]:
    """`exp.history()` without its sidecar, with it, while the log grows, with 1 % appended; and the memory that it takes."""
    import duckdb

    count, repetitions = (200_000, 3) if quick else (1_000_000, 9)
    with folder() as place:
        exp = Exp(place, "bench", capture=())
        exp.close()
        log = exp.path / "log.jsonl"
        _write(log, 0, count)
        size = log.stat().st_size
        sleep(_TICK_S)
        exp = Exp.open(exp.path)
        columns = "step, time, data.loss as loss, data.acc as acc, data.lr as lr"
        query = f"select {columns} from read_json('{log}')"

        def by_duckdb() -> float:
            return timed_ms(lambda: duckdb.sql(query).df())

        def mlv() -> float:
            return timed_ms(exp.history)

        def cold() -> float:
            shutil.rmtree(exp.path / ".mlv" / "cache", ignore_errors=True)
            return mlv()

        ends = itertools.count(count, 10)

        def grown() -> float:
            _write(log, next(ends), 10)
            return mlv()

        def again() -> float:
            _write(log, next(ends), 10)
            sleep(_TICK_S)
            mlv()
            return mlv()

        def appended() -> float:
            with open(log, "ab") as file:
                file.truncate(size)
            cold()
            _write(log, count, count // 100)
            return mlv()

        check_count(len(exp.history()), count)
        figures = [_figure(f"{count:,} metric lines to a frame, cold", in_turn(by_duckdb, cold, repetitions), 1.7)]
        memory = [_memory("cold", [_memory_of(exp.path, count, is_cold=True) for _ in range(5)])]
        mlv()
        figures.append(_figure("the same with its sidecar", in_turn(by_duckdb, mlv, repetitions), 0.35))
        memory.append(_memory("with its sidecar", [_memory_of(exp.path, count) for _ in range(5)]))
        figures.append(_figure("the same while it grows", in_turn(by_duckdb, grown, repetitions), 0.35))
        figures.append(_figure("the same again, just after it grew", in_turn(by_duckdb, again, repetitions), 0.35))
        figures.append(_figure("the same, 1 % appended since", in_turn(by_duckdb, appended, repetitions), 0.5))
        peaks = []
        for _ in range(5):
            with open(log, "ab") as file:
                file.truncate(size)
            cold()
            _write(log, count, count // 100)
            peaks.append(_memory_of(exp.path, count + count // 100))
        memory.append(_memory("1 % appended since", peaks))
    return [*figures, *memory]


def _figure(what: str, spent: tuple[list[float], list[float]], bar: float) -> Figure:
    duckdb, mlv = (median(values) for values in spent)
    return Figure(f"{what} (reference: DuckDB's read_json)", "ms", duckdb, mlv, mlv / duckdb, "x", bar)


def _memory(what: str, found: list[tuple[float, float]]) -> Figure:
    more, frame = (median(values) for values in zip(*found, strict=True))
    text = f"the same, {what}: memory at its peak, over before (reference: the frame)"
    return Figure(text, "MB", frame, more, more / frame, "x", 3)


def _memory_of(path: Path, count: int, *, is_cold: bool = False) -> tuple[float, float]:
    """MB at the peak of a read in a fresh interpreter, and MB of the frame."""
    if is_cold:
        shutil.rmtree(path / ".mlv" / "cache", ignore_errors=True)
    done = subprocess.run([sys.executable, "-c", _MEMORY, str(path)], check=True, capture_output=True, text=True, timeout=300)
    more, frame, rows = json.loads(done.stdout)
    check_count(rows, count)
    return more, frame


def _write(log: Path, first: int, count: int) -> None:
    """Append lines as mlv writes them, or begin the file with them."""
    began = datetime(2026, 1, 1, tzinfo=timezone.utc)
    numbers = random.Random(first)
    with open(log, "ab" if first else "wb") as file:
        for step in range(first, first + count):
            time = (began + timedelta(milliseconds=step)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            data = f'{{"loss":{numbers.random()},"acc":{numbers.random()},"lr":0.0003}}'
            line = f'{{"run":"rk3v9x2m","seq":{step + 1},"time":"{time}","type":"metrics","step":{step},"data":{data}}}\n'
            file.write(line.encode())
