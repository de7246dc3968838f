"""What the tests of integrations share: optional frameworks, runs that are killed, and what is in a log afterwards."""

from __future__ import annotations

import importlib
import os
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import fork

import mlv

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
