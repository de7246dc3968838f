"""Lines of an experiment's streams for its page: events from the latest back, one line, console, and media."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import orjson

from mlv.encoding import BadLine, event_from_line
from mlv.errors import InvalidArgument
from mlv.events import Event, metrics_of
from mlv.media.kinds import KINDS
from mlv.order import in_order
from mlv.query.events import is_named
from mlv.query.moments import Moment, surviving
from mlv.query.name_patterns import name_matcher
from mlv.store import layout
from mlv.store.reading import Lines, while_there
from mlv.store.streams import lines_from_end, whole_end
from mlv.web.limits import LIMITS
from mlv.web.plain import as_text, plain, whole

_MOST_EVENTS = 1000
_MOST_MEDIA = 5000
_SEARCH_S = 2.0
"""How long one answer searches; the next one goes on where it ended."""
_LONGEST_DATA = 64 << 10
"""Bytes of an event's data that are sent with a list; `line` sends all."""


def events(folder: Path, query: Mapping[str, str], moment: Moment | None = None) -> dict[str, Any]:
    """Return events, the latest first, and where to go on: `before` is None behind the first one.

    `type`, with commas between several, `stream` and `name`, a pattern, choose them, and `q` is a text that the line holds in
    small or capital letters. An answer may have less than `limit`, since a search is cut off after some time.

    Raises:
        InvalidArgument, InvalidPattern: A part of the question is wrong.
    """
    limit = whole(query, "limit", 100, _MOST_EVENTS)
    types = [name for name in query.get("type", "").split(",") if name]
    matches = name_matcher(query["name"], captures=True) if query.get("name") else None
    text = query.get("q", "").casefold()

    def is_requested(event: Event, line: bytes) -> bool:
        return (
            (moment is None or moment.has(event))
            and (not types or event.type in types)
            and (matches is None or is_named(event, matches))
            and (not text or text in line.decode("utf-8", "replace").casefold())
        )

    ends, streams = _ends(folder, query), query.get("stream")
    requested = [name for name in ends if not streams or layout.logical_stream(name) == streams]
    deadline = monotonic() + _SEARCH_S
    reached = dict(ends)
    queues: dict[str, list[_Match]] = {}
    size = 0
    for stream in requested:
        queue = queues[stream] = []
        with while_there(folder, stream):
            for start, line in lines_from_end(folder / layout.stream_file(stream), ends[stream]):
                reached[stream] = start
                event = _event(stream, line)
                if event is not None and is_requested(event, line):
                    queue.append((event, line, stream, start))
                    size += len(line)
                if len(queue) >= limit or size > LIMITS.lines_bytes or monotonic() > deadline:
                    break
    chosen = _latest(queues, limit)
    for queue in filter(None, queues.values()):  # read, and not sent: the next answer begins behind the latest of them
        _, line, stream, start = queue[0]
        reached[stream] = start + len(line)
    is_over = all(reached[stream] <= 0 for stream in requested)
    return {
        "events": [_shown(event, line, stream, start) for event, line, stream, start in reversed(chosen)],
        "before": None if is_over else _cursor(reached),
    }  # fmt: skip


_Match = tuple[Event, bytes, str, int]


def _latest(queues: Mapping[str, list[_Match]], limit: int) -> list[_Match]:
    """Take the latest events from queues, one for each stream from its end backward; return them in their order.

    From each stream its last lines are taken, whatever their times: none may be passed over, or be taken twice.
    """
    chosen: list[_Match] = []
    while len(chosen) < limit and any(queues.values()):
        latest = max(filter(None, queues.values()), key=lambda queue: queue[0][0].time)
        chosen.append(latest.pop(0))
    return in_order(chosen, lambda match: (match[0].run, match[0].seq, match[0].time))


def _ends(folder: Path, query: Mapping[str, str]) -> dict[str, int]:
    """Return for each stream the offset before which its events are asked for."""
    streams, text = layout.streams_in(folder), query.get("before")
    if not text:
        return {stream: whole_end(folder / layout.stream_file(stream)) for stream in streams}
    try:
        offsets = orjson.loads(base64.urlsafe_b64decode(text))
        ends = {name: whole_end(folder / layout.stream_file(name)) for name in streams if name in offsets}
        return {name: max(0, min(int(offsets[name]), end)) for name, end in ends.items()}
    except (ValueError, TypeError, AttributeError):
        raise InvalidArgument(f"before={text!r:.80} is none of the cursors that an answer gave", before=text) from None


def _cursor(offsets: Mapping[str, int]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(dict(offsets))).decode()


