"""Shapes of credentials: the forms by which one is recognised under any name and in any text.

Most credentials are tokens with a prefix, see `tokens.py`. The other shapes have an anchor, a few characters without which
there is none. No expression goes back and forth over a text: each takes a whole run of characters, and a function decides
afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from mlv.capture.names import compiled, holds_digit, is_made_up, is_placeholder
from mlv.capture.random_texts import is_basic, is_mixed_random, is_random
from mlv.capture.tokens import REDACTED, may_hold_tokens, without_tokens


def without_shapes(text: str) -> str:
    """Copy a text without the credentials that their shape reveals."""
    text = without_tokens(text)
    lowered = text.lower()
    present = {anchor for anchor in _anchors() if anchor in lowered}
    for shape in _ANCHORED if present else ():
        if not present.isdisjoint(shape.anchors):
            text = compiled(shape.pattern).sub(shape.replaced, text)
    return text


def may_hold_shapes(content: bytes) -> bool:
    """Return whether JSON may hold a shape: one quick search, which may say yes in vain but never no in vain."""
    if may_hold_tokens(content):
        return True
    lowered = content.lower()
    return any(anchor.encode() in lowered for anchor in _anchors())


class _Shape(NamedTuple):
    """The form of a kind of credential: an expression, searched only where one of its anchors (in small letters) occurs."""

    anchors: tuple[str, ...]
    pattern: str
    is_secret: Callable[[str], bool] = bool
    """Judges the group `secret`, or the whole match where there is no such group."""

    def replaced(self, match: re.Match[str]) -> str:
        """Return the text that replaces a match."""
        group = "secret" if "secret" in match.re.groupindex else 0
        if not match[group] or match[group].startswith(REDACTED) or not self.is_secret(match[group]):
            return match[0]
        start, end = match.start(group) - match.start(), match.end(group) - match.start()
        return match[0][:start] + REDACTED + match[0][end:]


def _is_bearer(text: str) -> bool:
    return (holds_digit(text) or len(text) >= 20) and (is_random(text) or len(text) >= 40)


def _is_user_part(text: str) -> bool:
    """Return whether a text is the `user:password` of an address, and not a template for one."""
    return not is_placeholder(text.rpartition(":")[2])


def _is_filled_in(text: str) -> bool:
    """Return whether a text is no template of a credential, such as `$TOKEN`."""
    return not is_placeholder(text) and "${" not in text


def _is_cookie(text: str) -> bool:
    return any(is_made_up(pair.partition("=")[2].strip()) for pair in text.split(";") if "=" in pair)


def _is_spelled(text: str) -> bool:
    """Return whether a text behind the word `password`, without a sign between the two, is one."""
    return is_made_up(text.strip("\"'"))


_SIGN = r"""\\?["']?(?:[ \t]{0,4}[:=][ \t]{0,4}|,[ \t]{0,4})(?:b?\\?["'])?"""
"""Between the name of a header and its value: also in a mapping, a pair, and JSON in a text."""

_BEGIN = r"(?:(?<![A-Za-z0-9])|(?<=[0-9]m)|(?<=\\[nrt])|(?<=%[0-9A-F][0-9A-F]))"
"""Where a word begins: also behind the escape of a colour, of a line's end, or of a sign in an address."""

_USER_OPTION = (
    r"""(?:(?<=\s)-[uU]|(?<=\s)--(?:proxy-)?user)[ \t=]{0,4}["']?[^\s:"'-][^\s:"']{0,100}:(?P<secret>[^\s"'<>{}$]{2,})"""
)
"""As `curl -u user:password` writes it; of the text around it only `curl` is asked for."""

_ANCHORED = (
    _Shape(("://",), r"""://(?P<secret>[^\s/@:?#"'<>`]*:[^\s/"'<>`]+)@""", _is_user_part),
    # A password with a slash is against the rules, and happens; the digits before a slash may also be a port.
    _Shape(("://",), r"""://(?P<secret>[^\s/@:?#"'<>`]*:(?!\d{1,5}/)[^\s"'<>`{}$]{1,64})@""", _is_user_part),
    # A user without a password is a name with ssh and ftp, but as often a token with https.
    _Shape(
        ("://",),
        r"""://(?:(?<=[Hh][Tt][Tt][Pp]://)|(?<=[Hh][Tt][Tt][Pp][Ss]://))(?P<secret>[^\s/@:?#"'<>`]+)@""",
        _is_user_part,
    ),
    _Shape(("ig=", "ignature="), r"""[?&](?:sig|[A-Za-z\-]{0,20}[Ss]ignature)=(?P<secret>[^\s&"'<>`]{16,})"""),
    _Shape(
        ("hook",),
        r"""(?i:hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/|discord(?:app)?\.com/api/(?:v\d{1,2}/)?webhooks/"""
        r"""|\.office(?:365)?\.com/webhook(?:b2)?/|hooks\.zapier\.com/hooks/catch/|/open-apis/bot/v2/hook/)"""
        r"""(?P<secret>[^\s"'<>`\\]{16,})""",
        lambda text: holds_digit(text) and not is_placeholder(text),
    ),
    _Shape((":aa",), rf"{_BEGIN}(?:bot)?(?P<secret>[0-9]{{8,12}}:AA[A-Za-z0-9_-]{{32,35}})(?![A-Za-z0-9_-])"),
    _Shape(("q~",), rf"(?:{_BEGIN}|(?<=[_~.]))[A-Za-z0-9_~.]{{3}}[0-9]Q~[A-Za-z0-9_~.-]{{31,34}}(?![A-Za-z0-9_.~-])"),
    _Shape(("1//0",), rf"{_BEGIN}1//0[A-Za-z0-9_-]{{30,}}", is_mixed_random),
    _Shape(("sha256~",), r"sha256~[A-Za-z0-9_-]{40,}"),
    _Shape(("token$",), r"access_token\$[a-z]{4,12}\$[a-z0-9]{10,20}\$[a-f0-9]{32}"),
    _Shape(
        ("authorization",),
        rf"""(?i:authorization{_SIGN}(?:bearer|basic|token|digest|apikey|api-key|bot|key|negotiate|splunk|ntlm|aws4-hmac-sha256))"""
        r"""[ \t]{1,4}(?P<secret>[^\s"'<>{}$%\\]{4,}(?:,? \w{1,40}=[^\s"'<>{}$%\\]+)*)""",
        _is_filled_in,
    ),
    _Shape(("authorization",), rf"""(?i:authorization{_SIGN})(?P<secret>[^\s"'<>{{}}$%\\]{{8,}})""", is_made_up),
    _Shape(("bearer",), r"(?i:(?<![A-Za-z0-9])bearer) +(?P<secret>[A-Za-z0-9._~+/\-]{8,}={0,2})", _is_bearer),
    _Shape(("basic",), r"(?i:(?<![A-Za-z0-9])basic) +(?P<secret>[A-Za-z0-9+/]{4,}={0,2})", is_basic),
    _Shape(
        ("cookie",),
        rf"""(?i:(?<![A-Za-z0-9])(?:set-)?cookie2?{_SIGN})(?P<secret>[\w.!#$%&*+^`|~-]{{1,80}}=[^\r\n"'\\]{{4,}})""",
        _is_cookie,
    ),
    _Shape(
        ("password",),
        r"(?i:\bmachine\s{1,40}\S{1,200}\s{1,40}login\s{1,40}\S{1,200}\s{1,40}password\s{1,40})(?P<secret>\S+)",
        _is_filled_in,
    ),
    _Shape(("password",), r"(?i:\blogin\s{1,40}\S{1,200}\s{1,40}password\s{1,40})(?P<secret>\S+)", _is_spelled),
    _Shape(("password",), r"(?im:^)[ \t]{0,40}(?i:password)[ \t]{1,20}(?P<secret>\S+)[ \t]{0,40}\r?(?m:$)", _is_spelled),
    _Shape(("curl", "wget"), _USER_OPTION, lambda text: not is_placeholder(text)),
    _Shape(
        ("sshpass",), r"""(?i:sshpass)[ \t]{1,4}-p[ \t]{0,4}["']?(?P<secret>[^\s"']+)""", lambda text: not is_placeholder(text)
    ),
    _Shape(("private-lines",), r"(?i:private-lines): ?\d{1,4}\r?\n(?P<secret>[A-Za-z0-9+/=\r\n]+)"),
    # The private members of a JSON web key.
    _Shape(("kty",), r"""["'](?:d|k|p|q|dp|dq|qi)["'] ?: ?["'](?P<secret>[\w-]{16,})["']"""),
)


@cache
def _anchors() -> tuple[str, ...]:
    return tuple(dict.fromkeys(anchor for shape in _ANCHORED for anchor in shape.anchors))
