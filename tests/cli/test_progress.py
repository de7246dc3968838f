"""A bar tells how far a long reading is, on a terminal and nowhere else."""

from __future__ import annotations

import io
import sys

import pytest
from conftest import wait_until

from mlv.cli import screen


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal_in_place(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal as stderr; not as a fixture, as pytest puts its own there after these."""
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


def test_a_bar(monkeypatch):
    """A bar appears while the first item still takes its time, and is gone at the end."""
    terminal = terminal_in_place(monkeypatch)
    for _ in screen.progress([1, 2], "reading logs", patience_s=0):
        wait_until(lambda: "reading logs" in terminal.getvalue())

    assert terminal.getvalue().endswith("\x1b[2K")


def test_what_is_quick(monkeypatch):
    """What is over soon shows no bar."""
    terminal = terminal_in_place(monkeypatch)
    assert list(screen.progress([1, 2], "reading logs")) == [1, 2]
    assert terminal.getvalue() == ""


def test_a_reading_that_is_given_up(monkeypatch):
    """A bar goes when its loop is left."""
    terminal = terminal_in_place(monkeypatch)
    items = screen.progress([1, 2], "reading logs", patience_s=0)
    next(items)
    wait_until(lambda: "reading logs" in terminal.getvalue())
    items.close()

    assert terminal.getvalue().endswith("\x1b[2K")


def test_no_bar_in_a_pipe(monkeypatch):
    """Elsewhere nothing is shown."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())

    assert list(screen.progress([1, 2], "reading logs", patience_s=0)) == [1, 2]
    assert sys.stderr.getvalue() == ""
