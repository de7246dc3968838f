"""Experiments and loggers that were pickled: they travel as a path and the run that they came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlv.experiment import identity
from mlv.experiment.captures import make_redactor
from mlv.experiment.exp import Exp
from mlv.experiment.logger import Logger
from mlv.experiment.making import Parts
from mlv.experiment.session import Session, session_in_this_process


def travelled_exp(path: str, exp_id: str, run: str | None) -> Exp:
    """An Exp that was pickled: the same run in its own process, elsewhere one that names the run it came from."""
    folder = Path(path)
    session = _session(folder, exp_id, run)
    return Exp.of_parts(Parts(folder, identity.read_meta(folder), session, make_redactor((), ())))


def travelled_logger(
    path: str, exp_id: str, run: str | None, stream: str, name: str, at: Mapping[str, Any], filter: str | None
) -> Logger:
    """A Logger that was pickled; as `travelled_exp`."""
    return Logger(_session(Path(path), exp_id, run), stream, name, at, filter)


def _session(folder: Path, exp_id: str, run: str | None) -> Session:
    return session_in_this_process(folder, exp_id) or Session(folder, exp_id, parent_run=run)
