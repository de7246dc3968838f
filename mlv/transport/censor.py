"""The censor: takes credentials out of events, between the queue and the disk.

It sees every event of a run: the head that lines share, the payload behind it, and the jobs that a worker completes. Events
without credentials are recognised by their texts alone: clean texts are remembered, so that metrics cost a look into a set.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

import orjson

from mlv.capture.redaction import Redactor
from mlv.encoding import TAIL, dumps
from mlv.state import STRUCTURAL
from mlv.transport.key_lines import KeyLines

_TEXTS = ("message", "run_ended", "rejected", "note")
"""Types that `redact_except=["message"]` exempts: the words of the script or of a library, also those of its failure."""
_FIXED = ("exp", "parent_run", "process", "of", "status", "folder", "save", "action", "places")
"""Fields of structural events that the store itself goes by."""
_OF_USERS = ("params", "summary")
"""Structural types whose fields have names of the user's choice."""
_REMEMBERED = 4096  # the texts of a program recur, so that most are judged once; 256 KiB at most with the next limit
_LONGEST_REMEMBERED = 64  # longer texts seldom recur
_SAMPLED = 8
"""Payloads of a stretch whose texts are looked for in all of them."""
_MOST_KEYS = 32
"""Each is searched for in the whole stretch; beyond this, a look into each event costs as much."""
_CHUNK = 4 << 20  # a large event may be larger than the memory that is free
_OVERLAP = 512
"""More than the beginning of a credential needs, so that none hides between two chunks."""


