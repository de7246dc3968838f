"""Experiments and loggers that were pickled: they travel as a path and the run that they came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlv.errors import MlvWarning
from mlv.experiment.disabled import session_for
from mlv.experiment.exp import Exp
from mlv.experiment.logger import Logger
from mlv.experiment.muted import logger_of
from mlv.experiment.opening.setup import Parts
from mlv.experiment.session import Session, session_in_this_process
from mlv.experiment.silent import Silent
from mlv.notices import warn
from mlv.store import meta as meta_
from mlv.transport.wishes import Wishes


def travelled_exp(path: str, exp_id: str, run: str | None, wishes: Wishes, rank: int = 0, is_silent: bool = False) -> Exp:
    """An Exp that was pickled: the same run in its own process, elsewhere one that names the run it came from."""
    folder = Path(path)
    meta = meta_.read_meta(folder)
    edited = meta_.check_identity(folder, meta)
    if edited is not None:
        warn(str(edited), MlvWarning)
    session = _session(folder, exp_id, run, wishes, rank, is_silent)
    return Exp.of_parts(Parts(folder, meta, session, wishes.redactor(), edited=edited))


def travelled_logger(
    path: str,
    exp_id: str,
    run: str | None,
    wishes: Wishes,
    stream: str,
    name: str,
    at: Mapping[str, Any],
    filter: str | None,
    verbosity: int = 0,
    rank: int = 0,
    is_silent: bool = False,
) -> Logger:
    """A Logger that was pickled; as `travelled_exp`.

    Raises:
        MetaEdited: meta.json is not the one that the runs recorded: a Logger could do nothing.
    """
    edited = meta_.check_identity(Path(path), meta_.read_meta(Path(path)))
    if edited is not None:
        raise edited
    return logger_of(_session(Path(path), exp_id, run, wishes, rank, is_silent), stream, name, at, filter, verbosity)


def _session(folder: Path, exp_id: str, run: str | None, wishes: Wishes, rank: int, is_silent: bool) -> Session:
    if is_silent and session_in_this_process(folder, exp_id) is None:
        return Silent(folder, exp_id, rank)
    return session_for(folder, exp_id, parent_run=run, rank=rank, wishes=wishes)
