"""`mlv merge`: copy the lines and files that one copy of a tree lacks of another."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from pathlib import Path

from mlv import words
from mlv.audit.merge import Merged, merge
from mlv.cli.choose import no_address
from mlv.cli.screen import Screen, print_json, styled
from mlv.errors import FileUnusable, MlvError


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
    for done in _with_room(merged, dst):
        changed += done.is_changed
        differing += bool(done.differences)
        if screen is None:
            print_json(done.to_data())
        elif done.is_changed or done.differences or done.notes:
            _show(screen, done, dry_run)
    if screen is not None and not changed:
        screen.show(styled(f"nothing is lacking in {words.printable(str(dst))}"))
    return not differing


def _with_room(merged: Iterable[Merged], dst: Path) -> Iterator[Merged]:
    """Yield what was merged.

    Raises:
        FileUnusable: There is no room for more.
    """
    try:
        yield from merged
    except OSError as error:
        if isinstance(error, MlvError) or error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        text = f"{dst} cannot be written: {error.strerror}. Make room there, and do it again: what it has by now stays"
        raise FileUnusable(text, path=str(dst)) from error


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
