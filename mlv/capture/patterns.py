"""Patterns of the user's own that an experiment keeps, for its later runs and its sub-experiments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from mlv.capture.names import holds_digit, is_made_up

_MOST = 100
_LONGEST = 500
_MANY = 10
"""Repetitions from which a repetition within another one may take for ever."""


def kept(patterns: Iterable[str]) -> list[str]:
    """Choose the patterns that meta.json may hold: neither a credential spelled out, nor one that may take for ever."""
    return [pattern for pattern in dict.fromkeys(patterns) if is_bounded(pattern) and not is_spelled_out(pattern)][:_MOST]


def stored(content: Mapping[str, Any], field: str) -> tuple[str, ...]:
    """Read the patterns of a meta.json that may be another's: what is no pattern, or may take for ever, is passed over."""
    patterns = content.get(field)
    if not isinstance(patterns, (list, tuple)):
        return ()
    return tuple(pattern for pattern in patterns[:_MOST] if isinstance(pattern, str) and is_bounded(pattern))


def is_spelled_out(pattern: str) -> bool:
    """Whether a pattern is the credential itself: it matches its own text, which looks made up."""
    text = re.sub(r"\\(.)", r"\1", pattern)
    try:
        is_literal = re.fullmatch(pattern, text) is not None
    except re.error:
        return True
    return is_literal and (is_made_up(text) or holds_digit(text))


def is_bounded(pattern: str) -> bool:
    """Whether a pattern is short, can be compiled, and repeats nothing that repeats itself many times."""
    if len(pattern) > _LONGEST:
        return False
    try:
        re.compile(pattern)
        return not _is_nested(_parsed(pattern), is_within=False)
    except (re.error, RecursionError, OverflowError):
        return False


def _parsed(pattern: str) -> Any:
    try:
        parser = import_module("re._parser")
    except ImportError:  # Python 3.10
        parser = import_module("sre_parse")
    return parser.parse(pattern)


def _is_nested(node: Any, *, is_within: bool) -> bool:
    """Whether there is a repetition of many times in another one."""
    if hasattr(node, "data"):
        return any(_is_nested(item, is_within=is_within) for item in node.data)
    if not isinstance(node, (tuple, list)):
        return False
    is_repetition = isinstance(node, tuple) and len(node) == 2 and "REPEAT" in str(node[0])
    if is_repetition and int(node[1][1]) >= _MANY:
        return is_within or _is_nested(node[1][2], is_within=True)
    return any(_is_nested(item, is_within=is_within) for item in node)
