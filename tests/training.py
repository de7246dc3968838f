"""What the tests of integrations share: optional frameworks, runs that are killed, and what is in a log afterwards."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import fork, run_command

import mlv

Python = Callable[..., "subprocess.CompletedProcess[str]"]

ONLY_OURS = [pytest.mark.filterwarnings("ignore"), pytest.mark.filterwarnings("error::mlv.MlvWarning")]
"""Marks of a module whose framework gives warnings of its own: only those of mlv are errors."""


def library(name: str) -> Any:
    """Import a framework, whatever it warns of; skip the module where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip(name.partition(".")[0], reason=f"{name} is not installed")
        return importlib.import_module(name)


def torch_of_one_thread() -> Any:
    """Import torch, with one thread: others would be missing in forked children."""
    torch = library("torch")
    torch.set_num_threads(1)
    return torch


def kill() -> None:
    """End this process at once, as that of a machine that dies ends."""
    os.kill(os.getpid(), signal.SIGKILL)


def killed(work: Callable[[], object]) -> None:
    """Do something in a forked child, which kills itself in the middle."""
    _, status = os.waitpid(fork(work), 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL


def done(work: Callable[[], object]) -> None:
    """Do something in a forked child, which succeeds."""
    assert os.waitpid(fork(work), 0)[1] == 0


def steps(path: str | Path, metric: str) -> list[int]:
    """Return the steps of a metric that survive, in the order of the log."""
    return [int(step) for step in mlv.Exp.open(path).history(metric)["step"]]


def experiments(folder: Path) -> list[str]:
    """Return the names of the experiments in a folder."""
    return sorted(path.parent.name for path in folder.glob("*/meta.json"))


DYING = """
import os
from mlv import Exp
from training import kill
"""
"""The beginning of scripts that kill themselves; as a script of its own, it needs `TESTS` in its path."""
TESTS = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"


def die_and_go_on(script: str, last: int, python: Python | None = None) -> None:
    """Run a script, which calls `kill()` after the step `last`, in another process; then again, to its end, in this one.

    Relative paths lie in the current folder; `Exp` and `os` are imported. The script leaves its experiment as `exp`.

    Args:
        script: What is run.
        last: The step, which is None the second time.
        python: Runs it in a fresh interpreter the first time, where a library that has threads does not outlive a fork.
    """
    code = DYING + textwrap.dedent(script)
    if python is None:
        killed(lambda: exec(code, {"last": last}))
    else:
        done = python(f"{TESTS}last = {last}\n{code}")
        assert done.returncode == -signal.SIGKILL, done.stderr
    namespace: dict[str, Any] = {"last": None}
    exec(code, namespace)
    namespace["exp"].close()


def surviving(path: str | Path, name: str) -> list[float]:
    """Return the steps of the values of a metric that are not superseded, one for each value, in the order of the log."""
    exp = mlv.Exp.open(path)
    survivors: list[Any] = []
    for event in exp.events(["metrics", "rewound"]):
        if event.type == "rewound":
            survivors = [step for step in survivors if step <= event.data["step"]]
        elif name in event.data:
            survivors.append(event.step)
    assert exp.summary()[name].count == len(survivors)
    return survivors


def is_intact(path: str | Path) -> bool:
    """Return whether `mlv verify` has nothing to say against an experiment."""
    verdict = run_command("verify", path)
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr
    return True
