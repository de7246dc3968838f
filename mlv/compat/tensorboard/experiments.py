"""The experiment of a log_dir: in the hidden folder in it, one for each writer, or the latest where a writer goes back."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from socket import gethostname
from time import time
from typing import Any

from mlv import Exp, InvalidArgument, MlvError
from mlv.compat.room import room_in
from mlv.compat.telling import warn


def begin(folder: Path, outputs: Sequence[Any]) -> Exp:
    """Make an experiment of this process alone: as with the original, ranks do not wait for each other."""
    return Exp(room_in(folder), f"{int(time())}_{gethostname()}", outputs=outputs, ranks="apart")


def go_back(folder: Path, step: int, outputs: Sequence[Any]) -> Exp | None:
    """Open the latest experiment, and supersede what it has from a step on; None where there is none to go on with."""
    existing = [path.parent for path in room_in(folder).glob("*/meta.json")]
    if not existing:
        return None
    latest = max(existing, key=_age)
    try:
        exp = Exp.open(latest, outputs=outputs, ranks="apart")
        with suppress(InvalidArgument):  # the log has not come so far: there is nothing to supersede
            exp.rewind(step - 1)
    except MlvError as error:
        warn(f"{latest} cannot be gone on with: {error}. A new experiment begins beside it")
        return None
    return exp


def _age(folder: Path) -> tuple[float, str]:
    return (folder / "meta.json").stat().st_mtime, folder.name
