"""What it costs to list, pool and follow experiments: ten thousand of a thousand events each, and one that grows."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, redirect_stdout
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from statistics import median
from time import sleep

from benchmarks.figures import Figure, plain
from benchmarks.measuring import check_count, folder, in_turn, quantile, timed_ms
from mlv import Exp, find
from mlv.cli import index, ls
from mlv.executors import executor_of
from mlv.store.seals import Chain

_TAIL_BYTES = 4096
_EVENTS = 1000
_SETTLED_S = 2.1
"""So long after its last change, a file is believed to be the same by its times."""
_BEGAN = datetime(2026, 1, 1, tzinfo=timezone.utc)


def listing(quick: bool) -> list[Figure]:
    """`mlv ls` without its index and with it, beside plain Python: pathlib, json, and the end of each log."""
    count = 1000 if quick else 10_000
    with folder() as place, _cache(place / "cache"), open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        root = experiments(place / "runs", count)
        sleep(_SETTLED_S)

        def by_hand() -> float:
            return timed_ms(lambda: _read_by_hand(root, count))

        def listed() -> float:
            gc.enable()
            return timed_ms(lambda: ls.run(root, as_json=False))

        def cold() -> float:
            index.path_of(root).unlink(missing_ok=True)
            return listed()

        first = in_turn(by_hand, cold, 5)
        listed()
        again = in_turn(by_hand, listed, 5)
    what = f"mlv ls of {count:,} experiments of {_EVENTS:,} events"
    reference = "(reference: all meta.json and 4 KiB of each log by hand)"
    return [_figure(f"{what}, cold {reference}", first, 2), _figure("the same, with its index", again, 0.2)]


def pooling(quick: bool) -> list[Figure]:
    """`.aggregate()` over all of them, beside DuckDB's `read_json` of the same files."""
    import duckdb

    count = 1000 if quick else 10_000
    with folder() as place:
        root = experiments(place / "runs", count)
        columns = "filename, step, data.loss as loss, data.acc as acc"
        source = f"read_json('{root}/*/log.jsonl', format='newline_delimited', filename=true)"

        def by_duckdb() -> float:
            return timed_ms(lambda: duckdb.sql(f"select {columns} from {source} where type = 'metrics'").to_arrow_table())

        def mlv() -> float:
            return timed_ms(lambda: find(root).aggregate(over="seed"))

        check_count(int(find(root).aggregate(over="seed", stats=(), ci=None)["count"].sum()), 2 * count * (_EVENTS - 3))
        spent = in_turn(by_duckdb, mlv, 3)
    return [_figure(f"aggregate() over {count:,} experiments, cold (reference: DuckDB's read_json)", spent, 3)]


def scaling(quick: bool) -> list[Figure]:
    """`.aggregate()` and `.frame()` on two processes, beside one; both have been started before."""
    count = 300 if quick else 1000
    with folder() as place, executor_of(1) as one, executor_of(2) as two:
        root = experiments(place / "runs", count)
        figures = []
        for call in ("aggregate", "frame"):

            def on(executor: Executor, call: str = call) -> float:
                return timed_ms(lambda: getattr(find(root), call)(on=executor))

            for executor in (one, two):
                on(executor)
            spent = in_turn(lambda: on(one), lambda: on(two), 5)
            what = f"{call}(on=2) over {count:,} experiments (reference: on=1)"
            reference, mlv = (median(values) for values in spent)
            figures.append(Figure(what, "ms", reference, mlv, reference / mlv, "x its rate", 1.6, at_most=False))
    return figures


