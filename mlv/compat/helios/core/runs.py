"""The experiment of a run of helios: its name, its folder, and the loggers that hold it."""

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
from mlv.compat.room import room_in

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def get_default_log_name(run_name: str) -> str:
    """Return the name of a run with the local time: `myrun_Nov21_03-40-24`, whatever the locale."""
    now = datetime.now()
    return f"{run_name}_{_MONTHS[now.month - 1]}{now:%d_%H-%M-%S}"


def global_rank() -> int:
    """Return the rank of this process: that of torch.distributed where it is initialised, else the variable RANK, else 0."""
    torch = sys.modules.get("torch")
    distributed = getattr(torch, "distributed", None)
    try:
        if distributed is not None and distributed.is_available() and distributed.is_initialized():
            return int(distributed.get_rank())
        return int(os.environ.get("RANK", 0))
    except (ValueError, RuntimeError):
        return 0


class HeliosRun:
    """An experiment, held by the loggers that write into it; it ends with the last of them."""

    def __init__(self, exp: Exp, log_file: Path | None, run_path: Path | None) -> None:
        self.exp, self.log_file, self.run_path = exp, log_file, run_path
        self._holders = 0

    def hold(self) -> HeliosRun:
        """Count one more logger that writes into it."""
        self._holders += 1
        return self

    def release(self) -> None:
        """Count a logger that has closed, once everything that it logged is in the files."""
        self._holders -= 1
        if self._holders == 0:
            self.exp.close()
        else:
            self.exp.flush(outputs=True)


def begin(
    name: str, log_file: Callable[[str], Path | None], run_path: Callable[[str], Path | None], rank: int = 0
) -> HeliosRun:
    """Begin a run: an experiment of its name, with a number behind it where the name is taken.

    A rank above 0 has a name of its own, so that no rank writes into the files of another.

    Args:
        name: Of the run.
        log_file: Gives the text file for a name, None where there is to be none.
        run_path: Gives the folder of event files for a name, None where there is to be none.
        rank: Of this process.
    """
    for free in _names(f"{name}_rank{rank}" if rank else name):
        file, folder = log_file(free), run_path(free)
        if any(path is not None and path.exists() for path in (file, folder)):
            continue
        try:
            return _run_with_files(
                Exp(_room(file, folder), free, on_exists="error", outputs=_outputs(file, folder)), file, folder
            )
        except ExperimentExists:
            continue
    raise AssertionError("the names never end")


def go_on(log_file: Path | None, run_path: Path | None, rank: int = 0) -> HeliosRun | None:
    """Return a run whose files are there, or shall be exactly these; None where there are none."""
    if log_file is not None and rank:
        log_file = log_file.with_name(f"{log_file.stem.removesuffix(f'_rank{rank}')}_rank{rank}{log_file.suffix}")
    if log_file is None and run_path is None:
        return None
    path = _experiment(log_file, run_path)
    return _run_with_files(
        Exp(path.parent, path.name, on_exists="open", outputs=_outputs(log_file, run_path)), log_file, run_path
    )


def _names(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}_{number}" for number in count(1))


def _experiment(log_file: Path | None, run_path: Path | None) -> Path:
    """Return the folder of the experiment of these files: event files belong to one for ever, a text file need not."""
    room = _room(log_file, run_path)
    if run_path is None:
        return room / (log_file.stem if log_file is not None else "")
    # The folder of a run may have another name than when it was made.
    existing = (path.parent for path in room.glob("*/meta.json"))
    return max(existing, key=_age, default=room / os.path.basename(os.path.abspath(run_path)))


def _age(folder: Path) -> tuple[float, str]:
    return (folder / "meta.json").stat().st_mtime, folder.name


def _room(log_file: Path | None, run_path: Path | None) -> Path:
    """Return the hidden folder that holds the experiment: in the run's own folder, so that listings of runs do not show it."""
    return room_in(run_path if run_path is not None else log_file.parent if log_file is not None else Path())


def _outputs(log_file: Path | None, run_path: Path | None) -> list[Any]:
    files = [LogFile(path=log_file.parent, file=log_file.name)] if log_file is not None else []
    return [*files, *([EventFiles(path=run_path)] if run_path is not None else [])]


def _run_with_files(exp: Exp, log_file: Path | None, run_path: Path | None) -> HeliosRun:
    if log_file is not None:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        log_file.touch()
    if run_path is not None:
        run_path.mkdir(parents=True, exist_ok=True)
    return HeliosRun(exp, log_file, run_path)
