"""Values in words for people: durations, moments, numbers, sizes."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import Any

STATUS_STYLES = {
    "running": "cyan",
    "ok": "green",
    "failed": "bold red",
    "interrupted": "yellow",
    "preempted": "yellow",
    "ended": "yellow",
    "killed": "bold red",
    "lost": "magenta",
    "broken": "bold red",
}
VERDICT_STYLES = {
    "intact": "bold green",
    "unproven": "bold yellow",
    "truncated": "bold red",
    "missing": "bold red",
    "edited": "bold red",
}
LEVEL_STYLES = {"debug": "dim", "info": "green", "warning": "yellow", "error": "bold red"}

_LONGEST = 400
_MOST_BITS = 400
"""Size of the largest integer that is shown with all its digits, some 120."""
_FORMAT = r"(?s:(?:.?[<>=^])?[-+ ]?#?0?[0-9]{0,2}[,_]?(?:\.[0-9]{1,2})?[bdeEfFgGnoxX%]?\Z)"
"""The format specifications that are followed: a width or precision of a hundred million would take all memory.

Like other expressions that few scripts need, it is compiled with its first use: `import mlv` does without.
"""
# A path object has made one slash of two. A single letter is a drive, and an unknown word with one slash a folder.
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/(/?)", re.IGNORECASE)
_SCHEMES = frozenset({
    "file", "http", "https", "ftp", "ftps", "sftp", "ssh", "s3", "s3a", "s3n", "gs", "gcs", "r2", "oss", "cos", "obs", "az",
    "adl", "adls", "abfs", "abfss", "wasb", "wasbs", "hdfs", "webhdfs", "dbfs", "hf",
})  # fmt: skip
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def duration(seconds: float | None) -> str:
    """Return a duration in its two largest units: `40 ms`, `12.3 s`, `2 min 03 s`, `5 h 07 min`, `3 d 04 h`."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
    minutes, remainder = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {remainder:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 24 else f"{hours // 24} d {hours % 24:02d} h"


def moment(when: datetime | None, now: datetime, precision: str = "minute") -> str:
    """Return a moment in local time, as short as is unambiguous: `Nov 21 08:24`; of another year `2025-11-21`."""
    if when is None:
        return ""
    local = when.astimezone()
    if local.year != now.astimezone().year:
        return local.strftime("%Y-%m-%d")
    day = f"{_MONTHS[local.month - 1]} {local.day:02d}"
    return f"{day} {local.hour:02d}:{local.minute:02d}" if precision == "minute" else day


def zone() -> str:
    """Return the zone of local times, as they name it: `CET`; where the clocks are changed `CET/CEST`."""
    return "/".join(dict.fromkeys(time.tzname if time.daylight else time.tzname[:1]))


def full_time(moment: datetime | None) -> str:
    """Return a moment in local time to the second, with the zone: `2026-11-21 08:24:43 CET`."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z") if moment is not None else ""


def number(value: Any, format: str | None = None) -> str:
    """Return the text of a metric's value, by a format specification if one fits."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return compact(value)
    if not isinstance(format, str) or not re.match(_FORMAT, format) or _is_huge(value):
        return _short(value)
    try:
        return printable(f"{value:{format}}")
    except (ValueError, OverflowError):
        return _short(value)


def exact(value: Any) -> str:
    """Return a param or a coordinate with all its digits, so that the text can be searched for."""
    is_whole = not isinstance(value, float) or not math.isfinite(value) or (value.is_integer() and abs(value) < 2**53)
    return number(value) if is_whole else repr(value)


def _short(value: float) -> str:
    if isinstance(value, float) and math.isfinite(value):
        if value.is_integer() and 1000 <= abs(value) < 2**53:
            return str(int(value))  # a step, or a count: it may be searched for as it is shown
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.6g}"
    return _rounded(value) if _is_huge(value) else str(value)


def _is_huge(value: Any) -> bool:
    """Return whether a number has more digits than anybody reads; Python refuses to print some of these."""
    return isinstance(value, int) and value.bit_length() > _MOST_BITS


