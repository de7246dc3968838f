"""What the tests of the drop-in for mle-logging share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

RECORDED = Path(__file__).parent / "recorded" / "mle_logging"
"""Files that the original package wrote, version 0.0.6."""


def logger(folder: Path | str = "run", **options: Any) -> Any:
    """A logger with the names of the README."""
    from mlv.compat.mle_logging import MLELogger

    options = {"time_to_track": ["num_updates", "num_epochs"], "what_to_track": ["train_loss", "test_loss"], **options}
    return MLELogger(experiment_dir=str(folder), **options)


def fill(log: Any, count: int, first: int = 0) -> Any:
    """Some rows, and a save."""
    for i in range(first, first + count):
        log.update({"num_updates": 10 * i, "num_epochs": i}, {"train_loss": i / 2, "test_loss": float(i)})
    log.save()
    return log


@contextmanager
def module(name: str, monkeypatch: pytest.MonkeyPatch, **content: Callable[..., Any]) -> Iterator[ModuleType]:
    """A module that is not installed."""
    made = ModuleType(name)
    made.__dict__.update(content)
    monkeypatch.setitem(sys.modules, name, made)
    yield made
