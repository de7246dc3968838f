"""Signals to one process."""

from __future__ import annotations

import os


def send(pid: int, number: int) -> None:
    """Send a signal to a process; 0, as a ring names a writer that is not there yet, would be all of pytest's own group."""
    assert pid > 0, f"{pid} is no process"
    os.kill(pid, number)
