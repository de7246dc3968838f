"""`wandb.integration`: the callbacks that wandb has for other libraries."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mlv.compat.wandb import limits

_MODULES = ("keras", "lightgbm", "sb3", "xgboost")


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        limits.missing("wandb.integration", name)
    return import_module(f"mlv.compat.wandb.integration.{name}")
