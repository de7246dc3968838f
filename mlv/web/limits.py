"""Limits of the page's server: how long it waits for disks, and how many bytes it reads, keeps and sends at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class ServerLimits:
    """Limits of one server process."""

    naming_s: float = 3.0
    """A folder that takes longer to be read is named on the page."""
    stuck_s: float = 20.0
    """Nobody waits longer for a folder of the list."""
    answer_s: float = 20.0
    """Nobody waits longer for any other answer that reads a disk."""
    look_s: float = 2.0
    """One look at all watched experiments waits so long: it goes on without one that hangs, until its disk answers."""
    lake_look_s: float = 10.0
    """Between two looks whether a lake was built again, each of which is two requests to its store."""
    bring_s: float = 3.0
    """Between two looks at an experiment of a bucket for new segments."""
    news_bytes: int = 4 << 20
    """More new bytes of a stream are not sent: the page asks for its curves again."""
    lines_bytes: int = 64 << 20
    """Of lines that one answer collects; the next one goes on where it ended."""
    inline_bytes: int = 50 << 20
    """Of media in an exported page that is one file."""
    processes_bytes: int = 64 << 20
    """Of logs that take longer than the start of a process, which is 0.4 s."""
    columns_bytes: int = 1 << 20
    """A longer log has a cache of its columns."""
    whole_bytes: int = 8 << 20
    """Of a log of which all metrics are kept once one is asked for: the charts of an experiment ask for all of them."""


LIMITS = ServerLimits()
