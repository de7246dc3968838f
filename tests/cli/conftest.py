"""What tests of the command line share: a cache of their own, and experiments to look at."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

import mlv


@pytest.fixture(autouse=True)
def cache(own_cache: None) -> None:
    """Keep what is remembered between calls apart from that of the user."""


@pytest.fixture
def runs(tmp_path: Path, made_runs: Path) -> Path:
    """A folder with an experiment, `digits`, and one below it of the kind `squeeze`, which failed."""
    return Path(shutil.copytree(made_runs, tmp_path / "runs", symlinks=True, dirs_exist_ok=True))


@pytest.fixture(scope="session")
def made_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What each test gets a copy of: to log it takes longer than to copy it."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("made")
        patch.setenv("MLV_SPOOL", str(tmp_path_factory.mktemp("spool")))
        # A script and a folder in no repository: what is captured does not depend on what was changed in the tests.
        patch.setattr(sys.modules["__main__"], "__file__", str(folder / "train.py"), raising=False)
        patch.chdir(folder)
        return _made(folder / "runs")


def _made(root: Path) -> Path:
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
