"""`mlv tail`: the last events of an experiment as readable lines, and those that follow."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from time import monotonic

from rich.text import Text

from mlv import words
from mlv.audit.activity import surroundings
from mlv.cli.blocks import Rows
from mlv.cli.choose import logical_stream_of
from mlv.cli.screen import Screen, as_json, joined, passed_over, say, styled
from mlv.events import Event
from mlv.projections import display
from mlv.query.events import refuse_unknown_stream, refuse_unknown_types
from mlv.query.tail import EventLine, Status, Tail
from mlv.store import layout, meta

HOUSEKEEPING_TYPES = ("seal", "heartbeat", "system")
"""Types that are printed only on request: they are for proofs, or written by the clock."""
_QUIET_S = 5.0  # children may print on after the end of the run


def run(
    path: Path,
    count: int,
    *,
    follow: bool,
    types: Collection[str],
    name: str | None,
    stream: str | None,
    as_lines: bool,
    refresh: Callable[[], bool] | None = None,
) -> None:
    """Print the last events of an experiment, or of a log file that belongs to none, then those that follow until it is over.

    `refresh` is called again and again meanwhile, to bring lines from elsewhere; it returns False where it could not.

    Raises:
        NotAnExperiment: There is no readable meta.json.
        InvalidPattern: The pattern over names cannot be read.
        InvalidArgument: There is no such type, or no such stream.
    """
    is_file = path.is_file()
    folder, stream = (path.parent, logical_stream_of(path)) if is_file else (path, stream)
    created = "" if is_file else str(meta.read_meta(folder).content.get("created"))
    refuse_unknown_types(folder, types)
    if not follow:
        refuse_unknown_stream([folder], stream)
    without = () if types or stream == layout.SYSTEM_STREAM else HOUSEKEEPING_TYPES
    tail = Tail(folder, types=types, without=without, name=name, stream=stream)
    show = _print_raw if as_lines else _EventPrinter(Screen(), not is_file and len(layout.streams_in(folder)) > 1)
    for entry in tail.last(count):
        show(entry)
    if tail.skipped:
        say(passed_over(folder, tail.skipped))
    if follow:
        sys.stdout.flush()
        is_over = Watch(folder, created, stream if is_file else None)
        for entry in tail.follow(is_over if refresh is None else _refreshing(refresh, is_over)):
            show(entry)
            sys.stdout.flush()


def _refreshing(refresh: Callable[[], bool], is_over: Callable[[], bool]) -> Callable[[], bool]:
    """Return a test that brings new lines before it looks whether it is over."""

    def look() -> bool:
        return refresh() and is_over()

    return look


def _print_raw(entry: EventLine) -> None:
    if sys.stdout.isatty():
        print(as_json(entry.line.decode("utf-8", "replace")), end="")
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(entry.line)
    sys.stdout.buffer.flush()


class Watch:
    """A test whether an experiment, or one stream, is over: no run goes on, and no writer is at work."""

    def __init__(self, folder: Path, created: str, stream: str | None = None) -> None:
        self._folder, self._stream, self._status = folder, stream, Status(folder, created, stream)
        self._over_since: float | None = None

    def __call__(self) -> bool:
        """Return whether it is over now."""
        if self._status() == "running":
            self._over_since = None
            return False
        self._over_since = self._over_since or monotonic()
        # A writer on another machine, which may be dead, is not waited for longer than this.
        living = surroundings(self._folder).living
        is_written = any(self._stream in (None, layout.logical_stream(stream)) for stream in living)
        return not is_written or monotonic() - self._over_since > _QUIET_S


class _EventPrinter:
    """A printer of events, one a line; on a terminal below the date and zone of their day, elsewhere each with both."""

    def __init__(self, screen: Screen, names_streams: bool) -> None:
        self._screen, self._names_streams = screen, names_streams
        self._day = ""

    def __call__(self, entry: EventLine) -> None:
        moment = entry.event.time.astimezone()
        day = moment.strftime("%A, %B %d, %Y, %Z")
        if self._screen.is_terminal and day != self._day:
            self._day = day
            self._screen.show(styled(day, "dim"))
        first, *more = lines_of(entry.event, self._names_streams)
        if self._screen.is_terminal:  # wrapped lines continue below the text, not below the time
            self._screen.show(_hanging(moment.strftime("%H:%M:%S"), [first, *more]))
            return
        self._screen.show(joined([styled(words.full_time(moment)), first]), wrap=False)
        for line in more:
            self._screen.show(Text.assemble("  ", line), wrap=False)


def _hanging(time: str, lines: list[Text]) -> Rows:
    return Rows([[styled("" if number else time, "dim"), line] for number, line in enumerate(lines)])


def lines_of(event: Event, names_stream: bool = False) -> Iterator[Text]:
    """Yield an event as a line; an exception's traceback follows on lines of its own."""
    first, *more = display.lines_of(event, names_stream)
    yield joined([Text.assemble(*segment) for segment in first])
    for line in more:
        yield joined([Text.assemble(*segment) for segment in line])