class Censor:
    """Redacts the events of one run; `redact_except` exempts a whole type, such as `message`, or what is `console`."""

    def __init__(self, redactor: Redactor, *, is_resumed: bool = False) -> None:
        """Begin with a run's first event, or `is_resumed` where an earlier writer has seen the events before."""
        self.redacted = 0
        """Events from which something was taken."""
        self._redactor = redactor
        self._clean: set[bytes] = set()
        """Texts that hold nothing: names of metrics, above all."""
        self._heads: dict[bytes, bytes] = {}
        self._key_lines = KeyLines(is_open=is_resumed)

    @property
    def state(self) -> tuple[int, tuple[object, int, int, bool]]:
        """The state after the events so far; set it to see the same events again that could not be written."""
        return self.redacted, self._key_lines.state

    @state.setter
    def state(self, state: tuple[int, tuple[object, int, int, bool]]) -> None:
        self.redacted, self._key_lines.state = state

    def are_clean(self, payloads: list[bytes]) -> bool:
        """Say whether payloads hold only texts that were judged already; False where each wants a look of its own.

        Counts the quotation marks of all at once, which costs 0.1 us for an event of three metrics and not 0.6 us.
        """
        if self._key_lines.is_waiting:
            return False
        keys = {text for payload in payloads[:_SAMPLED] for text in payload.split(b'"')[1::2]}
        if len(keys) > _MOST_KEYS or not self._clean.issuperset(keys):
            return False
        # Between two texts stands at least one of these marks, so that `"key"` cannot begin with the end of a text.
        if any(key != key.translate(None, b":,[]{}\n") for key in keys):
            return False
        joined = b"\n".join(payloads)
        return b"\\" not in joined and joined.count(b'"') == 2 * sum(joined.count(b'"%s"' % key) for key in keys)

    def event(self, head: bytes, kind: int, payload: bytes) -> tuple[bytes, bytes]:
        """Return head and payload of an event without credentials; the same bytes where there are none."""
        if not payload:
            return head, payload
        clean_head = self._heads.get(head)
        if clean_head is None:
            clean_head = self.head(head)
        try:
            if not self._may_hold(payload):
                return clean_head, payload
            return clean_head, self._of_event(payload) if kind == TAIL else self._of_metrics(payload)
        except (ValueError, RecursionError):  # no JSON: it becomes a line that readers pass over, and holds nothing either
            return clean_head, self._redactor.text(payload.decode("utf-8", "backslashreplace"), "event").encode()

    def head(self, head: bytes) -> bytes:
        """Return the head of a cursor's lines, without credentials in its name."""
        clean = self._heads.get(head)
        if clean is None:
            fields = orjson.loads(b"{" + head.rstrip(b",") + b"}")
            if "name" in fields:
                fields["name"] = self._redactor.name(fields["name"], "name")
            clean = self._heads[head] = dumps(fields)[1:-1] + b"," if head else b""
        return clean

    def payload(self, payload: bytes) -> bytes:
        """Return the text of an event from its type on, without credentials; the same bytes where there are none."""
        return self._of_event(payload) if self._may_hold(payload) else payload

    def _of_event(self, payload: bytes) -> bytes:
        event = orjson.loads(b"{" + payload)
        clean = self._clean_event(event)
        if clean == event:
            return payload
        self.redacted += 1
        return dumps(clean)[1:]

    def may_hold(self, file: BinaryIO) -> bool:
        """Return whether a large event may hold credentials; reads it chunk by chunk."""
        end = b""
        while chunk := file.read(_CHUNK):
            # An escape of JSON hides the beginning of a word.
            if b"\\" in chunk or self._redactor.may_find(end + chunk):
                return True
            end = chunk[-_OVERLAP:]
        return False

    def _of_metrics(self, payload: bytes) -> bytes:
        data = orjson.loads(payload)
        clean = self._clean_data(data, "metrics")
        if clean == data:
            return payload
        self.redacted += 1
        return dumps(clean)

    def _may_hold(self, payload: bytes) -> bool:
        """Return whether a payload may hold credentials. All that is text stands between quotation marks."""
        if self._key_lines.is_waiting:
            return True
        texts = payload.split(b'"')[1::2]
        # None of these holds a backslash: an escaped quotation mark between two texts is not taken for the end of one.
        if self._clean.issuperset(texts):
            return False
        return b"\\" in payload or not all(text in self._clean or self._is_clean(text) for text in texts)

    def _is_clean(self, content: bytes) -> bool:
        text = content.decode()
        if text == "base64":  # its value is encoded
            return False
        if self._redactor.hides(text) or not self._redactor.is_clean(text) or self._key_lines.opens(text):
            return False
        if len(content) <= _LONGEST_REMEMBERED and " " not in text:
            if len(self._clean) >= _REMEMBERED:
                self._clean.clear()
            self._clean.add(content)
        return True

    def _clean_event(self, event: dict[str, Any]) -> dict[str, Any]:
        type_, data = event.get("type", ""), event.get("data")
        is_printed = type_ == "message" and isinstance(data, dict) and "of" in data
        where = "console" if is_printed else "message" if type_ in _TEXTS else type_
        # The start of a run was redacted where it was captured, by the names of its fields.
        if type_ == "run_started" or self._redactor.exempts(where):
            return event
        clean = {**event, "data": self._clean_data(data, where, is_structural=type_ in STRUCTURAL or type_ == "checkpoint")}
        if type_ == "message" and isinstance(clean["data"], dict) and isinstance(data, dict):
            text, origin = clean["data"].get("message"), (event.get("name", ""), is_printed)
            if isinstance(text, str):
                clean["data"] = {**clean["data"], "message": self._key_lines.masked(str(data["message"]), text, origin)}
        if "name" in event:
            clean["name"] = self._redactor.name(event["name"], "name")
        for field in ("step", "at"):
            if field in event:
                clean[field] = self._redactor.data(event[field], field)
        if "nonfinite" in event:
            clean["nonfinite"] = moved(event["nonfinite"], data, clean["data"])
        return clean

    def _clean_data(self, data: Any, where: str, *, is_structural: bool = False) -> Any:
        if where == "console":
            return {**data, "message": self._redactor.text(str(data.get("message")), where)}
        clean = self._redactor.data(data, where)
        if is_structural and isinstance(data, dict) and where not in _OF_USERS:
            return {**clean, **{field: data[field] for field in _FIXED if field in data}}
        return clean


def redacted_text(run: str, count: int) -> str:
    """Return the warning, given once, that credentials were taken out of events."""
    events = "an event" if count == 1 else f"{count} events"
    return f"in {events} of run {run}, `<redacted>` stands for what looks like a credential. See Exp(redact=, redact_except=)"


def moved(pointers: Mapping[str, str], before: Any, after: Any) -> dict[str, str]:
    """Translate JSON pointers into a value to its copy, whose keys may differ and whose order does not."""
    return {_moved(pointer, before, after): text for pointer, text in pointers.items()}


def _moved(pointer: str, before: Any, after: Any) -> str:
    segments = pointer.split("/")
    for position, segment in enumerate(segments[1:], 1):
        if isinstance(before, dict) and isinstance(after, dict):
            keys = list(before)
            key = segment.replace("~1", "/").replace("~0", "~")
            if key not in before or len(after) != len(before):
                break
            new = list(after)[keys.index(key)]
            segments[position] = str(new).replace("~", "~0").replace("/", "~1")
            before, after = before[key], after[new]
        elif isinstance(before, list) and isinstance(after, list) and segment.isdecimal() and int(segment) < len(before):
            before, after = before[int(segment)], after[int(segment)]
        else:
            break
    return "/".join(segments)
