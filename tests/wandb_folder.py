"""What the tests of `mlv.compat.wandb` share: a folder of their own, and runs that end with each test."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import mlv.compat.wandb as wandb
from mlv.compat.wandb import installing


@contextmanager
def own_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make a folder the current one and that of experiments, without variables of wandb; end all runs behind it."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLV_DIR", str(folder / "runs"))
    monkeypatch.setenv("MLV_SYSTEM", "off")
    monkeypatch.setenv("WANDB_CONSOLE", "off")
    yield
    wandb.teardown()


@contextmanager
def installed() -> Iterator[None]:
    """Have `import wandb` give the drop-in, and nothing of it afterwards; the real one stays out of the way."""
    real = {name: sys.modules.pop(name) for name in [*sys.modules] if name.partition(".")[0] == "wandb"}
    wandb.install()
    yield
    installing.uninstall()
    sys.modules.update(real)
