"""The time zone of whoever looks, by the name that a database knows it by: display, SQL and `as_of` have one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

_FOLDER = "zoneinfo/"


def local_zone() -> str | None:
    """The name of the zone in which Python shows local times, or of one with the same clock; None where there is none."""
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
    except (ValueError, OSError, LookupError):  # of no zone, or of a path that is none
        return False
    now = datetime.now()
    moments = (now + timedelta(days=30 * month) for month in range(-11, 1))
    return all(moment.astimezone().utcoffset() == moment.astimezone(zone).utcoffset() for moment in moments)
