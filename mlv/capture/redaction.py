"""What looks like a credential, and how it is taken out before anything is written.

Two things give a credential away: the name that it stands under, and its own shape. Names decide much in the
environment and on the command line, where `*_TOKEN` is a secret; among parameters, where `pad_token` is science, only a
few exact names do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import count, zip_longest
from typing import Any, NamedTuple

REDACTED = "<redacted>"


class Redactor:
    """Replaces what looks like a credential, and remembers where it stood but never what it was.

    Args:
        patterns: Regular expressions of the user's own. One that is found in a name (in any case) redacts the whole
            value; one that is found in a value redacts the part that it matches.
        exceptions: Regular expressions over whole names, in any case: the full one (`params.model.secret`) or any
            end of it (`secret`). What stands under such a name is never touched.

    Raises:
        ValueError: One of them is not a regular expression; the message names it.
    """

    def __init__(self, patterns: Iterable[str] = (), exceptions: Iterable[str] = ()) -> None:
        patterns, exceptions = tuple(patterns), tuple(exceptions)
        self.patterns, self.exceptions = patterns, exceptions
        self._names = [_compiled_from_user(pattern, re.IGNORECASE) for pattern in patterns]
        self._values = [_compiled_from_user(pattern) for pattern in patterns]
        self._exceptions = [_compiled_from_user(exception, re.IGNORECASE) for exception in exceptions]
        self.found: list[str] = []
        """The places where something was replaced (`env.WANDB_API_KEY`, `script.argv[3]`), in order, each once."""

    def may_find(self, line: bytes) -> bool:
        """Whether it is worth looking for credentials in a line of JSON: one glance, for the many that hold none."""
        return bool(self._values) or _compiled_anchors().search(line) is not None

    def exempts(self, name: str) -> bool:
        """Whether what stands under a name is never touched."""
        return self._is_exempt(name)

    def variables(self, environ: Mapping[str, str], prefix: str = "env") -> dict[str, str]:
        """Copy environment variables, sorted by name, without the values that are credentials by name or by shape."""
        shown = {name: printable(_without_shapes(name)) for name in sorted(environ)}
        return {shown[name]: self._variable(name, environ[name], f"{prefix}.{shown[name]}") for name in shown}

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
        return printable(address + mark + self._assignments(query, where, loosely=True))

    def params(self, params: Any, prefix: str = "params") -> Any:
        """Copy nested parameters without the values that are credentials by one of a few exact names, or by shape."""
        return self._copy(params, prefix, by_name=True)

    def tree(self, value: Any, where: str) -> Any:
        """Copy nested values without what shapes reveal; names count for nothing here."""
        return self._copy(value, where, by_name=False)

    def text(self, text: str, where: str) -> str:
        """Replace the credentials that shapes reveal inside a longer text, and leave the rest of it as it is."""
        if self._is_exempt(where):
            return text
        return self._noted(text, self._without_credentials(text), where)

    def source(self, text: str, where: str) -> str:
        """Do the same to source code or a diff of it, where lines also assign to names: `api_key = "..."`.

        Only values that look made up by a machine or by a careful person go: six characters or more, with a digit or
        mixed case, and no expression of the language. Line breaks stay, so a diff keeps its form.
        """
        return self._assignments(self.text(text, where), where, loosely=False)

    def _variable(self, name: str, value: str, where: str) -> str:
        if value and self._is_secret(name, where):
            return self._noted(value, REDACTED, where)
        return printable(self.source(value, where))

    def _word(self, word: str, previous: str, where: str) -> str:
        option, pair = _compiled(_OPTION).fullmatch(previous), _compiled(_PAIR).fullmatch(word)
        if option and not _compiled(_OPTION_LIKE).match(word):
            if self._is_exempt(option["name"]):
                return word
            if word and self._is_secret(option["name"], where):
                return self._noted(word, REDACTED, where)
        if _compiled(_OPTION).fullmatch(word):
            return self._noted(word, _without_shapes(word), where)
        # The argument of `python -c` is a program: there `key=len` is no secret.
        if "\n" in word or (previous == "-c" and (" " in word or "(" in word)):
            return self.source(word, where)
        if pair and self._is_exempt(pair["name"]):
            return word
        if pair and pair["value"] and self._is_secret(pair["name"], where):
            return self._noted(word, pair["left"] + REDACTED, where)
        return self._assignments(self.text(word, where), where, loosely=True)

    def _copy(self, value: Any, where: str, *, by_name: bool) -> Any:
        if isinstance(value, str):
            return self.text(value, where)
        if hasattr(type(value), "__mlv_reference__"):
            return value  # a part of it alone would point nowhere
        if isinstance(value, Mapping):
            return self._copied_mapping(value, where, by_name=by_name)
        if isinstance(value, (list, tuple)):
            return [self._copy(item, f"{where}[{index}]", by_name=by_name) for index, item in enumerate(value)]
        return value

    def _copied_mapping(self, mapping: Mapping[Any, Any], where: str, *, by_name: bool) -> dict[Any, Any]:
        copy: dict[Any, Any] = {}
        for key, value in mapping.items():
            shown = self._copied_key(key, where, taken=copy)
            place = f"{where}.{shown}"
            if self._is_exempt(place):
                copy[shown] = value
            elif by_name and _can_be_secret(value) and self._is_secret_param(key):
                copy[shown] = self._noted(value, REDACTED, place)
            else:
                copy[shown] = self._copy(value, place, by_name=by_name)
        return copy

    def _copied_key(self, key: Any, where: str, *, taken: Mapping[Any, Any]) -> Any:
        if not isinstance(key, str) or (clean := _without_shapes(key)) == key or self._is_exempt(f"{where}.{key}"):
            return key
        self._noted(key, clean, f"{where}.{clean}")
        # Two keys may become the same text, and none may swallow the other.
        candidates = (clean if number == 1 else f"{clean}_{number}" for number in count(1))
        return next(candidate for candidate in candidates if candidate not in taken)

    def _without_credentials(self, text: str) -> str:
        for pattern in self._values:
            text = pattern.sub(lambda match: REDACTED if match[0] else "", text)
        return _without_shapes(text)

    def _assignments(self, text: str, where: str, *, loosely: bool) -> str:
        if self._is_exempt(where):
            return text
        return self._noted(text, _without_assigned(text, self._is_exempt, loosely=loosely), where)

    def _noted(self, before: object, after: str, where: str) -> str:
        if after != before and where not in self.found:
            self.found.append(where)
        return after

    def _is_secret(self, name: str, where: str) -> bool:
        return (is_credential_name(name) or self._is_pattern_name(name)) and not self._is_exempt(where, name)

    def _is_secret_param(self, key: Any) -> bool:
        name = str(key)
        return name.replace("_", "").replace("-", "").lower() in _PARAM_NAMES or self._is_pattern_name(name)

    def _is_pattern_name(self, name: str) -> bool:
        # A pattern that can match nothing at all, such as "x*", would otherwise hit every name.
        return any(match[0] for pattern in self._names for match in pattern.finditer(name))

    def _is_exempt(self, *names: str) -> bool:
        if not self._exceptions:
            return False
        ends = [end for name in names for end in _ends(name)]
        return any(exception.fullmatch(end) for exception in self._exceptions for end in ends)


def printable(text: str) -> str:
    r"""Write lone surrogates, which stand for bytes that are not UTF-8, as `\udcff`, so that JSON can hold the text."""
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def is_credential_name(name: str) -> bool:
    """Is this what people call a credential in an environment variable or an option of a command?"""
    words = _canonical(name)
    return bool(_compiled(_CREDENTIAL).search(words)) and not _compiled(_NO_CREDENTIAL).search(words)


def _canonical(name: str) -> str:
    """Write `WANDB_API_KEY`, `wandb-api-key`, `wandb.apiKey` and `WandbAPIKey` all as `WANDB_API_KEY`."""
    return "_".join(_compiled(_WORD).findall(name)).upper()


def _compiled_from_user(pattern: str, flags: int = 0) -> re.Pattern[str]:
    try:
        return re.compile(pattern, flags)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    # On first use: `import mlv` should not pay for expressions that it may never need.
    return re.compile(pattern)


def _ends(name: str) -> Iterable[str]:
    yield name
    for position, character in enumerate(name):
        if character == ".":
            yield name[position + 1 :]


def _can_be_secret(value: Any) -> bool:
    return value is not None and not isinstance(value, bool) and value not in ("", [], {})


# --- Names -----------------------------------------------------------------------------------------------------------

_PARAM_NAMES = frozenset({"password", "passwd", "secret", "apikey", "accesstoken", "authtoken"})

_WORD = r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+"

_STRONG = (
    r"PASS_?WORD|PASSWD|PASS_?PHRASE|SECRET|CREDENTIAL|CONNECTION_?STRING|(?:^|_)PASS(?:_[0-9]+)?$|_PWD(?:_[0-9]+)?$"
    r"|(?:API|ACCESS|AUTH|BEARER|REFRESH|PRIVATE|SIGNING|ENCRYPTION|ACCOUNT|SERVICE|SSH)_?(?:KEY|TOKEN)S?(?:_|$)"
)
_CREDENTIAL = (
    rf"{_STRONG}|(?:TOKEN|KEY)(?:_[0-9]+)?$"
    r"|(?:^|_)(?:AUTH|AUTHORIZATION|COOKIES?|CREDS?|DSN|JWT)(?:_[0-9]+)?$"
    r"|(?:^|_)(?:GIT|GITHUB|GH|GITLAB|BITBUCKET|AZURE|DEVOPS|ADO|EXT|DATABRICKS|SNOWFLAKE)_PAT$"
)
# Tokens of a vocabulary, keys of a table, and words that happen to end in "key".
_NO_CREDENTIAL = (
    r"(?:^|_)(?:PAD|PADDING|CLS|SEP|BOS|EOS|UNK|MASK|BLANK|SPECIAL|START|END|STOP|FIRST|NEXT|LAST|NEWLINE|PROMPT"
    r"|REGISTER|DISTILLATION|IMAGE|IMG|VIDEO|AUDIO|TEXT|TASK|CLASS|PER|NUM|MAX|MIN)_TOKEN(?:_[0-9]+)?$"
    r"|(?:^|_)(?:SORT|GROUP|PRIMARY|FOREIGN|PARTITION|CACHE|DICT|COLUMN|INDEX|JOIN|LABEL|TARGET|INPUT|OUTPUT|FEATURE"
    r"|IMAGE|TEXT|METRIC|LOSS|RNG|PRNG|RANDOM|QUERY)_KEY(?:_[0-9]+)?$"
    r"|(?:MON|DON|TUR|JOC|HOC|WHIS|LESS|HOT)KEY$|(?:FORWARD|BACKWARD|FIRST|SECOND|SINGLE|MULTI|NUM|PER)_PASS$"
)

_OPTION = r"--?(?P<name>[A-Za-z][\w.\-]+)"
# Long options, and short ones with up to ten characters; a secret rarely looks like either.
_OPTION_LIKE = r"--[A-Za-z]|-[A-Za-z]\w{0,9}$"
_PAIR = r"(?s)(?P<left>[-+~/]{0,2}(?P<name>[A-Za-z_][\w.\-/@]*)=)(?P<value>.*)"


# --- Shapes ----------------------------------------------------------------------------------------------------------


class _Shape(NamedTuple):
    """What a kind of credential looks like: one expression that consumes all that could belong to it.

    The expressions take a whole run of characters, and `is_secret` decides afterwards, so that no text can make them
    go back and forth over it. `anchors` are looked for first, which is many times quicker than an expression.
    """

    anchors: tuple[str, ...]
    pattern: str
    is_secret: Callable[[str], bool] = bool
    """Judges the group `secret`, or the whole match where there is no such group."""

    def replaced(self, match: re.Match[str]) -> str:
        """Give back the text that stands in the place of a match."""
        part = "secret" if "secret" in match.re.groupindex else 0
        if not self.is_secret(match[part]):
            return match[0]
        start, end = match.start(part) - match.start(), match.end(part) - match.start()
        return match[0][:start] + REDACTED + match[0][end:]


def _holds_digit(text: str) -> bool:
    return any(character.isdigit() for character in text)


def _is_mixed(text: str) -> bool:
    return text.lower() != text != text.upper()


def _has_random_run(text: str) -> bool:
    """Is there an unbroken run of letters and digits that no hyphenated word would have?"""
    runs = re.split(r"[^A-Za-z0-9]+", text)
    return any(len(run) >= 12 and _holds_digit(run) and not run.isdigit() for run in runs)


def _is_github_like(text: str) -> bool:
    return len(text) >= 20 or _holds_digit(text)


def _is_openai_like(text: str) -> bool:
    return _has_random_run(text) or bool(re.search(r"sk-(?:proj|ant|svcacct|admin|or)-\S{16}|[A-Za-z0-9]{20}", text))


def _is_hugging_face_like(text: str) -> bool:
    return len(text) >= 23 or _holds_digit(text) or _is_mixed(text)


def _is_web_token(text: str) -> bool:
    parts = text.split(".")
    return (len(parts) >= 3 and parts[1].startswith("eyJ")) or len(parts) == 5


def _is_bearer(text: str) -> bool:
    return _holds_digit(text) or len(text) >= 20


def _is_basic(text: str) -> bool:
    import base64
    import binascii

    try:
        return b":" in base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return False


def _is_user_part(text: str) -> bool:
    """Is this the `user:password` of an address, and not a template for one?"""
    return not _is_placeholder(text.rpartition(":")[2])


def _is_placeholder(text: str) -> bool:
    """Is this only a template (`${TOKEN}`, `{user}:{password}`, `%s`), or already masked (`***`)?"""
    return bool(_compiled(r"(?:\$\{?[A-Z_][A-Z0-9_]*\}?|\{[\w.]*\}|%s|%\(\w+\)s|<\w+>|[*:])+").fullmatch(text))


def _prefixed(prefixes: str, rest: str, is_secret: Callable[[str], bool] = bool) -> Iterator[_Shape]:
    """Make shapes of what begins with one of some prefixes, if no letter or digit stands before it."""
    for prefix in prefixes.split():
        literal = re.escape(prefix)
        # Looking back from behind the literal lets `re` search for the literal, which is ten times quicker.
        yield _Shape((prefix,), rf"{literal}(?<![A-Za-z0-9]{literal}){rest}", is_secret)


_SHAPES = (
    *_prefixed("ghp_ gho_ ghu_ ghs_ ghr_", r"[A-Za-z0-9]{10,}", _is_github_like),
    *_prefixed("github_pat_", r"[A-Za-z0-9_]{16,}"),
    *_prefixed("hf_ api_org_", r"[A-Za-z0-9]{16,}", _is_hugging_face_like),
    *_prefixed("sk-", r"[A-Za-z0-9_\-]{16,}", _is_openai_like),
    *_prefixed("sk_live_ sk_test_ rk_live_ rk_test_", r"[A-Za-z0-9]{16,}"),
    *_prefixed("AKIA ASIA", r"[A-Z0-9]{16}(?![A-Za-z0-9])"),
    *_prefixed("AIza", r"[A-Za-z0-9_\-]{30,}"),
    *_prefixed("ya29. GOCSPX-", r"[A-Za-z0-9_\-]{20,}"),
    *_prefixed("xoxa- xoxb- xoxe- xoxo- xoxp- xoxr- xoxs- xapp-", r"[A-Za-z0-9\-]{10,}", _holds_digit),
    *_prefixed("eyJ", r"[A-Za-z0-9_\-]{2,}(?:\.[A-Za-z0-9_\-]*){0,4}", _is_web_token),
    *_prefixed("glpat- gldt- glrt- pypi-AgE", r"[A-Za-z0-9_\-]{16,}"),
    *_prefixed("npm_ dckr_pat_ nvapi- gsk_ r8_ dop_v1_ wandb_v1_ dapi", r"[A-Za-z0-9_\-]{20,}", _has_random_run),
    *_prefixed("Authorization authorization", r"""["']?: *["']?[A-Z]?[a-z]{4,9} +(?P<secret>[^\s"'<>{}$%]{4,})"""),
    *_prefixed("Bearer bearer BEARER", r" +(?P<secret>[A-Za-z0-9._~+/\-]{8,}={0,2})", _is_bearer),
    *_prefixed("Basic basic BASIC", r" +(?P<secret>[A-Za-z0-9+/]{4,}={0,2})", _is_basic),
    _Shape(("://",), r"""://(?P<secret>[^\s/@:?#"'<>`]*:[^\s/"'<>`]+)@""", _is_user_part),
    # A password with a slash is against the rules, and happens; what is before a slash may also be a port.
    _Shape(("://",), r"""://(?P<secret>[^\s/@:?#"'<>`]*:(?!\d{1,5}/)[^\s"'<>`{}$]{1,64})@""", _is_user_part),
    # A user without a password is a name with ssh and ftp, but as often a token with https.
    *_prefixed("http:// https://", r"""(?P<secret>[^\s/@:?#"'<>`]+)@""", _is_user_part),
    _Shape(("ig=", "ignature="), r"""[?&](?:sig|[A-Za-z\-]{0,20}[Ss]ignature)=(?P<secret>[^\s&"'<>`]{16,})"""),
)


