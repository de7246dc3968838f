"""Redaction of credentials before anything is written.

Two things give a credential away: the name that it stands under (`names.py`), and its own shape (`shapes.py`,
`private_keys.py`). Names decide much in the environment and on the command line, where `*_TOKEN` is a secret; among
parameters, where `pad_token` is science, only a few exact names do, and in texts only pairs of such a name and a value
(`pairs.py`).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Any

from mlv.capture.names import compiled, is_credential, is_credential_name, is_made_up, is_placeholder, is_strong_name
from mlv.capture.pairs import TextKind, has_telling_pair, without_values
from mlv.capture.private_keys import MENTION, without_private_keys
from mlv.capture.shapes import may_hold_shapes, without_shapes
from mlv.capture.tokens import REDACTED

__all__ = ["REDACTED", "Redactor", "is_credential_name", "printable"]


class Redactor:
    """Replaces everything that looks like a credential, and records its name but never its value.

    Args:
        patterns: Regular expressions of the user's own. One that is found in a name (in any case) redacts the whole
            value; one that is found in a value redacts the part that it matches.
        exceptions: Regular expressions over whole names, in any case: the full one (`params.model.secret`) or any
            end of it (`secret`). The value under such a name is never touched.

    Raises:
        ValueError: One of them is not a regular expression; the message names it.
    """

    def __init__(self, patterns: Iterable[str] = (), exceptions: Iterable[str] = ()) -> None:
        patterns, exceptions = tuple(patterns), tuple(exceptions)
        self.patterns, self.exceptions = patterns, exceptions
        self._names = [_compiled_from_user(pattern, re.IGNORECASE) for pattern in patterns]
        self._values = [_compiled_from_user(pattern) for pattern in patterns]
        self._exceptions = [_compiled_from_user(exception, re.IGNORECASE) for exception in exceptions]
        self.redactions: list[str] = []
        """The names of the values in which something was replaced (`env.WANDB_API_KEY`, `script.argv[3]`), each once."""

    def may_find(self, line: bytes) -> bool:
        """Return whether a line of JSON may hold a credential: one quick search, for the many lines that hold none."""
        return bool(self._values) or MENTION.encode() in line or may_hold_shapes(line) or has_telling_pair(line)

    def exempts(self, name: str) -> bool:
        """Return whether values under a name are never redacted."""
        return self._is_exempt(name)

    def variables(self, environ: Mapping[str, str], prefix: str = "env") -> dict[str, str]:
        """Copy environment variables, sorted by name, without the values that are credentials by name or by shape."""
        names = {name: printable(self._clean_name(name)) for name in sorted(environ)}
        return {names[name]: self._variable(name, environ[name], f"{prefix}.{names[name]}") for name in names}

    def argv(self, argv: Sequence[str], prefix: str = "script.argv") -> list[str]:
        """Copy a command line without the values in `--api-key X`, `--api-key=X`, `API_KEY=X` or in telling shapes."""
        words = []
        for index, word in enumerate(argv):
            previous = argv[index - 1] if index else ""
            words.append(printable(self._word(word, previous, f"{prefix}[{index}]")))
        return words

    def url(self, text: str, where: str) -> str:
        """Copy an address without its password, its lone token (`https://token@host`) or its secret query fields."""
        address, mark, query = self.text(text, where).partition("?")
        return printable(address + mark + self._pairs(query, where, TextKind.LOOSE))

    def params(self, params: Any, prefix: str = "params") -> Any:
        """Copy nested parameters without the values that are credentials by one of a few exact names, or by shape."""
        return self._copy(params, prefix, by_name=True)

    def tree(self, value: Any, where: str) -> Any:
        """Copy nested values without the credentials that shapes reveal; names count for nothing here."""
        return self._copy(value, where, by_name=False)

    def data(self, value: Any, where: str) -> Any:
        """Copy nested values in their JSON form without credentials by shape, and without texts under a few exact names."""
        return self._copy(value, where, by_name=True, texts_only=True)

    def text(self, text: str, where: str) -> str:
        """Replace the credentials that shapes reveal inside a longer text, and leave all else as it is."""
        if self._is_exempt(where):
            return text
        return self._noted(text, without_values(self._without_credentials(text), self._is_exempt, TextKind.TEXT), where)

    def source(self, text: str, where: str) -> str:
        """Redact source code or a diff of it as `text` does, and also its assignments: `api_key = "..."`.

        Only values that look made up by a machine or by a careful person go: six characters or more, with a digit or
        mixed case, and no expression of the language. Line breaks stay, so a diff keeps its form.
        """
        return self._pairs(self.text(text, where), where, TextKind.SOURCE)

    def is_clean(self, text: str) -> bool:
        """Return whether a text holds no credential."""
        return without_values(self._without_credentials(text), self._is_exempt, TextKind.TEXT) == text

    def hides(self, key: str) -> bool:
        """Return whether a text under this key may be a credential by its name, in `data`."""
        folded = key.casefold()
        # Many times quicker than an expression: most texts are long, and no names.
        if any(word in folded for word in _TELLING) and (self._is_exact_name(key) or is_strong_name(key)):
            return True
        return bool(self._names) and self._is_pattern_name(key)

    def _variable(self, name: str, value: str, where: str) -> str:
        if self._is_secret(name, value, where):
            return self._noted(value, REDACTED, where)
        return printable(self.source(value, where))

    def _word(self, word: str, previous: str, where: str) -> str:
        option, pair = compiled(_OPTION).fullmatch(previous), compiled(_PAIR).fullmatch(word)
        if option and not compiled(_OPTION_LIKE).match(word):
            if self._is_exempt(option["name"]):
                return word
            if self._is_secret(option["name"], word, where):
                return self._noted(word, REDACTED, where)
        if compiled(_OPTION).fullmatch(word):
            return self._noted(word, self._clean_name(word), where)
        # The argument of `python -c` is a program: there `key=len` is no secret.
        if "\n" in word or (previous == "-c" and (" " in word or "(" in word)):
            return self.source(word, where)
        if pair and self._is_exempt(pair["name"]):
            return word
        if pair and self._is_secret(pair["name"], pair["value"], where):
            return self._noted(word, pair["left"] + REDACTED, where)
        return self._pairs(self.text(word, where), where, TextKind.LOOSE)

    def _copy(self, value: Any, where: str, *, by_name: bool, texts_only: bool = False) -> Any:
        if isinstance(value, str):
            return self.text(value, where)
        if hasattr(type(value), "__mlv_reference__"):
            return value  # a part of it alone would point nowhere
        if isinstance(value, Mapping):
            return self._copied_mapping(value, where, by_name=by_name, texts_only=texts_only)
        if isinstance(value, (list, tuple)):
            return [self._copy(item, f"{where}[{i}]", by_name=by_name, texts_only=texts_only) for i, item in enumerate(value)]
        return value

    def _copied_mapping(self, mapping: Mapping[Any, Any], where: str, *, by_name: bool, texts_only: bool) -> Any:
        if texts_only and "_mlv" in mapping and (tagged := self._copied_tagged(mapping, where)) is not None:
            return tagged
        copy: dict[Any, Any] = {}
        for key, value in mapping.items():
            clean_key = self._copied_key(key, where, existing=copy)
            path = f"{where}.{clean_key}"
            if self._is_exempt(path):
                copy[clean_key] = value
            elif by_name and self._is_secret_field(str(key), value, texts_only=texts_only):
                copy[clean_key] = self._noted(value, REDACTED, path)
            else:
                copy[clean_key] = self._copy(value, path, by_name=by_name, texts_only=texts_only)
        return copy

    def _copied_tagged(self, mapping: Mapping[Any, Any], where: str) -> Any:
        """Copy the stand-in of a value that JSON has no form for; None for a mapping of the user's own."""
        tag = mapping.get("_mlv")
        if tag in ("file", "exp") and isinstance(path := mapping.get("path"), str):
            # Paths within the experiment were made by the store, and hashes are no texts.
            return {**mapping, "path": self.text(path, where)} if path.startswith(("/", "..", "~")) else dict(mapping)
        if tag not in ("bytes", "text") or not isinstance(mapping.get("base64"), str):
            return None
        try:
            content = base64.b64decode(mapping["base64"]).decode("latin-1")
        except ValueError:
            return None
        clean = self.text(content, where)
        if tag == "text":  # its readable form stands beside its exact bytes
            text = self.text(str(mapping.get("text")), where)
            return dict(mapping) if clean == content and text == mapping.get("text") else text
        return {**mapping, "base64": base64.b64encode(clean.encode("latin-1")).decode("ascii")}

    def _copied_key(self, key: Any, where: str, *, existing: Mapping[Any, Any]) -> Any:
        if not isinstance(key, str) or (clean := self._clean_name(key)) == key or self._is_exempt(f"{where}.{key}"):
            return key
        self._noted(key, clean, f"{where}.{clean}")
        # Two keys may become the same text, and none may swallow the other.
        candidates = (clean if number == 1 else f"{clean}_{number}" for number in count(1))
        return next(candidate for candidate in candidates if candidate not in existing)

    def _clean_name(self, name: str) -> str:
        """Take credentials out of a name. Words of the user's own (`acme`) are names to look for, and stay."""
        for pattern in self._values:
            if not compiled(r"[A-Za-z_ -]+").fullmatch(pattern.pattern):
                name = pattern.sub(lambda match: REDACTED if match[0] else "", name)
        return without_shapes(name)

    def _without_credentials(self, text: str) -> str:
        for pattern in self._values:
            text = pattern.sub(lambda match: REDACTED if match[0] else "", text)
        return without_shapes(without_private_keys(text))

    def _pairs(self, text: str, where: str, kind: TextKind) -> str:
        if self._is_exempt(where):
            return text
        return self._noted(text, without_values(text, self._is_exempt, kind), where)

    def _noted(self, before: object, after: str, where: str) -> str:
        if after != before and where not in self.redactions:
            self.redactions.append(where)
        return after

    def _is_secret(self, name: str, value: str, where: str) -> bool:
        is_one = is_credential(name, value) or (bool(value) and self._is_pattern_name(name))
        return is_one and not self._is_exempt(where, name)

    def _is_secret_field(self, key: str, value: Any, *, texts_only: bool) -> bool:
        if not _can_be_secret(value) or (texts_only and not isinstance(value, str)):
            return False
        if texts_only and (value.startswith(REDACTED) or is_placeholder(value)):
            return False
        return (
            self._is_exact_name(key)
            or self._is_pattern_name(key)
            or (isinstance(value, str) and is_strong_name(key) and is_made_up(value))
        )

    def _is_exact_name(self, key: str) -> bool:
        return key.replace("_", "").replace("-", "").lower() in _PARAM_NAMES

    def _is_pattern_name(self, name: str) -> bool:
        # A pattern that can match nothing at all, such as "x*", would otherwise hit every name.
        return any(match[0] for pattern in self._names for match in pattern.finditer(name))

    def name(self, name: str, where: str) -> str:
        """Copy the name of an event, a file or the like without the credentials in it."""
        return name if self._is_exempt(where) else self._noted(name, self._clean_name(name), where)

    def _is_exempt(self, *names: str) -> bool:
        if not self._exceptions:
            return False
        ends = [end for name in names for end in _ends(name)]
        return any(exception.fullmatch(end) for exception in self._exceptions for end in ends)


