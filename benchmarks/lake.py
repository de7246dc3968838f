"""How fast a lake is built, beside a plain loop of orjson, pyarrow and `write_deltalake`, and how fast it is listed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure, absent, plain
from benchmarks.many import experiments
from benchmarks.measuring import check_count, folder
from mlv import lake as lakes
from mlv.lake.columns import KEYED, KEYS
from mlv.store.meta import write_meta

_EVENTS = 1000
_DAY = f"{datetime.now(timezone.utc):%Y-%m}-01"
"""Of the present month: the tables of one that has ended are sorted as a whole."""
_COPIES = 200
"""Of 100 experiments, in one commit."""
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
        listed, listed_s = _listed(place, 1000 if quick else 100_000)
    reference = f"{what}, one core (reference: orjson, pyarrow, write_deltalake)"
    return [
        Figure(reference, "s", loop, one, loop / one, "x", 1.2, at_most=False),
        Figure("  with two workers (reference: with one)", "s", alone, two, alone / two, "x", 1.6, at_most=False),
        # The opening of seven tables and their commits are most of it here: the bar of 3 % is for 10,000 experiments.
        Figure("  1 % new lines, in one of 100 (reference: all)", "s", one, more, 100 * more / one, "%"),
        plain(f"mlv ls --lake of {listed:,} experiments, from the start of the process", "s", listed_s, 3),
    ]


def _listed(place: Path, count: int) -> tuple[int, float]:
    """Return the number of experiments in a lake, and the seconds that their list takes: the median of five."""
    runs, url = place / "digits" / "runs", place / "listed"
    experiments(runs, 100)
    lakes.build(runs, url)
    multiply(url, count // 100)
    command = [sys.executable, "-m", "mlv", "ls", str(runs), "--lake", str(url)]
    spent = []
    for _ in range(5):
        began = time.perf_counter()
        text = subprocess.run(command, check=True, capture_output=True).stdout
        spent.append(time.perf_counter() - began)
        check_count(text.count(b"\n"), count + 1)
    return count, median(spent)


def multiply(url: str | Path, times: int) -> None:
    """Make a lake of 100 experiments one of so many times as many.

    It was built of logs; the rows of the experiments are repeated by pyarrow under other IDs, in folders of other names and
    started some minutes later, and committed 20,000 at a time, as plans do. The new ones have no points.
    """
    import deltalake
    import pyarrow as pa
    import pyarrow.compute as pc

    opened = lakes.open(url)
    for table in KEYED:
        handle, rows = opened.delta(table), opened.arrow(table)
        for start in range(1, times, _COPIES):
            copies = []
            for number in range(start, min(start + _COPIES, times)):
                copy = {name: rows[name] for name in rows.column_names}
                later = pa.scalar(timedelta(minutes=7 * number))
                ids = pc.utf8_slice_codeunits(copy[KEYS[table]], 8)
                copy[KEYS[table]] = pc.binary_join_element_wise(pa.scalar(f"{number:08x}"), ids, "")
                if table == "experiments":
                    copy["path"] = pc.binary_join_element_wise(copy["path"], pa.scalar(str(number)), "_")
                    copy |= {name: pc.subtract(copy[name], later) for name in ("created", "started")}
                copies.append(pa.table(copy))
            deltalake.write_deltalake(handle, pa.concat_tables(copies).cast(rows.schema), mode="append")


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
    return int(lakes.open(place).info()["tables"]["metrics"]["rows"])


def _write(path: Path, number: int) -> None:
    path.mkdir(parents=True)
    write_meta(path, {"format": 1, "name": path.name, "created": f"{_DAY}T00:00:00.000000Z", "params": {"number": number}})
    _append(path, number, 0, _EVENTS)


def _append(path: Path, number: int, start: int, count: int) -> None:
    with open(path / "log.jsonl", "ab") as file:
        file.writelines(_lines(number, start, count))
    os.utime(path / "log.jsonl", (1e9, 1e9 + start))  # long ago: its status is sure


def _lines(number: int, start: int, count: int) -> Iterator[bytes]:
    for step in range(start, start + count):
        yield (
            b'{"run":"r%08d","seq":%d,"time":"%sT00:%02d:%02d.%06dZ","type":"metrics","name":"train","step":%d,'
            b'"data":{"loss":%.16f,"acc":%.15f,"lr":0.001}}\n'
            % (
                number,
                step + 1,
                _DAY.encode(),
                step // 60 % 60,
                step % 60,
                step,
                step,
                1 / (step + 1.7 + number),
                step / (1000.3 + number),
            )
        )
