"""Tokens: credentials that begin with a prefix which their maker chose.

They are looked for in long runs of letters and digits alone, which are met by a table of characters and a search for bytes,
many times quicker than by expressions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import NamedTuple

from mlv.capture.names import compiled, holds_digit, is_mixed
from mlv.capture.random_texts import decoded_base64, has_random_run, is_mixed_random, is_random

REDACTED = "<redacted>"
"""Stands where a credential stood."""


def _is_github_like(text: str) -> bool:
    return len(text) >= 20 or holds_digit(text)


def _is_openai_like(text: str) -> bool:
    return has_random_run(text) or bool(re.search(r"sk-(?:proj|ant|svcacct|admin|or|lf)-\S{16}|[A-Za-z0-9]{20}", text))


def _is_hugging_face_like(text: str) -> bool:
    return len(text) >= 23 or holds_digit(text) or is_mixed(text)


def _is_web_token(text: str) -> bool:
    """Return whether a text is a JSON web token, or base64 of JSON with a credential in it."""
    segments = text.split(".")
    if len(segments) >= 3:
        return segments[1].startswith("eyJ") or len(segments) == 5
    if len(segments) == 2:
        return False
    decoded = decoded_base64(text[:400]).lower()
    return any(word in decoded for word in (b"token", b"secret", b"password", b'key"', b'"auth"'))


def _is_encoded_key(text: str) -> bool:
    return b"PRIVATE KEY" in decoded_base64(re.sub(r"\s", "", text[:160]))


_SHORTEST = 14
"""Characters of the shortest token, prefix included."""
_IN_TOKENS = bytes(ord("x") if chr(code) in "_-." or (code < 128 and chr(code).isalnum()) else ord(" ") for code in range(256))
_RUN = "x" * _SHORTEST
_LONGEST_PREFIX = 24  # that of the longest in the table, `access-development-`, and some more


class _Body(NamedTuple):
    """The form of the characters behind a prefix."""

    pattern: str
    is_secret: Callable[[str], bool]


def _table(*rows: tuple[str, str, Callable[[str], bool]]) -> dict[str, list[_Body]]:
    table: dict[str, list[_Body]] = {}
    for prefixes, pattern, is_secret in rows:
        for prefix in prefixes.split():
            # Letters of other alphabets end a token, though they are letters.
            table.setdefault(prefix, []).append(_Body(pattern.replace(r"\w", "A-Za-z0-9_"), is_secret))
    return table


_HEX32 = r"[A-Fa-f0-9]{32,}(?![A-Za-z0-9])"
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_TOKENS = _table(
    # Code and packages
    ("ghp_ gho_ ghu_ ghs_ ghr_", r"[A-Za-z0-9]{10,}", _is_github_like),
    ("github_pat_", r"[A-Za-z0-9_]{16,}", bool),
    ("glpat- gldt- glrt- glptt- glcbt- glft- glffct- glimt- glagent- gloas- glsoat- glrtr- glwt-", r"[\w.-]{16,}", is_random),
    ("GR1348941", r"[\w-]{16,}", is_random),
    ("pypi-AgE", r"[\w-]{16,}", bool),
    ("npm_", r"[A-Za-z0-9]{20,}", has_random_run),
    ("rubygems_ CLOJARS_", r"[a-z0-9]{40,}", holds_digit),
    ("dckr_pat_ dckr_oat_", r"[\w-]{20,}", is_random),
    ("ATATT3 ATCTT3", r"[\w=+/-]{24,}", holds_digit),
    ("ATBB", r"[A-Za-z0-9]{24,}", is_mixed_random),
    ("sgp_", r"(?:[a-f0-9]{16}_|local_)?[a-f0-9]{40}", bool),
    ("squ_ sqp_ sqa_", r"[a-f0-9]{40}", bool),
    ("CCIPAT_ bkua_", r"[\w-]{24,}", holds_digit),
    ("AKCp cmVmd", r"[A-Za-z0-9]{50,}", is_mixed_random),
    ("oy2", r"[a-z0-9]{43}(?![A-Za-z0-9])", holds_digit),
    ("sntrys_ sntryu_", r"[\w+/=-]{32,}", holds_digit),
    # Models and their hosts
    ("hf_ api_org_", r"[A-Za-z0-9]{16,}", _is_hugging_face_like),
    ("sk-", r"[\w-]{16,}", _is_openai_like),
    ("sk_", r"[a-f0-9]{40,}", holds_digit),
    ("nvapi- pcsk_ tvly- csk-", r"[\w-]{24,}", has_random_run),
    ("xai- pplx- jina_ gsk_ rpa_ fw_ fpk_", r"[A-Za-z0-9]{20,}", has_random_run),
    ("r8_", r"[A-Za-z0-9]{30,}", holds_digit),
    ("tgp_v1_ wandb_v1_ lsv2_pt_ lsv2_sk_", r"[\w-]{30,}", holds_digit),
    ("KGAT_ e2b_", r"[a-f0-9]{32,}", bool),
    ("pa-", r"[\w-]{40,}", is_mixed_random),
    ("dapi", r"[a-f0-9]{32}(?:-[0-9])?(?![A-Za-z0-9])", bool),
    # Clouds
    ("AKIA ASIA ABIA ACCA", r"[A-Z0-9]{16}(?![A-Za-z0-9])(?:[\s,;:|\"']{1,4}[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+]))?", bool),
    ("ABSK", r"[A-Za-z0-9+/]{60,}={0,2}", is_mixed_random),
    ("bedrock-api-key-", r"[A-Za-z0-9+/=_-]{20,}", bool),
    ("AIza", r"[\w-]{30,}", bool),
    ("ya29. GOCSPX-", r"[\w-]{20,}", bool),
    ("LTAI", r"[A-Za-z0-9]{12,24}(?![A-Za-z0-9])", is_mixed_random),
    ("AKID", r"[A-Za-z0-9]{32}(?![A-Za-z0-9])", is_mixed_random),
    ("dop_v1_ doo_v1_ dor_v1_", r"[a-f0-9]{40,}", bool),
    ("HRKU-AA", r"[\w-]{40,}", holds_digit),
    ("v1.0-", r"[a-f0-9]{24}-[a-f0-9]{60,}", bool),
    ("fo1_", r"[\w-]{40,}", holds_digit),
    ("fm1r_ fm1a_ fm2_", r"[A-Za-z0-9+/=_-]{60,}", is_mixed_random),
    ("sbp_ sb_secret_", r"[\w-]{30,}", holds_digit),
    ("nfp_ rnd_ napi_", r"[A-Za-z0-9]{28,}", is_mixed_random),
    ("tskey-", r"[a-z]{3,12}-[\w-]{16,}", holds_digit),
    ("pscale_tkn_ pscale_pw_ pscale_oauth_", r"[\w=.-]{32,}", bool),
    ("pul-", r"[a-f0-9]{40}", bool),
    ("AQVN", r"[\w-]{35,}", is_mixed_random),
    # Work and messages
    ("xoxa- xoxb- xoxe- xoxo- xoxp- xoxr- xoxs- xoxe.xoxp- xoxe.xoxb- xapp-", r"[A-Za-z0-9-]{10,}", holds_digit),
    ("lin_api_ lin_oauth_", r"[A-Za-z0-9]{30,}", bool),
    ("ntn_", r"[A-Za-z0-9]{40,}", bool),
    ("secret_", r"[A-Za-z0-9]{40,}(?![A-Za-z0-9_-])", is_mixed_random),
    ("figd_ figoh_ tfp_", r"[\w.=-]{24,}", holds_digit),
    ("pat", r"[A-Za-z0-9]{14}\.[a-f0-9]{64}", bool),
    ("PMAK-", r"[a-f0-9]{24}-[a-f0-9]{34}", bool),
    ("CFPAT-", r"[\w-]{40,}", bool),
    ("rdme_", r"[a-z0-9]{70}", bool),
    ("phx_", r"[A-Za-z0-9_]{40,}", holds_digit),
    ("sm_aat_ sm_pat_ sm_sat_", r"[A-Za-z0-9]{16}(?![A-Za-z0-9])", holds_digit),
    ("pnu_ pnb_", r"[A-Za-z0-9]{36}(?![A-Za-z0-9])", holds_digit),
    # Mail, telephones, money, shops
    ("SG.", r"[\w-]{16,}\.[\w-]{16,}", is_mixed_random),
    ("xkeysib- xsmtpsib-", r"[a-f0-9]{64}-[A-Za-z0-9]{16}", bool),
    ("key-", r"[a-f0-9]{32}(?![A-Za-z0-9-])", bool),
    ("SK", _HEX32, bool),
    ("sk_live_ sk_test_ sk_prod_ rk_live_ rk_test_ rk_prod_", r"[A-Za-z0-9]{16,}", bool),
    ("whsec_", r"[A-Za-z0-9+/]{20,}={0,2}", is_random),
    ("shpat_ shpca_ shppa_ shpss_", _HEX32, bool),
    ("sq0atp- sq0csp-", r"[\w-]{22,}", bool),
    ("EAAA", r"[\w-]{56,}", is_mixed_random),
    ("EAA", r"[A-Za-z0-9]{80,}", is_mixed_random),
    ("shippo_live_ shippo_test_", r"[a-f0-9]{40}", bool),
    ("duffel_live_ duffel_test_", r"[\w=-]{40,}", bool),
    ("EZAK EZTK", r"[A-Za-z0-9]{54}", bool),
    ("FLWSECK-", r"[A-Za-z0-9]{12,}(?:-X)?", holds_digit),
    ("FLWSECK_TEST-", r"[A-Za-z0-9]{12,}(?:-X)?", holds_digit),
    # Machines and vaults
    ("hvs. hvb. hvr.", r"[\w-]{20,}", bool),
    ("s.", r"[A-Za-z0-9]{24}(?![\w.(-])", lambda text: is_mixed_random(text) and sum(map(str.isdigit, text)) >= 3),
    ("dp.pt. dp.st. dp.ct. dp.sa. dp.scim. dp.audit.", r"[\w.-]{20,}", is_random),
    ("glsa_", r"[A-Za-z0-9]{24,}_[A-Fa-f0-9]{8}", bool),
    ("glc_", r"[A-Za-z0-9+/]{32,}={0,3}", is_mixed_random),
    ("NRAK- NRII- NRJS- NRRA-", r"[A-Za-z0-9-]{19,}", holds_digit),
    ("dt0c01. dt0s01. dt0s16.", r"[A-Za-z0-9]{24}\.[A-Za-z0-9]{64}", bool),
    ("ops_eyJ", r"[A-Za-z0-9+/=_-]{60,}", bool),
    ("A3-", r"[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}", bool),
    ("AGE-SECRET-KEY-1", r"[A-Z0-9]{40,}", bool),
    ("API-", r"[A-Z0-9]{26}(?![A-Za-z0-9])", holds_digit),
    ("sdk-", _UUID, bool),
    ("p8e-", r"[a-z0-9]{32}", bool),
    ("fio-u-", r"[\w=-]{60,}", bool),
    ("ico-", r"[A-Za-z0-9]{32}(?![A-Za-z0-9])", is_mixed_random),
    ("access-sandbox- access-development- access-production-", _UUID, bool),
    ("eyJ sk.eyJ", r"[\w-]{2,}(?:\.[\w-]*){0,4}={0,2}", _is_web_token),
    ("LS0tLS1CRUdJTi", r"[A-Za-z0-9+/]{20,}={0,2}(?:\s{1,20}[A-Za-z0-9+/]{40,}={0,2}(?![A-Za-z0-9+/]))*", _is_encoded_key),
)
"""The forms behind each prefix, with a condition on the whole token."""
_WHOLE_TOKENS = (
    r"(?:[MNO][A-Za-z0-9_-]{22,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,45}"  # Discord
    r"|[0-9a-f]{32}-us[0-9]{1,2}"  # Mailchimp
    r"|[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{40,}"  # Terraform
    r"|[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk"  # MaxMind
    r")(?![A-Za-z0-9_-])"
)
"""Tokens that are recognised by their form from end to end."""
_LONGEST_ESCAPE = 12  # letters and digits of one, such as `u001b` or `31m`, and some more
_LONGEST_COLOUR = 32
"""Characters of an escape that sets a colour of 24 bits, and some more."""
_IN_ESCAPES = (b"\\", b"%", b"[", b";")
"""Characters before the letters and digits in which an escape ends: `\\n`, `%3D`, `\\x1b[31m` and `\\x1b[1;31m`."""


def _long_runs(content: bytes) -> Iterator[tuple[int, int]]:
    """Find the runs of characters that are long enough for a token, with room for the prefix of one."""
    table = content.translate(_IN_TOKENS)
    end = 0
    while (start := table.find(_RUN_BYTES, end)) >= 0:
        end = table.find(b" ", start)
        end = len(table) if end < 0 else end
        if content[start:end].strip(b"0123456789.-_"):  # numbers of a table are no tokens
            yield start, end


_RUN_BYTES = _RUN.encode()


def may_hold_tokens(content: bytes) -> bool:
    """Return whether JSON may hold a token: one quick search, which may say yes in vain but never no in vain."""
    beginning, inner = _beginnings_of_bytes()
    for start, end in _long_runs(content):
        last = start + _LONGEST_ESCAPE if content[start - 1 : start] in _IN_ESCAPES else start
        if inner.search(content, start, end) or any(beginning.match(content, at, end) for at in range(start, last + 1)):
            return True
    return False


def without_tokens(text: str) -> str:
    """Copy a text without the tokens in it."""
    if len(text) < _SHORTEST:
        return text
    # One byte for each character, so that positions agree.
    content = text.encode("ascii", "replace")
    chunks: list[str] = []
    done = 0
    for start, end in _long_runs(content):
        for token_start, token_end in _tokens(text, max(start, done), end):
            if token_start >= done:
                chunks += [text[done:token_start], REDACTED]
                done = token_end
    return "".join([*chunks, text[done:]]) if chunks else text


def _tokens(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Find the tokens that begin within a long run."""
    judged: dict[str, int] = {}
    done = start
    for beginning in _beginnings_in(text, start, end):
        if beginning.start() >= done and (token_end := _token_end(text, beginning, end, judged)) is not None:
            yield beginning.start(), token_end
            done = token_end


