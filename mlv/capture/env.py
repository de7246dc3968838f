"""The environment of a process: its variables, without credentials, and the packages that it can import."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mlv.capture.redaction import Redactor, printable


def capture_env(environ: Mapping[str, str], redactor: Redactor, *, path: Iterable[str] | None = None) -> dict[str, Any]:
    """List the environment variables and the installed packages, both sorted by name.

    Args:
        environ: The variables; those that are credentials keep their name and lose their value.
        redactor: Decides which are credentials, and remembers them.
        path: Folders to look for packages in; those of `sys.path` by default.

    Returns:
        `variables` and `packages` (`{"numpy": "2.4.6"}`; names in lower case with hyphens, as pip compares them).
    """
    folders = sys.path if path is None else path
    return {"variables": redactor.variables(environ), "packages": dict(sorted(_packages(folders).items()))}


def _packages(folders: Iterable[str]) -> dict[str, str]:
    packages: dict[str, str] = {}
    for folder in dict.fromkeys(folders):
        for name, version in _packages_in(folder or os.curdir):
            # Python imports from the first folder that has it.
            packages.setdefault(_normalised(name), printable(version))
    return packages


def _packages_in(folder: str) -> Iterator[tuple[str, str]]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:  # `sys.path` also names archives, and folders that are not there.
        return
    for name in names:
        if name.endswith((".dist-info", ".egg-info")) and (package := _package(folder, name)):
            yield package


# The folder's name holds both, thirty times quicker than the metadata inside. A name has no hyphen there; pip leaves
# folders that begin with "~" where it was interrupted.
_FOLDER = re.compile(r"(?P<name>[A-Za-z0-9][\w.]*)-(?P<version>v?\d[^-]*)(?:-py\d[\d.]*)?\.(?:dist|egg)-info")


def _package(folder: str, name: str) -> tuple[str, str] | None:
    match = _FOLDER.fullmatch(name)
    return (match["name"], match["version"]) if match else _package_from_metadata(folder, name)


def _package_from_metadata(folder: str, name: str) -> tuple[str, str] | None:
    from importlib.metadata import PathDistribution
    from pathlib import Path

    try:
        metadata = PathDistribution(Path(folder, name)).metadata
        # Asking for a missing field is deprecated in some versions of Python, and an error in others.
        return (metadata["Name"], metadata["Version"]) if "Name" in metadata and "Version" in metadata else None
    except Exception:  # Foreign files: a fault in one must not hide the others.
        return None


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
