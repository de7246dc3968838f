"""What is done beside the training process costs it little: printing while the console is captured, samples of the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from statistics import median

from benchmarks.figures import Figure, ratio
from benchmarks.measuring import folder

_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
_PRINTING = """
import os, sys, time
import mlv
place, is_captured, is_terminal, count = sys.argv[1], sys.argv[2] == "1", sys.argv[3] == "1", int(sys.argv[4])
if is_terminal:
    import pty, threading
    ours, theirs = os.openpty()
    if os.fork() == 0:
        os.close(theirs)
        try:
            while os.read(ours, 1 << 16): pass
        except OSError:
            pass
        os._exit(0)
    os.dup2(theirs, 1)
    sys.stdout = open(1, "w", buffering=1, closefd=False)
exp = mlv.Exp(place, console=is_captured, system=False, capture=())
time.sleep(0.5)
began = time.perf_counter()
for i in range(count):
    print("step", i, "loss 0.31415926 acc 0.9")
sys.stdout.flush()
sys.stderr.write(f"took {time.perf_counter() - began}\\n")
"""


def printing(quick: bool) -> list[Figure]:
    """100,000 lines printed into a pipe that is read, and on a terminal, with and without console capture."""
    count, repetitions = (20_000, 3) if quick else (100_000, 9)
    figures = []
    for where, is_terminal in (("a pipe", False), ("a terminal", True)):
        with folder() as place:
            pairs = [
                (_printed_s(place, False, is_terminal, count), _printed_s(place, True, is_terminal, count))
                for _ in range(repetitions)
            ]
        plain, captured = (1000 * median(column) for column in zip(*pairs, strict=True))
        figures.append(ratio(f"print {count:,} lines into {where}, captured", "ms", plain, captured, 1.2))
    return figures


def _printed_s(place: object, is_captured: bool, is_terminal: bool, count: int) -> float:
    command = [sys.executable, "-c", _PRINTING, str(place), str(int(is_captured)), str(int(is_terminal)), str(count)]
    process = subprocess.run(command, capture_output=True, text=True, check=True, env=_ENVIRONMENT)
    took = next(line for line in process.stderr.splitlines() if line.startswith("took "))
    return float(took.split()[1])