@cache
def _compiled_anchors() -> re.Pattern[bytes]:
    anchors = dict.fromkeys(anchor.encode() for shape in _SHAPES for anchor in (*shape.anchors, "PRIVATE KEY"))
    return re.compile(b"|".join(map(re.escape, anchors)))  # JSON writes each of them as it is


def _without_shapes(text: str) -> str:
    for shape in _SHAPES:
        if any(anchor in text for anchor in shape.anchors):
            text = _compiled(shape.pattern).sub(shape.replaced, text)
    return _without_private_keys(text) if "PRIVATE KEY" in text else text


_KEY_HEADER = r"-{4,5} ?BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}"
_KEY_BODY = r"""[A-Za-z0-9+/=\s\\:,.\-"']*"""
_KEY_FOOTER = r"-{4,5} ?END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}"


def _without_private_keys(text: str) -> str:
    """Redact PEM blocks of private keys, also such as were cut off before their end, but no mere mention of one."""
    pieces, done, end = [], 0, 0
    headers = list(_compiled(_KEY_HEADER).finditer(text))
    for header, following in zip_longest(headers, headers[1:]):
        # The next footer is looked for once, not once per header: that keeps the whole linear.
        if 0 <= end < header.end():
            end = text.find("-END ", header.end())
        limits = [following.start() if following else len(text), *([end] if end >= 0 else [])]
        stop = _key_end(text, header.end(), min(limits))
        if stop is not None:
            pieces += [text[done : header.start()], _redacted_lines(text, header.start(), stop)]
            done = stop
    return "".join([*pieces, text[done:]])


