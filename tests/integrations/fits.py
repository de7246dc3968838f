"""What tests of integrations ask of an experiment after a fit: its steps, and whether all of it is intact."""

from __future__ import annotations

import signal
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import run_command

import mlv

DYING = """
import os, signal
from mlv import Exp

def die():
    os.kill(os.getpid(), signal.SIGKILL)

"""


ONLY_OURS = [pytest.mark.filterwarnings("ignore"), pytest.mark.filterwarnings("error::mlv.MlvWarning")]
"""Marks of a module whose library gives warnings of its own: only those of mlv are errors."""


def die_and_go_on(python: Callable[..., subprocess.CompletedProcess[str]], script: str, last: int, **options: Any) -> None:
    """Run a script, which calls `die()` after the step `last`, in a process of its own; then again, to its end, in this one.

    Relative paths lie in the folder that is the current one; `Exp` and `os` are imported.
    """
    done = python(f"{DYING}last = {last}\n{textwrap.dedent(script)}", **options)
    assert done.returncode == -signal.SIGKILL, done.stderr
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(f"{DYING}last = None\n{textwrap.dedent(script)}", namespace)
    namespace["exp"].close()


def surviving(path: Path, name: str) -> list[float]:
    """The steps at which a metric has a value that was not superseded, each as often as it has one, in the order of the log."""
    exp = mlv.Exp.open(path)
    steps: list[Any] = []
    for event in exp.events(["metrics", "rewound"]):
        if event.type == "rewound":
            steps = [step for step in steps if step <= event.data["step"]]
        elif name in event.data:
            steps.append(event.step)
    assert exp.summary()[name].count == len(steps)
    return steps


def is_intact(path: Path) -> bool:
    """Whether `mlv verify` has nothing to say against an experiment."""
    done = run_command("verify", path)
    assert done.returncode == 0, done.stdout + done.stderr
    return True
