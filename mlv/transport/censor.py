"""The censor: takes credentials out of the texts of events, between the queue and the disk."""

from __future__ import annotations

import re
from typing import Any

import orjson

from mlv.capture.redaction import REDACTED, Redactor
from mlv.encoding import TAG, dumps

TEXTS = (b'"type":"message"', b'"type":"run_ended"', b'"type":"rejected"', b'"type":"note"')
"""How the events begin that hold texts: what the script or a library said, and with which words it failed."""

_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY")
_KEY_ENDS = re.compile(r"-----END ")
_KEY_LINE = re.compile(r"[A-Za-z0-9+/=:,.\- ]*")


class Censor:
    """Redacts the data of one run's events; `keep=["message"]` or `keep=["console"]` exempts all of a kind."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._in_key: set[str] = set()
        """Descriptors on which a private key has begun and not ended."""

    def payload(self, payload: bytes) -> bytes:
        """The text of an event from its type on, without credentials; the same bytes where there are none."""
        if not payload.startswith(TEXTS) or not (self._in_key or self._redactor.may_find(payload)):
            return payload
        event = orjson.loads(b"{" + payload)
        data = event.get("data")
        is_printed = event["type"] == "message" and isinstance(data, dict) and "of" in data
        where = "console" if is_printed else "message"
        if self._redactor.exempts(where):
            return payload
        if is_printed:
            text = self._redactor.text(str(data.get("message")), where)
            clean = {**data, "message": self._without_key(text, event.get("name", ""))}
        else:
            clean = _without_copies(data, self._redactor.tree(data, where))
        return payload if clean == data else dumps({**event, "data": clean})[1:]

    def _without_key(self, line: str, descriptor: str) -> str:
        """A line of the console, of which a private key takes many."""
        if descriptor not in self._in_key:
            if "PRIVATE KEY" in line and _KEY_BEGINS.search(line) and not _KEY_ENDS.search(line):
                self._in_key.add(descriptor)
            return line
        is_end = _KEY_ENDS.search(line) is not None
        if is_end or not _KEY_LINE.fullmatch(line):
            self._in_key.discard(descriptor)
        return REDACTED if is_end or descriptor in self._in_key else line


def _without_copies(before: Any, clean: Any) -> Any:
    """The clean value, and no text beside its exact bytes where the text was not clean."""
    if before == clean:
        return clean
    if isinstance(clean, dict):
        if clean.get(TAG) == "text":
            return clean.get("text")
        return {key: _without_copies(before.get(key), value) for key, value in clean.items()}
    if isinstance(clean, list):
        return [_without_copies(*pair) for pair in zip(before, clean, strict=True)]
    return clean
