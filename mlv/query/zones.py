"""The local time zone by the name that a database has for it: display, SQL and `as_of` use the same one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

_FOLDER = "zoneinfo/"


def local_zone() -> str | None:
    """Return the name of the zone of Python's local times, or of one with the same clock; None where there is none."""
    return next((name for name in _candidates() if _has_local_clock(name)), None)


def _candidates() -> Iterator[str]:
    named = os.environ.get("TZ", "").removeprefix(":")
    for text in (named, os.path.realpath("/etc/localtime") if not named else ""):
        if text:
            yield text.partition(_FOLDER)[2] or text
    # `JST-9`, or a file of no name.
    hours, odd = divmod(time.timezone, 3600)
    if not odd:
        yield f"Etc/GMT{hours:+d}" if hours else "UTC"
    yield from sorted(available_timezones())


def _has_local_clock(name: str) -> bool:
    try:
        zone = ZoneInfo(name)
    except (ValueError, OSError, LookupError):  # no name of a zone, or a path outside the database
        return False
    now = datetime.now()
    moments = (now + timedelta(days=30 * month) for month in range(-11, 1))
    return all(moment.astimezone().utcoffset() == moment.astimezone(zone).utcoffset() for moment in moments)
