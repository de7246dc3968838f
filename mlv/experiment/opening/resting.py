"""Experiments at rest: nothing is moved or removed under a run that goes on."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from mlv.errors import ExperimentBusy
from mlv.experiment.opening.setup import recover_if_needed
from mlv.query.runs import views
from mlv.store import layout
from mlv.store.reading import read_state


def check_rest(folder: Path, verb: str) -> None:
    """Write the pending events of killed runs in an experiment and in those below it, and accept them where none goes on.

    Raises:
        ExperimentBusy: A run goes on.
    """
    for inner in layout.walk(folder):
        recover_if_needed(inner)
        now = datetime.now(timezone.utc)
        running = next((run for run in views(read_state(inner), now) if run.status == "running"), None)
        if running is not None:
            text = f"{folder} cannot be {verb}: run {running.id} goes on in {inner}. End it first"
            raise ExperimentBusy(text, path=str(inner))
