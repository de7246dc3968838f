"""Patterns over names: `*` is one segment, `**` any number of them, and `{epoch:int}` is a segment that becomes a column."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from mlv.errors import InvalidPattern

_CAPTURE = re.compile(r"\{([^\W\d]\w*)(?::(\w*))?\}")
_PARTS = re.compile(r"(\{\{|\}\}|\{[^{}]*\}|\*)")
_KINDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "str": (r"[^/]+", str),
    "int": (r"[-+]?[0-9]{1,18}", int),
    "float": (r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?inf|nan", float),
}


class NamePattern:
    """A pattern over names; nothing but stars and braces is special, and a doubled brace is a brace."""

    def __init__(self, pattern: str) -> None:
        """Read a pattern.

        Raises:
            InvalidPattern: It is no text, has a lone brace, a type that is not `int`, `float` or `str`, or the same name twice.
        """
        if not isinstance(pattern, str):
            raise InvalidPattern(f"pattern {pattern!r} is of type {type(pattern).__name__}: give a text", pattern=pattern)
        self.text = pattern
        self.kinds = _kinds(pattern)
        """The type of each brace, by its name: `int`, `float` or `str`."""
        self._expression = re.compile(_expression(pattern.split("/")))

    @property
    def names_one(self) -> bool:
        """Whether only one name can match."""
        return "*" not in self.text and not self.kinds

    def match(self, name: str) -> dict[str, Any] | None:
        """What the braces stand for, None if the name does not match."""
        found = self._expression.fullmatch(name)
        return None if found is None else {key: _KINDS[kind][1](found[key]) for key, kind in self.kinds.items()}

    def folded(self, name: str) -> str:
        """A name that matches, with the braces in place of what they stand for."""
        found = self._expression.fullmatch(name)
        spans = sorted((*found.span(key), key) for key in self.kinds) if found is not None else []
        for start, end, key in reversed(spans):
            name = f"{name[:start]}{{{key}}}{name[end:]}"
        return name


def name_matcher(pattern: str) -> Callable[[str], bool]:
    """A test for names: `*` is one segment, `**` any number of them; nothing else is special but doubled braces.

    Raises:
        InvalidPattern: The pattern is no text, or has a brace that is not doubled.
    """
    read = NamePattern(pattern)
    if read.kinds:
        raise _single_brace(pattern)
    return lambda name: read.match(name) is not None


def _single_brace(pattern: str) -> InvalidPattern:
    text = f"pattern {pattern!r} has a single brace: double it, {{{{ or }}}}, to mean the brace"
    return InvalidPattern(text, pattern=pattern)


def _kinds(pattern: str) -> dict[str, str]:
    kinds: dict[str, str] = {}
    for part in _PARTS.split(pattern)[1::2]:
        if not part.startswith("{") or part == "{{":
            continue
        found = _CAPTURE.fullmatch(part)
        if found is None:
            raise _single_brace(pattern)
        name, kind = found[1], found[2] if found[2] is not None else "str"
        if kind not in _KINDS:
            text = f"pattern {pattern!r}: {part} has the type {kind!r}; give int, float or str"
            raise InvalidPattern(text, pattern=pattern)
        if name in kinds:
            text = f"pattern {pattern!r} has {{{name}}} twice: each becomes a column, so give them different names"
            raise InvalidPattern(text, pattern=pattern)
        kinds[name] = kind
    if re.search("[{}]", "".join(_PARTS.split(pattern)[::2])):
        raise _single_brace(pattern)
    return kinds


def _expression(segments: list[str]) -> str:
    expression = ""
    for position, segment in enumerate(segments):
        if segment == "**":
            # Any number of segments, also none: the slash belongs to the segments.
            expression += "(?:[^/]+/)*" if position < len(segments) - 1 else "(?:[^/]+(?:/[^/]+)*)?"
            continue
        expression += _of_segment(segment) if segment != "*" else "[^/]+"
        if position < len(segments) - 1:
            expression += "/"
    return expression.replace("/(?:[^/]+(?:/[^/]+)*)?", "(?:/[^/]+)*")


def _of_segment(segment: str) -> str:
    return "".join(_of_part(part) for part in _PARTS.split(segment))


def _of_part(part: str) -> str:
    if part == "*":
        return "[^/]*"
    found = _CAPTURE.fullmatch(part)
    if found is not None:
        return f"(?P<{found[1]}>{_KINDS[found[2] or 'str'][0]})"
    return re.escape(part.replace("{{", "{").replace("}}", "}"))
