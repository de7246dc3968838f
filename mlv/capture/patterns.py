"""Patterns of the user's own that an experiment keeps, for its later runs and its sub-experiments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from itertools import combinations, product
from typing import Any

from mlv.capture.names import holds_digit, is_made_up
from mlv.frozen import FrozenRecord

_MOST = 100  # they travel in the header of a ring, which has 8 KiB for them and the rest
_LONGEST, _LONGEST_TOGETHER = 500, 4000
_MOST_REPETITIONS = 8
"""Of open length in one pattern."""
_MOST_SEQUENCES = 64
"""The most sequences of a pattern that are examined; a pattern with more also takes too long to match."""
_MOST_CHARACTERS = 1 << 13
"""The most characters in the ranges of a class: compiling looks at each."""
_SAMPLES = frozenset({*range(0x180), *range(0x2000, 0x2030), 0x3000})
"""Characters by which classes such as `\\w` are compared."""


def storable(patterns: Iterable[str]) -> list[str]:
    """Choose the patterns that meta.json may hold: neither a credential spelled out, nor one that may take for ever."""
    return _few(pattern for pattern in dict.fromkeys(patterns) if is_bounded(pattern) and not is_spelled_out(pattern))


def stored(content: Mapping[str, Any], field: str) -> tuple[str, ...]:
    """Read the patterns of a meta.json that may be another's, passing over invalid ones and those that may take for ever."""
    patterns = content.get(field)
    if not isinstance(patterns, (list, tuple)):
        return ()
    return tuple(filter(is_bounded, _few(pattern for pattern in patterns[:_MOST] if isinstance(pattern, str))))


def _few(patterns: Iterable[str]) -> list[str]:
    """Take as many patterns as can be examined in no time whenever an experiment is opened."""
    chosen, length = list[str](), 0
    for pattern in patterns:
        length += len(pattern)
        if length > _LONGEST_TOGETHER or len(chosen) == _MOST:
            break
        chosen.append(pattern)
    return chosen


def is_spelled_out(pattern: str) -> bool:
    """Return whether a pattern is the credential itself: it matches its own text, which looks made up."""
    text = re.sub(r"\\(.)", r"\1", pattern)
    try:
        is_literal = re.fullmatch(pattern, text) is not None
    except re.error:
        return True
    return is_literal and (is_made_up(text) or holds_digit(text))


def is_bounded(pattern: str) -> bool:
    """Return whether a pattern is short, compiles, and never tries more than a few ends for each beginning of a match.

    No repetition holds another one, or alternatives that begin alike. Of two repetitions in a row, either the items between
    them fix where the first one ends, or the two have no character in common.
    """
    if len(pattern) > _LONGEST:
        return False
    try:
        bounded = all(map(_is_determined, _sequences(_parsed(pattern))))
        return bounded and re.compile(pattern) is not None
    except (re.error, RecursionError, OverflowError, _Unbounded):
        return False


class _Unbounded(Exception):
    """A pattern holds a construct whose cost has no known bound."""


class _Item(FrozenRecord):
    """An element of a pattern that matches characters, one after the other."""

    classes: tuple[Any, ...]
    """The classes; each character is in one of them."""
    is_variable: bool = False
    """Whether the number of characters is open."""
    is_needed: bool = True
    """Whether there is at least one character."""
    least: int = 1
    """The smallest number of characters."""

    def shares(self, other: _Item) -> bool:
        """Return whether there is a character that both can match."""
        points = _SAMPLES.union(*map(_edges, (*self.classes, *other.classes)))
        return any(self._has(point) and other._has(point) for point in points)

    def _has(self, point: int) -> bool:
        # Names are compared in any case.
        text = chr(point)
        forms = {ord(form) for form in (text, text.lower(), text.upper(), text.lower().upper()) if len(form) == 1}
        return any(_holds(charset, form) for charset in self.classes for form in forms)


def _is_determined(items: Sequence[_Item]) -> bool:
    """Return whether each repetition in a row of items has only one possible end."""
    last = max((index for index, item in enumerate(items) if item.is_needed), default=-1)
    # The last item that is needed fails at once or not at all, and nothing behind it does: nothing is tried again there.
    variable = [index for index, item in enumerate(items) if item.is_variable and index < last]
    return len(variable) <= _MOST_REPETITIONS and all(
        not items[first].shares(items[second])
        or any(item.is_needed and not item.shares(items[first]) for item in items[first + 1 : second])
        for first, second in combinations(variable, 2)
    )


