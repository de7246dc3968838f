"""Sub-experiments of an experiment that go on from none of its checkpoints: trials, jobs, candidates."""

from __future__ import annotations

from typing import Any

from mlv import Exp, init_sub_exp


def sub_experiment(exp: Exp, kind: str, name: str, params: Any = None) -> Exp:
    """Make `<folder of the experiment>/<kind>/<name>` and begin a run in it; a name that is taken gets a suffix.

    What it goes on from is `meta.json` of the experiment, which never changes, and whose SHA-256 is the ID.
    """
    return init_sub_exp(exp.path / "meta.json", kind, name, params)
