"""What tests of the lake share: trees that grow, and what a lake and the logs say of them."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import logs
from bucket.laid import lay
from bucket.servers import Proxy

from mlv import lake
from mlv.bucket.store import open_store
from mlv.lake import Lake, build
from mlv.store.meta import write_meta

SEED = int(os.environ.get("MLV_CRASH_SEED") or random.SystemRandom().randrange(2**32))
CREATED = "2026-11-03T00:00:00.000000Z"


def make(folder: Path, *, params: dict[str, Any] | None = None, created: str = CREATED) -> Path:
    """An experiment without any line."""
    folder.mkdir(parents=True)
    write_meta(folder, {"format": 1, "name": folder.name, "created": created, "params": params or {"path": str(folder.name)}})
    return folder


def append(folder: Path, *lines: bytes, stream: str = "log") -> None:
    """Add bytes to a stream."""
    path = folder / ("log.jsonl" if stream == "log" else f"{stream}.log.jsonl")
    with path.open("ab") as file:
        file.write(b"".join(lines))


def metrics(run: str, seq: int, step: Any = None, **data: Any) -> bytes:
    """A line of metrics."""
    fields = {"step": step} if step is not None else {}
    return logs.line(run, seq, "metrics", seq / 1000, **fields, data=data)


def rows(lake: Lake, table: str = "metrics") -> list[tuple[Any, ...]]:
    """The rows of a table, in an order of their own."""
    return sorted(tuple(map(str, row.values())) for row in lake.arrow(table).to_pylist())


def values(lake: Lake) -> list[tuple[str, str, int, Any]]:
    """Run, name, seq and value of each point, sorted."""
    table = lake.arrow("metrics", ["run", "name", "seq", "value"])
    return sorted(zip(*(column.to_pylist() for column in table.columns), strict=True), key=str)


def json_rows(table: Any) -> list[str]:
    """The rows of an Arrow table, in an order of their own, of which no struct has an order."""
    return sorted(json.dumps(row, sort_keys=True, default=str) for row in table.to_pylist())


def bucket_with_lake(url: str, tree: Path, count: int) -> tuple[str, str]:
    """The URLs of a root in a bucket, where some experiments are laid, and of the lake beside them that is built of it."""
    base, mark, options = url.partition("?")
    root, beside = f"{base}/runs{mark}{options}", f"{base}/runs/.mlv/lake{mark}{options}"
    for number in range(count):
        folder = make(tree / f"e{number}")
        append(folder, *(metrics("r1", seq, seq, x=float(seq)) for seq in range(1, 4)))
        lay(folder, open_store(root), folder.name)
    build(root, beside)
    return root, beside


def requests_of(proxy: Proxy) -> int:
    """The number of requests to a store since they were counted last."""
    counts = proxy.requests(reset=True)
    return sum(counts.get(kind, 0) for kind in ("GET", "HEAD", "LIST", "PUT", "POST", "DELETE"))


def files_of_list(url: str, cache: Path) -> int:
    """The number of files that a list is made of: those of the tables, and those of their logs, which lie in the cache."""
    opened = Lake(url)
    files = len(opened.files("experiments")) + len(opened.files("summaries"))
    return files + len(list(cache.rglob("_delta_log/*.json")))


class Growing:
    """A tree whose logs grow, with the points that they hold."""

    def __init__(self, tree: Path) -> None:
        self.tree, self.chance = tree, random.Random(SEED)
        self._folders = [make(tree / f"e{number}") for number in range(8)]
        self._points: list[tuple[str, int]] = []
        self._ends: dict[Path, bytes] = {}

    def grow(self) -> None:
        """Add lines to some logs; the last line of some is half written."""
        for folder in self.chance.sample(self._folders, 4):
            lines, end = [], self._ends.pop(folder, b"")
            for _ in range(self.chance.randrange(1, 30)):
                seq = len([1 for name, _ in self._points if name == folder.name]) + 1
                self._points.append((folder.name, seq))
                lines.append(metrics("r" + folder.name, seq, seq, x=float(seq)))
            cut = self.chance.randrange(1, len(lines[-1]))
            self._ends[folder] = lines[-1][cut:]
            append(folder, end, *lines[:-1], lines[-1][:cut])

    def end(self) -> None:
        """Complete every line."""
        for folder, end in self._ends.items():
            append(folder, end)

    def values(self) -> list[tuple[str, str, int, Any]]:
        """What `values` are to be of a lake of the tree."""
        return sorted((("r" + name, "x", seq, float(seq)) for name, seq in self._points), key=str)


_BUILDER = """
import sys
from mlv import lake
while True:
    print(lake.build(sys.argv[1], sys.argv[2]).number, flush=True)
"""


def build_and_kill(growing: Growing, url: str, kills: int, *, within_s: float) -> None:
    """Let a tree grow to its end, while two processes build its lake, one of which is killed at a time and replaced."""

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", _BUILDER, str(growing.tree), url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    builders = [start(), start()]
    try:
        for _ in range(kills):
            victim = growing.chance.choice(builders)
            growing.grow()
            assert victim.stdout is not None
            assert victim.stderr is not None
            assert victim.stdout.readline().strip().isdigit(), (SEED, victim.stderr.read())  # it has begun to build
            growing.grow()
            time.sleep(growing.chance.uniform(0, within_s))
            assert victim.poll() is None, (SEED, victim.stderr.read())
            victim.send_signal(signal.SIGKILL)
            victim.communicate()
            builders[builders.index(victim)] = start()
    finally:
        for builder in builders:
            builder.kill()
            builder.communicate()
    growing.end()


def check_growing(tree: Path, url: str) -> None:
    """Build a lake, build on it when a log has grown, and check what it holds."""
    append(make(tree / "a"), *(metrics("r1", seq, seq, x=float(seq)) for seq in range(1, 6)))
    lake.build(tree, url)
    append(tree / "a", metrics("r1", 6, 6, x=6.0))
    lake.build(tree, url)

    assert [value for *_, value in values(lake.open(url))] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert lake.check(url).differences == []
