"""Shipping, reading and the lake with a store that is far away: what is lost, what it costs, how many requests it takes.

`python -m benchmarks.far` runs moto's S3 server behind a proxy that is 80 ms away and counts requests; `--url s3://bucket/prefix`
runs what needs no proxy against a real bucket, below a key of its own that is removed at the end. Not among the rows of
`python -m benchmarks`: it takes half an hour, and needs packages of its own (`tox -e bucket` has them).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from benchmarks import lake
from benchmarks.figures import Figure, absent, as_markdown, as_text, command_line, plain
from benchmarks.many import experiments
from benchmarks.measuring import check_count, folder, timed_ms, variables
from mlv import lake as lakes
from mlv.bucket.push import Push
from mlv.bucket.store import open_store
from tests.bucket import servers
from tests.bucket.nodes import Node, metrics, shipped
from tests.bucket.servers import Proxy

DELAY_S = 0.08
_EVENTS, _RUN_S, _EVERY_S = 1_000_000, 3 * 3600, 10


@dataclass
class Ground:
    """Where the rows are measured."""

    base: str
    """A root of its own, with the options of its URL."""
    proxy: Proxy | None
    quick: bool

    def url(self, name: str) -> str:
        """The URL of a root for one row."""
        parts = urlsplit(self.base)
        return parts._replace(path=f"{parts.path.rstrip('/')}/{name}-{random.randrange(1 << 32):08x}").geturl()

    def far(self, **faults: object) -> Proxy:
        """The proxy, with its distance and these faults."""
        assert self.proxy is not None
        self.proxy.set(**{"delay_s": DELAY_S, **faults})
        self.proxy.requests(reset=True)
        return self.proxy


# Loss.


def kills(ground: Ground) -> list[Figure]:
    """SIGKILL of trainer, writer and shipper at once, five nodes at a time, at any moment of their lives."""
    count, numbers = 5 if ground.quick else 30, random.Random(17)
    moments = [numbers.uniform(5, 12) for _ in range(count)]
    with ThreadPoolExecutor(5) as pool:
        lost = list(pool.map(lambda moment: _lost_s(ground, moment), moments))
    what = f"lost at SIGKILL of the node, every=2, {count} kills: median"
    return [plain(what, "s", median(lost), 1.3), plain("the same, at worst", "s", max(lost), 2.5)]


def _lost_s(ground: Ground, moment_s: float) -> float:
    url = ground.url("kill")
    with Node(url, every_s=2) as node:
        node.shipper()
        time.sleep(moment_s)
        killed = node.kill()
        return killed - max(row["sent"] for row in metrics(shipped(open_store(url), "run")))


def grace(ground: Ground) -> list[Figure]:
    """SIGTERM to all processes of the node, SIGKILL ten seconds later: lines of the disk that the bucket lacks."""
    lost, spent = [], []
    for _ in range(2 if ground.quick else 6):
        url = ground.url("grace")
        with Node(url, every_s=10) as node:
            node.shipper()
            time.sleep(random.uniform(3, 8))
            spent.append(node.end(10))
            on_disk = (node.path / "log.jsonl").read_bytes()
            lost.append(on_disk.count(b"\n") - shipped(open_store(url), "run").count(b"\n"))
    return [
        plain(f"lines lost at SIGTERM with 10 s of grace, {len(lost)} times", "lines", max(lost), 0),
        Figure("  seconds of the grace that it took, at most", "s", None, max(spent), max(spent), "s"),
    ]


# The training.

_LOOP = """
import sys, time
import mlv
from benchmarks.calls import amount_of_work, work

