"""The libraries that are integrated: importing one, and what is said where its version is not known to work."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

from mlv import MissingExtra
from mlv.integrations.connection import warn

_warned: set[str] = set()
"""Packages whose version was warned about."""


def framework(module: str, *, least: str, below: str, install: str | None = None) -> Any:
    """Import a module of a library, and return it.

    Args:
        module: Its name, such as `keras` or `lightning.pytorch.loggers`.
        least: The oldest version that has the interface.
        below: The version from which on nobody has tried it: a warning says so, once.
        install: The name under which the library is installed, where it is another than that of the package.

    Raises:
        MissingExtra: It is not installed, cannot be imported, or is too old; the text names what to install.
    """
    package = module.partition(".")[0]
    install = install or package
    command = f"pip install '{install}>={least},<{below}'"
    try:
        imported, version = import_module(module), getattr(import_module(package), "__version__", None)
    except ImportError as error:
        raise MissingExtra(
            f"this needs {install}, which cannot be imported ({error}): {command}", package=package, extra=None
        ) from error
    if not isinstance(version, str) or not _numbers(version):
        return imported
    if _numbers(version) < _numbers(least):
        text = f"{install} {version} is too old: this works with {least} and newer: {command}"
        raise MissingExtra(text, package=package, extra=None, version=version)
    if _numbers(version) >= _numbers(below) and package not in _warned:
        _warned.add(package)
        warn(f"{install} {version} is newer than mlv knows: it was tried with versions from {least} on, below {below}")
    return imported


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with: `(2, 13, 0)` for `2.13.0+cpu` and `2.13.0rc1`."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(number) for number in match[0].split(".")) if match else ()
