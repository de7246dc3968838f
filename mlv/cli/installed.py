"""Checks of the Python version and of the installed packages: mlv's requirements, and those of its extras."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata

from mlv.cli.examine import CHANGE, NOTE, Check

_DISTRIBUTION = "mlvlogger"
_SUPPORTED = ((3, 10), (3, 13))
_FOR_WORK_ON_MLV = ("test", "examples")
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?:\[(?P<extras>[^\]]*)\])?\s*(?P<versions>[^;]*)(?:;(?P<marker>.*))?")


def installed() -> Iterator[Check]:
    """Yield the checks of Python, of the required packages, and of each extra."""
    yield _python()
    try:
        required = metadata.requires(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        yield Check("python", "packages", "mlv was not installed: nobody knows what it needs", NOTE)
        return
    needed, extras = _sorted(required)
    yield _needed(needed)
    for extra, requirements in sorted(extras.items()):
        yield _extra(extra, requirements)


def _python() -> Check:
    text = f"{platform.python_version()}, {sys.executable or 'embedded'}"
    first, last = _SUPPORTED
    if first <= sys.version_info[:2] <= last:
        return Check("python", "version", text)
    tested = " to ".join(".".join(map(str, version)) for version in _SUPPORTED)
    return Check("python", "version", f"{text}: mlv is tested with {tested}", NOTE)


def _sorted(required: list[str]) -> tuple[list[tuple[str, str]], dict[str, list[tuple[str, str]]]]:
    """Return names and versions of the required packages, and of those of each extra."""
    needed: list[tuple[str, str]] = []
    extras: dict[str, list[tuple[str, str]]] = {}
    for text in required:
        match = _REQUIREMENT.match(text)
        if match is None or match["name"] == _DISTRIBUTION:
            continue
        marker = match["marker"] or ""
        until = re.search(r"python_version\s*<\s*['\"]3\.(\d+)['\"]", marker)
        if until is not None and sys.version_info >= (3, int(until[1])):
            continue
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", marker)
        if extra is None:
            needed.append((match["name"], match["versions"]))
        elif extra[1] not in _FOR_WORK_ON_MLV:
            extras.setdefault(extra[1], []).append((match["name"], match["versions"]))
    return needed, extras


def _needed(requirements: list[tuple[str, str]]) -> Check:
    text, wrong = _versions(requirements)
    if wrong:
        return Check("python", "packages", text, CHANGE, f"pip install --upgrade {' '.join(wrong)}")
    return Check("python", "packages", text)


def _extra(extra: str, requirements: list[tuple[str, str]]) -> Check:
    text, wrong = _versions(requirements)
    if wrong:
        return Check("python", f"extra {extra}", f"{text}; for all of it: pip install '{_DISTRIBUTION}[{extra}]'", NOTE)
    return Check("python", f"extra {extra}", text)


def _versions(requirements: list[tuple[str, str]]) -> tuple[str, list[str]]:
    """Return the packages with their versions, as text, and those that are missing or too old, as arguments for pip."""
    texts, wrong = [], []
    for name, versions in requirements:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            version = ""
        least = re.search(r">=\s*([\d.]+)", versions)
        is_old = bool(version) and least is not None and _numbers(version) < _numbers(least[1])
        texts.append(f"{name} {version or 'is missing'}" + (f" is older than {least[1]}" if is_old and least else ""))
        if not version or is_old:
            wrong.append(f"'{name}{versions.strip()}'")
    return ", ".join(texts), wrong


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"\d+", version)[:3])
