"""The console: a readable line per event, in the caller's thread, the moment it is accepted."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any, TextIO

from mlv import words
from mlv.encoding import shown
from mlv.errors import InvalidArgument
from mlv.events import Event
from mlv.optional import is_installed
from mlv.projections import display
from mlv.projections.display import Segment
from mlv.projections.output import Output
from mlv.projections.selecting import Selection, selection

_LEVELS = ("debug", "info", "warning", "error")
_UNSAID = frozenset({"run_started", "metadata", "seal", "heartbeat", "system"})
"""Types that are shown only where `types` asks for them."""
_ERASE_LINE = "\r\x1b[K"


@dataclass(kw_only=True)
class Console(Output):
    """The output `console`: `12:30:01  step=3  train/loss=0.31 nat`, coloured on a terminal, plain elsewhere.

    Values are shown as `log.describe(name, unit=, format=)` says. Where a progress bar is drawn, lines go above it.

    Raises:
        InvalidArgument: An option cannot be used.
        InvalidPattern: The filter is no regular expression.
    """

    name = "console"

    verbosity: int | None = 0
    """Events above it are not shown; None shows all."""
    level: str = "info"
    """Messages below it are not shown: debug, info, warning or error."""
    stream: str = "stderr"
    """`stderr` or `stdout`, looked up in `sys` each time."""

    _selection: Selection = field(init=False, repr=False, compare=False)
    _described: dict[str, dict[str, Any]] = field(init=False, repr=False, compare=False, default_factory=dict)
    _rich: Any = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path is not None:
            raise InvalidArgument(f"path={str(self.path)!r}: the console writes no files", path=str(self.path))
        if self.level not in _LEVELS:
            raise InvalidArgument(f"level={shown(self.level)}: give one of {', '.join(_LEVELS)}", level=self.level)
        if self.stream not in ("stderr", "stdout"):
            raise InvalidArgument(f"stream={shown(self.stream)}: give 'stderr' or 'stdout'", stream=self.stream)
        self._selection = selection(self.filter, self.verbosity, self.types)

    def show(self, event: Event) -> None:
        """Print the event, if it is wanted."""
        self.remember(event)
        selected = self._selection.of(event)
        if selected is None or (self.types is None and event.type in _UNSAID) or self._is_below(event):
            return
        first, *continuation = display.lines_of(selected, names_stream=True, format=self._formatted)
        time = ((event.time.astimezone().strftime("%H:%M:%S"), "dim"),)
        self._print([[time, *first], *([(("  ", ""),), *line] for line in continuation)])

    def remember(self, event: Event) -> None:
        """Learn from an event how a metric is to be shown, and print nothing."""
        if event.type == "metadata" and isinstance(event.data, dict):
            self._described[event.name] = {**self._described.get(event.name, {}), **event.data}

    def _is_below(self, event: Event) -> bool:
        level = event.data.get("level") if event.type == "message" and isinstance(event.data, dict) else None
        return level in _LEVELS and _LEVELS.index(level) < _LEVELS.index(self.level)

    def _formatted(self, name: str, value: Any) -> str:
        described = self._described.get(name, {})
        unit = described.get("unit")
        text = words.number(value, described.get("format"))
        return f"{text} {words.printable(str(unit))}" if unit else text

    def _print(self, rows: list[list[Segment]]) -> None:
        file = getattr(sys, self.stream)
        if file is None:
            return
        tqdm = getattr(sys.modules.get("tqdm"), "tqdm", None)
        is_terminal = bool(getattr(file, "isatty", bool)())
        for row in rows:
            if tqdm is not None and getattr(tqdm, "_instances", None):
                tqdm.write(_plain(row), file=file)  # draws its bars again below
            elif is_terminal:
                self._print_coloured(row, file)
            else:
                _write(file, _plain(row) + "\n")

    def _print_coloured(self, row: list[Segment], file: TextIO) -> None:
        """Print a line on a terminal; a progress bar on the current line is erased, and is drawn again with its next turn."""
        if not is_installed("rich"):
            _write(file, f"{_ERASE_LINE}{_plain(row)}\n")
            return
        from rich.console import Console as Rich
        from rich.text import Text

        if self._rich is None or self._rich.file is not file:
            self._rich = Rich(file=file, highlight=False, markup=False, emoji=False)
        with self._rich.capture() as captured:
            self._rich.print(Text("  ").join(Text.assemble(*segment) for segment in row), soft_wrap=True)
        _write(file, _ERASE_LINE + captured.get())


def _write(file: TextIO, text: str) -> None:
    """Write with one call: other threads print as well."""
    file.write(text)
    file.flush()


def _plain(row: list[Segment]) -> str:
    return "  ".join("".join(text for text, _ in segment) for segment in row)
