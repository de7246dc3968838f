"""What the rows share: repetitions in turn, the file written by hand, experiments to log into, and their writer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from mlv import Exp
from mlv.store.owners import Owner
from mlv.transport import spool
from mlv.transport.frames import W_WRITER_PID

LOSS, ACC, LR = 0.6931471805599453, 0.9166666666666666, 0.0003
"""What is logged: numbers with as many digits as real ones have."""


def in_turn(a: Callable[[], float], b: Callable[[], float], repetitions: int) -> tuple[list[float], list[float]]:
    """Results of both, run as A B, B A, A B ...: a noisy neighbour meets both, and so does what drifts."""
    of_a, of_b = [], []
    for repetition in range(repetitions):
        if repetition % 2:
            of_b.append(b())
            of_a.append(a())
        else:
            of_a.append(a())
            of_b.append(b())
    return of_a, of_b


def quantile(values: Sequence[float], q: float) -> float:
    """The value below which the share `q` of all lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * q))]


@contextmanager
def file_by_hand(folder: Path) -> Iterator[int]:
    """A file opened with O_APPEND, as W writes into."""
    fd = os.open(folder / "by_hand.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def folder(in_memory: bool = False) -> Iterator[Path]:
    """A folder that vanishes with all that is in it."""
    place = "/dev/shm" if in_memory and os.path.isdir("/dev/shm") else None
    with TemporaryDirectory(prefix="mlv-bench-", dir=place, ignore_cleanup_errors=True) as path:
        yield Path(path)


@contextmanager
def variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment for the block."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def experiment(savedir: Path) -> Exp:
    """An experiment without captures whose writer is at work."""
    exp = Exp(savedir, "bench", capture=())
    exp.log.info("warm")
    exp.flush()
    return exp


def writer_pid(exp: Exp) -> int:
    """Process ID of the writer, from the header of the experiment's only ring."""
    [ring] = [path for place in spool.find(exp.path, Owner.current()) for path in spool.rings_in(place)]
    with open(ring, "rb") as file:
        file.seek(8 * W_WRITER_PID)
        return int.from_bytes(file.read(8), "little")


def metric_lines(exp: Exp) -> int:
    """How many lines of type `metrics` the log holds."""
    with open(exp.path / "log.jsonl", "rb") as file:
        return sum(b'"type":"metrics"' in line for line in file)


def check_count(found: int, expected: int) -> None:
    """Refuse a time that was measured over lost lines."""
    if found != expected:
        raise RuntimeError(f"{found} lines are in the file, {expected} were logged")


def timed_ms(action: Callable[[], object]) -> float:
    """Milliseconds that a call takes."""
    began = time.perf_counter()
    action()
    return 1000 * (time.perf_counter() - began)
