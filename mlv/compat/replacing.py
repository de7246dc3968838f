"""The environment in which every Python has drop-ins in the places of their originals."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

STARTUP = Path(__file__).parent / "startup"
"""The folder whose `sitecustomize` each Python below imports at its start."""


def environment_of(names: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which each Python has the drop-ins: the process, and all that it starts."""
    before = environ.get("PYTHONPATH")
    paths = [str(STARTUP), *(before.split(os.pathsep) if before else ())]  # an empty one among them is the current folder
    return {**environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)), "MLV_RUN_AS": ",".join(names)}
