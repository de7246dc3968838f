"""`mlv push`: ship the experiments of a tree to a bucket, once or as they grow, and report what could not be shipped."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any

from mlv import words
from mlv.bucket.patience import ShippingPatience, Stop, jittered
from mlv.bucket.push import Push
from mlv.bucket.pushed_tree import PushedTree
from mlv.bucket.ship.effects import Shipped
from mlv.bucket.store import open_store
from mlv.bucket.urls import normal_url
from mlv.cli.choose import no_address
from mlv.cli.screen import Screen, print_json, progress_bar, say, styled
from mlv.errors import BucketError, NotAnExperiment

_MOST_ROWS = 20
"""Reasons and keys that are printed of one experiment."""
_SETTLED_S = 10.0
"""Seconds for which a file that anybody may still write must not have changed, where a tree is followed."""


def run(root: Path, url: str, *, with_files: bool, follow: bool, every_s: float, dry_run: bool, as_json: bool) -> bool:
    """Push, print a report, and return whether all that can be read is in the bucket.

    Raises:
        InvalidArgument, MissingExtra: As `open_store`.
        NotAnExperiment: There is no experiment at or below the root; a folder that is followed may get some.
        BucketError: The store does not answer, or refuses; a tree that is followed waits for it.
    """
    no_address(root, "DIR")
    report = _Report(None if as_json else Screen(), dry_run)
    if dry_run:
        tree = PushedTree(root, normal_url(url))  # no store: that would make a folder which is not there
        return report.of([tree.pending(folder, with_files=with_files) for folder in tree.experiments()])
    push = Push(root, open_store(url), with_files=with_files, settled_s=_SETTLED_S if follow else 0.0, defers=follow)
    if not follow:
        return report.of(_once(push))
    return _followed(push, root, report, every_s)


def _once(push: Push, *, is_whole: bool = True) -> list[Shipped]:
    folders = push.experiments()
    results = []
    with progress_bar("pushing", len(folders)) as advance:
        for shipped in push.run(folders, is_whole=is_whole):
            results.append(shipped)
            advance(1)
    return results


def _followed(push: Push, root: Path, report: _Report, every_s: float) -> bool:
    """Push again and again until SIGTERM or Ctrl-C, and then once more; return whether the last time was well."""
    stopped, rounds = Stop(), _Rounds(push, root, report, every_s)

    def stop(*_: Any) -> None:
        stopped.set()
        push.stop()

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with suppress(KeyboardInterrupt):
            while not stopped.is_set():
                stopped.wait(rounds.push())
        push.stop()
        with suppress(KeyboardInterrupt):  # the second one does not wait for the store
            rounds.push(is_last=True)
    finally:
        signal.signal(signal.SIGTERM, before)
    return rounds.are_well


class _Rounds:
    """Pushes a tree that grows, and bears with a store that is away."""

    def __init__(self, push: Push, root: Path, report: _Report, every_s: float) -> None:
        self._push, self._root, self._report, self._every_s = push, root, report, every_s
        self._patience, self._told = ShippingPatience(), ""
        self.are_well = True
        """Whether the latest one was completed, and all is up that it was to ship."""

    def push(self, *, is_last: bool = False) -> float:
        """Push what there is, all of it the last time; return the seconds until the next time."""
        began, self.are_well = monotonic(), False
        try:
            self.are_well = self._report.of(_once(self._push, is_whole=is_last), is_brief=True)
            self._told = ""
            self._patience.reset()
            # As long as it took: a large tree is walked each time.
            return jittered(max(self._every_s, monotonic() - began))
        except NotAnExperiment:
            # A sidecar is at work before the training has made anything.
            if not self._root.is_dir():
                raise
            self._tell_anew(f"{str(self._root)!r} holds no experiments yet: waiting for the first one")
            self.are_well = True
            return jittered(self._every_s)
        except BucketError as error:
            self._tell_anew(str(error) if is_last else f"{error}. Trying again")
            return self._patience.next_s()

    def _tell_anew(self, text: str) -> None:
        """Say what was not said the time before."""
        if text != self._told:
            say(text)
            self._told = text


class _Report:
    """Prints what was done for each experiment, and for all."""

    def __init__(self, screen: Screen | None, dry_run: bool) -> None:
        self._screen, self._dry_run = screen, dry_run
        self._told: set[tuple[str, str]] = set()

    def of(self, results: Sequence[Shipped], *, is_brief: bool = False) -> bool:
        """Print, and return whether all is well; if brief, only what is new."""
        for shipped in results:
            if self._screen is None and not (is_brief and shipped.is_empty):
                print_json({**asdict(shipped), "dry_run": self._dry_run})
            elif self._screen is not None:
                self._show(self._screen, shipped)
        if self._screen is not None and not is_brief:
            self._screen.show(styled(self._total(results)))
        sys.stdout.flush()  # a pipe or a file would hold it back until the process ends
        return all(shipped.is_well for shipped in results)

    def _show(self, screen: Screen, shipped: Shipped) -> None:
        name = shipped.path or "."
        if not shipped.is_empty:
            verb = "would ship" if self._dry_run else "shipped"
            screen.show(styled(words.printable(f"{name}: {verb} {_amounts(shipped)}")))
        problems = [f"holds other bytes: {key}" for key in shipped.different]
        problems += [f"not shipped: {path}: {reason}" for path, reason in shipped.unshipped.items()]
        for text in self._new(name, problems)[:_MOST_ROWS]:
            screen.show(styled(words.printable(f"{name}: {text}"), "bold red"))
        if len(problems) > _MOST_ROWS:
            screen.show(styled(f"  and {len(problems) - _MOST_ROWS} more, which --json gives", "bold red"))
        for text in self._new(name, shipped.notes):
            screen.show(styled(words.printable(f"  note: {text}"), "dim"))

    def _new(self, name: str, texts: Sequence[str]) -> list[str]:
        """Return the texts that were not printed yet of an experiment: it is pushed again and again."""
        new = [text for text in texts if (name, text) not in self._told]
        self._told.update((name, text) for text in new)
        return new

    def _total(self, results: Sequence[Shipped]) -> str:
        new = [shipped for shipped in results if not shipped.is_empty]
        wrong = sum(not shipped.is_well for shipped in results)
        state = f"{len(new)} with news, {len(results) - len(new)} unchanged" if new else "nothing new"
        end = f"; {wrong} not complete in the bucket" if wrong else ""
        return f"{words.counted(len(results), 'experiment')}: {state}{end}{' (dry run: nothing was written)' * self._dry_run}"


def _amounts(shipped: Shipped) -> str:
    lines = f"{words.size(shipped.lines_bytes)} of lines" if shipped.lines_bytes else ""
    files = f"{words.counted(shipped.files, 'file')} of {words.size(shipped.files_bytes)}" if shipped.files else ""
    return ", ".join(filter(None, (lines, files)))
