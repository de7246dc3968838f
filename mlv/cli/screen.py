"""Where output goes: tables and colours on a terminal, plain lines of full length elsewhere, JSON for scripts."""

from __future__ import annotations

import gc
import json
import math
import os
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from threading import Timer
from time import sleep
from typing import Any, TypeVar

from rich.console import Console, ConsoleOptions
from rich.segment import Segment
from rich.text import Text

from mlv import words
from mlv.cli.blocks import Block, wrapped
from mlv.encoding import TAG, digits, utc_text
from mlv.store.streams import Skipped

T = TypeVar("T")

_ENDLESS = 100_000
_PATIENCE_S = 1.0
MOST_ROWS = 2000
"""Of a table for people: a longer one nobody reads, and to lay it out takes minutes."""


class Screen:
    """Standard output, for people."""

    def __init__(self) -> None:
        self.is_terminal = sys.stdout.isatty()
        width = None if self.is_terminal else _ENDLESS
        self._console = Console(width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)
        self.is_styled = self._console.is_terminal
        """Whether bold and colours are written: also elsewhere where FORCE_COLOR asks for them."""
        self.has_colours = self.is_styled and self._console.color_system is not None and not self._console.no_color
        self.speaks_unicode = (self._console.encoding or "").lower().startswith("utf")

    @property
    def width(self) -> int:
        """Columns of the terminal; elsewhere more than any line needs."""
        return self._console.width

    def show(self, what: Text | Block, *, wrap: bool = True) -> None:
        """Print a table or a text; elsewhere than on a terminal nothing is wrapped, cut or padded.

        What a terminal would obey is shown as an escape, whoever forgot it: names and texts come from folders of others.
        """
        width = self.width if wrap else _ENDLESS
        lines = what.lines(width) if isinstance(what, Block) else wrapped(what, width)
        if not self.is_styled:
            sys.stdout.write("".join(f"{words.printable(line.plain).rstrip(' ')}\n" for line in lines))
            return
        for line in lines:
            self._console.print(_Printable(line), soft_wrap=True)


class _Printable:
    """A line, with nothing in its texts that a terminal obeys; colours are rich's own."""

    def __init__(self, line: Text) -> None:
        self._line = line

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for text, style, control in console.render(self._line, options):
            yield Segment(text if control else words.printable(text, keep="\n"), style, control)


def say(text: str) -> None:
    """Print a line on stderr."""
    shown = words.printable(text, keep="\n")
    print(f"mlv: {shown}", file=sys.stderr)


def say_more(count: int) -> None:
    """Tell how many rows of a table were not shown."""
    if count > MOST_ROWS:
        say(f"{count - MOST_ROWS} of {count} rows are not shown; --json gives all")


def raw(text: str) -> str:
    """A text that is printed as it is for programs; on a terminal, without what that would obey."""
    return words.printable(text, keep="\n\t") if sys.stdout.isatty() else text


def passed_over(folder: Path, holes: Sequence[Skipped]) -> str:
    """A sentence about damage that a command met."""
    more = f" and {len(holes) - 1} more" if len(holes) > 1 else ""
    return f"passed over {folder}/{holes[0]}{more}. mlv verify {folder} says what is missing"


def progress(items: Sequence[T], what: str) -> Iterator[T]:
    """Go through items; on a terminal a bar tells how far, once it takes longer than a second."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.progress import Progress  # what few commands need, and seldom

    bar = Progress(console=Console(stderr=True), transient=True)
    task = bar.add_task(what, total=len(items))
    # From another thread: one long log may take all the time there is.
    patience = Timer(_PATIENCE_S, bar.start)
    patience.daemon = True
    patience.start()
    try:
        for item in items:
            yield item
            bar.advance(task)
    finally:
        patience.cancel()
        patience.join()
        if bar.live.is_started:
            bar.stop()


def print_json(data: Any) -> None:
    """Print a line of JSON; times are written in UTC, NaN and infinities as null."""
    ascii_only = not (sys.stdout.encoding or "").lower().startswith("utf")
    print(as_json(json.dumps(_plain(data), ensure_ascii=ascii_only)))


def as_json(text: str) -> str:
    """JSON that is printed; on a terminal, what that would obey is written as JSON's own escapes."""
    if text.isprintable() or not sys.stdout.isatty():
        return text
    return "".join(one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1] for one in text)


def styled(text: str, style: str = "") -> Text:
    """A text in which nothing is taken for markup."""
    return Text(encodable(text), style=style)


def encodable(text: str) -> str:
    """A text with escapes for what standard output cannot show, before it is put into columns."""
    encoding = sys.stdout.encoding or "ascii"
    if text.isascii() or encoding.lower().startswith("utf"):
        return text
    return text.encode(encoding, "backslashreplace").decode(encoding)


def joined(parts: Any, separator: str = "  ") -> Text:
    """Several texts in one line."""
    return Text(separator).join(parts)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        text = digits(value)
        return {TAG: "int", "value": text} if "x" in text else value
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, datetime):
        return utc_text(value)
    if isinstance(value, bytes):
        return b64encode(value).decode("ascii")
    return value.isoformat() if isinstance(value, date) else os.fspath(value) if isinstance(value, os.PathLike) else str(value)


_LEAST_PAUSE_S = 0.5


def again(show: Callable[[], None], pause_s: float) -> None:
    """Show something again and again, in place of itself on a terminal, until Ctrl-C."""
    screen = Screen()
    with suppress(KeyboardInterrupt):
        while True:
            if screen.is_terminal:
                sys.stdout.write("\x1b[H\x1b[2J")
            show()
            sys.stdout.flush()
            gc.collect()  # a listing does without
            sleep(max(_LEAST_PAUSE_S, pause_s))