def _event(stream: str, line: bytes) -> Event | None:
    try:
        return event_from_line(line, layout.logical_stream(stream))
    except BadLine:
        return None


def _shown(event: Event, line: bytes, stream: str, start: int) -> dict[str, Any]:
    is_long = len(line) > _LONGEST_DATA
    data = None if is_long else as_text(plain(event.data))
    return {**_fields(event), "data": data, "cut": is_long, "file": layout.stream_file(stream), "offset": start}


def _fields(event: Event) -> dict[str, Any]:
    return as_text({
        "run": event.run, "seq": event.seq, "time": event.time.timestamp(), "type": event.type, "name": event.name,
        "step": plain(event.step), "at": plain(dict(event.at)), "stream": event.stream,
    })  # fmt: skip


def line(folder: Path, query: Mapping[str, str]) -> dict[str, Any]:
    """Return one line as it stands in the log: that of `run` and `seq`, or the latest of a metric `m` at a `step`.

    Raises:
        InvalidArgument: The question is neither, or there is no such line.
    """
    run, seq, metric = query.get("run", ""), query.get("seq", ""), query.get("m", "")
    if run and seq.isdecimal():
        matches = _numbered(folder, run, int(seq[:18]))
    elif metric and query.get("step"):
        matches = _logged(folder, metric, query["step"])
    else:
        raise InvalidArgument("give run= and seq=, or m= and step=", run=run, seq=seq)
    latest = None
    for latest in matches:  # noqa: B007 - the last one counts
        pass
    if latest is None:
        raise InvalidArgument("the log has no such line: it may have been merged, redacted, or never written", run=run, seq=seq)
    stream, start, content = latest
    event = _event(stream, content)
    return {
        "line": content.decode("utf-8", "replace"), "file": layout.stream_file(stream), "offset": start, "bytes": len(content),
        "event": {**_fields(event), "data": as_text(plain(event.data))} if event is not None else None,
    }  # fmt: skip


def _numbered(folder: Path, run: str, seq: int) -> Iterator[tuple[str, int, bytes]]:
    for stream, start, content in _lines(folder, b'"seq":%d' % seq):
        event = _event(stream, content)
        if event is not None and (event.run, event.seq) == (run, seq):
            yield stream, start, content


def _logged(folder: Path, metric: str, step: str) -> Iterator[tuple[str, int, bytes]]:
    try:
        number = float(step)
    except ValueError:
        raise InvalidArgument(f"step={step!r:.50} is no number", step=step) from None
    for stream, start, content in _lines(folder, b'"metrics"'):
        event = _event(stream, content)
        if event is not None and event.step == number and any(name == metric for name, _ in metrics_of(event)):
            yield stream, start, content


def _lines(folder: Path, text: bytes) -> Iterator[tuple[str, int, bytes]]:
    lines = Lines(folder, layout.streams_in(folder))
    for stream in lines.streams:
        for start, content in lines.raw(stream):
            if text in content:
                yield stream, start, content


def console(folder: Path, query: Mapping[str, str], moment: Moment | None = None) -> dict[str, Any]:
    """Return what was printed, the latest lines, in their order, and where to go on to the earlier ones."""
    answer = events(folder, {**query, "stream": layout.CONSOLE_STREAM, "type": "message"}, moment)
    printed = [
        {"time": event["time"], "name": event["name"], "text": _printed(event), "run": event["run"]}
        for event in reversed(answer["events"])
    ]
    return {"lines": printed, "before": answer["before"]}


def _printed(event: Mapping[str, Any]) -> str:
    if event["cut"]:
        return f"(a line of more than {_LONGEST_DATA >> 10} KB: {event['file']} has it, from byte {event['offset']} on)"
    return str(event["data"].get("message", "")) if isinstance(event["data"], Mapping) else ""


def media(folder: Path, query: Mapping[str, str], moment: Moment | None = None) -> dict[str, Any]:
    """Return the media of one name, in the order of logging; superseded ones are left out.

    Raises:
        InvalidArgument: The type is none of media.
    """
    name, kind = query.get("name", ""), query.get("type", "")
    kinds: Sequence[str] = [kind] if kind else list(KINDS)
    if kind and kind not in KINDS:
        raise InvalidArgument(f"type={kind!r:.50} is no type of media: give one of {', '.join(KINDS)}", type=kind)
    named = (event for event in surviving(folder, kinds, moment) if event.name == name)
    items = [{**_fields(event), "data": as_text(plain(event.data))} for event in named]
    return {"name": name, "items": items[-_MOST_MEDIA:], "left_out": max(0, len(items) - _MOST_MEDIA)}
