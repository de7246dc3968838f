"""The versions of artifacts in a project, `<project>/.wandb-artifacts/<name>/v<N>.json`; their files lie in experiments."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlv.capture.redaction import Redactor
from mlv.compat.wandb.errors import UsageError
from mlv.compat.wandb.terminal import termwarn

FOLDER = ".wandb-artifacts"
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_VERSION = re.compile(r"v(\d+)\.json")


def is_name(text: str) -> bool:
    """Return whether an artifact may have a name, which a folder has then."""
    return _NAME.fullmatch(text) is not None and bool(text.strip("."))


def taken_version(project: Path, name: str) -> int:
    """Take the next version of an artifact for this process, and return its number.

    Raises:
        OSError: Nothing can be written there.
    """
    folder = project / FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    number = max(_numbers(folder), default=-1) + 1
    while True:
        try:  # others may take versions at the same time; a version that was taken and never recorded is passed over
            os.close(os.open(folder / f"v{number}.json", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            return number
        except FileExistsError:
            number += 1


def record(project: Path, name: str, number: int, entry: Mapping[str, Any]) -> None:
    """Write down a version, whole or not at all, without credentials: metadata is often the config.

    Raises:
        OSError: It cannot be written.
        TypeError: The description has no JSON form.
    """
    path = project / FOLDER / name / f"v{number}.json"
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    text = json.dumps(_without_credentials(entry), indent=2) + "\n"
    try:
        temporary.write_text(text)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def recorded(project: Path, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the versions of an artifact, the latest first; a file that is no version, or leads out of folders, is none."""
    folder = project / FOLDER / name
    if not is_name(name):
        return
    for number in sorted(_numbers(folder), reverse=True):
        with suppress(OSError, ValueError):  # taken, and not recorded yet
            entry = json.loads((folder / f"v{number}.json").read_text())
            if _is_entry(entry):
                yield number, entry


def chosen(project: Path, reference: str) -> tuple[str, int, dict[str, Any]]:
    """Return name, version and entry of `name`, `name:alias` or `name:v3`; an alias belongs to the latest version that has it.

    Raises:
        UsageError: There is none.
    """
    name, _, alias = reference.partition(":")
    alias = alias or "latest"
    versions = list(recorded(project, name)) if name else []
    for number, entry in versions:
        if alias in ("latest", f"v{number}") or alias in entry["aliases"]:
            return name, number, entry
    there = ", ".join(f"{name}:v{number}" for number, _ in versions) or ", ".join(_names(project)) or "nothing"
    raise UsageError(f"there is no artifact {reference!r} in {project}; there is: {there}", context={"artifact": reference})


def _without_credentials(entry: Mapping[str, Any]) -> dict[str, Any]:
    redactor = Redactor()
    files = {
        name: {**facts, "ref": redactor.url(facts["ref"], f"files.{name}")} if "ref" in facts else facts
        for name, facts in entry["files"].items()
    }
    text = entry.get("description")
    clean = {
        **entry,
        "metadata": redactor.params(entry["metadata"], "metadata"),
        "description": redactor.text(text, "description") if isinstance(text, str) else text,
        "files": files,
    }
    if redactor.redactions:
        termwarn(f"kept from the disk, because they look like credentials: {', '.join(redactor.redactions)}")
    return clean


def _is_entry(entry: Any) -> bool:
    """Return whether this describes a version, whose files lie in one experiment of the project."""
    kinds = {"aliases": list, "metadata": dict, "files": dict}
    kinds |= dict.fromkeys(("type", "digest", "exp", "experiment", "created"), str)
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), kind) for key, kind in kinds.items()):
        return False
    folder = entry["experiment"]
    return (
        _is_below(folder)
        and len(Path(folder).parts) == 1
        and all(
            isinstance(facts, dict)
            and _is_below(name)
            and (isinstance(facts.get("ref"), str) or _is_below(str(facts.get("path", ""))))
            for name, facts in entry["files"].items()
        )
    )


def _is_below(text: str) -> bool:
    path = Path(text)
    return bool(path.parts) and not path.anchor and ".." not in path.parts


def _numbers(folder: Path) -> list[int]:
    try:
        matches = [_VERSION.fullmatch(name) for name in os.listdir(folder)]
    except OSError:
        return []
    return [int(match[1]) for match in matches if match is not None]


def _names(project: Path) -> list[str]:
    try:
        return sorted(os.listdir(project / FOLDER))
    except OSError:
        return []
