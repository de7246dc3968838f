"""The sampler: a thread of the writer's that measures machine and processes, so that no hanging device delays the writer."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from mlv.events import System

_FIRST_LOOK_S = 1.0
"""A run that is over by then has cost nothing; rates of the first sample are those since."""
_MOST_WAITING = 1000
"""Samples that wait for a disk that cannot be written; then the oldest go."""


class Meter(Protocol):
    """Measures; the first call is the beginning of the second one's rates."""

    def measure(self) -> dict[str, float]:
        """Return the values, by name."""


@dataclass
class _Followed:
    interval_s: float
    next_s: float
    """When it is to be measured next, by the monotonic clock."""
    make_meter: Callable[[], Meter]
    meter: Meter | None = None
    begun_s: float = field(default_factory=monotonic)


class Sampler:
    """Measures for each run that is followed, once per interval, from the first interval's end on."""

    def __init__(self, folder: Path, make_meter: Callable[[Path, int], Meter] | None = None) -> None:
        """Prepare to measure for runs of the experiment in a folder. No thread is there before the first run."""
        self._folder, self._make_meter = folder, make_meter or _system_meter()
        self._followed: dict[str, _Followed] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        # Threads share it without a lock: `append` and `popleft` of a deque are one step each.
        self._samples: deque[System] = deque(maxlen=_MOST_WAITING)

    def follow(self, run: str, pid: int, interval_s: float) -> None:
        """Measure for a run from now on."""
        first_s = monotonic() + min(_FIRST_LOOK_S, interval_s / 2)
        with self._changed:
            self._followed[run] = _Followed(interval_s, first_s, lambda: self._make_meter(self._folder, pid))
            self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="mlv-sampler", daemon=True)
            self._thread.start()

    def forget(self, run: str) -> None:
        """Measure for a run no more."""
        with self._changed:
            self._followed.pop(run, None)

    def first(self) -> System | None:
        """Return the oldest sample that was not let go, of a run that is still followed."""
        while self._samples:
            if self._samples[0].of in self._followed:
                return self._samples[0]
            self._samples.popleft()
        return None

    def let_go(self, sample: System) -> None:
        """Forget a sample: it is written."""
        if self._samples and self._samples[0] is sample:
            self._samples.popleft()

    def _work(self) -> None:
        while True:
            with self._changed:
                wait_s = min((each.next_s for each in self._followed.values()), default=float("inf")) - monotonic()
                if wait_s > 0:
                    self._changed.wait(min(wait_s, threading.TIMEOUT_MAX))
                due = [(run, each) for run, each in self._followed.items() if each.next_s <= monotonic()]
            for run, followed in due:
                self._measure(run, followed)

    def _measure(self, run: str, followed: _Followed) -> None:
        is_first, now = followed.meter is None, monotonic()
        # Outside the lock: a device that hangs must not keep the writer from following other runs.
        followed.meter = followed.meter or followed.make_meter()
        values = followed.meter.measure()
        if not is_first:
            self._samples.append(System(run, values))
        passed = int((now - followed.begun_s) / followed.interval_s)  # those missed while something hung are not made up for
        followed.next_s = followed.begun_s + (passed + 1) * followed.interval_s


def _system_meter() -> Callable[[Path, int], Meter]:
    gpus: Any = None

    def make(folder: Path, pid: int) -> Meter:
        nonlocal gpus
        from mlv.capture.system import Gpus, SystemMeter  # in the thread, when it is needed

        gpus = gpus or Gpus()
        return SystemMeter(folder, pid, gpus)

    return make
