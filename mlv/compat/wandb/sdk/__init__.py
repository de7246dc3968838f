"""`wandb.sdk`: the few of its modules that libraries reach into."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mlv.compat.wandb import limits

_MODULES = {
    "data_types": "data_types",
    "lib": "sdk.lib",
    "wandb_config": "config",
    "wandb_run": "run",
    "wandb_settings": "settings",
    "wandb_summary": "summary",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        limits.missing("wandb.sdk", name)
    return import_module(f"mlv.compat.wandb.{_MODULES[name]}")
