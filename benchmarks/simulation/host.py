"""A host of the validation: `python -m benchmarks.simulation.host ROOT SCHEDULE` writes the logs of its runs as time passes.

The lines are those of mlv, in one process without writers: hundreds of writers would take all memory of a small machine.
"""

from __future__ import annotations

import heapq
import json
import sys
import time
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

from orjson import dumps

from benchmarks.measuring import LR
from mlv.store.seals import Chain


def values(step: int) -> dict[str, float]:
    """Three numbers, two of them with as many digits as measured ones have, in no order that helps to compress them."""
    noise = step * 2654435761 % 2**32 / 2**32
    return {"loss": 1 / (1 + step) ** 0.5 + noise / 7, "acc": 1 - noise / 11, "lr": LR}


class LoggedRun:
    """An experiment's folder, whose log grows."""

    def __init__(self, root: Path, job: dict[str, Any]) -> None:
        self.path = root / job["name"]
        self.path.mkdir(parents=True)
        meta = {
            "format": 1, "name": self.path.name, "created": "2026-11-30T00:00:00.000000Z", "params": {"lr": LR},
        }  # fmt: skip
        text = json.dumps(meta, indent=2).encode() + b"\n"
        (self.path / "meta.json").write_bytes(text)
        (self.path / "meta.json").chmod(0o444)
        self._log = open(self.path / "log.jsonl", "ab", buffering=0)  # noqa: SIM115 - as long as the run
        self._run, self._writer = f"r{job['attempt']:02d}{job['run']:07d}", f"rw{job['attempt']:01d}{job['run']:07d}"
        self._chain, self._seq = Chain(), 0
        self._line("run_started", {"exp": sha256(text).hexdigest()})

    def log(self, step: int) -> None:
        """Log an event of three numbers."""
        self._line("metrics", values(step), step=step)

    def end(self) -> None:
        """End the run, and seal its lines; then the writer seals its own."""
        self._line("run_ended", {"status": "ok"})
        chain = self._chain
        for seq, of in enumerate((self._run, self._writer), 1):
            seal = {"of": of, "stream": "log", "lines": chain.lines, "sha256": chain.hexdigest()}
            line = self._record(self._writer, seq, "seal", seal)
            self._log.write(line)
            chain = Chain()
            chain.add([line])
        self._log.close()

    def _line(self, type: str, data: dict[str, Any], **fields: Any) -> None:
        self._seq += 1
        line = self._record(self._run, self._seq, type, data, **fields)
        self._chain.add([line])
        self._log.write(line)

    def _record(self, run: str, seq: int, type: str, data: dict[str, Any], **fields: Any) -> bytes:
        moment = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return dumps({"run": run, "seq": seq, "time": moment, "type": type, **fields, "data": data}) + b"\n"


def work(root: Path, jobs: list[dict[str, Any]], began: float) -> None:
    """Begin, log and end what the schedule says, each at its time; a job without an end goes on until the host vanishes."""
    queue: list[tuple[float, int, int]] = [(job["begin"], number, -1) for number, job in enumerate(jobs)]
    heapq.heapify(queue)
    runs: dict[int, LoggedRun] = {}
    while queue:
        moment, number, step = heapq.heappop(queue)
        if (pause_s := began + moment - time.time()) > 0:
            time.sleep(pause_s)
        job = jobs[number]
        if step < 0:
            runs[number] = LoggedRun(root, job)
        else:
            runs[number].log(job["first"] + step)
        if step + 1 < job["events"]:
            heapq.heappush(queue, (job["begin"] + (step + 1.5) / job["rate"], number, step + 1))
        elif not job["killed"]:
            runs.pop(number).end()


if __name__ == "__main__":
    schedule = json.loads(Path(sys.argv[2]).read_text())
    work(Path(sys.argv[1]), schedule["jobs"], schedule["began"])
