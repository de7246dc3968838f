"""Integrations where their library is missing: they are imported without it, and say what to install when they are used."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import pytest

import mlv

CLASSES = [
    *(("catboost", "Callback"), ("ignite", "Logger"), ("keras", "Callback"), ("lightgbm", "Callback"), ("optuna", "Callback")),
    *(("hydra", "Callback"), ("skorch", "Callback"), ("xgboost", "Callback"), ("accelerate", "Tracker")),
    *(("lightning", "Logger"), ("transformers", "Callback"), ("mlflow", "tracking_store")),
    *(("ray", "Callback"), ("ray", "TrainCallback")),
]
INSTALLED = {"hydra": "hydra-core", "ignite": "pytorch-ignite", "mlflow": "mlflow-skinny", "ray": r"ray\[(tune|train)\]"}
"""Names under which libraries are installed, where they are others."""


@pytest.mark.parametrize(("library", "name"), CLASSES, ids=lambda text: text)
def test_a_missing_library_is_named(library, name, monkeypatch):
    """What needs the library says how to install it; the module itself does not need it."""
    module: Any = import_module(f"mlv.integrations.{library}")
    if "__getattr__" in vars(module):
        monkeypatch.delitem(vars(module), name, raising=False)  # the class that was derived from one of the library
    monkeypatch.setitem(sys.modules, library, None)

    with pytest.raises(mlv.MissingExtra, match=f"pip install '{INSTALLED.get(library, library)}>="):
        getattr(module, name)()
