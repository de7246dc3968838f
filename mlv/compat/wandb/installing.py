"""`install`: `import wandb` gives this module, in libraries too."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from mlv.compat.wandb.errors import MissingModule, UsageError

_OWN = "mlv.compat.wandb"
_MODULES = {
    "wandb": _OWN,
    "wandb.apis": f"{_OWN}.apis",
    "wandb.apis.public": f"{_OWN}.apis.public",
    "wandb.data_types": f"{_OWN}.data_types",
    "wandb.env": f"{_OWN}.env",
    "wandb.errors": f"{_OWN}.errors",
    "wandb.helper": f"{_OWN}.helper",
    "wandb.util": f"{_OWN}.util",
    "wandb.wandb_run": f"{_OWN}.run",
    "wandb.plot": f"{_OWN}.plot",
    "wandb.sdk": f"{_OWN}.sdk",
    "wandb.sdk.data_types": f"{_OWN}.data_types",
    "wandb.sdk.artifacts": f"{_OWN}.artifacts",
    "wandb.sdk.artifacts.artifact": f"{_OWN}.artifacts",
    "wandb.sdk.wandb_config": f"{_OWN}.config",
    "wandb.sdk.wandb_run": f"{_OWN}.run",
    "wandb.sdk.wandb_settings": f"{_OWN}.settings",
    "wandb.sdk.wandb_summary": f"{_OWN}.summary",
    "wandb.sdk.lib": f"{_OWN}.sdk.lib",
    "wandb.sdk.lib.config_util": f"{_OWN}.errors",
    "wandb.sdk.lib.runid": f"{_OWN}.util",
    "wandb.integration": f"{_OWN}.integration",
    **{
        f"wandb.{folder}{name}": f"{_OWN}.integration.{name}"
        for folder in ("", "integration.")
        for name in ("keras", "lightgbm", "sb3", "xgboost")
    },
}
"""The modules that libraries and scripts import, and those of this package that are given for them."""


def install() -> None:
    """Have `import wandb` give this module from now on, in this process.

    `importlib.metadata` goes on saying which distributions are installed: a library that asks it for wandb finds none here.

    Raises:
        UsageError: The real wandb is imported already.
    """
    imported = sys.modules.get("wandb")
    if imported is not None and imported.__name__ != _OWN:
        path = getattr(imported, "__file__", None)
        raise UsageError(f"wandb is imported already, from {path}: call install() before anything imports it")
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def uninstall() -> None:
    """Undo `install`, for what is imported afterwards."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
    for name in [name for name in sys.modules if name in _MODULES]:
        del sys.modules[name]


class _Finder:
    """Answers for `wandb` and every module below it.

    It has no base: `importlib.abc` takes longer to import than all else here.
    """

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        """Return the spec of a module of this package.

        Raises:
            MissingModule: wandb may have such a module, and this package has not.
        """
        if fullname.partition(".")[0] != "wandb":
            return None
        if fullname not in _MODULES:
            text = f"{fullname} is not in mlv.compat.wandb, which serves for wandb here: see its page, Move from W&B"
            raise MissingModule(text)
        alias: Any = _Alias(_MODULES[fullname])
        return ModuleSpec(
            fullname, alias, is_package=fullname in ("wandb", "wandb.apis", "wandb.sdk", "wandb.sdk.artifacts", "wandb.sdk.lib")
        )


class _Alias:
    """Gives a module under a second name, without running it a second time."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module."""
        module = import_module(self._name)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its own spec back, which the import of the second name has replaced."""
        module.__spec__ = self._spec
