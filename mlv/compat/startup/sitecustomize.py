"""Begins each Python below `mlv run`: the drop-ins that `MLV_RUN_AS` names take the places of their originals.

Python imports a module of this name when it starts, from the first folder of `PYTHONPATH` that has one; that is this folder.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec
from typing import Any

_LATER = ("wandb",)
"""Drop-ins that are installed at the first import of their original: many a process below needs none."""


class _AtFirstImport:
    """Installs a drop-in when its original is looked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return the spec that the drop-in's own finder gives."""
        if fullname.partition(".")[0] != self._name:
            return None
        sys.meta_path.remove(self)
        before = [*sys.meta_path]
        _install(self._name)
        finders = [finder for finder in sys.meta_path if finder not in before]
        return next((spec for finder in finders if (spec := finder.find_spec(fullname, path, target)) is not None), None)


def _install(name: str) -> None:
    try:
        import_module(f"mlv.compat.{name}").install()
    except ImportError as error:
        print(f"mlv run: {name} is not replaced in {sys.executable}: {error}", file=sys.stderr)


def _begin(names: list[str]) -> None:
    for name in names:
        if name in _LATER:
            sys.meta_path.insert(0, _AtFirstImport(name))
        else:
            _install(name)


def _run_hidden(own: str) -> None:
    """Run the module of this name that would have been imported without this one, if there is any."""
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != own]
    spec = PathFinder.find_spec("sitecustomize", sys.path)
    if spec is not None and spec.loader is not None:
        module = module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


try:
    _run_hidden(os.path.dirname(os.path.abspath(__file__)))
finally:  # also where that raises, which Python reports before it runs the script: that must not reach the originals
    _begin([name for name in os.environ.get("MLV_RUN_AS", "").split(",") if name])
