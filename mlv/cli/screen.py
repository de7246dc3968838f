"""Standard output: tables and colours on a terminal, plain lines of full length elsewhere, JSON for scripts."""

from __future__ import annotations

import gc
import json
import math
import os
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
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

_ENDLESS = 100_000  # where a program reads, no line is broken
MOST_ROWS = 2000
"""Largest number of rows in a printed table: nobody reads a longer one, and its layout takes minutes."""


class Screen:
    """Standard output for readable text."""

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

    def show(self, content: Text | Block, *, wrap: bool = True) -> None:
        """Print a table or a text; only on a terminal it is wrapped, cut or padded.

        Control characters are printed as escapes, even if the caller forgot them: names and texts may come from other users.
        """
        width = self.width if wrap else _ENDLESS
        lines = content.lines(width) if isinstance(content, Block) else wrapped(content, width)
        if not self.is_styled:
            sys.stdout.write("".join(f"{words.printable(line.plain).rstrip(' ')}\n" for line in lines))
            return
        for line in lines:
            self._console.print(_Printable(line), soft_wrap=True)


class _Printable:
    """A line without control characters in its texts; its colours are rich's own."""

    def __init__(self, line: Text) -> None:
        self._line = line

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for text, style, control in console.render(self._line, options):
            yield Segment(text if control else words.printable(text, keep="\n"), style, control)


def say(text: str) -> None:
    """Print a line on stderr."""
    line = words.printable(text, keep="\n")
    print(f"mlv: {line}", file=sys.stderr)


def say_more(count: int) -> None:
    """Report the number of rows of a table that were not printed."""
    if count > MOST_ROWS:
        say(f"{count - MOST_ROWS} of {count} rows are not shown; --json gives all")


def raw(text: str) -> str:
    """Return a text unchanged for programs; on a terminal, with escapes for control characters."""
    return words.printable(text, keep="\n\t") if sys.stdout.isatty() else text


def passed_over(folder: str | Path, holes: Sequence[Skipped | str]) -> str:
    """Return a sentence on the damage that a command met."""
    more = f" and {len(holes) - 1} more" if len(holes) > 1 else ""
    return f"passed over {folder}/{holes[0]}{more}. mlv verify {folder} says what is missing"


def progress(items: Sequence[T], description: str, patience_s: float = 1.0) -> Iterator[T]:
    """Yield items; on a terminal a bar shows the progress as soon as the patience is over."""
    with progress_bar(description, len(items), patience_s) as advance:
        for item in items:
            yield item
            advance(1)


@contextmanager
def progress_bar(description: str, total: int, patience_s: float = 1.0) -> Iterator[Callable[[int], object]]:
    """Yield a function that takes what was done of a total; on a terminal a bar shows it as soon as the patience is over."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.progress import Progress  # few commands need it, and seldom

    bar = Progress(console=Console(stderr=True), transient=True)
    task = bar.add_task(description, total=total)
    # From another thread: one long log may take all the time there is.
    patience = Timer(patience_s, bar.start)
    patience.daemon = True
    patience.start()
    try:
        yield lambda count: bar.advance(task, count)
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
    """Return JSON for printing; on a terminal, with JSON's own escapes for control characters."""
    if text.isprintable() or not sys.stdout.isatty():
        return text
    return "".join(sign if sign.isprintable() or sign == "\n" else json.dumps(sign)[1:-1] for sign in text)


def styled(text: str, style: str = "") -> Text:
    """Return a text in which nothing is taken for markup."""
    return Text(encodable(text), style=style)


def encodable(text: str) -> str:
    """Return a text with escapes for characters that standard output cannot encode, before it is put into columns."""
    encoding = sys.stdout.encoding or "ascii"
    if text.isascii() or encoding.lower().startswith("utf"):
        return text
    return text.encode(encoding, "backslashreplace").decode(encoding)


def joined(texts: Any, separator: str = "  ") -> Text:
    """Return several texts as one line."""
    return Text(separator).join(texts)


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
    """Repeat a listing until Ctrl-C, on a terminal in place of the previous one."""
    screen = Screen()
    with suppress(KeyboardInterrupt):
        while True:
            if screen.is_terminal:
                sys.stdout.write("\x1b[H\x1b[2J")
            show()
            sys.stdout.flush()
            gc.collect()  # a listing does without
            sleep(max(_LEAST_PAUSE_S, pause_s))
