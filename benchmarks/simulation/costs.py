"""What each operation costs, measured on this machine, fitted on some decades of size and checked on the next one."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.measuring import folder, timed_ms
from benchmarks.simulation.far_store import FarStore, far_store
from benchmarks.simulation.fits import Fit, Form, fit
from benchmarks.simulation.host import values

FILE = Path(__file__).with_name("costs.json")
LATENCIES_MS = (0, 20, 80, 200)
GZIP_LEVEL = 6
_SIZES = (1_000, 10_000, 100_000, 1_000_000)
_BEYOND = 10_000_000
_EVENTS = (3_000, 30_000, 300_000, 3_000_000)


@dataclass(frozen=True)
class Costs:
    """The fitted functions, for a store that is some milliseconds away."""

    line_bytes: float
    """A line of three numbers, as mlv writes it."""
    put_s: Callable[[float], float]
    get_s: Callable[[float], float]
    list_s: Callable[[float], float]
    """By the number of keys of a page."""
    gzip_bytes: Callable[[float], float]
    gzip_s: Callable[[float], float]
    parse_s: Callable[[float], float]
    """By the number of events of a task."""
    commit_s: Callable[[float], float]
    """By rows, into a Delta table on a disk."""
    merge_s: Callable[[float], float]
    """A thousand rows by key, by the rows of the table."""
    commit_trips: Callable[[float], float]
    """A commit of 1,000 rows into a bucket, in seconds by milliseconds of latency."""
    latency_ms: int = 80

    @classmethod
    def load(cls, latency_ms: int = 80, path: Path = FILE) -> Costs:
        """Read what was measured."""
        data = json.loads(path.read_text())
        near = ("gzip_bytes", "gzip_s", "parse_s", "commit_s", "merge_s", "commit_trips")
        far = ("put_s", "get_s", "list_s")
        functions = {name: Fit(**data[name]).function() for name in near}
        functions |= {name: Fit(**data[name][str(latency_ms)]).function() for name in far}
        return cls(data["line_bytes"], latency_ms=latency_ms, **functions)


def measure(quick: bool, machine: dict[str, Any]) -> dict[str, Any]:
    """Measure everything; a minute if quick, five if not."""
    repetitions = 3 if quick else 11
    with folder() as scratch:
        logs = {count: _log(scratch, count) for count in _EVENTS}
        text = (logs[_EVENTS[-1]] / "log.jsonl").read_bytes()
        result: dict[str, Any] = {"machine": machine, "line_bytes": len(text) / _EVENTS[-1]}
        result |= _gzip(text, repetitions) | _parsing(logs, repetitions) | _tables(scratch, 3 if quick else 5)
        with far_store() as store:
            result |= _requests(store, repetitions) | _commits(store, 3 if quick else 5)
    return {key: _plain(value) for key, value in result.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return {key: _rounded(each) for key, each in value.to_data().items()} if isinstance(value, Fit) else _rounded(value)


def _rounded(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _log(scratch: Path, count: int) -> Path:
    """An experiment with so many events of three numbers, written by mlv."""
    from mlv import Exp

    with Exp(scratch, f"of_{count}", capture=()) as exp:
        for step in range(count):
            exp.log(values(step), step=step)
    return exp.path


def _gzip(text: bytes, repetitions: int) -> dict[str, Fit]:
    def bytes_of(size: int) -> float:
        middle = text[len(text) // 2 :][:size]  # whole lines are not needed: both ends differ by less than a line
        return len(gzip.compress(middle, GZIP_LEVEL, mtime=0))

    def seconds_of(size: int) -> float:
        middle = text[len(text) // 2 :][:size]
        return _least(lambda: gzip.compress(middle, GZIP_LEVEL, mtime=0), repetitions)

    return {
        "gzip_bytes": _fitted(bytes_of, (200, 2_000, 20_000, 200_000), 2_000_000),
        # A window of 32 kB that is not full yet is searched faster: rates begin above it.
        "gzip_s": _fitted(seconds_of, (50_000, 500_000, 5_000_000), 50_000_000, ["line"]),
    }


def _parsing(logs: dict[int, Path], repetitions: int) -> dict[str, Fit]:
    from mlv.query.metrics import long_table

    def seconds_of(count: int) -> float:
        return _least(lambda: _parsed(logs[count], long_table.metrics), 3 if count > 1_000_000 else repetitions)

    return {"parse_s": _fitted(seconds_of, _EVENTS[:-1], _EVENTS[-1], ["line"])}


def _parsed(path: Path, metrics: Callable[[Path], Any]) -> None:
    """Read an experiment as if it were read for the first time."""
    from mlv.query.metrics import cache

    for each in cache.cache_folders(path):
        for file in each.rglob("*"):
            if file.is_file():
                file.unlink()
    metrics(path)


def _tables(scratch: Path, repetitions: int) -> dict[str, Fit]:
    """Commits against rows and against the version of the table, merges against its rows."""
    from deltalake import DeltaTable, write_deltalake

    def commit(count: int) -> float:
        table = _rows(count)
        path = scratch / f"commit_{count}"
        write_deltalake(path, _rows(10))
        return _least(lambda: write_deltalake(path, table, mode="append"), repetitions)

    versions = scratch / "versions"
    few = _rows(10)
    spent = list(_times(lambda: write_deltalake(versions, few, mode="append"), 1_010))

    def at_version(number: int) -> float:
        # Every 100 versions the log is summed up, so that times rise and fall: the mean over such a span.
        return mean(spent[number - 50 : number + 50])

    def merge(count: int) -> float:
        path = scratch / f"merge_{count}"
        write_deltalake(path, _rows(count))
        changed = _rows(1_000)

        def once() -> None:
            merger = DeltaTable(path).merge(changed, "s.exp = t.exp", source_alias="s", target_alias="t")
            merger.when_matched_update_all().when_not_matched_insert_all().execute()

        return _least(once, repetitions)

    rows = (1_000, 10_000, 100_000)
    return {
        "commit_s": _fitted(commit, rows, 1_000_000, ["line"]),
        "commit_version_s": _fitted(at_version, (50, 150, 450), 950, ["line"]),
        "merge_s": _fitted(merge, rows, 1_000_000, ["line"]),
    }


def _rows(count: int) -> Any:
    """A table of experiments, in no order that would help."""
    import pyarrow as pa

    names = [f"{number * 2654435761 % 2**32:08x}" for number in range(count)]
    values = [number / count for number in range(count)]
    return pa.table({"exp": names, "step": list(range(count)), "value": values})


def _commits(store: FarStore, repetitions: int) -> dict[str, Fit]:
    from deltalake import write_deltalake

    from benchmarks.simulation.far_store import BUCKET

    table = _rows(1_000)

    def commit(latency_ms: int) -> float:
        store.move(latency_ms)
        url, options = f"s3://{BUCKET}/lake/{latency_ms}", {**store.options, "aws_conditional_put": "etag"}
        write_deltalake(url, table, storage_options=options)
        return _least(lambda: write_deltalake(url, table, mode="append", storage_options=options), repetitions)

    points = [(float(latency_ms), commit(latency_ms)) for latency_ms in LATENCIES_MS]
    return {"commit_trips": fit(points[:-1], points[-1], ["line"])}


def _requests(store: FarStore, repetitions: int) -> dict[str, dict[str, Fit]]:
    """PUT and GET against size, LIST against the keys that are there, for each latency."""
    import obstore

    client = store.client()
    for count in (10, 100, 1_000, 10_000):
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda number: obstore.put(client, f"keys/{count}/{number:06d}", b""), range(count)))  # noqa: B023
    result: dict[str, dict[str, Fit]] = {"put_s": {}, "get_s": {}, "list_s": {}}
    for latency_ms in LATENCIES_MS:
        store.move(latency_ms)

        def put(size: int) -> float:
            return _least(lambda: obstore.put(client, f"sizes/{size}", b"x" * size, use_multipart=False), repetitions)

        def get(size: int) -> float:
            return _least(lambda: obstore.get(client, f"sizes/{size}").bytes(), repetitions)

        def listing(count: int) -> float:
            # moto sorts all its keys for each page.
            return _least(lambda: sum(map(len, obstore.list(client, f"keys/{count}/"))), 3 if count > 1000 else repetitions)

        result["put_s"][str(latency_ms)] = _fitted(put, _SIZES, _BEYOND, ["line"])
        result["get_s"][str(latency_ms)] = _fitted(get, _SIZES, _BEYOND, ["line"])
        # Ten pages are ten requests one after the other: a page of them is held against the function.
        pages = [(float(count), listing(count)) for count in (10, 100, 1_000)]
        result["list_s"][str(latency_ms)] = fit(pages, (1_000, listing(10_000) / 10), ["line"])
    return result


def _fitted(
    measured: Callable[[int], float], sizes: Sequence[int], beyond: int, forms: Sequence[Form] = ("line", "power")
) -> Fit:
    return fit([(float(size), measured(size)) for size in sizes], (float(beyond), measured(beyond)), forms)


def _times(action: Callable[[], object], repetitions: int) -> Iterator[float]:
    for _ in range(repetitions):
        yield timed_ms(action) / 1000


def _least(action: Callable[[], object], repetitions: int) -> float:
    """Seconds of the quickest: a neighbour on a shared machine only ever adds."""
    return min(_times(action, repetitions))
