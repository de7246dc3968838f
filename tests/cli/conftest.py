"""What tests of the command line share: the command itself, as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import mlv

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what is remembered between calls apart from that of the user."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Run `mlv` with arguments, in the test's folder, with a deadline."""

    def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "mlv", *map(str, arguments)]
        settings: dict[str, object] = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 60, **options}
        return subprocess.run(words, **settings)  # type: ignore[call-overload,no-any-return]

    return run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with an experiment, `digits`, and one below it of the kind `squeeze`, which failed."""
    root = tmp_path / "runs"
    exp = mlv.Exp(root, "digits", {"lr": 0.1, "model": {"layers": [64, 10]}}, capture=(), tags=["paper"], notes="first try")
    exp.log.describe("train/loss", format=".4f", unit="nat", mode="min")
    for step in range(3):
        exp.log.sub("train")({"loss": 1 / (step + 3), "acc": step / 10}, step=step)
    exp.log("checkpointed", {"mb": 3})
    exp.log.at(epoch=1).info("saved %s", "model.npz", size=3)
    exp.logger("val")({"q": 1}, step=7)
    (exp.path / "model.npz").write_bytes(b"weights")
    sub = mlv.init_sub_exp(exp.path / "model.npz", "squeeze", params={"rate": 0.5})
    sub.log({"acc": 0.81}, step=1)
    with pytest.raises(ValueError, match="no layer"), sub:
        raise ValueError("no layer named [red]fc9[/red]")
    exp.close()
    return root
