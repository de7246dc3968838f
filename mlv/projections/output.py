"""The base of every output of mlv: options, a folder, and the choice of events."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from mlv.encoding import shown
from mlv.errors import InvalidArgument, MissingExtra
from mlv.optional import is_installed
from mlv.projections.selecting import selection
from mlv.store.paths import checked_path

OPTIONS = ("filter", "verbosity", "types")
"""Options that choose events, in the order of `selecting.selection`."""


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
    """Whether the position file lies in the experiment, and not beside the output."""
    KEEPS_SUPERSEDED: ClassVar[bool] = False
    """Whether lines that a rewind superseded stay: the form says itself where a run went back."""

    filter: str | None = None
    """A regular expression over full names of events and metrics; `re.search` decides. None takes all."""
    verbosity: int | None = None
    """Events above it are left out; None takes all."""
    types: Collection[str] | None = None
    """Types of events; None takes all that the output has a form for."""
    path: Path | str | None = None
    """The output's folder; None is the one of its name in the experiment's folder."""

    def __post_init__(self) -> None:
        check_options(self)
        for module in self.NEEDS:
            if not is_installed(module):
                text = f"the output {type(self).__name__} needs {module}: pip install 'mlvlogger[{self.EXTRA}]'"
                raise MissingExtra(text, package=module, extra=self.EXTRA)

    def __getstate__(self) -> dict[str, Any]:
        """Return the options alone: the state of an open output does not travel."""
        state_names = {option.name for option in fields(self) if not option.init}
        return {name: value for name, value in self.__dict__.items() if name not in state_names}


def check_options(output: Any) -> None:
    """Check the options that any output may have, and make its path absolute: its process lives in another folder.

    Raises:
        InvalidPattern: The filter is no regular expression.
        InvalidArgument: Another one cannot be used, or the path is relative and cannot be replaced.
    """
    selection(*(getattr(output, name, None) for name in OPTIONS))
    path = getattr(output, "path", None)
    if path is None:
        return
    if path == "":
        raise InvalidArgument("path='': give a folder, '.' for the current one", path=path)
    absolute = checked_path(path, "path")
    if path != absolute:
        try:
            output.path = absolute
        except AttributeError:
            raise InvalidArgument(
                f"{shown(output)} has the path {str(path)!r}: give {str(absolute)!r}", output=output
            ) from None
