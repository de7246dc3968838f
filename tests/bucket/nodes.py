"""A node that trains, logs and ships, as processes that can be killed together, and the lines that its bucket has then."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import orjson
import psutil

from mlv.bucket import names, segments
from mlv.bucket.store import ObjectStore

TRAINING = """
import sys, time
import mlv

folder, rate, length_s = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
exp = mlv.Exp(folder, "run", capture=())
print("ready", flush=True)
longest, number, began = 0.0, 0, time.perf_counter()
while time.perf_counter() - began < length_s:
    before = time.perf_counter()
    exp.log({"number": number, "sent": time.time()}, step=number)
    number += 1
    longest = max(longest, time.perf_counter() - before)
    time.sleep(max(0.0, began + number / rate - time.perf_counter()))
print(number, longest, flush=True)
exp.close()
print("closed", flush=True)
"""


class Node:
    """A training that ships to a URL, with its writer and its shipper; `path` is its experiment."""

    def __init__(self, url: str, *, every_s: float = 2.0, rate: float = 100.0, length_s: float = 3600.0) -> None:
        """Start it, and return once it trains."""
        self._folder = tempfile.TemporaryDirectory(prefix="mlv-node-", ignore_cleanup_errors=True)
        root = Path(self._folder.name)
        (root / "spool").mkdir(mode=0o700)
        self.path = root / "run"
        environment = {**os.environ, "MLV_SPOOL": str(root / "spool"), "MLV_SHIP": url, "MLV_SHIP_EVERY": str(every_s)}
        environment.pop("MLV_INLINE", None)
        self._errors = open(root / "errors", "w+b")  # noqa: SIM115 - as long as the node
        self.trainer = subprocess.Popen(
            [sys.executable, "-c", TRAINING, str(root), str(rate), str(length_s)],
            env=environment, stdout=subprocess.PIPE, stderr=self._errors, text=True,
        )  # fmt: skip
        self.answer("ready")

    def answer(self, expected: str = "") -> str:
        """Return the next line that the training prints."""
        assert self.trainer.stdout is not None
        line = self.trainer.stdout.readline().strip()
        if not line or (expected and line != expected):
            self._errors.seek(0)
            raise RuntimeError(f"the training printed {line!r}: {self._errors.read().decode(errors='replace')}")
        return line

    def processes(self) -> list[psutil.Process]:
        """Return all processes of the node: those that name its folder in their environment or arguments."""
        own = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if self._folder.name in "\0".join([*process.environ().values(), *process.cmdline()]):
                    own.append(process)
        return own

    def shipper(self) -> psutil.Process:
        """Return the process that ships, once there is one."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for process in self.processes():
                with suppress(psutil.Error):
                    if any("bucket" in word for word in process.cmdline()) and process.pid != self.trainer.pid:
                        return process
            time.sleep(0.05)
        raise RuntimeError(f"none of {[process.cmdline() for process in self.processes()]} ships")

    def kill(self, name: int = signal.SIGKILL) -> float:
        """Send a signal to all processes, the shipper first, and return the moment just before."""
        processes = self.processes()
        order = sorted(processes, key=lambda process: process.pid == self.trainer.pid)
        moment = time.time()
        for process in order:
            with suppress(psutil.Error):
                process.send_signal(name)
        if name == signal.SIGKILL:
            psutil.wait_procs(processes, timeout=30)
            self.trainer.wait()
        return moment

    def end(self, grace_s: float) -> float:
        """Send SIGTERM to all, as a scheduler does, and SIGKILL to those that live on; return the seconds that it took."""
        began = time.monotonic()
        self.kill(signal.SIGTERM)
        while self.processes() and time.monotonic() - began < grace_s:
            self.trainer.poll()
            time.sleep(0.02)
        spent_s = time.monotonic() - began
        self.kill()
        return spent_s

    def close(self) -> None:
        """Kill what lives, and remove the folder."""
        self.kill()
        assert self.trainer.stdout is not None
        self.trainer.stdout.close()
        self._errors.close()
        self._folder.cleanup()

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def shipped(store: ObjectStore, path: str, stream: str = "log") -> bytes:
    """Return the bytes of a stream that a bucket has of an experiment with one copy."""
    below = (stored.key.removeprefix(f"{path}/") for stored in store.objects(path))
    own = [segment for key in below if (segment := names.segment_of(key)) is not None and segment.stream == stream]
    assert len({segment.copy for segment in own}) <= 1, own
    contents = ((span, gzip.decompress(store.get(names.join(path, span.segment.key)))) for span in segments.chain(own))
    return b"".join(span.of(content) for span, content in contents)


def metrics(content: bytes) -> Iterator[Mapping[str, float]]:
    """Yield the numbers that the training logged, from the lines of a log."""
    for line in content.splitlines():
        event = orjson.loads(line)
        if event["type"] == "metrics":
            yield event["data"]