def following(quick: bool) -> list[Figure]:
    """How long after `log()` an event is seen, by `exp.events(follow=True)` and by `mlv tail -f`."""
    count = 50 if quick else 300
    with folder() as place, Exp(place, "bench", capture=()) as exp:
        exp.log({"loss": 0.0})
        exp.flush()
        seen: dict[int, float] = {}
        follower = threading.Thread(target=_follow, args=(exp.path, count, seen), daemon=True)
        follower.start()
        by_events = _delays(exp, 0, count, seen)
        follower.join(timeout=10)
        command = [sys.executable, "-m", "mlv", "tail", "-f", "--json", "-n", "0", str(exp.path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as tail:
            threading.Thread(target=_follow_lines, args=(tail, seen), daemon=True).start()
            while -1 not in seen and tail.poll() is None:  # it takes a while to start
                exp.log("sent", {"number": -1})
                sleep(0.1)
            by_tail = _delays(exp, count, count, seen)
            tail.terminate()
    return [
        figure
        for what, delays in (("exp.events(follow=True)", by_events), ("mlv tail -f", by_tail))
        for figure in (
            plain(f"{what}: from log() to the event, median", "ms", median(delays), 100),
            plain("the same, 99th percentile", "ms", quantile(delays, 0.99), 100),
            Figure("the same, at worst", "ms", None, max(delays), max(delays), "ms"),
        )
    ]


def _figure(what: str, spent: tuple[list[float], list[float]], bar: float) -> Figure:
    reference, mlv = (median(values) for values in spent)
    return Figure(what, "ms", reference, mlv, mlv / reference, "x", bar)


@contextmanager
def _cache(place: Path) -> Iterator[None]:
    """Keep indexes apart from the user's."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(place)
    try:
        yield
    finally:
        if before is None:
            del os.environ["XDG_CACHE_HOME"]
        else:
            os.environ["XDG_CACHE_HOME"] = before


def _read_by_hand(root: Path, count: int) -> None:
    found = 0
    for path in root.glob("*/meta.json"):
        found += "params" in json.loads(path.read_bytes())
        with open(path.parent / "log.jsonl", "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            file.read()
    check_count(found, count)


def experiments(root: Path, count: int) -> Path:
    """Finished experiments with all captures, as mlv writes them: a hundred families that differ in their seeds."""
    made = Exp(root.parent / "model", "digits", {"lr": 0.1})
    made.close()
    meta = json.loads((made.path / "meta.json").read_bytes())
    for number in range(count):
        path = root / f"digits_{number}"
        path.mkdir(parents=True)
        params = {"lr": (0.1, 0.01, 0.001, 1.0)[number % 4], "layers": number // 4 % 25, "seed": number // 100}
        text = json.dumps({**meta, "name": path.name, "params": params}, indent=2).encode() + b"\n"
        (path / "meta.json").write_bytes(text)
        (path / "log.jsonl").write_bytes(_log(number, hashlib.sha256(text).hexdigest()))
    return root


def _log(number: int, exp: str) -> bytes:
    """The lines of a run that ended, and of its writer."""
    times = _times()
    run, writer, numbers = f"r{number:09d}", f"rw{number:08d}", random.Random(number)
    process = {"machine": "m" * 16, "boot": "b" * 36, "pidns": "pid:[4026531836]", "pid": 9523, "start": "2239658"}
    lines = [_line(run, 1, times, "run_started", {"exp": exp, "process": process})]
    lines.append(_line(run, 2, times, "metadata", {"mode": "min"}, name="loss"))
    for seq in range(3, _EVENTS):
        data = {"loss": numbers.random(), "acc": numbers.random()}
        lines.append(_line(run, seq, times, "metrics", data, step=seq - 3))
    lines.append(_line(run, _EVENTS, times, "run_ended", {"status": "ok"}))
    for seq, (of, sealed) in enumerate(((run, lines[:]), (writer, None)), 1):
        chain = Chain()
        chain.add(sealed or lines[-1:])
        said = {"of": of, "stream": "log", "lines": chain.lines, "sha256": chain.hexdigest()}
        lines.append(_line(writer, seq, times, "seal", said))
    return b"".join(lines)


@cache
def _times() -> list[str]:
    return [(_BEGAN + timedelta(milliseconds=7 * n)).strftime("%Y-%m-%dT%H:%M:%S.%fZ") for n in range(_EVENTS + 2)]


def _line(run: str, seq: int, times: list[str], type: str, data: object, **fields: object) -> bytes:
    record = {"run": run, "seq": seq, "time": times[min(seq, _EVENTS)], "type": type, **fields, "data": data}
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def _delays(exp: Exp, first: int, count: int, seen: dict[int, float]) -> list[float]:
    """Milliseconds until each of some events was seen, which come at odd intervals."""
    sleep(0.5)
    logged = {}
    for number in range(first, first + count):
        logged[number] = time.perf_counter()
        exp.log("sent", {"number": number})
        sleep(random.Random(number).uniform(0.005, 0.06))
    deadline = time.monotonic() + 10
    while not logged.keys() <= seen.keys() and time.monotonic() < deadline:
        sleep(0.01)
    check_count(len(logged.keys() & seen.keys()), count)
    return [1000 * (seen[number] - began) for number, began in logged.items()]


def _follow(path: Path, count: int, seen: dict[int, float]) -> None:
    for event in Exp.open(path).events("event", "sent", follow=True):
        seen[event.data["number"]] = time.perf_counter()
        if len(seen) == count:
            return


def _follow_lines(tail: subprocess.Popen[bytes], seen: dict[int, float]) -> None:
    assert tail.stdout is not None
    for line in tail.stdout:
        event = json.loads(line)
        if event.get("name") == "sent":
            seen[event["data"]["number"]] = time.perf_counter()
