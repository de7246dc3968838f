"""Patterns over names: `*` is one segment, `**` any number of them, and `{epoch:int}` is a segment that becomes a column.

What is matched is looked up from the end: a table says where the rest of a pattern fits. So the time grows with the length of
a name times that of the pattern, whatever both are; an expression of stars would be tried in all ways.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from mlv.errors import InvalidPattern

_CAPTURE = re.compile(r"\{([^\W\d]\w*)(?::(\w*))?\}")
_PARTS = re.compile(r"(\{\{|\}\}|\{[^{}]*\}|\*)")
_KINDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "str": (r"[^/]+", str),
    "int": (r"[-+]?[0-9]{1,18}", int),
    "float": (r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?inf|nan", float),
}
_LONGEST_NUMBER = 40
"""Characters of a number that a brace stands for."""
_NAMES_KEPT = 4096
"""A log has few names, which come again with each line."""
Spans = dict[str, tuple[int, int]]
"""Where what each brace stands for begins and ends."""


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
        self._segments = _segments(pattern)
        self._spans = lru_cache(_NAMES_KEPT)(self._found)

    @property
    def names_one(self) -> bool:
        """Whether only one name can match."""
        return "*" not in self.text and not self.kinds

    def match(self, name: str) -> dict[str, Any] | None:
        """What the braces stand for, None if the name does not match."""
        spans = self._spans(name)
        return None if spans is None else {key: _KINDS[kind][1](name[slice(*spans[key])]) for key, kind in self.kinds.items()}

    def folded(self, name: str) -> str:
        """A name that matches, with the braces in place of what they stand for."""
        spans = self._spans(name) or {}
        for key, (start, end) in sorted(spans.items(), key=lambda item: item[1], reverse=True):
            name = f"{name[:start]}{{{key}}}{name[end:]}"
        return name

    def _found(self, name: str) -> Spans | None:
        parts = name.split("/")
        fits = self._fits(parts)
        if not fits[0][0]:
            return {} if not name and not any(self._segments) else None
        spans: Spans = {}
        place = start = 0
        for number, segment in enumerate(self._segments):
            if segment is None:  # as many as can be
                end = fits[number + 1].rfind(1, place, _end_of_filled(parts, place) + 1)
                start += sum(len(part) + 1 for part in parts[place:end])
                place = end
                continue
            spans |= {key: (start + first, start + last) for key, (first, last) in segment.spans(parts[place]).items()}
            start += len(parts[place]) + 1
            place += 1
        return spans

    def _fits(self, parts: list[str]) -> list[bytearray]:
        """For each segment of the pattern, whether it and those behind it fit the name from each of its segments on."""
        fits = [bytearray(len(parts) + 1) for _ in range(len(self._segments) + 1)]
        fits[-1][-1] = 1
        for number in range(len(self._segments) - 1, -1, -1):
            segment, here, behind = self._segments[number], fits[number], fits[number + 1]
            for place in range(len(parts), -1, -1):
                if segment is None:
                    here[place] = behind[place] or (place < len(parts) and parts[place] != "" and here[place + 1])
                elif place < len(parts):
                    here[place] = behind[place + 1] and segment.matches(parts[place])
        return fits


def _end_of_filled(parts: list[str], place: int) -> int:
    """The place behind the segments from a place on that are not empty."""
    return next((number for number in range(place, len(parts)) if not parts[number]), len(parts))


class _Segment:
    """What one segment of a name is to be: texts, stars, and braces of a kind."""

    def __init__(self, text: str) -> None:
        self._least = int(text == "*")
        """A star alone stands for something."""
        self._pieces: list[tuple[str, str]] = []
        for part in filter(None, _PARTS.split(text)):
            piece = _piece(part)
            if piece[0] == "text" == (self._pieces[-1][0] if self._pieces else ""):
                piece = "text", self._pieces.pop()[1] + piece[1]
            if piece != ("star", "") or piece not in self._pieces[-1:]:
                self._pieces.append(piece)
        self._is_text = [kind for kind, _ in self._pieces] in ([], ["text"])
        self._text = "".join(content for _, content in self._pieces) if self._is_text else ""

    def matches(self, part: str) -> bool:
        """Whether a segment is such a one."""
        if self._is_text:
            return part == self._text
        if self._pieces == [("star", "")]:
            return len(part) >= self._least
        return bool(self._fits(part)[0][0])

    def spans(self, part: str) -> Spans:
        """Where what its braces stand for begins and ends, in a segment that matches: earlier ones are as long as can be."""
        if self._is_text:
            return {}
        fits, spans, place = self._fits(part), Spans(), 0
        for number, (kind, content) in enumerate(self._pieces):
            end = max(_ends(kind, content, part, place, fits[number + 1]))
            if kind in _KINDS:
                spans[content] = place, end
            place = end
        return spans

    def _fits(self, part: str) -> list[bytearray]:
        """For each piece, whether it and those behind it fit a segment from each character on."""
        fits = [bytearray(len(part) + 1) for _ in range(len(self._pieces) + 1)]
        fits[-1][-1] = 1
        for number in range(len(self._pieces) - 1, -1, -1):
            kind, content = self._pieces[number]
            here, behind = fits[number], fits[number + 1]
            if kind in ("star", "str"):
                last = behind.rfind(1) + (kind == "star")
                here[: max(0, last)] = bytes([1]) * max(0, last)
            else:
                for place in _places(kind, content, part):
                    here[place] = next(_ends(kind, content, part, place, behind), None) is not None
        return fits


def _places(kind: str, content: str, part: str) -> Iterator[int]:
    """Where a text or a number may begin."""
    if kind != "text":
        yield from (found.start() for found in _MAY_BEGIN.finditer(part))
        return
    place = part.find(content)
    while place >= 0:
        yield place
        place = part.find(content, place + 1)


_MAY_BEGIN = re.compile(r"[-+.0-9in]")


def _ends(kind: str, content: str, part: str, place: int, behind: bytearray) -> Iterator[int]:
    """Where a piece that begins at a place may end so that those behind it fit; the last one is among the first."""
    if kind == "text":
        end = place + len(content)
        if end <= len(part) and part.startswith(content, place) and behind[end]:
            yield end
    elif kind in ("star", "str"):
        if (end := behind.rfind(1, place + (kind == "str"))) >= 0:
            yield end
    else:
        fits = _NUMBERS[kind].fullmatch
        for end in range(min(len(part), place + _LONGEST_NUMBER), place, -1):
            if behind[end] and fits(part, place, end):
                yield end


_NUMBERS = {kind: re.compile(_KINDS[kind][0]) for kind in ("int", "float")}


def name_matcher(pattern: str, *, captures: bool = False) -> Callable[[str], bool]:
    """A test for names: `*` is one segment, `**` any number of them; with `captures`, `{epoch:int}` and the like as well.

    Raises:
        InvalidPattern: The pattern is no text, or has a brace that is not doubled and means nothing.
    """
    read = NamePattern(pattern)
    if read.kinds and not captures:
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


def _segments(pattern: str) -> list[_Segment | None]:
    """The segments of a pattern; None stands for any number of them."""
    segments: list[_Segment | None] = []
    for text in pattern.split("/"):
        if text != "**":
            segments.append(_Segment(text))
        elif not segments or segments[-1] is not None:  # two of them are as good as one
            segments.append(None)
    return segments


def _piece(part: str) -> tuple[str, str]:
    if part == "*":
        return "star", ""
    found = _CAPTURE.fullmatch(part)
    return (found[2] or "str", found[1]) if found is not None else ("text", part.replace("{{", "{").replace("}}", "}"))
