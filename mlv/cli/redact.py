"""`mlv redact`: remove a leaked value from an experiment."""

from __future__ import annotations

from pathlib import Path

from mlv import words
from mlv.audit.redact import Redaction, redact
from mlv.bucket import positions
from mlv.cli.screen import Screen, print_json, styled
from mlv.store import layout

_LISTED = 10


def run(folder: Path, patterns: list[str], *, reason: str, forget: bool, dry_run: bool, as_json: bool) -> None:
    """Redact an experiment and those below it, and print the changes, never the leaked value.

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
    """Return sentences on names and files that the user has to deal with."""
    texts = []
    if done.names:
        texts.append(f"  names stay as they are, and these match: {', '.join(done.names)}. Rename them, or log anew")
    if done.unread:
        listed = [f"{path} ({why})" for path, why in list(done.unread.items())[:_LISTED]]
        more = f" and {len(done.unread) - _LISTED} more" if len(done.unread) > _LISTED else ""
        texts.append(f"  not looked into: {', '.join(listed)}{more}. Remove those that hold it")
    for position in positions.positions_of(done.folder) if not done.is_empty else ():
        push = f"`mlv push {done.folder} {position.url}`"
        texts.append(f"  it was shipped: {push} takes it out of the bucket as well")
    return texts


def sentence(done: Redaction, dry_run: bool) -> str:
    """Return a sentence on the changes."""
    masked = sum(content is not None for content in done.files.values())
    removed = len(done.files) - masked
    subjects = [
        *(f"{words.counted(len(replaced), 'line')} of {layout.stream_file(name)}" for name, replaced in done.lines.items()),
        *([f"the text in {words.counted(masked, 'file')}"] if masked else []),
        *([words.counted(removed, "whole file")] if removed else []),
        *([f"values in {layout.META}, so its ID changes"] if done.meta is not None else []),
        *([words.counted(len(done.housekeeping), "cache or half line", "caches and half lines")] if done.housekeeping else []),
    ]
    verb = "would redact" if dry_run else "redacted"
    return words.printable(f"{done.folder}: {verb} {', '.join(subjects)}")
