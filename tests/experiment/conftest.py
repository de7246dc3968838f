"""What tests of experiments share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import mlv


@pytest.fixture
def exp(tmp_path: Path) -> Iterator[mlv.Exp]:
    """An experiment that is being written, without the captures that take time."""
    made = mlv.Exp(tmp_path / "runs", "exp", {"lr": 0.1}, capture=())
    yield made
    made.close()


@pytest.fixture
def log(exp: mlv.Exp) -> mlv.Logger:
    """The default logger of the experiment."""
    return exp.log


@pytest.fixture(params=["ring", "inline"])
def either_log(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[mlv.Logger]:
    """The default logger of an experiment, through a ring and through its inline twin."""
    monkeypatch.setenv("MLV_INLINE", "1" if request.param == "inline" else "0")
    with mlv.Exp(tmp_path / "runs", "exp", capture=()) as made:
        yield made.log
