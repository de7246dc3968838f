"""Pairs of a name and a value in texts and in source code: `api_key = "..."`, `?access_token=...`, `X-Api-Key: ...`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import Enum
from functools import cache

from mlv.capture.names import (
    compiled,
    holds_digit,
    is_credential,
    is_credential_name,
    is_made_up,
    is_mark,
    is_mixed,
    is_placeholder,
    is_strong_name,
)
from mlv.capture.random_texts import has_random_run, is_basic
from mlv.capture.tokens import REDACTED


class TextKind(Enum):
    """How much a pair must tell before its value counts as a credential."""

    LOOSE = "a command line, or an address: the name says enough"
    SOURCE = "source code: names handle credentials far more often than they hold one"
    TEXT = "any text: as source code, and what is called a key is mostly that of a table"


_TELLING = "passw|phrase|secret|cred|token|key|auth|pass|pwd|cookie|dsn|jwt|_pat|string"
_TELLING_PAIR = (
    r"(?:passw|passphrase|secret|credential|pwd|key|token|auth|connection.?string)[\w.\-]{0,20}"
    r"""\\?["']?\]?[ \t]{0,8}[:=,]"""
)
_LONGEST_NAME = 120  # a text without a break would be searched anew from each sign
_LONGEST_CALL = 200
_IN_NAMES = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"

# The name is taken whole or not at all (a group in a lookahead is never reconsidered), so that long runs stay linear.
_ASSIGNMENT = r"""(?x)
    (?<![\w.\-]) (?=(?P<name>[\w.\-]+)) (?P=name)
    (?P<sign>
        \\?["']?\]?                                             # the end of a quoted name: "name": or ["name"] =
        (?:[ \t]{0,8}:[ \t]{0,8}[A-Za-z_][\w.,|\[\] ]{0,40}?)?  # an annotation, as in name: str | None =
        [ \t]{0,8}(?::=|=>|={1,3}|:)[ \t]{0,8}
        | \\?["'],[ \t]{0,8}(?=\\?b?["'])                       # as in setdefault("NAME", "value")
    )
    (?:
        [rbfuRBFU]{0,2}"(?P<double>[^"\n\\]*(?:\\.[^"\n\\]*){0,64})
        | [rbfuRBFU]{0,2}'(?P<single>[^'\n\\]*(?:\\.[^'\n\\]*){0,64})
        | [rbfuRBFU]{0,2}\\["'](?P<escaped>[^"'\n\\]*)                 # a program inside a JSON string: a notebook
        | (?P<bare>[^\s"'`,;&()\[\]{}<>|\\=]+)
    )
"""
_END_OF_BARE_VALUE = r"""[^\s"'`,;&()\[\]{}<>|\\]*"""


def without_values(text: str, is_exempt: Callable[[str], bool], kind: TextKind) -> str:
    """Copy a text without the values that stand behind the name of a credential."""
    values = _values_in_text(text, is_exempt) if kind is TextKind.TEXT else _values_in_lines(text, is_exempt, kind)
    chunks, done = [], 0
    for start, end in values:
        chunks += [text[done:start], REDACTED]
        done = end
    return "".join([*chunks, text[done:]]) if chunks else text


def has_telling_pair(content: bytes) -> bool:
    """Return whether JSON may hold the name of a credential with a value behind it: one quick search."""
    return _telling_pair_of_bytes().search(content.lower()) is not None


def _values_in_text(text: str, is_exempt: Callable[[str], bool]) -> Iterator[tuple[int, int]]:
    """Find the values behind telling names that a sign follows: there are few, so each is examined alone."""
    lowered, hint, done = _lowered(text), compiled(_TELLING_PAIR), 0
    while hit := hint.search(lowered, done):
        before = text[max(done, hit.start() - _LONGEST_NAME) : hit.start()]
        start = hit.start() - len(before) + len(before.rstrip(_IN_NAMES))
        done = hit.end()
        name = compiled(r"[\w.\-]+").match(text, start)
        if name is None or not _is_telling(name[0]):
            continue
        pair = compiled(_ASSIGNMENT).match(text, start)
        if pair and _gives_secret_away(pair, text, TextKind.TEXT) and not is_exempt(pair["name"]):
            done = _end_of_value(pair, text, len(text))
            yield pair.start(pair.lastgroup or 0), done


def _values_in_lines(text: str, is_exempt: Callable[[str], bool], kind: TextKind) -> Iterator[tuple[int, int]]:
    for start, end in _lines_with_telling_names(text):
        yield from _secret_values(text, start, end, is_exempt, kind)


def _end_of_value(pair: re.Match[str], text: str, end: int) -> int:
    match = compiled(_END_OF_BARE_VALUE).match(text, pair.end(), end) if pair.lastgroup == "bare" else None
    return match.end() if match else pair.end()


