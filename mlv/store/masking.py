"""Masking: the matches of patterns are replaced in texts, values, lines of a log and files."""

from __future__ import annotations

import base64
import mmap
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import orjson

from mlv import wire
from mlv.encoding import TAG, loads
from mlv.errors import InvalidPattern
from mlv.events import Dropped, Heartbeat, Redacted, Seal
from mlv.state import STRUCTURAL
from mlv.store import opening
from mlv.store.seals import is_redacted, line_digest

MASK = "<redacted>"
_LARGEST_TEXT = 64 << 20  # the text and its copy without credentials are in memory together
_OWN = frozenset({Seal.TYPE, Redacted.TYPE, Heartbeat.TYPE, Dropped.TYPE})
"""Types of the writers' own events, which hold nothing of the user's."""
ESSENTIAL = frozenset({*STRUCTURAL, "checkpoint"})
"""Types on which other events rest: a reader would lose a run, its end, or a checkpoint with the line."""
_FIXED = ("exp", "parent_run", "process", "of", "status", "folder", "save", "action", "places")
"""Fields of their data that have to stay as they are, or go with the line."""


_PACKED = {
    b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstandard", b"PK\x03\x04": "zip",
    b"7z\xbc\xaf\x27\x1c": "7z", b"\x04\x22\x4d\x18": "lz4", b"\x1f\x9d": "compress", b"PAR1": "Parquet", b"\x89HDF": "HDF5",
    b"ARROW1": "Arrow", b"%PDF": "PDF", b"SQLite format 3": "SQLite",
}  # fmt: skip
"""First bytes of files that are compressed or encoded: a search in their bytes misses texts."""
_WIDE = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_SAMPLE = 4096  # marks of formats and NUL bytes stand at the beginning


def why_unread(path: Path) -> str | None:
    """Name the format for which a search in the bytes of a file may miss a text; None where it misses none.

    Raises:
        OSError: It cannot be read.
    """
    with opening.reading(path) as file:
        sample = file.read(_SAMPLE)
    packed = next((name for mark, name in _PACKED.items() if sample.startswith(mark)), None)
    if packed is not None:
        return packed
    halves = (sample[::2].count(0), sample[1::2].count(0))
    # Latin letters of UTF-16 have a zero beside each.
    is_wide = len(sample) >= 8 and max(halves) > len(sample) // 5 and min(halves) == 0
    return "UTF-16" if is_wide or sample.startswith(_WIDE) else None


class Mask:
    """Regular expressions whose matches are replaced by `<redacted>`."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Compile the patterns.

        Raises:
            InvalidPattern: One is no regular expression for text and for bytes, or matches where there is nothing.
        """
        expressions = list(patterns)
        if not expressions:
            raise InvalidPattern("no pattern is given: give a regular expression of what leaked", pattern=None)
        try:
            self._texts = [re.compile(pattern) for pattern in expressions]
            self._bytes = [re.compile(pattern.encode()) for pattern in expressions]
        except re.error as error:
            raise InvalidPattern(f"a pattern is no regular expression that can be used: {error.msg}", pattern=None) from None
        if any(pattern.search("") for pattern in self._texts):
            raise InvalidPattern("a pattern matches where there is nothing, so it would match everything", pattern=None)

    def is_in(self, text: str) -> bool:
        """Return whether a text holds a match."""
        return any(pattern.search(text) for pattern in self._texts)

    def text(self, text: str) -> str:
        """Return a text with its matches masked."""
        for pattern in self._texts:
            text = pattern.sub(MASK, text)
        return text

    def value(self, value: Any) -> Any:
        """Return a value in its JSON form, masked: keys, texts and encoded bytes are replaced, numbers become null."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            if value.get(TAG) == "bytes" and self._is_in_encoded(value):
                return MASK
            return {self.text(key): self.value(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if value is None or isinstance(value, bool):
            return value
        return None if self.is_in(orjson.dumps(value).decode()) else value  # a text would break columns of numbers

    def _is_in_encoded(self, value: dict[str, Any]) -> bool:
        try:
            content = base64.b64decode(next(item for key, item in value.items() if key != TAG))
        except (ValueError, TypeError, StopIteration):
            return False
        return any(pattern.search(content) for pattern in self._bytes)

    def line(self, line: bytes, forget: bool) -> bytes | None:
        """Return the line that replaces one with a match; None where the line has no match.

        It keeps run, number and time, and the SHA-256 of the line as it was written, unless that is to be forgotten. A line
        on which others rest, such as the start of a run or the reference to a file, keeps its type and its other content.
        """
        try:
            fields = loads(line)
            begin = {name: fields.pop(name) for name in ("run", "seq", "time")}
            type_ = fields.pop("type")
        except (ValueError, KeyError, TypeError, AttributeError):
            return self._damaged(line)
        if is_redacted(line):
            fields.pop("redacted")
        masked = self.value(fields)
        if type_ in _OWN or (masked == fields and not self.is_in(type_)):
            return None
        # Of the line as first written: the chains of seals go on to hold, also over a second redaction.
        digest = None if forget else line_digest(line)
        proof = {"sha256": digest.hex()} if digest is not None else {}
        if (type_ in ESSENTIAL or wire.TO_FILE in line) and _fixed(masked) == _fixed(fields):
            content = {**begin, "redacted": proof, "type": type_, **masked}
        else:
            content = {**begin, "redacted": {**proof, "type": self.text(type_)}, "type": Redacted.TYPE}
        return orjson.dumps(content) + b"\n"

    def _damaged(self, line: bytes) -> bytes | None:
        """Mask the bytes of a line that is no event: it has no position in a chain that could be kept."""
        masked = line
        for pattern in self._bytes:
            masked = pattern.sub(MASK.encode(), masked)
        return masked if masked != line else None

    def meta(self, text: bytes) -> bytes | None:
        """Return a meta.json with its matches masked; None where it has none."""
        content = loads(text)
        masked = self.value(content)
        if masked == content:
            return None
        return orjson.dumps(masked, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def file(self, path: Path) -> bytes | Literal[False] | None:
        """Return the masked content of a text file; False for another file with a match, which has to go; None without one.

        Raises:
            OSError: It cannot be read.
        """
        size = path.stat().st_size
        if size == 0:
            return None
        if size <= _LARGEST_TEXT:
            content = opening.content(path, _LARGEST_TEXT)
            try:
                text = content.decode() if b"\0" not in content else None
            except UnicodeDecodeError:
                text = None
            if text is not None:
                masked = self.text(text)
                return masked.encode() if masked != text else None
        with opening.reading(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content_map:
            return False if any(pattern.search(content_map) for pattern in self._bytes) else None


def _fixed(fields: dict[str, Any]) -> list[Any]:
    """Return the content that has to stay as it is: the fields the store relies on, and references to files."""
    data = fields.get("data")
    own = [data.get(name) for name in _FIXED] if isinstance(data, dict) else []
    return [*own, *_references(data)]


def _references(value: Any) -> list[Any]:
    """Return the paths and hashes of the files that a value refers to."""
    if isinstance(value, dict):
        own = [(value.get("path"), value.get("sha256"))] if value.get(TAG) == "file" else []
        return own + [pair for item in value.values() for pair in _references(item)]
    return [pair for item in value for pair in _references(item)] if isinstance(value, list) else []
