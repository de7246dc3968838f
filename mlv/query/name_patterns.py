"""Patterns over names: `*` is one segment, `**` any number of them, and `{epoch:int}` is a segment that becomes a column.

Names are matched from their ends: a table records for each suffix of the pattern the suffixes of the name that it fits. So the
time grows with the length of a name times that of the pattern, whatever both are; a regular expression of stars would be tried
in all ways.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from mlv.errors import InvalidPattern

_CAPTURE = re.compile(r"\{([^\W\d]\w*)(?::(\w*))?\}")
_SYMBOLS = re.compile(r"(\{\{|\}\}|\{[^{}]*\}|\*)")
_KINDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "str": (r"[^/]+", str),
    "int": (r"[-+]?[0-9]{1,18}", int),
    "float": (r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?inf|nan", float),
}
_LONGEST_NUMBER = 40
"""Most characters of a number that a brace captures."""
_NAMES_CACHED = 4096
"""Names whose spans are cached: a log has few names, which come again with each line."""
Spans = dict[str, tuple[int, int]]
"""Begin and end of each capture, by the name of its brace."""


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
        self._spans = lru_cache(_NAMES_CACHED)(self._find_spans)

    @property
    def is_one_name(self) -> bool:
        """Whether only one name can match."""
        return "*" not in self.text and not self.kinds

    def match(self, name: str) -> dict[str, Any] | None:
        """Return the captures of the braces; None if the name does not match."""
        spans = self._spans(name)
        return None if spans is None else {key: _KINDS[kind][1](name[slice(*spans[key])]) for key, kind in self.kinds.items()}

    def folded(self, name: str) -> str:
        """Return a matching name with the braces in place of their captures."""
        spans = self._spans(name) or {}
        for key, (start, end) in sorted(spans.items(), key=lambda item: item[1], reverse=True):
            name = f"{name[:start]}{{{key}}}{name[end:]}"
        return name

    def _find_spans(self, name: str) -> Spans | None:
        segments = name.split("/")
        fits = self._fits(segments)
        if not fits[0][0]:
            return {} if not name and not any(self._segments) else None
        spans: Spans = {}
        index = start = 0
        for number, segment in enumerate(self._segments):
            if segment is None:  # takes as many segments as possible
                end = fits[number + 1].rfind(1, index, _end_of_filled(segments, index) + 1)
                start += sum(len(text) + 1 for text in segments[index:end])
                index = end
                continue
            spans |= {key: (start + first, start + last) for key, (first, last) in segment.spans(segments[index]).items()}
            start += len(segments[index]) + 1
            index += 1
        return spans

    def _fits(self, segments: list[str]) -> list[bytearray]:
        """Return for each segment of the pattern whether it and those behind it fit the name from each name segment on."""
        fits = [bytearray(len(segments) + 1) for _ in range(len(self._segments) + 1)]
        fits[-1][-1] = 1
        for number in range(len(self._segments) - 1, -1, -1):
            segment, current, behind = self._segments[number], fits[number], fits[number + 1]
            for index in range(len(segments), -1, -1):
                if segment is None:
                    current[index] = behind[index] or (index < len(segments) and segments[index] != "" and current[index + 1])
                elif index < len(segments):
                    current[index] = behind[index + 1] and segment.matches(segments[index])
        return fits


def _end_of_filled(segments: list[str], index: int) -> int:
    """Return the index of the first empty segment from an index on; the number of segments if none is empty."""
    return next((number for number in range(index, len(segments)) if not segments[number]), len(segments))


class _Segment:
    """One segment of a pattern: texts, stars, and braces of a kind."""

    def __init__(self, text: str) -> None:
        self._least = int(text == "*")
        """Characters that the segment has at least: a star alone does not match the empty segment."""
        self._elements: list[tuple[str, str]] = []
        for symbol in filter(None, _SYMBOLS.split(text)):
            element = _element(symbol)
            if element[0] == "text" == (self._elements[-1][0] if self._elements else ""):
                element = "text", self._elements.pop()[1] + element[1]
            if element != ("star", "") or element not in self._elements[-1:]:
                self._elements.append(element)
        self._is_text = [kind for kind, _ in self._elements] in ([], ["text"])
        self._text = "".join(content for _, content in self._elements) if self._is_text else ""

    def matches(self, text: str) -> bool:
        """Return whether a segment of a name matches."""
        if self._is_text:
            return text == self._text
        if self._elements == [("star", "")]:
            return len(text) >= self._least
        return bool(self._fits(text)[0][0])

    def spans(self, text: str) -> Spans:
        """Return the spans of the captures in a matching segment; earlier captures are as long as possible."""
        if self._is_text:
            return {}
        fits, spans, start = self._fits(text), Spans(), 0
        for number, (kind, content) in enumerate(self._elements):
            end = max(_ends(kind, content, text, start, fits[number + 1]))
            if kind in _KINDS:
                spans[content] = start, end
            start = end
        return spans

    def _fits(self, text: str) -> list[bytearray]:
        """Return for each element whether it and those behind it fit a segment from each character on."""
        fits = [bytearray(len(text) + 1) for _ in range(len(self._elements) + 1)]
        fits[-1][-1] = 1
        for number in range(len(self._elements) - 1, -1, -1):
            kind, content = self._elements[number]
            current, behind = fits[number], fits[number + 1]
            if kind in ("star", "str"):
                last = behind.rfind(1) + (kind == "star")
                current[: max(0, last)] = bytes([1]) * max(0, last)
            else:
                for start in _starts(kind, content, text):
                    current[start] = next(_ends(kind, content, text, start, behind), None) is not None
        return fits


def _starts(kind: str, content: str, text: str) -> Iterator[int]:
    """Yield the offsets at which a text or a number may begin."""
    if kind != "text":
        yield from (match.start() for match in _MAY_BEGIN.finditer(text))
        return
    start = text.find(content)
    while start >= 0:
        yield start
        start = text.find(content, start + 1)


_MAY_BEGIN = re.compile(r"[-+.0-9in]")


def _ends(kind: str, content: str, text: str, start: int, behind: bytearray) -> Iterator[int]:
    """Yield ends of an element that begins at `start`, at which those behind it fit; the greatest one is among them."""
    if kind == "text":
        end = start + len(content)
        if end <= len(text) and text.startswith(content, start) and behind[end]:
            yield end
    elif kind in ("star", "str"):
        if (end := behind.rfind(1, start + (kind == "str"))) >= 0:
            yield end
    else:
        fits = _NUMBERS[kind].fullmatch
        for end in range(min(len(text), start + _LONGEST_NUMBER), start, -1):
            if behind[end] and fits(text, start, end):
                yield end


_NUMBERS = {kind: re.compile(_KINDS[kind][0]) for kind in ("int", "float")}


def name_matcher(pattern: str, *, captures: bool = False) -> Callable[[str], bool]:
    """Return a predicate over names: `*` is one segment, `**` any number of them; with `captures` also `{epoch:int}`.

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
    for symbol in _SYMBOLS.split(pattern)[1::2]:
        if not symbol.startswith("{") or symbol == "{{":
            continue
        match = _CAPTURE.fullmatch(symbol)
        if match is None:
            raise _single_brace(pattern)
        name, kind = match[1], match[2] if match[2] is not None else "str"
        if kind not in _KINDS:
            text = f"pattern {pattern!r}: {symbol} has the type {kind!r}; give int, float or str"
            raise InvalidPattern(text, pattern=pattern)
        if name in kinds:
            text = f"pattern {pattern!r} has {{{name}}} twice: each becomes a column, so give them different names"
            raise InvalidPattern(text, pattern=pattern)
        kinds[name] = kind
    if re.search("[{}]", "".join(_SYMBOLS.split(pattern)[::2])):
        raise _single_brace(pattern)
    return kinds


def _segments(pattern: str) -> list[_Segment | None]:
    """Return the segments of a pattern; None stands for any number of them."""
    segments: list[_Segment | None] = []
    for text in pattern.split("/"):
        if text != "**":
            segments.append(_Segment(text))
        elif not segments or segments[-1] is not None:  # two in a row mean the same as one
            segments.append(None)
    return segments


def _element(symbol: str) -> tuple[str, str]:
    if symbol == "*":
        return "star", ""
    match = _CAPTURE.fullmatch(symbol)
    return (match[2] or "str", match[1]) if match is not None else ("text", symbol.replace("{{", "{").replace("}}", "}"))
