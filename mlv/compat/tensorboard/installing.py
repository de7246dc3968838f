"""The SummaryWriter in the place of the originals, for libraries that import those themselves; and out of it again."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

NAME = "SummaryWriter"
_OURS = {
    "torch.utils.tensorboard.writer": "mlv.compat.tensorboard.writer",
    "tensorboardX.writer": "mlv.compat.tensorboardX.writer",
}
"""The module of the class here, by that of each original."""
_originals: dict[str, Any] = {}
"""Classes that were replaced, by their modules."""


def install() -> None:
    """Put the SummaryWriter here in the place of torch's and of tensorboardX's, in all modules that have it or import it later.

    Neither package is imported for it. Writers that exist already stay what they are. A second call does nothing.
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    for module in _OURS:
        if module in sys.modules:
            _replace(module)


def uninstall() -> None:
    """Put the originals back in all modules; writers that exist already stay what they are."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
    for module, theirs in list(_originals.items()):
        _swap(getattr(import_module(_OURS[module]), NAME), theirs)
        del _originals[module]


@contextmanager
def installed() -> Iterator[None]:
    """Have the SummaryWriter installed for a block; where it is installed already, it stays so."""
    was_installed = any(isinstance(finder, _Finder) for finder in sys.meta_path)
    install()
    try:
        yield
    finally:
        if not was_installed:
            uninstall()


def original(module: str) -> Any:
    """Return the original class of a module, whether it is replaced or not.

    Raises:
        ImportError: Its package is not installed.
    """
    imported = import_module(module)
    return _originals.get(module) or getattr(imported, NAME)


def _replace(module: str) -> None:
    theirs, ours = getattr(sys.modules[module], NAME, None), getattr(import_module(_OURS[module]), NAME)
    if theirs is not None and theirs is not ours:
        _originals[module] = theirs
        _swap(theirs, ours)


def _swap(before: Any, after: Any) -> None:
    """Replace a class wherever a module has it under its name; our own modules keep theirs."""
    for name, module in list(sys.modules.items()):
        if isinstance(module, ModuleType) and not name.startswith("mlv.") and vars(module).get(NAME) is before:
            setattr(module, NAME, after)


class _Finder(MetaPathFinder):
    """Finds the modules of the originals as others do, and has their class replaced once they are imported."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname not in _OURS:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):  # the import system passes over those that lack it
                continue
            if (spec := finder.find_spec(fullname, path, target)) is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader)
                return spec
        return None


class _Loader(Loader):
    """Loads a module as its own loader does, then replaces its class."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _replace(module.__name__)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
