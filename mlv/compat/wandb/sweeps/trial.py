"""The point of a sweep that this process tries: agents name it by variables, so that programs and their children find it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlv.compat.wandb.errors import UsageError
from mlv.compat.wandb.sweeps.folder import Claim, SweepFolder
from mlv.compat.wandb.sweeps.hyperband import Stopper

SWEEP_ID, PARAM_PATH, RUN_ID = "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH", "WANDB_RUN_ID"
ENTITY, PROJECT = "WANDB_ENTITY", "WANDB_PROJECT"


@dataclass(frozen=True)
class Trial:
    """A point, as the run of it sees it."""

    sweep: SweepFolder
    number: int
    config: dict[str, Any]

    def stopper(self) -> Stopper | None:
        """Return what ends the run early; None where nothing does."""
        if not self.sweep.config.get("early_terminate"):
            return None
        return Stopper(self.sweep.path, self.number, self.sweep.config)


def variables_of(claim: Claim) -> dict[str, str]:
    """Return the variables that name a point."""
    return {SWEEP_ID: claim.sweep.id, PARAM_PATH: str(claim.path.absolute()), RUN_ID: claim.point.run_id}


def trial_of(environ: Mapping[str, str]) -> Trial | None:
    """Return the point that variables name; None if they name none.

    Raises:
        UsageError: The file that they name cannot be read.
    """
    text = environ.get(PARAM_PATH)
    if not text:
        return None
    path = Path(text)
    try:
        facts = json.loads(path.read_text())
        return Trial(SweepFolder(path.parent.parent), int(facts["number"]), dict(facts["config"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{PARAM_PATH}={text} is no point of a sweep: unset it, or run the agent again ({error})") from error


def is_named() -> bool:
    """Return whether variables name a point."""
    return bool(os.environ.get(PARAM_PATH))
