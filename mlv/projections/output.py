"""What every output of mlv has in common: options, a place, and which events it takes."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from mlv.errors import MissingExtra
from mlv.media.extras import is_installed
from mlv.projections.selecting import selection


@dataclass(kw_only=True)
class Output:
    """Options that every output takes.

    Raises:
        InvalidPattern: The filter is no regular expression.
        InvalidArgument: Another option cannot be used.
        MissingExtra: A package that the output needs is not installed.
    """

    NEEDS: ClassVar[tuple[str, ...]] = ()
    """Modules that have to be importable."""
    EXTRA: ClassVar[str] = ""
    """Extra of mlv that brings them."""
    NOTES_IN_EXPERIMENT: ClassVar[bool] = False
    """Whether the note of how far it has come lies in the experiment, and not beside the output."""

    filter: str | None = None
    """A regular expression over full names of events and metrics; `re.search` decides. None takes all."""
    verbosity: int | None = None
    """Events above it are left out; None takes all."""
    types: Collection[str] | None = None
    """Types of events; None takes all that the output has a form for."""
    path: Path | str | None = None
    """The output's folder; None is the one of its name in the experiment's folder."""

    def __post_init__(self) -> None:
        selection(self.filter, self.verbosity, self.types)
        if self.path is not None:
            self.path = Path(os.path.abspath(self.path))  # the output's process has another current folder
        for module in self.NEEDS:
            if not is_installed(module):
                text = f"the output {type(self).__name__} needs {module}: pip install 'mlvlogger[{self.EXTRA}]'"
                raise MissingExtra(text, package=module, extra=self.EXTRA)