def _key_end(text: str, start: int, limit: int) -> int | None:
    """Find the end of a key whose header ends at `start`; None if what follows is no key."""
    body = _compiled(_KEY_BODY).match(text, start, limit)
    assert body is not None  # It can match nothing.
    dashes = len(body[0]) - len(body[0].rstrip("-"))
    footer = _compiled(_KEY_FOOTER).match(text, body.end() - dashes)
    if footer:
        return footer.end() if body[0].strip("- \n\\") else None
    is_key = any(len(run) >= 32 for run in re.split(r"[^A-Za-z0-9+/=]+", body[0]))
    return body.end() if is_key else None


def _redacted_lines(text: str, start: int, stop: int) -> str:
    """Redact line by line; in a diff keep the sign in front of each, for its hunks count their lines."""
    in_diff = bool(_compiled(r"(?:^|\n)[+\- ]$").search(text[max(0, start - 2) : start]))
    lines = text[start:stop].split("\n")[1:]
    return "\n".join([REDACTED, *((line[:1] if in_diff else "") + REDACTED for line in lines)])


# --- Assignments -----------------------------------------------------------------------------------------------------

_TELLING = "passw|phrase|secret|cred|token|key|auth|pass|pwd|cookie|dsn|jwt|_pat|string"

# The name is taken whole or not at all (a group in a lookahead is never reconsidered), so that long runs stay linear.
_ASSIGNMENT = r"""(?x)
    (?<![\w.\-]) (?=(?P<name>[\w.\-]+)) (?P=name)
    (?P<sign>
        \\?["']?\]?                                             # the end of a quoted name: "name": or ["name"] =
        (?:[ \t]{0,8}:[ \t]{0,8}[A-Za-z_][\w.,|\[\] ]{0,40}?)?  # an annotation, as in name: str | None =
        [ \t]{0,8}(?::=|=>|={1,3}|:)[ \t]{0,8}
        | \\?["'],[ \t]{0,8}(?=\\?["'])                         # as in setdefault("NAME", "value")
    )
    (?:
        [rbfuRBFU]{0,2}"(?P<double>[^"\n\\]*(?:\\.[^"\n\\]*){0,64})
        | [rbfuRBFU]{0,2}'(?P<single>[^'\n\\]*(?:\\.[^'\n\\]*){0,64})
        | [rbfuRBFU]{0,2}\\["'](?P<escaped>[^"'\n\\]*)                 # a program inside a JSON string: a notebook
        | (?P<bare>[^\s"'`,;&()\[\]{}<>|\\=]+)
    )
"""
_REST_OF_BARE_VALUE = r"""[^\s"'`,;&()\[\]{}<>|\\]*"""


