"""`wandb.apis`: reading runs that were logged."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mlv.compat.wandb import limits


def __getattr__(name: str) -> Any:
    if name == "PublicApi":
        return import_module("mlv.compat.wandb.apis.public").Api
    return import_module("mlv.compat.wandb.apis.public") if name == "public" else limits.missing("wandb.apis", name)
