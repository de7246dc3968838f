"""A checker for lines of format 1, small enough to be read beside `schemas/`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from mlv.encoding import TAG, BadLine, loads, parse_time

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_SHA256 = re.compile(r"[0-9a-f]{64}")
LARGEST_SEQ = 2**63 - 1


def checked(line: bytes) -> dict[str, Any]:
    """Return the fields of a line, unchanged; unknown fields and types are accepted.

    Raises:
        BadLine: The line is no event of format 1; the text says why.
    """
    try:
        fields = loads(line)
    except orjson.JSONDecodeError as error:
        raise BadLine(f"it is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise BadLine("it is not a JSON object")
    _check(fields, _LINE, "")
    parse_time(fields["time"])
    check_data(fields["type"], fields.get("data"))
    return fields


def check_data(type_: str, data: Any) -> None:
    """Refuse data that an event of a type of format 1 cannot have; other types may have any.

    Raises:
        BadLine: It cannot.
    """
    required = _DATA.get(type_)
    if required is not None:
        if not isinstance(data, dict):
            raise BadLine(f"data of an event of type {type_} is {_excerpt(data)}, not an object")
        _check(data, required, "data.")


@dataclass(frozen=True, slots=True)
class _Rule:
    test: Callable[[Any], bool]
    words: str
    is_required: bool = True


def _check(fields: Mapping[str, Any], rules: Mapping[str, _Rule], prefix: str) -> None:
    for name, rule in rules.items():
        if name not in fields:
            if rule.is_required:
                raise BadLine(f"it has no {prefix}{name}")
        elif not rule.test(fields[name]):
            raise BadLine(f"{prefix}{name} is {_excerpt(fields[name])}, not {rule.words}")


def _excerpt(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _optional(rule: _Rule) -> _Rule:
    return _Rule(rule.test, rule.words, is_required=False)


def _is_integer(value: Any) -> bool:
    return type(value) is int and 1 <= value <= LARGEST_SEQ


def _is_step(value: Any) -> bool:
    return isinstance(value, (int, float, str, list)) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    """Return whether a value is a text, or the tagged form of one that has no UTF-8 form."""
    return isinstance(value, str) or (isinstance(value, dict) and value.get(TAG) == "text")


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_notes(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


_RUN = _Rule(lambda value: isinstance(value, str) and value.startswith("r"), "a text that begins with r")
_WORD = _Rule(lambda value: isinstance(value, str), "a text")
_TEXT = _Rule(_is_text, "a text")
_INTEGER = _Rule(_is_integer, "an integer from 1")
_OBJECT = _Rule(lambda value: isinstance(value, dict), "an object")
_NUMBER = _Rule(lambda value: type(value) in (int, float), "a number")
_DIGEST = _Rule(lambda value: isinstance(value, str) and _SHA256.fullmatch(value) is not None, "a SHA-256")
_DIGESTS = _Rule(
    lambda value: isinstance(value, dict) and all(map(_DIGEST.test, value.values())), "an object of SHA-256 by stream"
)

_LINE = {
    "run": _RUN,
    "seq": _INTEGER,
    "time": _Rule(lambda value: isinstance(value, str) and _TIME.fullmatch(value) is not None, "a time in UTC with a Z"),
    "type": _WORD,
    "name": _optional(_WORD),
    "step": _Rule(_is_step, "a number, a text or a list", is_required=False),
    "at": _optional(_OBJECT),
    "nonfinite": _Rule(_is_notes, "an object of texts", is_required=False),
}

_DATA = {
    "run_started": {
        "exp": _optional(_DIGEST),
        "parent_run": _optional(_RUN),
        "process": _optional(_OBJECT),
        "after": _optional(_DIGESTS),
    },
    "run_ended": {"status": _WORD, "of": _optional(_RUN)},
    "run_paused": {"reason": _optional(_TEXT)},
    "run_resumed": {},
    "rewound": {"step": _NUMBER, "last": _optional(_OBJECT)},
    "heartbeat": {"of": _RUN},
    "system": {"of": _RUN},
    "params": {},
    "tags": {"tags": _Rule(_is_texts, "a list of texts")},
    "tags_removed": {"tags": _Rule(_is_texts, "a list of texts")},
    "note": {"text": _TEXT},
    "archived": {"archived": _Rule(lambda value: isinstance(value, bool), "true or false")},
    "moved": {"from": _TEXT},
    "metadata": {},
    "summary": {},
    "metrics": {},
    "message": {"level": _WORD, "message": _TEXT},
    "rejected": {"type": _WORD, "reason": _TEXT},
    "dropped": {"first": _INTEGER, "last": _INTEGER, "of": _optional(_RUN)},
    "seal": {
        "of": _RUN,
        "stream": _WORD,
        "lines": _INTEGER,
        "sha256": _DIGEST,
        "previous": _optional(_DIGEST),
        "after": _optional(_DIGESTS),
    },
}
"""The fields that the data of each structural type needs; the data of other types may be anything."""