def _without_assigned(text: str, is_exempt: Callable[[str], bool], *, loosely: bool) -> str:
    pieces, done = [], 0
    for start, end in _lines_with_telling_names(text):
        for value_start, value_end in _secret_values(text, start, end, is_exempt, loosely=loosely):
            pieces += [text[done:value_start], REDACTED]
            done = value_end
    return "".join([*pieces, text[done:]])


def _lines_with_telling_names(text: str) -> Iterator[tuple[int, int]]:
    """Find the few lines worth a look: in ten megabytes of code that is ten times quicker than looking at all."""
    lowered = text.lower()
    if len(lowered) != len(text):  # A few letters become two in lower case, and then the places would not agree.
        lowered = text.translate(_ASCII_LOWER)
    telling, end = _compiled(_TELLING), 0
    while hit := telling.search(lowered, end):
        start = max(end, lowered.rfind("\n", end, hit.start()) + 1)
        end = lowered.find("\n", hit.end())
        end = len(text) if end < 0 else end
        yield start, end


def _secret_values(
    text: str, start: int, end: int, is_exempt: Callable[[str], bool], *, loosely: bool
) -> Iterator[tuple[int, int]]:
    assignment = _compiled(_ASSIGNMENT)
    while found := assignment.search(text, start, end):
        kind = found.lastgroup
        assert kind is not None  # One of the kinds of value always takes part.
        if _gives_secret_away(found, text, loosely=loosely) and not is_exempt(found["name"]):
            rest = _compiled(_REST_OF_BARE_VALUE).match(text, found.end(), end) if kind == "bare" else None
            start = rest.end() if rest else found.end()
            yield found.start(kind), start
        else:
            # A text that stays may itself hold an assignment.
            start = found.end() if kind == "bare" else found.start(kind)


