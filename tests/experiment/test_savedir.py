"""Where experiments go when nobody says it: the setting `dir`, or else `runs`."""

from __future__ import annotations

import argparse
import os
import pathlib

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


BUCKETS = ["s3://bucket/runs", "gs://b"]
ADDRESSES = [*BUCKETS, "http://host/x", "abfss://c@a.dfs.core.windows.net/r", "hdfs://n:8020/r", "dbfs:/r", "xyz://r"]


def opened(word):
    mlv.Exp.open(word)


def sub(word):
    mlv.init_sub_exp(f"{word}/model.pt", "squeeze")


@pytest.mark.parametrize(
    ("use", "address"),
    # Of buckets, experiments are read.
    [
        (use, address)
        for use in (made, opened, mlv.find, sub)
        for address in ADDRESSES
        if use in (made, sub) or address not in BUCKETS
    ],
)
def test_an_address(project, use, address):
    """W15: an address is refused wherever a path is wanted, with what to do instead, and leaves nothing on the disk."""
    is_read = use in (opened, mlv.find)
    advice = "its scheme is none of s3://" if is_read else "mlv keeps experiments in folders: give a local"
    for form in (address, *([pathlib.Path(address)] if address != ADDRESSES[-1] else [])):
        with pytest.raises(mlv.InvalidArgument, match=f"is an address, and {advice}"):
            use(form)
    assert os.listdir(project) == ["pyproject.toml"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_in_a_setting(project, monkeypatch, address):
    """W15: so it is in MLV_DIR and in the project's file."""
    monkeypatch.setenv("MLV_DIR", address)
    with pytest.raises(mlv.InvalidArgument, match=r"MLV_DIR=.* is an address"):
        made()
    monkeypatch.delenv("MLV_DIR")
    (project / "pyproject.toml").write_text(f'[tool.mlv]\ndir = "{address}"\n')
    with pytest.raises(mlv.InvalidArgument, match=r"dir = .* is an address"):
        made()
    assert os.listdir(project) == ["pyproject.toml"]


@pytest.mark.parametrize("address", ["file:///tmp/runs", "file:/tmp/runs", "FILE://tmp/runs"])
def test_the_address_of_a_file(address):
    """W15: an address of a file names its path."""
    with pytest.raises(mlv.InvalidArgument, match="is an address: give the path, '/tmp/runs'"):
        made(address)


@pytest.mark.parametrize("name", ["a:b", "12:30:00", "s3", "s3:b", "x:/y", "runs:/y", "a/s3://b", "C:runs"])
def test_colons(project, name):
    """W15: colons in names, and what looks like a drive, make no address."""
    assert made(name) == project / os.path.normpath(name)
