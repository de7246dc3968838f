"""The experiment of a run of helios: what it is called, where it lies, and who holds it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from mlv import Exp, ExperimentExists
from mlv.compat.helios.core.outputs import EventFiles, LogFile

SUFFIX = ".mlv"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def get_default_log_name(run_name: str) -> str:
    """The name of a run with the local time: `myrun_Nov21_03-40-24`, whatever the locale."""
    now = datetime.now()
    return f"{run_name}_{_MONTHS[now.month - 1]}{now:%d_%H-%M-%S}"


def global_rank() -> int:
    """The rank of this process: that of torch.distributed where it is initialised, else the variable RANK, else 0."""
    torch = sys.modules.get("torch")
    distributed = getattr(torch, "distributed", None)
    try:
        if distributed is not None and distributed.is_available() and distributed.is_initialized():
            return int(distributed.get_rank())
        return int(os.environ.get("RANK", 0))
    except (ValueError, RuntimeError):
        return 0


class Run:
    """An experiment, held by the loggers that write into it; it ends with the last of them."""

    def __init__(self, exp: Exp, log_file: Path | None, run_path: Path | None) -> None:
        self.exp, self.log_file, self.run_path = exp, log_file, run_path
        self._holders = 0

    def hold(self) -> Run:
        """Say that one more logger writes into it."""
        self._holders += 1
        return self

    def release(self) -> None:
        """Say that a logger has closed: what it logged is in the files."""
        self._holders -= 1
        if self._holders == 0:
            self.exp.close()
        else:
            self.exp.flush(outputs=True)


def begin(
    name: str, log_file: Callable[[str], Path | None], run_path: Callable[[str], Path | None], home: Path, rank: int = 0
) -> Run:
    """A new run: an experiment `<home>/<name>.mlv`, with a number behind the name where something has it already.

    A rank above 0 has a name of its own, so that no rank writes into the files of another.

    Args:
        name: Of the run.
        log_file: Gives the text file for a name, None where there is to be none.
        run_path: Gives the folder of event files for a name, None where there is to be none.
        home: Folder of the experiment.
        rank: Of this process.
    """
    for free in _names(f"{name}_rank{rank}" if rank else name):
        file, folder = log_file(free), run_path(free)
        if any(path is not None and path.exists() for path in (file, folder)):
            continue
        try:
            return _made(Exp(home, free + SUFFIX, on_exists="error", outputs=_outputs(file, folder)), file, folder)
        except ExperimentExists:
            continue
    raise AssertionError("the names never end")


def go_on(log_file: Path | None, run_path: Path | None, rank: int = 0) -> Run | None:
    """A run whose files are there, or shall be exactly these; None where there are none."""
    if log_file is not None and rank:
        log_file = log_file.with_name(f"{log_file.stem.removesuffix(f'_rank{rank}')}_rank{rank}{log_file.suffix}")
    found = [place for place in _homes(log_file, run_path) if place.exists()] or list(_homes(log_file, run_path))[:1]
    for place in found[:1]:
        return _made(Exp(place.parent, place.name, on_exists="open", outputs=_outputs(log_file, run_path)), log_file, run_path)
    return None


def _names(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}_{number}" for number in count(1))


def _homes(log_file: Path | None, run_path: Path | None) -> Iterator[Path]:
    """Where the experiment of these files may be: event files belong to one experiment for ever, a text file need not."""
    if run_path is not None:
        yield run_path.with_name(run_path.name + SUFFIX)
        yield Path(os.path.abspath(run_path)).parents[1] / (run_path.name + SUFFIX)  # helios 2: <log_root>/tensorboard/<name>
    if log_file is not None:
        yield log_file.with_name(log_file.stem + SUFFIX)


def _outputs(log_file: Path | None, run_path: Path | None) -> list[Any]:
    files = [LogFile(path=log_file.parent, file=log_file.name)] if log_file is not None else []
    return [*files, *([EventFiles(path=run_path)] if run_path is not None else [])]


def _made(exp: Exp, log_file: Path | None, run_path: Path | None) -> Run:
    if log_file is not None:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        log_file.touch()
    if run_path is not None:
        run_path.mkdir(parents=True, exist_ok=True)
    return Run(exp, log_file, run_path)