def _parsed(pattern: str) -> Any:
    try:
        parser = import_module("re._parser")
    except ImportError:  # Python 3.10
        parser = import_module("sre_parse")
    return parser.parse(pattern)


def _sequences(node: Any) -> list[list[_Item]]:
    """Return every sequence of items that a pattern can match, each without alternatives."""
    sequences: list[list[_Item]] = [[]]
    for operation, argument in node:
        sequences = [[*before, *sequence] for before, sequence in product(sequences, _ways(str(operation), argument))]
        if len(sequences) > _MOST_SEQUENCES:
            raise _Unbounded
    return sequences


def _ways(name: str, argument: Any) -> list[list[_Item]]:
    if name == "IN" and sum(item[1][1] - item[1][0] for item in argument if str(item[0]) == "RANGE") > _MOST_CHARACTERS:
        raise _Unbounded
    if name in ("LITERAL", "NOT_LITERAL", "ANY", "IN"):
        return [[_Item(((name, _frozen(argument)),))]]
    if name == "AT":
        return [[]]
    if name == "SUBPATTERN":
        return _sequences(argument[-1])
    if name == "BRANCH":
        return [sequence for option in argument[1] for sequence in _sequences(option)]
    if name in ("MAX_REPEAT", "MIN_REPEAT"):
        return _repetitions(*argument)
    if name in ("ASSERT", "ASSERT_NOT"):
        _fixed(_sequences(argument[1]))
        return [[]]
    raise _Unbounded


def _repetitions(least: int, most: int, body: Any) -> list[list[_Item]]:
    ways = _sequences(body)
    if int(most) == 1:
        return ways if int(least) else [[], *ways]
    _fixed(ways)
    if any(first[0].shares(second[0]) for first, second in combinations(ways, 2)):
        raise _Unbounded
    least_of_all = int(least) * max(sum(item.least for item in sequence) for sequence in ways)
    if least_of_all > _LONGEST:
        raise _Unbounded
    classes = tuple(dict.fromkeys(charset for sequence in ways for item in sequence for charset in item.classes))
    return [[_Item(classes, is_variable=int(least) != int(most), is_needed=int(least) > 0, least=least_of_all)]]


def _fixed(ways: list[list[_Item]]) -> None:
    """See that nothing in a body is of open length, or empty."""
    if any(not sequence or any(item.is_variable for item in sequence) for sequence in ways):
        raise _Unbounded


def _frozen(argument: Any) -> Any:
    """Turn an argument of the parser's into a value that can be compared."""
    if not isinstance(argument, list):
        return argument
    return tuple((str(name), str(value) if str(name) == "CATEGORY" else value) for name, value in argument)


def _edges(charset: Any) -> Iterator[int]:
    """Yield the characters at which a class begins or ends, and their neighbours."""
    name, argument = charset
    pairs = [("LITERAL", argument)] if isinstance(argument, int) else argument or ()
    for kind, value in pairs if name != "ANY" else ():
        if kind in ("LITERAL", "RANGE"):
            for point in value if isinstance(value, tuple) else (value,):
                yield from (near for near in (point - 1, point, point + 1) if 0 <= near <= 0x10FFFF)


@cache
def _holds(charset: Any, point: int) -> bool:
    name, argument = charset
    if name == "ANY":
        return True
    if name != "IN":
        return bool((point == argument) == (name == "LITERAL"))
    is_negated = argument[0][0] == "NEGATE"
    return bool(any(_is_of(kind, value, point) for kind, value in argument[is_negated:]) != is_negated)


def _is_of(kind: str, value: Any, point: int) -> bool:
    if kind == "LITERAL":
        return bool(point == value)
    if kind == "RANGE":
        return bool(value[0] <= point <= value[1])
    letter = {"DIGIT": "d", "SPACE": "s", "WORD": "w"}[value.rpartition("_")[2]]
    return re.match(f"\\{letter.upper() if '_NOT_' in value else letter}", chr(point)) is not None
