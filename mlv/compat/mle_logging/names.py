"""What a user gives as seed, folder, configuration and names, in the forms that a logger uses."""

from __future__ import annotations

import os
from collections.abc import Mapping
from numbers import Integral
from typing import Any

from mlv.compat.mle_logging.configs import json_form
from mlv.compat.mle_logging.seats import safe_name


def seed_name(seed_id: Any) -> str:
    """The ID of a seed as text: a number `n` is `seed_<n>`."""
    if isinstance(seed_id, Integral) and not isinstance(seed_id, bool):
        return f"seed_{int(seed_id)}"
    return "no_seed_provided" if seed_id is None or seed_id == "" else safe_name(str(seed_id))


def folder_of(given: str, base: str, reload: bool) -> str:
    """The folder to log into; the root of the file system stands for the current one."""
    folder = "./" if given == "/" else given
    if not base:
        return folder
    found = sorted(os.listdir(folder)) if reload and os.path.isdir(folder) else []
    if base not in found:  # it may have been given a time in front
        base = next((name for name in found if name.endswith(base)), base)
    return os.path.join(folder, base)


def as_params(config: Any) -> dict[str, Any]:
    """A configuration as params of an experiment."""
    found = json_form(config if isinstance(config, Mapping) else {"config": config})
    assert isinstance(found, dict)
    return found


def column_name(name: Any) -> str:
    """The name of a column: a text that is not empty."""
    return str(name) or "unnamed"
