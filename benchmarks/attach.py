"""What it costs to bring a large file into an experiment, beside `cp` followed by `sha256sum`, which fsync nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure, plain
from benchmarks.measuring import folder, in_turn, timed_ms

_SCRIPT = """
import json, re, sys, time
from pathlib import Path
from mlv import Exp
from mlv.store import copying
from mlv.store import blobs

savedir, source, how = sys.argv[1:]
copying._shares_blocks = lambda source, target: False  # what is measured is the copy
memory = lambda name: int(re.search(rf"{name}:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
exp = Exp(savedir, "bench", capture=())
with exp.file("small", "w") as file:
    file.write("warm")
exp.flush()
before = memory("VmRSS")
began = time.perf_counter()
path = exp.attach(source, how=how)
spent = time.perf_counter() - began
more_mb = (memory("VmHWM") - before) * 1024 / 1e6
print(json.dumps([1000 * spent, more_mb, path.samefile(source), path.stat().st_size]))
exp.close()
"""


def attach(quick: bool) -> list[Figure]:
    """`exp.attach` of a large file in each way, and the memory that the copy takes."""
    size = (64 << 20) if quick else (1 << 30)
    more_mb, linked_ms = [], []
    with folder() as place:
        source = place / "source"
        _write(source, size)

        def by_hand() -> float:
            return _by_hand_ms(source, place / "copy")

        def copied() -> float:
            spent, more = _attached(place, source, "copy", size)
            more_mb.append(more)
            return spent

        hand, mlv = in_turn(by_hand, copied, 2 if quick else 6)
        linked_ms += [_attached(place, source, "link", size)[0] for _ in range(3)]
    rates = [size / 1000 / median(spent) for spent in (hand, mlv)]
    what = f"attach of {size >> 20} MiB"
    return [
        Figure(f"{what}, copied (reference: cp; sha256sum)", "MB/s", *rates, rates[1] / rates[0], "x", 0.7, at_most=False),
        plain(f"{what}, copied: memory at its peak, over before", "MB", max(more_mb), 32),
        Figure(f"{what}, linked: hashed, not copied", "ms", median(mlv), median(linked_ms), median(linked_ms), "ms"),
    ]


def _write(path: Path, size: int) -> None:
    with open(path, "wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))


def _by_hand_ms(source: Path, target: Path) -> float:
    def run() -> None:
        subprocess.run(["cp", "--reflink=never", source, target], check=True)
        subprocess.run(["sha256sum", target], check=True, stdout=subprocess.DEVNULL)

    spent = timed_ms(run)
    target.unlink()
    return spent


def _attached(place: Path, source: Path, how: str, size: int) -> tuple[float, float]:
    """Milliseconds, and megabytes beside those that the process had, in a process and an experiment of its own."""
    with folder() as savedir:
        command = [sys.executable, "-c", _SCRIPT, str(savedir), str(source), how]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=place)
    spent_ms, more_mb, is_link, found = json.loads(done.stdout)
    if (is_link, found) != (how == "link", size):
        raise RuntimeError(f"attached {found} of {size} bytes, {'as a link' if is_link else 'as a copy'}")
    return spent_ms, more_mb
