"""Taking what patterns match out of texts, values, lines of a log and files."""

from __future__ import annotations

import base64
import mmap
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import orjson

from mlv.encoding import TAG, loads
from mlv.errors import InvalidPattern
from mlv.events import Dropped, Heartbeat, Redacted, Seal
from mlv.state import STRUCTURAL
from mlv.store import opening
from mlv.store.seals import is_redacted, line_digest

MASK = "<redacted>"
_LARGEST_TEXT = 64 << 20
_OWN = frozenset({Seal.TYPE, Redacted.TYPE, Heartbeat.TYPE, Dropped.TYPE})
"""What writers say themselves holds nothing of the user's."""
KEPT = frozenset({*STRUCTURAL, "checkpoint"})
"""What others rest on: a reader would lose a run, its end, or a checkpoint with the line."""
_FIXED = ("exp", "parent_run", "process", "of", "status", "folder", "save", "action", "places")
"""Fields of their data that have to stay as they are, or go with the line."""


_PACKED = {
    b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstandard", b"PK\x03\x04": "zip",
    b"7z\xbc\xaf\x27\x1c": "7z", b"\x04\x22\x4d\x18": "lz4", b"\x1f\x9d": "compress", b"PAR1": "Parquet", b"\x89HDF": "HDF5",
    b"ARROW1": "Arrow", b"%PDF": "PDF", b"SQLite format 3": "SQLite",
}  # fmt: skip
"""How files begin in which bytes do not stand as they were written."""
_WIDE = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_SAMPLE = 4096


def why_unread(path: Path) -> str | None:
    """Why a search in the bytes of a file may miss a text that it holds; None where it does not.

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
    """Regular expressions, and what they match replaced by `<redacted>`."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Compile the patterns.

        Raises:
            InvalidPattern: One is no regular expression for text and for bytes, or matches where there is nothing.
        """
        given = list(patterns)
        if not given:
            raise InvalidPattern("no pattern is given: give a regular expression of what leaked", pattern=None)
        try:
            self._texts = [re.compile(pattern) for pattern in given]
            self._bytes = [re.compile(pattern.encode()) for pattern in given]
        except re.error as error:
            raise InvalidPattern(f"a pattern is no regular expression that can be used: {error.msg}", pattern=None) from None
        if any(pattern.search("") for pattern in self._texts):
            raise InvalidPattern("a pattern matches where there is nothing, so it would match everything", pattern=None)

    def is_in(self, text: str) -> bool:
        """Whether a text holds what leaked."""
        return any(pattern.search(text) for pattern in self._texts)

    def text(self, text: str) -> str:
        """The text without it."""
        for pattern in self._texts:
            text = pattern.sub(MASK, text)
        return text

    def value(self, value: Any) -> Any:
        """A value in its JSON form without it: keys, texts and encoded bytes are masked, numbers become null."""
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
        """The line that takes the place of one that holds what leaked; None where it does not hold it.

        It keeps run, number and time, and the SHA-256 of the line as it was written, unless that is to be forgotten. What
        others rest on, such as the start of a run or the reference to a file, keeps its type and the rest of its content.
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
        digest = None if forget else line_digest(line)
        proof = {"sha256": digest.hex()} if digest is not None else {}
        if (type_ in KEPT or b'"_mlv":"file"' in line) and _fixed(masked) == _fixed(fields):
            content = {**begin, "redacted": proof, "type": type_, **masked}
        else:
            content = {**begin, "redacted": {**proof, "type": self.text(type_)}, "type": Redacted.TYPE}
        return orjson.dumps(content) + b"\n"

    def _damaged(self, line: bytes) -> bytes | None:
        """What is no event has no place in a chain that could be kept."""
        found = line
        for pattern in self._bytes:
            found = pattern.sub(MASK.encode(), found)
        return found if found != line else None

    def meta(self, text: bytes) -> bytes | None:
        """A meta.json without what leaked; None where it does not hold it."""
        content = loads(text)
        masked = self.value(content)
        if masked == content:
            return None
        return orjson.dumps(masked, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def file(self, path: Path) -> bytes | Literal[False] | None:
        """What a file has to hold instead: a text masked; False where it is no text, so that it has to go; None: as it is.

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
    """What has to stay as it is: what the store itself goes by, and references to files."""
    data = fields.get("data")
    own = [data.get(name) for name in _FIXED] if isinstance(data, dict) else []
    return [*own, *_references(data)]


def _references(value: Any) -> list[Any]:
    """The paths and hashes of the files that a value refers to."""
    if isinstance(value, dict):
        own = [(value.get("path"), value.get("sha256"))] if value.get(TAG) == "file" else []
        return own + [one for item in value.values() for one in _references(item)]
    return [one for item in value for one in _references(item)] if isinstance(value, list) else []
