"""Optional packages of the readers, each imported where it is used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mlv.errors import MissingExtra


def needed(module: str, extra: str, what: str) -> Any:
    """Import a package of an extra.

    Raises:
        MissingExtra: It is not installed; the text says how to.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        text = f"{what} needs {package}: pip install mlvlogger[{extra}]"
        raise MissingExtra(text, package=package, extra=extra) from error