amount = amount_of_work(0.001)
with mlv.Exp(sys.argv[1], "a", capture=(), ship=None) as plain, mlv.Exp(sys.argv[1], "b", capture=(), ship=sys.argv[2]) as far:
    ratios = []
    for turn in range(int(sys.argv[3])):
        spent = {}
        for name, log in (("plain", plain.log), ("far", far.log))[:: 1 if turn % 2 else -1]:
            began = time.perf_counter()
            for i in range(50):
                work(amount)
                log({"loss": 0.3, "acc": 0.5, "lr": 1e-3}, step=i)
            spent[name] = time.perf_counter() - began
        ratios.append(spent["far"] / spent["plain"])
    print(sorted(ratios)[len(ratios) // 2] - 1)
"""


def loop(ground: Ground) -> list[Figure]:
    """Steps of 1 ms of pure Python that are logged, to an experiment that is shipped and to one that is not, in turn."""
    with folder() as place:
        added = float(_python(_LOOP, place, ground.url("loop"), 40 if ground.quick else 400, MLV_SHIP_EVERY="2"))
    return [plain("what shipping (every=2) adds to a loop of 1 ms of Python a step", "%", 100 * added, 0.5)]


def outage(ground: Ground) -> list[Figure]:
    """The store is away for a minute: connections end, or are never answered. Then all arrives."""
    away_s = 10 if ground.quick else 60
    proxy, url = ground.far(), ground.url("outage")
    with Node(url, every_s=2, rate=1000, length_s=away_s + 10) as node:
        node.shipper()
        time.sleep(3)
        proxy.set(fault="reset", delay_s=DELAY_S)
        time.sleep(away_s / 2)
        proxy.set(fault="hole", delay_s=DELAY_S)
        time.sleep(away_s / 2)
        proxy.set(delay_s=DELAY_S)
        count, longest = node.answer().split()
        node.answer("closed")
        node.trainer.wait()
        _wait_for_end(node, 120)
        arrived = [row["number"] for row in metrics(shipped(open_store(url), "run"))]
    missing = len(set(range(int(count))) - set(arrived)) + len(arrived) - len(set(arrived))
    return [
        plain(f"longest log() with the store away for {away_s} s, 1,000 a second", "ms", 1000 * float(longest), 20),
        plain("  events missing or doubled afterwards", "events", missing, 0),
    ]


def _wait_for_end(node: Node, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while node.processes() and time.monotonic() < deadline:
        time.sleep(0.1)


def shipper(ground: Ground) -> list[Figure]:
    """The process that ships 1,000 events a second, after its start."""
    length_s = 20 if ground.quick else 60
    with Node(ground.url("shipper"), every_s=10, rate=1000) as node:
        process = node.shipper()
        time.sleep(5)
        before, began, most_mb = process.cpu_times(), time.perf_counter(), 0.0
        while time.perf_counter() - began < length_s:
            most_mb = max(most_mb, process.memory_info().rss / 1e6)
            time.sleep(0.2)
        after = process.cpu_times()
    spent = after.user + after.system - before.user - before.system
    return [
        plain("memory of the shipper", "MB", most_mb, 60),
        plain("its processor time at 1,000 events a second", "%", 100 * spent / length_s, 2),
    ]


# Requests.


def _python(source: str, *arguments: object, **variables: str) -> str:
    """Run a script in an interpreter of its own, and return what it prints."""
    path = os.pathsep.join(filter(None, [os.getcwd(), *sys.path]))
    environment = {**os.environ, "PYTHONPATH": path, **variables}
    done = subprocess.run(
        [sys.executable, "-c", source, *map(str, arguments)], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout


def _mlv(*arguments: object, **variables: str) -> str:
    """Run `mlv` as a process, and return what it prints."""
    return _python("import sys; from mlv.cli import main; sys.exit(main())", *arguments, **variables)


def million(ground: Ground) -> list[Figure]:
    """A million events in three hours, shipped every ten seconds.

    Compressed in time: between two shipments the log grows by what ten seconds bring, and nobody waits. So requests and bytes
    are those of the three hours, and times are not measured.
    """
    ticks = _RUN_S // _EVERY_S // (10 if ground.quick else 1)
    count = _EVENTS // (10 if ground.quick else 1)
    proxy = ground.far(delay_s=0.0)
    with folder() as place:
        [path] = experiments(place / "runs", 1).iterdir()
        lines = (path / "log.jsonl").read_bytes().splitlines(keepends=True)
        head = lines[:2]
        store = open_store(ground.url("million"))
        push = Push(place / "runs", store)
        (path / "log.jsonl").write_bytes(b"".join(head))
        for tick in range(ticks):
            with open(path / "log.jsonl", "ab") as log:
                log.writelines(_metrics(range(count * tick // ticks, count * (tick + 1) // ticks)))
            list(push.run([path]))
        raw = (path / "log.jsonl").stat().st_size
    requests = proxy.requests()
    puts = requests.get("PUT", 0) + requests.get("POST", 0)
    scale = _EVENTS / count
    what = f"{_EVENTS:,} events in 3 h, every=10: PUTs"
    return [
        plain(what, "PUTs", puts * scale, 1150),
        Figure("  bytes up, beside the log", "MB", raw / 1e6, requests["bytes_up"] / 1e6, requests["bytes_up"] / raw, "x", 0.5),
        plain("  LISTs", "LISTs", requests.get("LIST", 0), 3),
    ]


def _metrics(numbers: range) -> Iterator[bytes]:
    for number in numbers:
        time_utc = f"2026-01-01T{number // 333_334:02}:{number // 5556 % 60:02}:{number // 93 % 60:02}.{number % 93:03}000Z"
        values = random.Random(number)
        record = {"run": "r000000000", "seq": number + 3, "time": time_utc, "type": "metrics", "step": number}
        record["data"] = {"loss": values.random(), "acc": values.random()}
        yield json.dumps(record, separators=(",", ":")).encode() + b"\n"


def again(ground: Ground) -> list[Figure]:
    """A tree of experiments of 200 kB is pushed, pushed again, and pulled, beside rclone."""
    count = 100 if ground.quick else 1000
    proxy, url = ground.far(), ground.url("again")
    with folder() as place:
        root = experiments(place / "runs", count)
        first_s = timed_ms(lambda: _mlv("push", root, url)) / 1000
        of_first = proxy.requests(reset=True)
        _mlv("push", root, url)
        of_again = proxy.requests(reset=True)
        caches = {"XDG_CACHE_HOME": str(place / "cache")}
        pull_s = timed_ms(lambda: _mlv("pull", url, place / "pulled", **caches)) / 1000
        of_pull = proxy.requests(reset=True)
        caches = {"XDG_CACHE_HOME": str(place / "cache of ls")}
        cold_s = timed_ms(lambda: _mlv("ls", url, **caches)) / 1000
        of_cold = proxy.requests(reset=True)
        list_s = timed_ms(lambda: _mlv("ls", url, **caches)) / 1000
        of_list = proxy.requests(reset=True)
        rclone_s = timed_ms(lambda: _rclone(url, place / "copied")) / 1000
    all_again, all_cold, all_list = (
        sum(number for kind, number in counts.items() if kind.isupper()) for counts in (of_again, of_cold, of_list)
    )
    listed = f"mlv ls of a bucket of {count:,} experiments, no lake"
    what = f"pull of {count:,} experiments of 200 kB, cold"
    return [
        Figure(f"push of {count:,} experiments of 200 kB", "s", None, first_s, first_s, "s"),
        Figure("  PUTs per experiment", "PUTs", None, of_first["PUT"] / count, of_first["PUT"] / count, "PUTs"),
        plain("push again with nothing new: PUTs", "PUTs", of_again.get("PUT", 0) + of_again.get("POST", 0), 0),
        plain("  all requests", "requests", all_again, 3),
        plain(f"{what}: GETs per experiment", "GETs", of_pull["GET"] / count, 2.2),
        Figure("  its time (reference: rclone copy, 16 at once)", "s", rclone_s, pull_s, pull_s / rclone_s, "x", 1.5),
        Figure(f"{listed}, cold: requests per experiment", "requests", None, all_cold / count, all_cold / count, "requests"),
        Figure("  its time", "s", None, cold_s, cold_s, "s"),
        Figure("  the same again: requests", "requests", None, all_list, all_list, "requests"),
        Figure("  its time", "s", None, list_s, list_s, "s"),
    ]


def _rclone(url: str, target: Path) -> None:
    parts = urlsplit(url)
    endpoint = f"provider=Other,env_auth=true,endpoint='{parts.query.removeprefix('endpoint=')}'"
    command = [servers.executable("rclone"), "copy", "--config", os.devnull, "--transfers", "16", "--checkers", "16"]
    subprocess.run([*command, f":s3,{endpoint}:{parts.netloc}{parts.path}", target], check=True, capture_output=True)


# The lake.


def built(ground: Ground) -> list[Figure]:
    """The rows of `python -m benchmarks --only lake`: building on one core and on two, and after some logs grew."""
    return lake.lake(ground.quick)


def listed(ground: Ground) -> list[Figure]:
    """`mlv ls` of a bucket with a lake, whose rows were multiplied; of the experiments 100 were shipped."""
    count, url, proxy = 1000 if ground.quick else 100_000, ground.url("listed"), ground.far()
    base, mark, options = url.partition("?")
    beside = f"{base}/.mlv/lake{mark}{options}"
    with folder() as place:
        root = experiments(place / "runs", 100)
        _mlv("push", root, url)
        lakes.build(url, beside)
        lake.multiply(beside, count // 100)
        lakes.build(url, beside)  # which makes few files of many
        caches = {"XDG_CACHE_HOME": str(place / "cache")}
        requests = []
        for _ in range(2):
            proxy.requests(reset=True)
            spent_s = timed_ms(lambda: check_count(_mlv("ls", url, **caches).count("\n"), count + 1)) / 1000
            counts = proxy.requests(reset=True)
            requests.append(sum(number for kind, number in counts.items() if kind.isupper()))
    what = f"mlv ls of a bucket of {count:,} experiments with a lake"
    return [
        plain(f"{what}, cold: requests", "requests", requests[0], 15),
        plain("  the same again: requests", "requests", requests[1], 15),
        Figure("  its time", "s", None, spent_s, spent_s, "s"),
    ]


ROWS: dict[str, Callable[[Ground], list[Figure]]] = {
    "kills": kills, "grace": grace, "loop": loop, "outage": outage, "shipper": shipper, "million": million, "again": again,
    "lake": built, "listed": listed,
}  # fmt: skip
_BEHIND_PROXY = ("outage", "million", "again", "listed")


def main() -> int:
    options = _options()
    figures, crashed = [], 0
    with _ground(options) as ground:
        for name in options.only or ROWS:
            print(f"{name} ... (load {os.getloadavg()[0]:.1f})", file=sys.stderr, flush=True)
            if ground.proxy is None and name in _BEHIND_PROXY:
                figures.append(absent(f"{name}: needs the proxy, which counts and fails"))
                continue
            if ground.proxy is not None:
                ground.far()
            try:
                figures += ROWS[name](ground)
            except Exception as error:
                crashed += 1
                print(f"{name} crashed: {type(error).__name__}: {error}", file=sys.stderr)
    print(as_markdown(figures) if options.markdown else as_text(figures))
    if options.json:
        options.json.write_text(json.dumps([figure.to_data() for figure in figures], indent=2) + "\n")
    return 1 if crashed else 0


def _options() -> argparse.Namespace:
    parser = command_line("python -m benchmarks.far", __doc__.splitlines()[0], ROWS)
    parser.add_argument("--url", help="a real bucket, instead of moto behind the proxy")
    return parser.parse_args()


@contextmanager
def _ground(options: argparse.Namespace) -> Iterator[Ground]:
    if options.url:
        ground = Ground(options.url, None, options.quick)
        ground = Ground(ground.url("far"), None, options.quick)
        try:
            yield ground
        finally:
            store = open_store(ground.base)
            for stored in store.objects():
                store.delete(stored.key)
        return
    with servers.running_moto() as moto, servers.running_proxy(moto, delay_s=DELAY_S) as proxy, variables(moto.variables):
        yield Ground(proxy.bucket().url, proxy, options.quick)


if __name__ == "__main__":
    sys.exit(main())
