"""How fast a lake is built, beside a plain loop of orjson, pyarrow and `write_deltalake` on one core."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from benchmarks.figures import Figure, absent
from benchmarks.measuring import check_count, folder
from mlv.store.meta import write_meta

_EVENTS = 1000
_LOOP = """
import sys
from pathlib import Path

import time

import orjson, pandas, pyarrow as pa
from deltalake import write_deltalake

begun = time.perf_counter()
folders = sorted(Path(sys.argv[1]).iterdir())
for start in range(0, len(folders), 100):
    cells = {name: [] for name in ("exp", "run", "seq", "time", "step", "name", "value")}
    for folder in folders[start : start + 100]:
        for line in open(folder / "log.jsonl", "rb"):
            event = orjson.loads(line)
            if event["type"] == "metrics":
                for key, value in event["data"].items():
                    row = (folder.name, event["run"], event["seq"], event["time"], event["step"], f"train/{key}", value)
                    for column, cell in zip(cells.values(), row):
                        column.append(cell)
    times = pa.array(cells["time"]).cast(pa.timestamp("us", "UTC"))
    write_deltalake(sys.argv[2], pa.table({**cells, "time": times}), mode="append")
print(time.perf_counter() - begun)
"""
_BUILD = """
import sys, time

import pandas  # pyarrow imports it with the first array
from mlv import lake

begun = time.perf_counter()
lake.build(sys.argv[1], sys.argv[2], int(sys.argv[3]) or None)
print(time.perf_counter() - begun)
"""


def lake(quick: bool) -> list[Figure]:
    """Each build is a process of its own, whose start does not count; that of its workers does."""
    if find_spec("deltalake") is None or find_spec("obstore") is None:
        return [absent("lake: deltalake and obstore are not installed (mlvlogger[lake])")]
    count = 100 if quick else 3000
    with folder() as place:
        runs = place / "runs"
        for number in range(count):
            _write(runs / f"e{number:05d}", number)
        what = f"lake of {count:,} experiments of {_EVENTS:,} events"
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        loop = _seconds(_LOOP, cores[:1], runs, place / "loop")
        one = _seconds(_BUILD, cores[:1], runs, place / "one", 0)
        alone = _seconds(_BUILD, cores, runs, place / "alone", 1)
        two = _seconds(_BUILD, cores, runs, place / "two", 2)
        for number in range(0, count, 100):
            _append(runs / f"e{number:05d}", number, _EVENTS, _EVENTS)
        more = _seconds(_BUILD, cores[:1], runs, place / "one", 0)
        check_count(_rows(place / "one"), 3 * _EVENTS * (count + len(range(0, count, 100))))
        shutil.rmtree(place / "one")
    reference = f"{what}, one core (reference: orjson, pyarrow, write_deltalake)"
    return [
        Figure(reference, "s", loop, one, loop / one, "x", 1.2, at_most=False),
        Figure("  with two workers (reference: with one)", "s", alone, two, alone / two, "x", 1.6, at_most=False),
        # The opening of seven tables and their commits are most of it here: the bar of 3 % is for 10,000 experiments.
        Figure("  1 % new lines, in one of 100 (reference: all)", "s", one, more, 100 * more / one, "%"),
    ]


def _seconds(program: str, cores: list[int], *arguments: object) -> float:
    """Run a program on some cores, and return the seconds that it prints."""
    before = os.sched_getaffinity(0) if cores else set()
    try:
        if cores:
            os.sched_setaffinity(0, cores)
        command = [sys.executable, "-c", program, *map(str, arguments)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    finally:
        if cores:
            os.sched_setaffinity(0, before)


def _rows(place: Path) -> int:
    from mlv import lake as lakes

    return int(lakes.open(place).info()["tables"]["metrics"]["rows"])


def _write(path: Path, number: int) -> None:
    path.mkdir(parents=True)
    write_meta(path, {"format": 1, "name": path.name, "created": "2026-11-03T00:00:00.000000Z", "params": {"number": number}})
    _append(path, number, 0, _EVENTS)


def _append(path: Path, number: int, start: int, count: int) -> None:
    with open(path / "log.jsonl", "ab") as file:
        file.writelines(_lines(number, start, count))
    os.utime(path / "log.jsonl", (1e9, 1e9 + start))  # long ago: its status is sure


def _lines(number: int, start: int, count: int) -> Iterator[bytes]:
    for step in range(start, start + count):
        yield (
            b'{"run":"r%08d","seq":%d,"time":"2026-11-03T00:%02d:%02d.%06dZ","type":"metrics","name":"train","step":%d,'
            b'"data":{"loss":%.16f,"acc":%.15f,"lr":0.001}}\n'
            % (number, step + 1, step // 60 % 60, step % 60, step, step, 1 / (step + 1.7 + number), step / (1000.3 + number))
        )
