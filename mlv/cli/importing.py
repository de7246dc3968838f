"""`mlv import`: bring experiments of other tools into a tree, and report what came over and what did not."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from mlv import words
from mlv.cli.choose import no_address
from mlv.cli.screen import Screen, print_json, progress_bar, say, styled
from mlv.errors import InvalidArgument
from mlv.importers.importing import Outcome, bring, look_for
from mlv.importers.listing import SourceListing
from mlv.importers.reading import Options
from mlv.store import layout

_LOOKING_S = 0.5
"""Between two looks at sources that are followed."""
_MOST_ROWS = 20
"""Reasons and names that are printed of one experiment."""


def run(
    sources: Sequence[Path],
    root: Path,
    *,
    format: str | None,
    options: Options,
    dry_run: bool,
    as_json: bool,
    on: str | None = None,
) -> bool:
    """Import, print a report, and return whether all came over that the sources have.

    Raises:
        MlvError, OSError: As `look_for` and `bring`.
    """
    for source in sources:
        no_address(source, "SOURCE")
    no_address(root, "--into")
    _check(sources, root)
    # Looked at before an import begins: the sources may grow behind what it has read.
    state = _state(sources, options) if options.follows else {}
    is_whole = _once(sources, root, format, options, dry_run, as_json, on)
    with suppress(KeyboardInterrupt):
        while options.follows:
            sys.stdout.flush()  # a pipe or a file would hold the report back until the process ends
            state = _changed(sources, options, state)
            began = monotonic()
            is_whole = _once(sources, root, format, options, dry_run, as_json, on) and is_whole
            sleep(max(0.0, min(monotonic() - began, 60.0) - _LOOKING_S))  # after a long import a pause that is as long
    return is_whole


def _check(sources: Sequence[Path], root: Path) -> None:
    for source in sources:
        inner, outer = os.path.realpath(root), os.path.realpath(source)
        if source.is_dir() and (inner == outer or inner.startswith(outer + os.sep)):
            text = f"--into {root} lies in {source}, which would be imported with it: name a folder elsewhere"
            raise InvalidArgument(text, root=str(root))
    if os.path.lexists(root) and (not root.is_dir() or layout.is_experiment(root)):
        raise InvalidArgument(f"--into {root} is no folder for experiments: name another one", root=str(root))


_State = dict[Path, tuple[int, int]]
"""Size of each file of some sources, and when it changed."""


def _changed(sources: Sequence[Path], options: Options, before: _State) -> _State:
    """Wait until sources have another state, and return that."""
    while (state := _state(sources, options)) == before:
        sleep(_LOOKING_S)
    return state


def _state(sources: Sequence[Path], options: Options) -> _State:
    state = {}
    for path in (path for source in sources for path in SourceListing(source, options).files()):
        with suppress(OSError):
            status = path.stat()
            state[path] = status.st_size, status.st_mtime_ns
    return state


def _once(
    sources: Sequence[Path], root: Path, format: str | None, options: Options, dry_run: bool, as_json: bool, on: str | None
) -> bool:
    found = look_for(sources, format, options)
    screen = None if as_json else Screen()
    outcomes = []
    with progress_bar("importing", sum(unit.size_bytes for unit in found.units)) as advance:
        for outcome in bring(found.units, root, options, dry_run=dry_run, advance=advance, on=on):
            outcomes.append(outcome)
            if screen is None:
                print_json(outcome.to_data())
            else:
                _show(screen, outcome, dry_run)
    if screen is not None:
        screen.show(styled(_total(outcomes, dry_run)))
    if found.unknown:
        say(_unknown(found.unknown))
    if found.outside:
        say(_outside(found.outside))
    return not found.outside and all(outcome.is_whole for outcome in outcomes)


def _unknown(paths: Sequence[Path]) -> str:
    return f"{words.counted(len(paths), 'file')} of no format that mlv knows were passed over: {_named(paths)}"


def _outside(paths: Sequence[Path]) -> str:
    links = words.counted(len(paths), "link")
    return f"{links} that lead out of the source stay behind: {_named(paths)}. With --links they are followed"


def _named(paths: Sequence[Path]) -> str:
    names = [path.name for path in paths[:_MOST_ROWS]]
    return ", ".join(names) + (f" and {len(paths) - len(names)} more" if len(paths) > len(names) else "")


def _kind(outcome: Outcome) -> str:
    if outcome.imported is None:
        return "not imported"
    return "new" if outcome.imported.is_new else "grown" if outcome.imported.lines else "unchanged"


def _total(outcomes: Sequence[Outcome], dry_run: bool) -> str:
    kinds, left = Counter(map(_kind, outcomes)), sum(sum(outcome.left.values()) for outcome in outcomes)
    count = words.counted(len(outcomes), "experiment")
    parts = ", ".join(f"{kinds[kind]} {kind}" for kind in ("new", "grown", "unchanged", "not imported") if kinds[kind])
    losses = f"; {left} things did not come over" if left else ""
    return f"{count}: {parts}{losses}{' (dry run: nothing was written)' if dry_run else ''}"


def _show(screen: Screen, outcome: Outcome, dry_run: bool) -> None:
    done = outcome.imported
    if done is None:
        screen.show(styled(words.printable(f"not imported: {outcome.error}"), "bold red"))
        return
    lines = ", ".join(f"{words.counted(count, 'line')} into {file}" for file, count in done.lines.items()) or "nothing new"
    verb = "would bring" if dry_run else "brought"
    new = " (new)" if done.is_new else ""
    screen.show(styled(words.printable(f"{done.path}{new}: {verb} {lines}")))
    events = ", ".join(f"{count} {type_}" for type_, count in sorted(outcome.events.items())) or "no events"
    screen.show(styled(words.printable(f"  from {outcome.unit.path} ({outcome.unit.format}): {events}"), "dim"))
    for reason, count in outcome.left.most_common(_MOST_ROWS):
        screen.show(styled(words.printable(f"  did not come over: {count} x {reason}"), "bold red"))
    if len(outcome.left) > _MOST_ROWS:
        screen.show(styled(f"  and for {len(outcome.left) - _MOST_ROWS} more reasons, which --json gives", "bold red"))
    for text in done.differences:
        screen.show(styled(words.printable(f"  differs: {text}"), "bold red"))
    for text in outcome.notes:
        screen.show(styled(words.printable(f"  note: {text}"), "dim"))
