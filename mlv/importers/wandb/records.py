"""The records of a `.wandb` file by the field numbers of `wandb_internal.proto`, read without W&B and without protobuf."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from mlv.importers import protobuf
from mlv.importers.protobuf import BadMessage, fields, varint

HISTORY, SUMMARY, OUTPUT, CONFIG, FILES, STATS, ARTIFACT, ALERT, METRIC, OUTPUT_RAW = 2, 3, 4, 5, 6, 7, 8, 10, 12, 13
RUN, EXIT, HEADER, USED_ARTIFACT, ENVIRONMENT = 17, 18, 21, 25, 26
WITHOUT_CONTENT = frozenset({9, 11, 20, 22, 23, 24, 27, 100})
"""Records for W&B's own use: TensorBoard folders, telemetry, final, footer, preempting, links, requests."""
_BESIDE = frozenset({1, 16, 19, 200})
"""Fields of a record beside its content: number, control, uuid, info."""
_INFO = 200
_KEY, _NESTED_KEY, _VALUE = 1, 2, 16
_VALUE_TAG = b"\x82\x01"
_MOST_NAMES = 100_000

Path = tuple[str, ...]
"""Names of an item, from the outermost."""


class Record(NamedTuple):
    """A record, whose content is still to be decoded."""

    kind: int
    content: bytes
    is_marked: bool
    """Whether the script's process sent it, as later versions mark; others were made by W&B from those."""


def record_of(message: bytes) -> Record:
    """Return a record of a file.

    Raises:
        BadMessage: The bytes are no message.
    """
    # A record of a number and one field of less than 16 KiB, as rows are, is taken apart at once.
    size = len(message)
    if size > 4 and message[0] == 0x08:
        position = 1
        while message[position] >= 0x80 and position < size - 4:
            position += 1
        tag, length, start = message[position + 1], message[position + 2], position + 3
        if length >= 0x80 and message[start] < 0x80:
            length, start = length & 0x7F | message[start] << 7, start + 1
        if tag & 0x87 == 2 and start + length == size and length < 1 << 14:
            return Record(tag >> 3, message[start:], False)
    kind, content, is_marked = 0, b"", False
    for number, value in fields(message):
        if number not in _BESIDE:
            kind, content = number, value
        elif number == _INFO:
            is_marked = bool(value)
    if not isinstance(content, bytes):
        raise BadMessage(f"record {kind} is a number")
    return Record(kind, content, is_marked)


class Items:
    """Decodes items, each a key, or several nested ones, and a value in JSON: their names recur in every row."""

    def __init__(self) -> None:
        self._paths: dict[bytes, Path] = {}

    def of(self, content: bytes, number: int = 1) -> Iterator[tuple[Path, bytes]]:
        """Yield path and JSON of the items in a field of a message.

        Raises:
            BadMessage: It is none.
        """
        for field, item in fields(content):
            if field == number:
                yield self._item(item)

    def row(self, content: bytes) -> tuple[list[Path], list[bytes]]:
        """Return the paths of the items of a row of history, and their JSON.

        Rows are what there is most of. An item, of which `of` decodes any form, is here cut in two where its value begins,
        and its beginning looked up.

        Raises:
            BadMessage: It is no message.
        """
        paths: list[Path] = []
        texts: list[bytes] = []
        position, size, known = 0, len(content), self._paths
        while position < size:
            if content[position] != 0x0A:  # another field than an item: the step
                for path, text in self.of(content[position:]):
                    paths.append(path)
                    texts.append(text)
                break
            length, start = content[position + 1] if position + 1 < size else 0x80, position + 2
            if length >= 0x80:
                length, start = varint(content, position + 1)
            position = start + length
            if position > size:
                raise BadMessage("an item leads out of its row")
            item = content[start:position]
            head, _, value = item.partition(_VALUE_TAG)
            if head in known and value and value[0] == len(value) - 1 < 0x80:
                paths.append(known[head])
                texts.append(value[1:])
            else:
                path, text = self._item(item)
                paths.append(path)
                texts.append(text)
        return paths, texts

    def _item(self, item: bytes) -> tuple[Path, bytes]:
        path: list[str] = []
        value, position = b"", 0
        for number, content in fields(item):
            if number in (_KEY, _NESTED_KEY):
                path.append(protobuf.text(content))
            elif number == _VALUE:
                value = content
        head, tag, _ = item.partition(_VALUE_TAG)
        position = len(head)
        # Only where the bytes before the first such mark are whole fields do they stand for the path alone.
        if tag and len(self._paths) < _MOST_NAMES and _is_whole(head, path):
            self._paths[item[:position]] = tuple(path)
        return tuple(path), value


def _is_whole(head: bytes, path: list[str]) -> bool:
    try:
        return [protobuf.text(content) for number, content in fields(head) if number in (_KEY, _NESTED_KEY)] == path
    except BadMessage:
        return False


def values_of(texts: list[bytes]) -> list[Any]:
    """Return the values of texts in JSON, which has NaN and infinities here; a text that is none stays a text."""
    try:
        values: list[Any] = orjson.loads(b"[" + b",".join(texts) + b"]")
        if len(values) == len(texts):
            return values
    except orjson.JSONDecodeError:
        pass
    return [value_of(text) for text in texts]


def value_of(text: bytes) -> Any:
    """Return the value of one text in JSON; a text that is none stays a text."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(text)  # knows NaN, infinities, integers of any size, lone surrogates
    except (ValueError, RecursionError):
        return text.decode("utf-8", "backslashreplace")


def time_of(content: bytes) -> float:
    """Return the seconds of a `Timestamp`.

    Raises:
        BadMessage: It is none.
    """
    values = protobuf.grouped(content)
    seconds, nanoseconds = values.get(1, [0])[-1], values.get(2, [0])[-1]
    if not isinstance(seconds, int) or not isinstance(nanoseconds, int):
        raise BadMessage("a time is no number")
    return protobuf.signed(seconds) + protobuf.signed(nanoseconds) / 1e9
