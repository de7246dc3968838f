"""Arguments of a user - seed, folder, configuration, names - in the forms that a logger uses."""

from __future__ import annotations

import os
from collections.abc import Mapping
from numbers import Integral
from typing import Any

from mlv.compat.mle_logging.configs import json_form
from mlv.compat.mle_logging.seats import safe_name


def seed_name(seed_id: Any) -> str:
    """Return the ID of a seed as text: a number `n` is `seed_<n>`."""
    if isinstance(seed_id, Integral) and not isinstance(seed_id, bool):
        return f"seed_{int(seed_id)}"
    return "no_seed_provided" if seed_id is None or seed_id == "" else safe_name(str(seed_id))


def folder_of(experiment_dir: str, base: str, reload: bool) -> str:
    """Return the folder to log into; the root of the file system stands for the current one."""
    folder = "./" if experiment_dir == "/" else experiment_dir
    if not base:
        return folder
    names = sorted(os.listdir(folder)) if reload and os.path.isdir(folder) else []
    if base not in names:  # it may have been given a time in front
        base = next((name for name in names if name.endswith(base)), base)
    return os.path.join(folder, base)


def as_params(config: Any) -> dict[str, Any]:
    """Return a configuration as params of an experiment."""
    params = json_form(config if isinstance(config, Mapping) else {"config": config})
    assert isinstance(params, dict)
    return params


def column_name(name: Any) -> str:
    """Return the name of a column: a text that is not empty."""
    return str(name) or "unnamed"
