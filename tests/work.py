"""Functions for executors: other processes import them from here."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from mlv.errors import MlvWarning, UnknownMetric
from mlv.notices import warn


def square(number: int) -> int:
    return number * number


def delayed(number: int) -> int:
    """Take the longer the earlier the task is."""
    time.sleep(0.2 / (1 + number))
    return number


def fail_at_two(number: int) -> int:
    if number == 2:
        raise UnknownMetric("nobody logged it", name="loss")
    return number


def warn_each(number: int) -> int:
    warn(f"of {number}", MlvWarning)
    return number


def dying_once(task: tuple[str, int]) -> int:
    """Kill the process the first time that some tasks are run; leave a file for each time that one is."""
    folder, number = task
    attempts = len(list(Path(folder).glob(f"{number}-*")))
    Path(folder, f"{number}-{attempts}").touch()
    if number in (2, 5) and not attempts:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def dying(folder: str) -> None:
    Path(folder, str(time.monotonic_ns())).touch()
    os.kill(os.getpid(), signal.SIGKILL)


def pid(number: int) -> int:
    return os.getpid()


def announced(folder: str) -> None:
    """Leave a file with the name of the process, and never end."""
    Path(folder, str(os.getpid())).touch()
    threading.Event().wait()


def short(folder: str) -> None:
    """Leave a file with the name of the process, and end soon."""
    Path(folder, str(os.getpid())).touch()
    time.sleep(1)


def fail_beside(task: tuple[str, int]) -> None:
    """Fail in the first task, as soon as the second has begun, which never ends."""
    folder, number = task
    if number:
        announced(folder)
    while not list(Path(folder).iterdir()):
        time.sleep(0.01)
    raise UnknownMetric("enough")


def lock(number: int) -> Any:
    return threading.Lock()


def printed(number: int) -> int:
    print("between the answers")
    return number


def threads(number: int) -> tuple[int, set[str]]:
    """Return Arrow's threads, and those that read in this task."""
    import pyarrow as pa

    from mlv.query.metrics.parse import in_threads

    return pa.cpu_count(), set(in_threads(lambda _: threading.current_thread().name, range(5)))


def odd_error(number: int) -> None:
    raise OddError("one", "two")


class OddError(Exception):
    """An exception that pickle cannot make again."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)
