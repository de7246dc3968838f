"""The reading of one source: its options, what of it does not come over, and how far it is."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from sqlite3 import Error as DatabaseError
from typing import Any, NamedTuple, NoReturn

from mlv.events import Event
from mlv.experiment.importing.source import Item, SourceExperiment


@dataclass(frozen=True)
class Options:
    """Choices of whoever imports."""

    is_named: bool = False
    """Whether they named the format: then it also takes files that only might be of it."""
    follows: bool = False
    """Whether the import goes on with what comes: then a run without an end is left open."""
    is_whole: bool = False
    """Whether the sources are complete: then a last line that has no end is taken as it stands."""
    follows_links: bool = False
    """Whether symbolic links are followed that lead out of the source."""
    parse_params: bool = False
    """Whether params that a tool keeps as text become the numbers that they look like."""
    step: str | None = None
    """Column of a table that holds the steps."""
    time: str | None = None
    name_column: str | None = None
    """Column of a long table that holds the names of its metrics."""
    value_column: str | None = None


@dataclass
class SourceReading:
    """An account of what a reader meets."""

    options: Options = field(default_factory=Options)
    root: Path | None = None
    """Folder of the source."""
    advance: Callable[[int], object] = lambda size: None
    """Takes the number of bytes that were read."""
    left: Counter[str] = field(default_factory=Counter)
    """How much did not come over, by reason."""
    notes: list[str] = field(default_factory=list)
    """Sentences on what cost nothing, such as a last record that is still being written."""
    recorded_params: Mapping[str, Any] | None = None
    """Those that an earlier import recorded; None before the first."""
    recorded_metrics: Callable[[str], Iterator[Event]] = lambda run: iter(())
    """Yields the rows of metrics that earlier imports recorded of a run, by its name, in their order."""

    def leave(self, reason: str, count: int = 1) -> None:
        """Record that something of the source does not come over."""
        self.left[reason] += count

    def params_to_add(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the params that earlier imports did not record; none at the first, which makes the experiment with them."""
        recorded = self.recorded_params
        return {key: value for key, value in params.items() if recorded is not None and key not in recorded}

    def takes_file(self, path: Path, folder: Path) -> bool:
        """Return whether there is such a file, which no link leads to from outside: of the source, and of a folder elsewhere.

        Args:
            path: Of the file.
            folder: The folder that it was looked for in, such as that of the artifacts of a run.
        """
        if not path.is_file():
            return False
        if self.options.follows_links:
            return True
        real = os.path.realpath(path)
        roots = [os.path.realpath(root) for root in (folder, self.root) if root is not None]
        if any(real.startswith(root.rstrip(os.sep) + os.sep) for root in roots):
            return True
        if self.root is None or not path.is_relative_to(self.root):  # those of the source are named with it
            self.leave("files that links lead to, out of their folder: they come over with --links")
        return False

    def takes_open_line(self, is_torn: bool) -> bool:
        """Return whether a last line without an end is taken: where it can be cut within a number, nobody can tell.

        Args:
            is_torn: Whether the line lacks something, and is cut for certain.
        """
        if self.options.is_whole and not is_torn:
            self.note("the last line has no end: it is taken as it stands")
            return True
        if is_torn or self.options.follows:
            self.note("the last line is not complete: it is still being written, or was cut off")
        else:
            self.leave(
                "last lines that have no end, and may be cut: they come over when they have one, or with --whole as they stand"
            )
        return False

    def note(self, text: str) -> None:
        """Record a fact, once."""
        if text not in self.notes:
            self.notes.append(text)


class Opened(NamedTuple):
    """A source that is about to be read."""

    experiment: SourceExperiment
    items: Callable[[datetime], Iterator[Item]]
    """Yields what happened; its argument is the time for whatever has none in the source, the same at each import."""
    may_gain_params: bool = False
    """Whether params may be added later that are no events: its items then hold those that an earlier import did not record."""


@dataclass(frozen=True)
class Unit:
    """The source of one experiment."""

    format: str
    path: Path
    size_bytes: int
    open: Callable[[SourceReading], Opened]
    root: Path | None = None
    """Folder of the whole source, once it is known."""
    key: str = ""
    """Tells it from others in a source whose experiments lie in one another."""
    parent: str = ""
    """Key of the unit whose experiment it belongs below; that one comes first."""


UNREADABLE = (OSError, DatabaseError, ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""Errors of a source that is damaged, or of another form than its format."""


def unreadable(format: str, path: Path, size_bytes: int, error: Exception) -> Unit:
    """Return the unit of a source that cannot be read: it is reported, and what lies beside it comes over."""
    return Unit(format, path, size_bytes, partial(_refused, error))


def _refused(error: Exception, _: SourceReading) -> NoReturn:
    raise error
