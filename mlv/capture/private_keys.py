"""Private keys in texts: blocks of many lines, as PEM and OpenSSH write them."""

from __future__ import annotations

import re
from itertools import zip_longest

from mlv.capture.names import compiled
from mlv.capture.tokens import REDACTED

MENTION = "PRIVATE KEY"
"""Words in every header of a private key."""

HEADER = r"-{4,5} ?BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}"
FOOTER = r"-{4,5} ?END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}"
_BODY = r"""[A-Za-z0-9+/=\s\\:,.\-"'>|#*]*"""


def without_private_keys(text: str) -> str:
    """Redact PEM blocks of private keys, also such as were cut off before their end, but no mere mention of one."""
    if MENTION not in text:
        return text
    chunks, done, end = [], 0, 0
    headers = list(compiled(HEADER).finditer(text))
    for header, following in zip_longest(headers, headers[1:]):
        # The next footer is looked for once, not once per header: that keeps the whole linear.
        if 0 <= end < header.end():
            end = text.find("-END ", header.end())
        limits = [following.start() if following else len(text), *([end] if end >= 0 else [])]
        stop = _key_end(text, header.end(), min(limits))
        if stop is not None:
            chunks += [text[done : header.start()], _redacted_lines(text, header.start(), stop)]
            done = stop
    return "".join([*chunks, text[done:]])


def _key_end(text: str, start: int, limit: int) -> int | None:
    """Find the end of a key whose header ends at `start`; None if the text there is no key."""
    body = compiled(_BODY).match(text, start, limit)
    assert body is not None  # It can match nothing.
    dashes = len(body[0]) - len(body[0].rstrip("-"))
    footer = compiled(FOOTER).match(text, body.end() - dashes)
    if footer:
        return footer.end() if body[0].strip("- \n\\") else None
    is_key = any(len(run) >= 32 for run in re.split(r"[^A-Za-z0-9+/=]+", body[0]))
    return body.end() if is_key else None


def _redacted_lines(text: str, start: int, stop: int) -> str:
    """Redact line by line; in a diff keep the sign in front of each, for its hunks count their lines."""
    in_diff = bool(compiled(r"(?:^|\n)[+\- ]$").search(text[max(0, start - 2) : start]))
    lines = text[start:stop].split("\n")[1:]
    return "\n".join([REDACTED, *((line[:1] if in_diff else "") + REDACTED for line in lines)])