def _gives_secret_away(found: re.Match[str], text: str, *, loosely: bool) -> bool:
    name, value = found["name"], found[found.lastgroup or 0]
    if not _is_assignment(found, text) or not is_credential_name(name) or not value or value.startswith(REDACTED):
        return False
    if loosely:
        return True
    is_prompt = value.rstrip().endswith(":")
    if is_prompt or _is_placeholder(value) or (found["bare"] and _is_expression(found, text)):
        return False
    if _compiled(_STRONG).search(_canonical(name)):
        return len(value) >= 6 and (_holds_digit(value) or _is_mixed(value))
    # `token` and `key` alone name many things in a program: only what looks random is a credential there.
    return len(value) >= 16 and _has_random_run(value) and sum(character.isdigit() for character in value) >= 3


def _is_assignment(found: re.Match[str], text: str) -> bool:
    """Tell an assignment from its look-alikes: `host:8080`, a list of names, a string that ends in `password: `."""
    sign = found["sign"]
    if sign == ":":
        return False
    if "," in sign and not found["name"].isupper():
        return False
    return bool(found["bare"]) or text[found.end() : found.end() + 1] in ('"', "'", "\\")


def _is_expression(found: re.Match[str], text: str) -> bool:
    """Is the bare word behind the sign a piece of a program: a call, an item, a type or an attribute?"""
    if text[found.end() : found.end() + 1] in ("(", "[", "{"):
        return True
    is_shell = found["sign"] == "=" and found["name"].isupper()
    return not is_shell and bool(re.fullmatch(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+|[A-Za-z_]+", found["bare"]))


_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
