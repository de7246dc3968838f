"""`mlv redact`: taking a value that leaked out of an experiment."""

from __future__ import annotations

from pathlib import Path

from mlv import words
from mlv.audit.redact import Redaction, redact
from mlv.cli.screen import Screen, print_json, styled
from mlv.store import layout

_LISTED = 10


def run(folder: Path, patterns: list[str], *, reason: str, forget: bool, dry_run: bool, as_json: bool) -> None:
    """Redact an experiment and the ones below it, and say what was done; never what it was that leaked.

    Raises:
        MlvError, OSError: As `redact`.
    """
    screen = None if as_json else Screen()
    is_found = False
    for done in redact(folder, patterns, reason=reason, forget=forget, dry_run=dry_run):
        is_found = is_found or not done.is_empty
        if screen is None:
            print_json(done.to_data())
            continue
        if not done.is_empty:
            screen.show(styled(sentence(done, dry_run)))
        for text in notes(done):
            screen.show(styled(words.printable(text), "yellow"))
    if screen is not None and not is_found:
        screen.show(styled(f"nothing at or below {words.printable(str(folder))} matches"))


def notes(done: Redaction) -> list[str]:
    """What is still to be done by hand, for people."""
    found = []
    if done.names:
        found.append(f"  names stay as they are, and these match: {', '.join(done.names)}. Rename them, or log anew")
    if done.unread:
        listed = [f"{path} ({why})" for path, why in list(done.unread.items())[:_LISTED]]
        more = f" and {len(done.unread) - _LISTED} more" if len(done.unread) > _LISTED else ""
        found.append(f"  not looked into: {', '.join(listed)}{more}. Remove those that hold it")
    return found


def sentence(done: Redaction, dry_run: bool) -> str:
    """What went, for people."""
    masked = sum(content is not None for content in done.files.values())
    removed = len(done.files) - masked
    parts = [
        *(f"{words.counted(len(found), 'line')} of {layout.stream_file(name)}" for name, found in done.lines.items()),
        *([f"the text in {words.counted(masked, 'file')}"] if masked else []),
        *([words.counted(removed, "whole file")] if removed else []),
        *([f"values in {layout.META}, so its ID changes"] if done.meta is not None else []),
        *([words.counted(len(done.housekeeping), "cache or half line", "caches and half lines")] if done.housekeeping else []),
    ]
    verb = "would redact" if dry_run else "redacted"
    return words.printable(f"{done.folder}: {verb} {', '.join(parts)}")