def printable(text: str) -> str:
    r"""Write lone surrogates, which stand for bytes that are not UTF-8, as `\udcff`, so that JSON can hold the text."""
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def _compiled_from_user(pattern: str, flags: int = 0) -> re.Pattern[str]:
    try:
        return re.compile(pattern, flags)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error


def _ends(name: str) -> Iterable[str]:
    yield name
    for position, character in enumerate(name):
        if character == ".":
            yield name[position + 1 :]


def _can_be_secret(value: Any) -> bool:
    return value is not None and not isinstance(value, bool) and value not in ("", [], {})


_TELLING = ("pass", "secret", "cred", "key", "token", "pwd", "pat", "connection")
"""Every name that `hides` recognises holds one of these words; most texts hold none."""
_PARAM_NAMES = frozenset({"password", "passwd", "secret", "apikey", "accesstoken", "authtoken"})

_OPTION = r"--?(?P<name>[A-Za-z][\w.\-]+)"
# Long options, and short ones with up to ten characters; a secret rarely looks like either.
_OPTION_LIKE = r"--[A-Za-z]|-[A-Za-z]\w{0,9}$"
_PAIR = r"(?s)(?P<left>[-+~/]{0,2}(?P<name>[A-Za-z_][\w.\-/@]*)=)(?P<value>.*)"