def _lowered(text: str) -> str:
    lowered = text.lower()
    # A few letters become two in lower case, and then the positions would not agree.
    return lowered if len(lowered) == len(text) else text.translate(_ASCII_LOWER)


def _lines_with_telling_names(text: str) -> Iterator[tuple[int, int]]:
    """Find the few lines worth a look: in ten megabytes of code that is ten times quicker than looking at all."""
    lowered = _lowered(text)
    telling, end = compiled(_TELLING), 0
    while hit := telling.search(lowered, end):
        start = max(end, lowered.rfind("\n", end, hit.start()) + 1)
        end = lowered.find("\n", hit.end())
        end = len(text) if end < 0 else end
        yield start, end


def _secret_values(
    text: str, start: int, end: int, is_exempt: Callable[[str], bool], kind: TextKind
) -> Iterator[tuple[int, int]]:
    assignment = compiled(_ASSIGNMENT)
    while pair := assignment.search(text, start, end):
        group = pair.lastgroup
        assert group is not None  # One of the kinds of value always takes part.
        if _gives_secret_away(pair, text, kind) and not is_exempt(pair["name"]):
            start = _end_of_value(pair, text, end)
            yield pair.start(group), start
        else:
            # A text that stays may itself hold an assignment.
            start = pair.end() if group == "bare" else pair.start(group)


def _gives_secret_away(pair: re.Match[str], text: str, kind: TextKind) -> bool:
    name, value = pair["name"], pair[pair.lastgroup or 0]
    if not _is_assignment(pair, text) or not _is_telling(name) or not value or value.startswith(REDACTED):
        return False
    if kind is TextKind.LOOSE:
        return is_credential(name, value)
    if name == "key" and _is_in_login(pair, text):
        return not is_placeholder(value) and not (pair["bare"] and _is_expression(pair, text))
    is_strong = is_strong_name(name)
    if name.lower() == "pwd" and not _is_in_address(pair, text):
        return False  # the folder that a shell is in
    if is_strong and _is_in_address(pair, text):
        return not is_placeholder(value)
    is_prompt = value.rstrip().endswith(":")
    if is_prompt or is_placeholder(value) or (pair["bare"] and _is_expression(pair, text)):
        return False
    if is_strong:
        return is_made_up(value) if kind is TextKind.TEXT else _is_made_up_in_code(value)
    if name.lower().endswith("auth") and is_basic(value):
        return True
    if kind is TextKind.TEXT and name.lower().endswith("key") and not _is_in_address(pair, text):
        return False
    # `token` and `key` alone name many things in a program: only what looks random is a credential there.
    return len(value) >= 16 and has_random_run(value) and sum(character.isdigit() for character in value) >= 3


def _is_telling(name: str) -> bool:
    return is_credential_name(name) or is_strong_name(name)


def _is_made_up_in_code(value: str) -> bool:
    return len(value) >= 6 and not is_mark(value) and (holds_digit(value) or (is_mixed(value) and not value.istitle()))


def _is_in_address(pair: re.Match[str], text: str) -> bool:
    """Return whether a pair is a field of an address (`?name=`) or of a connection string (`;name=`)."""
    return pair["sign"] == "=" and text[pair.start() - 1 : pair.start()] in ("?", "&", "#", ";") and pair.start() > 0


def _is_in_login(pair: re.Match[str], text: str) -> bool:
    """Return whether a pair is an argument of a call such as `wandb.login(key="...")`, whose keys look like digests."""
    before = text[max(0, pair.start() - _LONGEST_CALL) : pair.start()]
    return compiled(r"\blogin\s*\([^()]*\Z").search(before) is not None


def _is_assignment(pair: re.Match[str], text: str) -> bool:
    """Tell an assignment from its look-alikes: `host:8080`, a list of names, a string that ends in `password: `."""
    sign, name = pair["sign"], pair["name"]
    if sign == ":":
        return False
    if "," in sign and not (name.isupper() or "-" in name):
        return False
    return bool(pair["bare"]) or text[pair.end() : pair.end() + 1] in ('"', "'", "\\")


def _is_expression(pair: re.Match[str], text: str) -> bool:
    """Return whether the bare word behind the sign belongs to a program: a call, an item, a type or an attribute."""
    if text[pair.end() : pair.end() + 1] in ("(", "[", "{"):
        return True
    is_shell = pair["sign"] == "=" and pair["name"].isupper()
    return not is_shell and bool(re.fullmatch(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+|[A-Za-z_]+", pair["bare"]))


@cache
def _telling_pair_of_bytes() -> re.Pattern[bytes]:
    return re.compile(_TELLING_PAIR.encode())


_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