def _beginnings_in(text: str, start: int, end: int) -> Iterator[re.Match[str]]:
    """Find where tokens may begin in a run: at its start, behind an escape that ends there, behind each `_`, `-` and `.`.

    A long word is passed over by one search for those three, 20 times quicker than a try at each of its letters.
    """
    beginning, inner = _beginnings()
    last = start + _LONGEST_ESCAPE if text[start - 1 : start].encode("ascii", "replace") in _IN_ESCAPES else start
    for position in range(start, last + 1):
        if _begins_a_word(text, position) and (match := beginning.match(text, position, end)):
            yield match
    while separator := inner.search(text, last, end):
        last = separator.start() + 1
        match = beginning.match(text, last, end)
        assert match is not None  # `inner` is a separator and the same
        yield match


def _token_end(text: str, beginning: re.Match[str], end: int, judged: dict[str, int]) -> int | None:
    """Find the end of the token that begins with a prefix, or with a shorter one; None if there is none.

    Up to where a prefix was `judged` in vain it is not tried again: `sk-sk-sk-` would be read once for each.
    """
    begin = beginning.start()
    if whole := compiled(_WHOLE_TOKENS).match(text, begin, end):
        return whole.end()
    for length in range(min(beginning.end() - begin, _LONGEST_PREFIX), 1, -1):
        prefix = text[begin : begin + length]
        if prefix not in _TOKENS or begin < judged.get(prefix, 0):
            continue
        for body in _TOKENS[prefix]:
            token = compiled(body.pattern).match(text, begin + length)
            if token and body.is_secret(text[begin : token.end()]):
                return token.end()
            if token:
                judged[prefix] = token.end()
    return None


