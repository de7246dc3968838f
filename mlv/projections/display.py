"""An event as a line for people: segments with styles, which a terminal may colour and a file may not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from mlv import words
from mlv.events import Event, prefix_of
from mlv.media.kinds import KINDS
from mlv.store import layout

Span = tuple[str, str]
"""A text, and its style in the words of rich; empty for none."""
Segment = tuple[Span, ...]
"""Spans without a space between them; segments are set apart by spaces."""
Format = Callable[[str, Any], str]
"""Shows the value of a metric, by the metric's full name."""


def _plainly(_: str, value: Any) -> str:
    return words.number(value)


def lines_of(event: Event, names_stream: bool = False, format: Format = _plainly) -> Iterator[list[Segment]]:
    """Yield an event as a line of segments; an exception's traceback follows on lines of its own."""
    stream = [_styled(f"[{event.stream}]", "dim")] if names_stream and event.stream != layout.DEFAULT_STREAM else []
    at = [_styled(words.pairs({**_step(event), **event.at}), "cyan")] if event.at or event.step is not None else []
    yield [*stream, *at, *_content(event, format)]
    exception = event.data.get("exception") if isinstance(event.data, dict) else None
    if isinstance(exception, dict):
        for line in str(exception.get("traceback") or "").rstrip().splitlines():
            yield [_styled(line, "dim")]


def _styled(text: str, style: str = "", keep: str = "") -> Segment:
    return ((words.printable(text, keep), style),)


def _step(event: Event) -> dict[str, Any]:
    return {"step": event.step} if event.step is not None else {}


def _content(event: Event, format: Format) -> list[Segment]:
    if event.type == "metrics" and isinstance(event.data, dict):
        return _metrics(event, event.data, format)
    make = _CONTENTS.get(event.type)
    if make is not None and isinstance(event.data, dict):
        with suppress(AttributeError, KeyError, TypeError, ValueError):  # of a form that this version does not write
            return make(event, event.data)
    name = [_name(event)] if event.name else []
    return [*name, *([] if event.type == "event" else [_styled(event.type, "magenta")]), _data(event.data)]


def _name(event: Event) -> Segment:
    return _styled(event.name, "bold")


def _data(data: Any) -> Segment:
    if isinstance(data, dict) and not words.is_reference(data):
        return _styled(words.compact(words.pairs(data)))
    return _styled(words.compact(data) if data is not None else "")


def _metrics(event: Event, data: Mapping[str, Any], format: Format) -> list[Segment]:
    prefix = prefix_of(event.name)
    return [((words.printable(f"{prefix}{key}="), "bold"), (format(prefix + key, value), "")) for key, value in data.items()]


def _message(event: Event, data: Mapping[str, Any]) -> list[Segment]:
    level = str(data.get("level"))
    name = [_name(event)] if event.name else []
    extra = [_data(data["extra"])] if data.get("extra") else []
    text = _styled(str(data.get("message")), "bold red" if level == "error" else "", keep="\n")
    return [_styled(level.upper(), words.LEVEL_STYLES.get(level, "")), *name, text, *extra]


def _media(event: Event, data: Mapping[str, Any]) -> list[Segment]:
    """Return the paths of the files, and the details that are short."""
    paths = data["files"] if "files" in data else [data["file"]] if "file" in data else []
    details = {key: value for key, value in data.items() if key not in _LONG}
    first = [_styled(words.compact(paths[0]), "dim")] if paths else []
    more = [_styled(f"and {words.counted(len(paths) - 1, 'more', 'more')}", "dim")] if len(paths) > 1 else []
    return [_name(event), _styled(event.type, "magenta"), *first, *more, *([_data(details)] if details else [])]


_LONG = frozenset({"file", "files"}).union(*(kind.long_fields for kind in KINDS.values()))
"""Fields that are too long for a line of a terminal; --json gives all of them."""


def _checkpoint(_: Event, data: Mapping[str, Any]) -> list[Segment]:
    title = _styled("checkpoint", "magenta")
    if data["action"] == "policy":
        policy = {key: value for key, value in data.items() if key not in ("action", "folder")}
        return [title, _styled(f"policy of {data['folder']}"), _data(policy)]
    places = ", ".join(data.get("places", [])) or "nowhere"
    action = f"{data['action']}{' for good' if data.get('is_gone') else ''}"
    metrics = [_data(data["metrics"])] if data.get("metrics") else []
    return [title, _styled(f"{action}: {places}"), *metrics]


def _rejected(event: Event, data: Mapping[str, Any]) -> list[Segment]:
    subject = f"rejected {data.get('type')} {event.name}".rstrip()
    return [_styled(f"{subject}: {words.compact(data.get('reason'))}", "red")]


def _dropped(event: Event, data: Mapping[str, Any]) -> list[Segment]:
    text = f"dropped events {data.get('first')} to {data.get('last')} of run {event.subject}: {data.get('reason')}"
    return [_styled(words.compact(text), "bold red")]


def _run_started(event: Event, data: Mapping[str, Any]) -> list[Segment]:
    process = data.get("process") or {}
    text = f"run {event.run} started"
    where = f"pid {process.get('pid')} on {process.get('machine')}" if process else ""
    parent = f"child of {data['parent_run']}" if data.get("parent_run") else ""
    return [_styled(text, "cyan"), *(_styled(detail, "dim") for detail in (where, parent) if detail)]


def _run_ended(event: Event, data: Mapping[str, Any]) -> list[Segment]:
    status = str(data.get("status"))
    exception = data.get("exception") or {}
    error = f"{exception.get('type')}: {exception.get('message')}" if exception else ""
    segments = [_styled(f"run {event.subject} ended"), _styled(status, words.STATUS_STYLES.get(status, ""))]
    return [*segments, *([_styled(words.compact(error), "bold red")] if error else [])]


def _rewound(_event: Event, data: Mapping[str, Any]) -> list[Segment]:
    runs = words.counted(len(data.get("last") or ()), "run")
    return [
        _styled(f"rewound to step {words.compact(data.get('step'))}", "yellow"),
        _styled(f"what {runs} logged later", "dim"),
    ]


def _seal(event: Event, data: Mapping[str, Any]) -> list[Segment]:
    text = f"sealed {words.counted(int(data.get('lines') or 0), 'line')} of run {event.subject}"
    return [_styled(text, "dim"), _styled(str(data.get("sha256"))[:16], "dim")]


_CONTENTS: dict[str, Callable[[Event, Mapping[str, Any]], list[Segment]]] = {
    "message": _message,
    **dict.fromkeys(KINDS.keys() - {"text"}, _media),  # a text is shown by what it says
    "checkpoint": _checkpoint,
    "rejected": _rejected,
    "dropped": _dropped,
    "run_started": _run_started,
    "run_ended": _run_ended,
    "rewound": _rewound,
    "seal": _seal,
}
