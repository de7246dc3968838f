"""Optional packages: whether they are installed, and importing them or saying which extra brings them."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

from mlv.errors import MissingExtra


def package(module: str, extra: str | None = "frame") -> Any:
    """Import a module of an optional package, and return it.

    Raises:
        MissingExtra: It is not installed, or cannot be imported; the text names the extra to install, or the package itself
            where no extra brings it.
    """
    try:
        __import__(module)  # the fastest way for a module that is imported already: each block of a log asks dozens of times
    except ImportError as error:
        name = module.partition(".")[0]
        # In quotes: zsh, the shell of macOS, takes brackets for a pattern.
        wanted = f"'mlvlogger[{extra}]'" if extra else name
        text = f"this needs {name}, which cannot be imported ({error}): pip install {wanted}"
        raise MissingExtra(text, package=name, extra=extra) from error
    return sys.modules[module]


@cache
def is_installed(module: str) -> bool:
    """Return whether a module could be imported, without importing it."""
    from importlib.util import find_spec  # two modules that `import mlv` does without

    try:
        return find_spec(module) is not None
    except ValueError:  # it was put into sys.modules by hand
        return True
