"""`mlv tail`: the last events of an experiment as lines for people, and those that follow."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from datetime import date, datetime, timezone
from pathlib import Path
from time import monotonic
from typing import Any

from rich.table import Table
from rich.text import Text

from mlv.cli import words
from mlv.cli.screen import Screen, joined, styled
from mlv.events import Event
from mlv.experiment import identity
from mlv.query.latest import Found, Tail
from mlv.query.one import latest_status
from mlv.query.surroundings import surroundings
from mlv.state import fold
from mlv.store import layout
from mlv.store.reading import read_state

HOUSEKEEPING_TYPES = ("seal", "heartbeat", "system")
"""Left out unless they are asked for: they keep the log provable, or come by the clock."""
_QUIET_S = 5.0


def run(
    folder: Path, count: int, *, follow: bool, types: Collection[str], name: str | None, stream: str | None, as_json: bool
) -> None:
    """Print the last events, then those that follow until no run goes on.

    Raises:
        NotAnExperiment: There is no readable meta.json.
        InvalidPattern: The pattern over names cannot be read.
    """
    meta = identity.read_meta(folder)
    without = () if types or stream == layout.SYSTEM_STREAM else HOUSEKEEPING_TYPES
    tail = Tail(folder, types=types, without=without, name=name, stream=stream)
    show = _print_raw if as_json else _Lines(Screen(), len(layout.streams_in(folder)) > 1)
    for found in tail.last(count):
        show(found)
    if follow:
        sys.stdout.flush()
        is_over = _Watch(folder, str(meta.content.get("created")))
        for found in tail.follow(is_over):
            show(found)
            sys.stdout.flush()


def _print_raw(found: Found) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(found.line)
    sys.stdout.buffer.flush()


class _Watch:
    """Says whether an experiment is over: no run goes on, and no writer is at work any more."""

    def __init__(self, folder: Path, created: str) -> None:
        self._folder, self._created = folder, created
        self._state = read_state(folder)
        self._news = Tail(folder)
        self._news.last(0)
        self._over_since: float | None = None

    def __call__(self) -> bool:
        news = [found.event for found in self._news.follow(lambda: True)]
        self._state = fold(news, self._state)
        if latest_status(self._state, self._created, datetime.now(timezone.utc)) == "running":
            self._over_since = None
            return False
        self._over_since = self._over_since or monotonic()
        # A writer that cannot be judged from here is not waited for.
        return not surroundings(self._folder).living or monotonic() - self._over_since > _QUIET_S


class _Lines:
    """Prints events, one a line, under the date of their day."""

    def __init__(self, screen: Screen, names_streams: bool) -> None:
        self._screen, self._names_streams = screen, names_streams
        self._day: date | None = None

    def __call__(self, found: Found) -> None:
        moment = found.event.time.astimezone()
        if self._screen.is_terminal and moment.date() != self._day:
            self._day = moment.date()
            self._screen.show(styled(moment.strftime("%A, %B %d, %Y"), "dim"))
        first, *others = lines_of(found.event, self._names_streams)
        if self._screen.is_terminal:  # what does not fit goes on below its beginning, not below the time
            self._screen.show(_hanging(moment.strftime("%H:%M:%S"), [first, *others]))
            return
        self._screen.show(joined([styled(moment.strftime("%Y-%m-%d %H:%M:%S")), first]), wrap=False)
        for line in others:
            self._screen.show(Text.assemble("  ", line), wrap=False)


def _hanging(time: str, lines: list[Text]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for line in lines:
        grid.add_row(time, line)
        time = ""
    return grid


def lines_of(event: Event, names_stream: bool = False) -> Iterator[Text]:
    """An event as a line; an exception's traceback follows on lines of its own."""
    stream = [styled(f"[{event.stream}]", "dim")] if names_stream and event.stream != layout.DEFAULT_STREAM else []
    at = [styled(words.pairs({**_step(event), **event.at}), "cyan")] if event.at or event.step is not None else []
    yield joined([*stream, *at, *_content(event)])
    exception = event.data.get("exception") if isinstance(event.data, dict) else None
    if isinstance(exception, dict):
        for line in str(exception.get("traceback") or "").rstrip().splitlines():
            yield styled(words.printable(line), "dim")


def _step(event: Event) -> dict[str, Any]:
    return {"step": event.step} if event.step is not None else {}


def _content(event: Event) -> list[Text]:
    make = _CONTENTS.get(event.type)
    if make is not None and isinstance(event.data, dict):
        with suppress(AttributeError, KeyError, TypeError, ValueError):  # of a form that this version does not write
            return make(event, event.data)
    name = [_name(event)] if event.name else []
    return [*name, *([] if event.type == "event" else [styled(event.type, "magenta")]), _data(event.data)]


