"""PyTorch Lightning: `Logger` and `Callback`, of the classes of the package `pytorch_lightning`."""

from __future__ import annotations

from typing import Any

from mlv.integrations.lightning import class_of


def callbacks() -> list[Any]:
    """Return the callbacks that each trainer gets; Lightning calls this by an entry point."""
    return [__getattr__("Callback")()] if "Logger" in globals() else []


def register() -> None:
    """Have each trainer that is made from now on get the callback, and raise what speaks against it."""
    __getattr__("Logger")


def __getattr__(name: str) -> Any:
    if name in globals():
        return globals()[name]
    globals()[name] = made = class_of(__name__, "pytorch_lightning", name)
    return made
