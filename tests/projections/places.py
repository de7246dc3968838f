"""Experiments for tests of outputs, a projection of a user's own, and what lies in a folder."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import mlv

SETTINGS: dict[str, Any] = {"capture": ()}


class Lines:
    """A text file with a line for each metric: what a user writes."""

    name = "lines"
    how = ""

    def __init__(self, **options: Any) -> None:
        for key, value in options.items():
            setattr(self, key, value)

    def __repr__(self) -> str:
        return f"Lines({vars(self)})"

    def open(self, place: Path, resume: Any) -> None:
        self._file = open(place / "lines.txt", "ab")  # noqa: SIM115 - until `close`
        self._file.truncate(resume or 0)

    def write(self, batch: Any) -> None:
        for event in batch:
            self._file.write(f"{batch.stream} {event.type} {event.name} {event.step} {event.data}\n".encode())

    def commit(self) -> int:
        self._file.flush()
        return self._file.tell()

    def close(self) -> None:
        self._file.close()


class Failing(Lines):
    """Fails at the first loss above ten, after it has written half of what it was given, until a file says that it may."""

    name = "failing"

    def open(self, place: Path, resume: Any) -> None:
        super().open(place, resume)
        self._may = (place / "may").exists()

    def write(self, batch: Any) -> None:
        super().write(batch)
        if not self._may and any(event.type == "metrics" and event.data.get("loss", 0) > 10 for event in batch):
            self._file.flush()
            raise RuntimeError("above ten")


class Watchful(Lines):
    """Sees at a commit that its file was taken away."""

    name = "watchful"

    def open(self, place: Path, resume: Any) -> None:
        self._path = place / "lines.txt"
        if resume and not self._path.exists():
            raise mlv.CannotResume(f"{self._path} is gone", path=str(self._path))
        super().open(place, resume)

    def commit(self) -> int:
        if not self._path.exists():
            raise mlv.CannotResume(f"{self._path} is gone", path=str(self._path))
        return super().commit()


def made(folder: Path, **options: Any) -> mlv.Exp:
    """An experiment with two streams, that has ended."""
    with mlv.Exp(folder / "runs", "exp", {"lr": 0.1}, **SETTINGS, **options) as exp:
        val = exp.logger("val")
        for i in range(50):
            exp.log({"loss": i / 3, "acc": i}, step=i)
            exp.log.sub("train").at(epoch=i // 10)({"n": i}, verbosity=1)
        val({"loss": 0.5}, step=3)
        exp.log.info("half way")
    return exp


def content(folder: Path) -> dict[str, bytes]:
    """What lies in an output's folder, but for mlv's own notes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


class Ending(Lines):
    """Never comes to an end, or to one that is none."""

    name = "ending"

    def write(self, batch: Any) -> None:
        {"hangs": lambda: time.sleep(60), "exits": lambda: sys.exit(3), "dies": lambda: os._exit(3)}[self.how]()


class Noisy(Lines):
    """Shows the traceback of something that it got over."""

    name = "noisy"

    def write(self, batch: Any) -> None:
        super().write(batch)
        print("Traceback (most recent call last):\n  somewhere\nValueError: got over", file=sys.stderr, flush=True)