def _begins_a_word(text: str, position: int) -> bool:
    r"""Return whether no letter or digit stands before a position, unless it ends an escape such as `\n` or `%3D`."""
    before = text[max(0, position - _LONGEST_COLOUR) : position]
    return not before or not (before[-1].isascii() and before[-1].isalnum()) or bool(compiled(_ESCAPE_END).search(before))


_ESCAPE_END = (
    r"(?:\\(?:[abfnrtv0]|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4})|%[0-9A-Fa-f]{2}|(?:\x1b|\\x1b|\\u001b|\\e|\\033)\[[0-9;]*m)\Z"
)


@cache
def _beginnings() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Compile the expression of how tokens begin, and the same behind a separator within a run."""
    return re.compile(_beginning()), re.compile(f"[-_.]{_beginning()}")


@cache
def _beginnings_of_bytes() -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    beginning = _beginning().encode()
    return re.compile(beginning), re.compile(b"[-_.]" + beginning)


@cache
def _beginning() -> str:
    return f"(?:{_trie(_TOKENS)}|{_WHOLE_TOKENS})"


def _trie(words: Iterable[str]) -> str:
    """Write words as one expression that looks at each character once, and takes the longest word.

    It is short, since the first experiment of a process waits until it is compiled: branches that go on alike are one.
    """
    branches: dict[str, list[str]] = {}
    for word in words:
        branches.setdefault(word[:1], []).append(word[1:])
    is_end = branches.pop("", None) is not None
    if not branches:
        return ""
    alike: dict[str, list[str]] = {}
    for first, suffixes in branches.items():
        alike.setdefault(_trie(suffixes), []).append(re.escape(first))
    alternatives = [(f"[{''.join(firsts)}]" if firsts[1:] else firsts[0]) + suffix for suffix, firsts in alike.items()]
    if len(alternatives) == 1 and not is_end:
        return alternatives[0]
    return f"(?:{'|'.join(alternatives)})" + ("?" if is_end else "")
