"""Private keys that arrive line by line: from a console, or from a logger that gets one line at a time."""

from __future__ import annotations

import re

from mlv.capture.private_keys import MENTION
from mlv.capture.tokens import REDACTED

_BEGINS = re.compile(r"-{4,5} ?BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{0,5}|Private-Lines: ?\d+")
_BEGINS_ENCODED = re.compile(
    r"LS0tLS1CRUdJTi[A-Za-z0-9+/]{0,40}(?:UFJJVkFURS|BSSVZBVE|QUklWQVRF)[A-Za-z0-9+/]{0,80}[\s\\nr]*\Z"
)
"""The same in base64, where it goes on in the next line."""
_ENDS = re.compile(r"-{4,5} ?END |Private-MAC:")
_LONG = re.compile(r"[A-Za-z0-9+/=]{32}")
"""As no line of words has, and every whole line of a key."""
_FIELD = re.compile(r"\W*(?:Proc-Type|DEK-Info|Comment|Version|Hash): ")
_QUOTES = " \t\r>|#*+\"'`\\,;:()[]"
_TOKEN = re.compile(r"(?:[0-9]{1,4}[:.)|]?[ \t]+)?[A-Za-z0-9+/\-]+={0,2}(?:\\r)?(?:\\n)?")
_PADDED = re.compile(r"[A-Za-z0-9+/]{2,}={1,2}(?:\\r)?(?:\\n)?\Z")
_WHOLE = re.compile(r"(?=.*[a-z])(?=.*[A-Z])[A-Za-z0-9+/]{48,}={0,2}(?:\\r)?(?:\\n)?")
"""A line that is a line of a key and nothing else."""
_LATE_LINES = 100
"""Lines after the end of a key within which those of its lines may come that went to another descriptor."""
_MOST_MISSES = 8
"""Lines that are short or of other kinds, one after the other, after which the end of a key is not waited for any more."""


class KeyLines:
    """Masks the lines of private keys in the output of one run.

    A key may go to one descriptor and the other in turns, so a key that begins on one goes on for all. From the others,
    only lines are masked that are long enough to be nothing else.
    """

    def __init__(self, *, is_open: bool = False) -> None:
        """Begin; with `is_open` after lines that nobody has seen, in which a key may have begun."""
        self._origin: object = None
        self._misses = self._late = 0
        self.is_open = is_open
        """Whether a key has begun and not ended."""

    @property
    def state(self) -> tuple[object, int, int, bool]:
        """The state after the lines so far; set it to see the same lines again."""
        return self._origin, self._misses, self._late, self.is_open

    @state.setter
    def state(self, state: tuple[object, int, int, bool]) -> None:
        self._origin, self._misses, self._late, self.is_open = state

    @property
    def is_waiting(self) -> bool:
        """Whether lines of a key may come."""
        return self.is_open or self._late > 0

    def opens(self, line: str) -> bool:
        """Return whether a key begins in a line, and does not end there."""
        # Three searches for fixed texts spare nearly every line the expressions below.
        if MENTION not in line and "Private-Lines" not in line and "LS0tLS1CRUdJTi" not in line:
            return False
        begins = [match.end() for match in _BEGINS.finditer(line)]
        if not begins:
            return _BEGINS_ENCODED.search(line) is not None
        bare = line[begins[-1] :].strip(_QUOTES).removeprefix("n").strip(_QUOTES)
        goes_on = not bare or _TOKEN.fullmatch(bare) is not None or _LONG.search(bare) is not None
        return goes_on and not _ENDS.search(line, begins[-1])

    def masked(self, line: str, redacted: str, origin: object) -> str:
        """Return a line, masked if it belongs to a key; `redacted` is the line without the credentials that it holds alone."""
        was_open, opens = self.is_open, self.opens(line)
        if not (was_open or opens):
            self._late = max(0, self._late - 1)
            return REDACTED if self._late and _WHOLE.fullmatch(line.strip(_QUOTES)) else redacted
        is_end = was_open and _ENDS.search(line) is not None
        is_key = is_end or (was_open and self._is_key(line, origin))
        if opens:
            self.is_open, self._origin, self._misses = True, origin, 0
        elif is_end:
            self.is_open, self._late = False, _LATE_LINES
        elif is_key and _LONG.search(line):
            self._misses = 0
        elif line.strip() and (origin == self._origin or self._origin is None):
            self._misses += 1
            self.is_open = self._misses < _MOST_MISSES
        return REDACTED if is_key else redacted

    def _is_key(self, line: str, origin: object) -> bool:
        if _LONG.search(line):
            return True
        bare = line.strip(_QUOTES)
        is_short = bool(_TOKEN.fullmatch(bare) or _PADDED.search(bare) or _FIELD.match(line))
        return origin == self._origin and bool(bare) and is_short
