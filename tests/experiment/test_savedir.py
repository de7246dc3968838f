"""Where experiments go when nobody says it: the setting `dir`, or else `runs`."""

from __future__ import annotations

import argparse
import os

import pytest

import mlv


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch, inline):
    """An empty folder as the current one, without settings."""
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLV_DIR", raising=False)
    return tmp_path


def made(*arguments):
    """The folder in which an experiment is made."""
    with mlv.Exp(*arguments, name="exp", capture=()) as exp:
        return exp.path.parent


def made_from_options(*options):
    parser = argparse.ArgumentParser()
    mlv.add_arguments_to(parser)
    with mlv.exp_from_args(parser.parse_args([*options, "--exp-name", "exp"])) as exp:
        return exp.path.parent


@pytest.mark.parametrize("make", [made, made_from_options, lambda: made(None)])
def test_order(project, monkeypatch, make):
    """The file wins over the default, the environment over the file."""
    assert make() == project / "runs"

    (project / "pyproject.toml").write_text('[tool.mlv]\ndir = "results"\n')
    assert make() == project / "results"

    monkeypatch.setenv("MLV_DIR", str(project / "elsewhere"))
    assert make() == project / "elsewhere"


def test_an_argument_wins(project, monkeypatch):
    """What the script says counts."""
    monkeypatch.setenv("MLV_DIR", str(project / "elsewhere"))

    assert made(project / "mine") == project / "mine"
    assert made_from_options("--savedir", "yours") == project / "yours"


def test_problems_are_told(project):
    """A key that nobody knows is warned about when an experiment is made."""
    (project / "pyproject.toml").write_text('[tool.mlv]\ndirr = "results"\n')
    with pytest.warns(mlv.MlvWarning, match="has 'dirr', which is no setting: did you mean 'dir'"):
        assert made() == project / "runs"


def test_a_bad_folder(project):
    """A folder that is none is refused at once."""
    (project / "pyproject.toml").write_text("[tool.mlv]\ndir = 3\n")
    with pytest.raises(mlv.InvalidArgument, match=r"dir = 3 in \[tool.mlv\] of .* is no path: give a folder"):
        made()


def test_an_interval_that_cannot_be_used(project, monkeypatch):
    """Logging goes on, with the default, and a warning says so."""
    monkeypatch.setenv("MLV_INLINE", "0")
    monkeypatch.setenv("MLV_FSYNC_INTERVAL", "often")
    with pytest.warns(mlv.MlvWarning, match="MLV_FSYNC_INTERVAL='often' is no number"), mlv.Exp(name="exp", capture=()) as exp:
        exp.log({"loss": 1})
    assert exp.status == "ok"


def test_the_writer_is_told(project, monkeypatch, python):
    """The writer keeps to the project's file, although it works in another folder."""
    monkeypatch.delenv("MLV_INLINE")
    monkeypatch.delenv("MLV_SPOOL")
    (project / "pyproject.toml").write_text('[tool.mlv]\nspool = "waiting"\nfsync_interval = 0.125\n')
    done = python("""
        import os, mlv, psutil
        with mlv.Exp(name="exp", capture=()) as exp:
            exp.log({"loss": 1})
            exp.flush()
            [writer] = [p for p in psutil.process_iter(["cmdline"]) if str(exp.path) in (p.info["cmdline"] or [])]
            environ = writer.environ()
            print(environ["MLV_SPOOL"], environ["MLV_FSYNC_INTERVAL"], os.listdir("waiting"))
    """)
    assert done.stdout.split() == [str(project / "waiting"), "0.125", f"['mlv-{os.getuid()}']"], done.stderr