def _name(event: Event) -> Text:
    return styled(words.printable(event.name), "bold")


def _data(data: Any) -> Text:
    if isinstance(data, dict) and not words.is_reference(data):
        return styled(words.compact(words.pairs(data)))
    return styled(words.compact(data) if data is not None else "")


def _metrics(event: Event, data: Mapping[str, Any]) -> list[Text]:
    prefix = f"{event.name}/" if event.name else ""
    return [Text.assemble((words.printable(f"{prefix}{key}="), "bold"), words.number(value)) for key, value in data.items()]


def _message(event: Event, data: Mapping[str, Any]) -> list[Text]:
    level = str(data.get("level"))
    name = [_name(event)] if event.name else []
    extra = [_data(data["extra"])] if data.get("extra") else []
    text = styled(words.printable(str(data.get("message")), keep="\n"), "bold red" if level == "error" else "")
    return [styled(words.printable(level.upper()), words.LEVEL_STYLES.get(level, "")), *name, text, *extra]


def _media(event: Event, data: Mapping[str, Any]) -> list[Text]:
    """Where the files are, and what can be said in few words."""
    paths = data["files"] if "files" in data else [data["file"]] if "file" in data else []
    rest = {key: value for key, value in data.items() if key not in _LONG}
    first = [styled(words.compact(paths[0]), "dim")] if paths else []
    more = [styled(f"and {words.counted(len(paths) - 1, 'more', 'more')}", "dim")] if len(paths) > 1 else []
    return [_name(event), styled(event.type, "magenta"), *first, *more, *([_data(rest)] if rest else [])]


_LONG = frozenset({
    "file", "files", "sizes", "captions", "boxes", "masks", "counts", "edges", "rows", "beginning",
    "thresholds", "precision", "recall", "tp", "fp", "tn", "fn",
})  # fmt: skip
"""What a line of a terminal has no room for: --json gives all of it."""


def _checkpoint(_: Event, data: Mapping[str, Any]) -> list[Text]:
    what = styled("checkpoint", "magenta")
    if data["action"] == "policy":
        policy = {key: value for key, value in data.items() if key not in ("action", "folder")}
        return [what, styled(words.printable(f"policy of {data['folder']}")), _data(policy)]
    places = ", ".join(data.get("places", [])) or "nowhere"
    said = f"{data['action']}{' for good' if data.get('is_gone') else ''}"
    metrics = [_data(data["metrics"])] if data.get("metrics") else []
    return [what, styled(words.printable(f"{said}: {places}")), *metrics]


def _rejected(event: Event, data: Mapping[str, Any]) -> list[Text]:
    what = words.printable(f"rejected {data.get('type')} {event.name}".rstrip())
    return [styled(f"{what}: {words.compact(data.get('reason'))}", "red")]


def _dropped(event: Event, data: Mapping[str, Any]) -> list[Text]:
    text = f"dropped events {data.get('first')} to {data.get('last')} of run {event.subject}: {data.get('reason')}"
    return [styled(words.compact(text), "bold red")]


def _run_started(event: Event, data: Mapping[str, Any]) -> list[Text]:
    process = data.get("process") or {}
    text = f"run {event.run} started"
    where = f"pid {process.get('pid')} on {process.get('machine')}" if process else ""
    parent = f"child of {data['parent_run']}" if data.get("parent_run") else ""
    return [styled(words.printable(text), "cyan"), *(styled(words.printable(part), "dim") for part in (where, parent) if part)]


def _run_ended(event: Event, data: Mapping[str, Any]) -> list[Text]:
    status = str(data.get("status"))
    exception = data.get("exception") or {}
    error = f"{exception.get('type')}: {exception.get('message')}" if exception else ""
    said = [
        styled(f"run {words.printable(event.subject)} ended"),
        styled(words.printable(status), words.STATUS_STYLES.get(status, "")),
    ]
    return [*said, *([styled(words.compact(error), "bold red")] if error else [])]


def _seal(event: Event, data: Mapping[str, Any]) -> list[Text]:
    text = f"sealed {words.counted(int(data.get('lines') or 0), 'line')} of run {event.subject}"
    return [styled(words.printable(text), "dim"), styled(words.printable(str(data.get("sha256"))[:16]), "dim")]


_CONTENTS: dict[str, Callable[[Event, Mapping[str, Any]], list[Text]]] = {
    "metrics": _metrics,
    "message": _message,
    **dict.fromkeys(("image", "figure", "audio", "video", "table", "histogram", "array", "pr_curve", "graph"), _media),
    "checkpoint": _checkpoint,
    "rejected": _rejected,
    "dropped": _dropped,
    "run_started": _run_started,
    "run_ended": _run_ended,
    "seal": _seal,
}
