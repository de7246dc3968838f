"""Which Python runs, and which packages it has: what mlv needs, and what its extras bring."""

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
    """Python, the packages that are needed, and those of each extra."""
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
    """Names and versions of what is needed, and of what each extra brings."""
    needed: list[tuple[str, str]] = []
    extras: dict[str, list[tuple[str, str]]] = {}
    for text in required:
        found = _REQUIREMENT.match(text)
        if found is None or found["name"] == _DISTRIBUTION:
            continue
        marker = found["marker"] or ""
        until = re.search(r"python_version\s*<\s*['\"]3\.(\d+)['\"]", marker)
        if until is not None and sys.version_info >= (3, int(until[1])):
            continue
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", marker)
        if extra is None:
            needed.append((found["name"], found["versions"]))
        elif extra[1] not in _FOR_WORK_ON_MLV:
            extras.setdefault(extra[1], []).append((found["name"], found["versions"]))
    return needed, extras


def _needed(requirements: list[tuple[str, str]]) -> Check:
    text, wrong = _versions(requirements)
    if wrong:
        return Check("python", "packages", text, CHANGE, f"pip install --upgrade {' '.join(wrong)}")
    return Check("python", "packages", text)


def _extra(extra: str, requirements: list[tuple[str, str]]) -> Check:
    text, wrong = _versions(requirements)
    if wrong:
        return Check("python", f"extra {extra}", f"{text}; for all of it: pip install {_DISTRIBUTION}[{extra}]", NOTE)
    return Check("python", f"extra {extra}", text)


def _versions(requirements: list[tuple[str, str]]) -> tuple[str, list[str]]:
    """Each package with its version, and those that are missing or too old as pip takes them."""
    texts, wrong = [], []
    for name, versions in requirements:
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            found = ""
        least = re.search(r">=\s*([\d.]+)", versions)
        is_old = bool(found) and least is not None and _numbers(found) < _numbers(least[1])
        texts.append(f"{name} {found or 'is missing'}" + (f" is older than {least[1]}" if is_old and least else ""))
        if not found or is_old:
            wrong.append(f"'{name}{versions.strip()}'")
    return ", ".join(texts), wrong


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
