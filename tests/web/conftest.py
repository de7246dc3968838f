"""What tests of the page's server share: experiments, and a client that has the secret."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import pytest

import mlv

TOKEN = "a" * 43


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep caches and the secret apart from those of the user."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


@pytest.fixture
def runs(tmp_path: Path, made_runs: Path) -> Path:
    """A folder with two experiments; the first has an attached file."""
    return Path(shutil.copytree(made_runs, tmp_path / "runs"))


@pytest.fixture(scope="session")
def made_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that each test gets a copy of: to log it takes longer than to copy it."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLV_SPOOL", str(tmp_path_factory.mktemp("spool")))
        for number in range(2):
            params = {"lr": 0.1 * (number + 1), "model": {"depth": 3}}
            with mlv.Exp(folder / "runs", "digits", params, capture=(), tags=["paper"]) as exp:
                for step in range(3):
                    exp.log({"loss": 1 / (step + 1), "acc": float("nan") if step == 2 else step / 2}, step=step)
                if number == 0:
                    (folder / "notes.txt").write_text("0123456789")
                    exp.attach(folder / "notes.txt")
    return folder / "runs"


@pytest.fixture
def client(runs: Path):
    """A client of the page of these experiments; its paths begin behind the secret."""
    pytest.importorskip("starlette", reason="the page needs mlvlogger[ui]")
    pytest.importorskip("httpx", reason="starlette's client needs httpx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of starlette's client about versions of httpx
        from starlette.testclient import TestClient

        from mlv.web.app import application

        yield TestClient(application(runs, TOKEN), base_url=f"http://localhost/{TOKEN}/")
