"""A command that tests run inside their own process is the command that users start."""

from __future__ import annotations

import gc
import os
import sys
import warnings

import pytest


@pytest.mark.parametrize(
    "words",
    [
        ["ls", "runs"], ["ls", "runs", "--json"], ["show", "runs/digits"], ["verify", "runs"], ["ls", "nowhere"], ["nonsense"],
        ["--help"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_both_are_equal(command, process, runs, words):
    """What is printed on both outputs, and the status, are those of a process of its own."""
    inside, outside = command(*words), process(*words)

    assert (inside.returncode, inside.stdout, inside.stderr) == (outside.returncode, outside.stdout, outside.stderr)


def test_nothing_is_left(command, runs):
    """Streams, folder, environment and filters of warnings are those from before."""

    def state() -> object:
        streams = sys.stdout, sys.stderr, os.fstat(1).st_ino, os.fstat(2).st_ino
        return streams, sys.argv, os.getcwd(), dict(os.environ), warnings.filters, warnings.showwarning, gc.isenabled()

    before = state()
    command("ls", "runs", env={**os.environ, "COLUMNS": "40"})

    assert state() == before
