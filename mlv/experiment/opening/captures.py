"""The captures of a process: script, git, environment and machine, with credentials kept from the disk."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlv.capture.patterns import storable, stored
from mlv.capture.redaction import REDACTED, Redactor
from mlv.encoding import Reference
from mlv.errors import InvalidArgument, InvalidName, InvalidPattern, RedactedWarning
from mlv.notices import warn
from mlv.store import layout, opening
from mlv.store.files import publish

CAPTURES = ("script", "git", "env", "machine")


def check_captures(names: Collection[str]) -> tuple[str, ...]:
    """Accept the names of captures.

    Raises:
        InvalidArgument: One is unknown.
    """
    unknown = [name for name in names if name not in CAPTURES] if not isinstance(names, str) else [names]
    if unknown:
        raise InvalidArgument(f"capture={names!r}: {unknown[0]!r} is none of {', '.join(CAPTURES)}", capture=names)
    return tuple(names)


def make_redactor(patterns: Iterable[str], exceptions: Iterable[str]) -> Redactor:
    """Return a redactor with the user's own patterns and exceptions.

    Raises:
        InvalidPattern: One is no regular expression.
    """
    try:
        return Redactor(patterns, exceptions)
    except ValueError as error:
        raise InvalidPattern(str(error)) from None


def redactor_of(meta: Mapping[str, Any], patterns: Iterable[str] = (), exceptions: Iterable[str] = ()) -> Redactor:
    """Return a redactor with the patterns that a meta.json keeps, and those of the user's own.

    Raises:
        InvalidPattern: One of the latter is no regular expression.
    """
    both = (stored(meta, "redact"), patterns), (stored(meta, "keep"), exceptions)
    return make_redactor(*(tuple(dict.fromkeys([*of_meta, *own])) for of_meta, own in both))


def patterns_to_keep(redactor: Redactor) -> dict[str, list[str]]:
    """Return the fields of meta.json by which later runs redact as this one; warn of patterns that cannot be kept there."""
    fields = {"redact": storable(redactor.patterns), "keep": storable(redactor.exceptions)}
    left_out = len({*redactor.patterns, *redactor.exceptions}) - len({*fields["redact"], *fields["keep"]})
    if left_out:
        warn(
            f"{left_out} of the patterns in redact= and redact_except= hold for this run alone: what spells out a credential, "
            f"or could take for ever, is not kept in meta.json. Give it again to later runs",
            RedactedWarning,
        )
    return {name: patterns for name, patterns in fields.items() if patterns}


def refuse_credential(redactor: Redactor, name: str, subject: str) -> None:
    """Refuse a name of a folder or file of the experiment that looks like a credential.

    Raises:
        InvalidName: It looks like one; the message does not show it.
    """
    clean = redactor.name(name, subject)
    redactor.redactions.clear()
    if clean != name:
        raise InvalidName(
            f"{subject} {clean!r}: what stands as {REDACTED} looks like a credential, and would be the name of a folder or a "
            f"file. Choose another, or exempt it with redact_except=[{subject!r}]",
            name=clean,
        )


def capture(names: Collection[str], redactor: Redactor, folder: Path, diff_name: str) -> dict[str, Any]:
    """Return the requested captures by name; the diff of tracked files becomes the attachment `files/<diff_name>`.

    A capture that fails is recorded as `{"error": ...}`.
    """
    makers = {
        "script": lambda: _script(redactor),
        "git": lambda: _git(redactor, folder, diff_name),
        "env": lambda: _env(redactor),
        "machine": _machine,
    }
    return {name: _safely(makers[name], redactor) for name in CAPTURES if name in names}


def warn_of_redactions(redactor: Redactor) -> None:
    """Warn once of the values that were kept from the disk, by their names, never by the values."""
    if redactor.redactions:
        more = f" and {len(redactor.redactions) - 10} more" if len(redactor.redactions) > 10 else ""
        names = ", ".join(redactor.redactions[:10]) + more
        warn(
            f"kept from the disk, because they look like credentials: {names}. See Exp(redact=, redact_except=)",
            RedactedWarning,
        )
        redactor.redactions.clear()


def _safely(make: Any, redactor: Redactor) -> Mapping[str, Any]:
    try:
        result: Mapping[str, Any] = make()
        return result
    except Exception as error:  # a failed capture must not keep an experiment from starting
        return {"error": redactor.text(f"{type(error).__name__}: {error}", "error")}


def _script(redactor: Redactor) -> Mapping[str, Any]:
    from mlv.capture.script import capture_script  # only where it is captured

    return capture_script(redactor=redactor)


def _env(redactor: Redactor) -> Mapping[str, Any]:
    from mlv.capture.env import capture_env  # only where it is captured

    return capture_env(os.environ, redactor)


def _machine() -> Mapping[str, Any]:
    from mlv.capture.machine import capture_machine  # only where it is captured

    return capture_machine()


def _git(redactor: Redactor, folder: Path, diff_name: str) -> Mapping[str, Any]:
    from mlv.capture.git import capture_git  # only where it is captured

    current_folder, script = _current_folder(), _script_folder()
    git = capture_git(script, redactor=redactor)
    if git.record.get("repository") is False and current_folder != script:
        git = capture_git(
            current_folder, redactor=redactor
        )  # a console script lies in a `bin` folder, far from the code it runs
    if git.diff is None:
        return git.record
    record = dict(git.record)
    files = folder / layout.FILES
    opening.make_folders(folder, files)
    sha256 = publish(files / diff_name, git.diff)
    reference = Reference(_mlv="file", path=f"{layout.FILES}/{diff_name}", sha256=sha256, size=len(git.diff))
    record["diff"] = {**(record.get("diff") or {}), "file": reference}
    return record


def _script_folder() -> Path:
    """Return the folder of the running script; the current one where there is no script."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(main).absolute().parent if main else _current_folder()


def _current_folder() -> Path:
    with suppress(OSError):  # it was removed
        return Path.cwd()
    return Path("/")
