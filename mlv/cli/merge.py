"""`mlv merge`: copy the lines and files that one copy of a tree lacks of another."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mlv import words
from mlv.audit.merge import Merged, merge
from mlv.cli.choose import no_address
from mlv.cli.screen import Screen, print_json, styled


def run(src: Path, dst: Path, *, dry_run: bool, as_json: bool) -> bool:
    """Merge, print the changes, and return whether everything is equal that should be.

    Raises:
        MlvError, OSError: As `merge`.
    """
    no_address(src, "SRC")
    no_address(dst, "DST")
    return show(merge(src, dst, dry_run=dry_run), dst, dry_run=dry_run, as_json=as_json)


def show(merged: Iterable[Merged], dst: Path, *, dry_run: bool, as_json: bool) -> bool:
    """Merge, print the changes, and return whether everything is equal that should be."""
    screen = None if as_json else Screen()
    changed = differing = 0
    for done in merged:
        changed += done.is_changed
        differing += bool(done.differences)
        if screen is None:
            print_json(done.to_data())
        elif done.is_changed or done.differences or done.notes:
            _show(screen, done, dry_run)
    if screen is not None and not changed:
        screen.show(styled(f"nothing is lacking in {words.printable(str(dst))}"))
    return not differing


def _show(screen: Screen, done: Merged, dry_run: bool) -> None:
    screen.show(styled(sentence(done, dry_run)))
    for text in done.differences:
        screen.show(styled(f"  differs: {words.printable(text)}", "bold red"))
    for text in done.notes:
        screen.show(styled(f"  note: {words.printable(text)}", "dim"))


def sentence(done: Merged, dry_run: bool) -> str:
    """Return a sentence on the copied lines and files."""
    lines = [f"{words.counted(count, 'line')} into {file}" for file, count in done.lines.items()]
    files = [words.counted(len(done.files), "file")] if done.files else []
    brought = ", ".join([*lines, *files]) or ("its meta.json" if done.is_new else "nothing")
    verb = "would bring" if dry_run else "brought"
    new = " (new)" if done.is_new else ""
    return words.printable(f"{done.target}{new}: {verb} {brought}")
