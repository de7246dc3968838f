"""Damage to logs at random: bytes flipped, cut and spliced, and lines that are JSON and no longer what was written."""

from __future__ import annotations

import random
from typing import Any

import orjson

STRANGE: tuple[Any, ...] = (
    None, True, -1, 0, 2**53 + 1, 2**63, 2**64 - 1, 1e308, 0.5, "", "x", "é" * 40, "2026-99-01T00:00:00Z",
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", [], {}, [[]], {"": {}}, {"_mlv": "file"},
    {"_mlv": "file", "path": "../../x", "sha256": "0", "size": -1}, {"_mlv": "int", "value": "1e9"}, {"a/b": {"a": 1}},
)  # fmt: skip
"""Values where others are expected."""


def damaged(content: bytes, chance: random.Random) -> bytes:
    """A log after some damage of each kind that chance picks; at least one byte is different."""
    before = content
    while content == before:
        for _ in range(chance.choice([1, 1, 2, 5, 20])):
            content = chance.choice(KINDS)(content, chance)
    return content


def flipped(content: bytes, chance: random.Random) -> bytes:
    """One bit is another."""
    at = _place(content, chance)
    return content[:at] + bytes(byte ^ 1 << chance.randrange(8) for byte in content[at : at + 1]) + content[at + 1 :]


def overwritten(content: bytes, chance: random.Random) -> bytes:
    """A stretch holds zeros, as after a power failure, or noise."""
    at, count = _place(content, chance), chance.choice([1, 5, 60, 600])
    new = bytes(count) if chance.random() < 0.5 else chance.randbytes(count)
    return content[:at] + new + content[at + count :]


def cut(content: bytes, chance: random.Random) -> bytes:
    """A stretch is not there, or the end."""
    at = _place(content, chance)
    return content[:at] + (content[at + chance.choice([1, 5, 60, 600]) :] if chance.random() < 0.8 else b"")


def spliced(content: bytes, chance: random.Random) -> bytes:
    """A stretch from elsewhere is there, too, or instead of another."""
    start, at = _place(content, chance), _place(content, chance)
    count = chance.choice([1, 10, 200, 1000])
    return content[:at] + content[start : start + count] + content[at + chance.choice([0, count]) :]


def retyped(content: bytes, chance: random.Random) -> bytes:
    """A value of a line, anywhere in it, is of another type, or under another key."""
    lines = content.splitlines(keepends=True)
    at = chance.randrange(len(lines)) if lines else 0
    try:
        record = orjson.loads(lines[at])
        places = list(_places(record))
        holder, key = chance.choice(places)
        if chance.random() < 0.2 and isinstance(holder, dict):
            holder[str(chance.choice(STRANGE))] = holder.pop(key)
        else:
            other, other_key = chance.choice(places)
            holder[key] = other[other_key] if chance.random() < 0.2 and other is record else chance.choice(STRANGE)
        lines[at] = orjson.dumps(record) + b"\n"
    except (orjson.JSONDecodeError, IndexError, RecursionError, TypeError, ValueError):
        pass  # damaged already, or another one was put into itself
    return b"".join(lines)


KINDS = (flipped, overwritten, cut, spliced, retyped, retyped)


def _place(content: bytes, chance: random.Random) -> int:
    return chance.randrange(len(content) + 1)


def _places(value: Any) -> Any:
    """Each key or index of a JSON value, with what holds it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        yield value, key
        yield from _places(item)
