"""What tests of the writer share: an experiment's folder, its spool, rings in it, and writers that can be made to die."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from contracts.evidence import assert_complete, events, payloads

from mlv.encoding import DATA, TAIL, head
from mlv.protocols import FileLayer
from mlv.store.owners import Owner
from mlv.transport import new_rings, spool, writer
from mlv.transport.ring import Ring

LOG, VAL, LATE = range(3)
CURSORS = [("log", b""), ("val", head("metrics", "")), ("log", head("metrics", "late"))]
HERE = Owner.current()
GONE = HERE.replace(start="1")
"""A process that ended long ago."""


@dataclass
class Rig:
    """One experiment, written by rings of this process and by writers that are forked."""

    folder: Path
    logged: dict[str, list[int]] = field(default_factory=dict)
    """What every run has logged."""
    endurance: writer.Endurance = field(default_factory=writer.Endurance)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.candidates = spool.candidates(self.folder, HERE)
        self.place = self.candidates[0]

    def ring(
        self,
        run: str,
        process: Owner = HERE,
        capacity: int = 1 << 16,
        patience_s: float = 5.0,
        launch: Callable[[], None] = lambda: None,
        **limits: float,
    ) -> Ring:
        """A ring without a writer."""
        info = {"run": run, "exp": str(self.folder), "id": "", "process": process.to_data()}
        path, place = new_rings.create(self.candidates, info, capacity)
        made = Ring(path, place, launch, self.candidates, patience_s, **limits)
        for index, cursor in enumerate(CURSORS):
            made.add_cursor(index, cursor)
        self.logged[run] = []
        return made

    def log(self, channel: Ring, count: int, big: Collection[int] = ()) -> None:
        """Log so many events into both streams; those of the numbers in `big` are large."""
        for i in range(count):
            text = "x" * 100_000 if i in big else ""
            channel.put((VAL, LATE)[i % 3 == 0], DATA, 0, b'{"i":%d,"text":"%s"}' % (i, text.encode()))
            self.logged[channel.run].append(i)

    def end(self, channel: Ring) -> None:
        """End a run, without waiting for a writer."""
        channel.put(LOG, TAIL, 0, head("run_ended", "") + b'"data":{"status":"ok"}}')
        channel.close(0)

    def in_child(self, task: Callable[[], object]) -> int:
        """Do something in a forked process; gives its exit status, or minus the signal that killed it."""
        pid = os.fork()
        if pid == 0:
            try:
                os._exit(0 if task() else 9)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def serve(self, files: FileLayer | None = None) -> int:
        """Be the writer, in a forked process; 0 where it finished."""
        return self.in_child(lambda: self.serve_here(files))

    def serve_here(self, files: FileLayer | None = None, until_s: float = 20.0, **options: Any) -> bool:
        """Be the writer, in this process."""
        until = time.monotonic() + until_s
        made = partial(writer.Writer, self.folder, self.place, files, endurance=self.endurance, **options)
        return writer.serve_once(self.place, 5.0, lambda wait: made().serve(wait, until))

    def serve_until_moment(self, moment: int) -> int:
        """Be the writer in a forked process that is killed at the n-th call of a function that it makes."""
        counter = itertools.count()

        def profile(frame: Any, event: str, argument: object) -> None:
            if next(counter) == moment:
                os.kill(os.getpid(), signal.SIGKILL)

        def task() -> bool:
            sys.setprofile(profile)
            return self.serve_here()

        return self.in_child(task)

    def assert_all_there(self, statuses: dict[str, str]) -> None:
        """Every event is there once and in order, verdicts and seals are right, and nothing waits."""
        for run, logged in self.logged.items():
            found = payloads(self.folder, run)
            assert found == logged, f"{run}: {found}, not {logged}"
        assert_complete(self.folder)
        found = {}
        for event in events(self.folder):
            if event["type"] == "run_ended":
                found.setdefault(event["data"].get("of", event["run"]), set()).add(event["data"]["status"])
        assert found == {run: {status} for run, status in statuses.items()}
        for place in self.candidates:
            assert not place.exists(), list(place.iterdir())