def _rounded(value: Any) -> str:
    """Return a huge integer in few digits, with its size: `~1e5000 (16610 bits)`."""
    bits = value.bit_length()
    exponent, decimals = divmod(math.log10(abs(value) >> (bits - 64)) + (bits - 64) * math.log10(2), 1)
    digits, _, carried = f"{10**decimals:.3e}".partition("e")
    digits = f"{float(digits):g}"
    return f"{'-' if value < 0 else ''}~{digits}e{int(exponent) + int(carried)} ({bits} bits)"


def compact(value: Any, longest: int = _LONGEST) -> str:
    """Return any value in one line; a reference becomes the path that it points to."""
    plain = _pointed(value)
    text = plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False, default=str)
    text = printable(text)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def is_reference(value: Any) -> bool:
    """Return whether a value points to a file or an experiment."""
    return isinstance(value, Mapping) and value.get("_mlv") in ("file", "exp") and isinstance(value.get("path"), str)


def _pointed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return value["path"] if is_reference(value) else {key: _pointed(item) for key, item in value.items()}
    if _is_huge(value):
        return _rounded(value)
    return [_pointed(item) for item in value] if isinstance(value, list) else value


def pairs(data: Mapping[str, Any]) -> str:
    """Return params or coordinates in one line: `key=value key=value`."""
    return "  ".join(f"{printable(key)}={exact(value)}" for key, value in data.items())


def size(count: int) -> str:
    """Return a number of bytes: `312 B`, `3.3 kB`, `1.2 MB`."""
    if count < 1000:
        return f"{count} B"
    if _is_huge(count):
        return f"{_rounded(count)} B"
    power = min(3, max(1, (len(str(count)) - 1) // 3))
    amount = count / 1000**power
    return f"{amount:.{0 if amount >= 100 else 1}f} {('kB', 'MB', 'GB')[power - 1]}"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: `1 line`, `3,200 lines`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {plural or noun + 's'}"


def did_you_mean(names: Iterable[str]) -> str:
    """Return the question whether one of these names was meant."""
    return f"did you mean {' or '.join(names)}?"


def printable(text: str, keep: str = "") -> str:
    """Return text without control characters, which a terminal would obey: they are shown as escapes."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() or character in keep else repr(character)[1:-1] for character in text)


_WIDE = "".join(chr(ord(sign) + 0xFEE0) for sign in "=+-@")  # the same signs twice as wide, as East Asian keyboards write them
FORMULA = rf"^\s*[-=+@|%{_WIDE}]|^[\t\r\n]"
"""Pattern of texts that a spreadsheet takes for a formula, or a command."""


def inert(text: str) -> str:
    """Return a cell that a spreadsheet takes for text: a text that begins like a formula gets an apostrophe; numbers stay."""
    if not _formula().match(text) or _is_number(text):
        return text
    return f"'{text}"


@cache
def _formula() -> re.Pattern[str]:
    return re.compile(FORMULA)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text and text == text.strip()


def address_problem(path: object) -> str | None:
    """Return the advice for an address such as `s3://bucket/runs`; None for a path of this machine, whatever its colons."""
    text = str(path)
    address = _ADDRESS.match(text)
    if address is None or not (address[2] or address[1].lower() in _SCHEMES):
        return None
    scheme, _, behind = text.partition(":")
    if scheme.lower() == "file":
        return f"is an address: give the path, {'/' + behind.lstrip('/')!r}"
    return "is an address, and mlv keeps experiments in folders: give a local or mounted folder, and copy it there afterwards"


def url_without_secrets(url: str) -> str:
    """Return a URL in which stars stand for user and password, and for options other than an endpoint and a region."""
    # A secret key may hold a slash, or another sign that ends the host elsewhere.
    masked = re.sub(r"//(?:[^/@]*|[^/@:]*:[^@]*)@", "//***@", url)
    return re.sub(r"([?&](?!endpoint=|region=)[^=&#]*)=[^&#]*", r"\1=***", masked)
