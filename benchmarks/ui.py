"""What the page's server costs: its start, ten thousand experiments in a list, a hundred long curves, and nobody looking."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
import urllib.request
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil

from benchmarks.figures import Figure, plain
from benchmarks.many import experiments
from benchmarks.measuring import check_count, folder
from mlv import Exp

_SETTLED_S = 2.1
"""So long after its last change, a file is believed to be the same by its times."""
_SPIKES = 3
_COLUMNS = 1000
_IDLE_S = 10


class Server:
    """A server in a process of its own, and questions to it."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.address = address
        self.process = psutil.Process(process.pid)

    def ask(self, path: str, **query: object) -> bytes:
        url = f"{self.address}{path}?{urlencode(query)}"
        with urllib.request.urlopen(url) as answer:
            content: bytes = answer.read()
        return content

    def id_of(self, name: str) -> str:
        """Return the ID of an experiment, as soon as the list has it."""
        since = ""
        while True:
            answer = json.loads(self.ask("api/index", since=since))
            since, columns = answer["cursor"], answer["columns"]
            if name in columns["name"]:
                return str(columns["id"][columns["name"].index(name)])
            if answer["complete"]:
                raise LookupError(f"no experiment is named {name}")

    def all_rows(self) -> tuple[dict[str, str], float, float]:
        """Return the names of all experiments by ID, and the milliseconds until the first names, and until all numbers."""
        begin, first, since, names = time.perf_counter(), 0.0, "", dict[str, str]()
        while True:
            answer = json.loads(self.ask("api/index", since=since))
            first = first or (answer["n"] and _ms_since(begin))
            names.update(zip(answer["columns"]["id"], answer["columns"]["name"], strict=True))
            since = answer["cursor"]
            if answer["complete"]:
                return names, first, _ms_since(begin)

    def curves(self, ids: Iterable[str]) -> bytes:
        """Return the answer with the curves of some experiments."""
        return self.ask("api/curves", ids=",".join(ids), m="loss", px=_COLUMNS)

    def processor_s(self) -> float:
        """Return the seconds that the server has kept a processor busy."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def memory_mb(self) -> float:
        return float(self.process.memory_info().rss) / 2**20


@contextmanager
def served(root: Path, around: Path, *options: str) -> Iterator[tuple[Server, float]]:
    """Start a server; gives it, and the milliseconds until its first answer."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(around / "cache"), "XDG_STATE_HOME": str(around / "state")}
    begin = time.perf_counter()
    command = [sys.executable, "-m", "mlv", "ui", str(root), "--no-open", "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    assert process.stdout is not None
    try:
        server = Server(process, next(line.strip() for line in process.stdout if line.startswith("http://")))
        server.ask("api/own")
        yield server, _ms_since(begin)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _ms_since(begin: float) -> float:
    return (time.perf_counter() - begin) * 1000


def start(quick: bool) -> list[Figure]:
    """A server of a folder with few experiments: until its first answer, and what it takes of the memory."""
    with folder() as place:
        for number in range(3):
            with Exp(place / "runs", "digits", {"seed": number}) as exp:
                exp.log({"loss": 1.0})
        times, sizes = [], []
        for _ in range(2 if quick else 5):
            with served(place / "runs", place) as (server, spent):
                times.append(spent)
                server.all_rows()
                sizes.append(server.memory_mb())
    return [
        plain("mlv ui: from the command to the first answer", "ms", sorted(times)[len(times) // 2], 1000),
        plain("the same: memory of the server", "MB", max(sizes), 60),
    ]


def listing(quick: bool) -> list[Figure]:
    """The list of many experiments of a thousand events each: read for the first time, and by a server started again."""
    count = 300 if quick else 10_000
    with folder() as place:
        root = experiments(place / "runs", count)
        time.sleep(_SETTLED_S)
        with served(root, place) as (server, _):
            rows, names, everything = server.all_rows()
            check_count(len(rows), count)
            cold, memory = (names, everything), server.memory_mb()
            select = _median_ms(lambda: server.ask("api/select", where="params.lr < 0.1 and metrics.loss.min < 0.001"))
        with served(root, place) as (server, _):
            rows, names, everything = server.all_rows()
            check_count(len(rows), count)
            warm = names, everything
    what = f"mlv ui: {count:,} experiments of 1,000 events"
    return [
        plain(f"{what}: first names, cold", "ms", cold[0], 5000),
        plain("the same: all numbers, cold", "ms", cold[1], 15_000),
        plain("the same: first names, of a server started again", "ms", warm[0], 1000),
        plain("the same: all numbers, of a server started again", "ms", warm[1], 2000),
        plain("the same: a filter in SQL", "ms", select, 100),
        plain("the same: memory of the server", "MB", memory, 300),
    ]


def _median_ms(action: Any) -> float:
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        action()
        times.append(_ms_since(begin))
    return sorted(times)[2]


def curves(quick: bool) -> list[Figure]:
    """Long curves with spikes: the first one and all, cold, by a server started again, and from memory."""
    count, points = (5, 20_000) if quick else (100, 100_000)
    with folder() as place:
        for number in range(count):
            write(place / "runs" / f"long_{number}", number, points)
        time.sleep(_SETTLED_S)
        with served(place / "runs", place) as (server, _):
            names, _, listed = server.all_rows()
            ids = list(names)
            check_count(len(ids), count)
            before = server.memory_mb()
            first = _asked_ms(server, ids[:1])
            cold = _asked_ms(server, ids)
            again = _asked_ms(server, ids)
            more = server.memory_mb() - before
            missing = missing_spikes(server.curves(ids))
        with served(place / "runs", place) as (server, _):
            server.all_rows()
            warm = _asked_ms(server, ids)
    what = f"mlv ui: {count} curves of {points:,} points"
    return [
        plain(f"{what}: the list before, cold", "ms", listed, 20_000),
        plain("the same: the first curve", "ms", first, 500),
        plain("the same: all, for the first time", "ms", cold, 20_000),
        plain("the same: all, of a server started again", "ms", warm, 1000),
        plain("the same: all, from memory", "ms", again, 1000),
        plain("the same: memory for them", "MB", more, 256),
        plain(f"the same: spikes that are missing, of {_SPIKES * count}", "spikes", missing, 0),
    ]


def _asked_ms(server: Server, ids: list[str]) -> float:
    begin = time.perf_counter()
    server.curves(ids)
    return _ms_since(begin)


def missing_spikes(content: bytes) -> int:
    """Count the planted spikes that no column shows."""
    length = int.from_bytes(content[:4], "little")
    header, values = json.loads(content[4 : 4 + length]), array("d", content[4 + length :])
    missing, offset = 0, 0
    for curve in header["curves"]:
        for name in curve["arrays"]:
            if name == "max":
                missing += _SPIKES - sum(value > 10 for value in values[offset : offset + header["n"]])
            offset += header["n"]
    return missing


def write(path: Path, number: int, points: int, shares: Sequence[int] = (1, 5, 8)) -> None:
    """Write an experiment as mlv does: one metric with a spike of one step at each of some tenths of its points."""
    path.mkdir(parents=True)
    meta = {"format": 1, "name": path.name, "created": "2026-01-01T00:00:00.000000Z", "params": {"seed": number}}
    (path / "meta.json").write_text(json.dumps(meta))
    spikes = {(number * 37 + points * share // 10) % points for share in shares}
    run = f"r{number:09d}"
    with open(path / "log.jsonl", "w", encoding="utf-8") as log:
        log.write(f'{{"run":"{run}","seq":1,"time":"2026-01-01T00:00:00.000000Z","type":"run_started","data":{{}}}}\n')
        for step in range(points):
            value = 50.0 if step in spikes else math.sin(step / 500)
            moment = f"2026-01-01T{step // 36_000:02d}:{step // 600 % 60:02d}:{step // 10 % 60:02d}.{step % 10}00000Z"
            fields = f'"time":"{moment}","type":"metrics","step":{step},"data":{{"loss":{value}}}'
            log.write(f'{{"run":"{run}","seq":{step + 2},{fields}}}\n')


def idle(quick: bool) -> list[Figure]:
    """A server that nobody looks at: what it reads, and what it takes of the processor."""
    with folder() as place:
        with Exp(place / "runs", "digits") as exp:
            exp.log({"loss": 1.0})
        with served(place / "runs", place) as (server, _):
            server.all_rows()
            time.sleep(1)
            before, read = server.process.cpu_times(), _read_bytes(server.process)
            time.sleep(2 if quick else _IDLE_S)
            after = server.process.cpu_times()
            read = _read_bytes(server.process) - read
    spent = (after.user + after.system - before.user - before.system) * 1000
    seconds = 2 if quick else _IDLE_S
    return [
        plain(f"mlv ui: {seconds} s in which nobody looks: processor time", "ms", spent, 10 * seconds),
        plain("the same: bytes read", "bytes", read, 0),
    ]


def _read_bytes(process: psutil.Process) -> int:
    counters: Any = process.io_counters() if hasattr(process, "io_counters") else None
    return int(getattr(counters, "read_chars", 0))
