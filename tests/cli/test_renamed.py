"""A renamed experiment has one name: its folder's."""

from __future__ import annotations

import json
import shutil

import pytest

import mlv


@pytest.fixture
def renamed(tmp_path, monkeypatch):
    """The root of an experiment that was made as `old`, and whose folder is now called `new`."""
    monkeypatch.setenv("MLV_INLINE", "1")
    with mlv.Exp(tmp_path / "runs", "old", {"lr": 1}, capture=()) as exp:
        exp.log({"loss": 0.5}, step=1)
    (tmp_path / "runs" / "old").rename(tmp_path / "runs" / "new")
    return tmp_path / "runs"


def test_one_name_everywhere(command, renamed):
    """R18: lists, pages and Python call it by its folder, and what is listed can be asked for."""
    pytest.importorskip("pandas")
    assert command("ls", renamed).stdout.splitlines()[1].split()[0] == "new"
    assert command("ls", renamed, "--columns", "name,made_as").stdout.split()[2:] == ["new", "old"]
    row = json.loads(command("ls", renamed, "--json").stdout)
    assert (row["name"], row["made_as"]) == ("new", "old")
    page = command("show", "new", "--root", renamed).stdout
    assert page.split()[0] == "new"
    assert "made as" in page
    assert command("compare", "new", "new", "--root", renamed).returncode == 0

    exp = mlv.Exp.open(renamed / "new")
    assert (exp.name, exp.meta["name"]) == ("new", "old")
    found = mlv.find(renamed)
    assert found.frame()[["name", "made_as"]].values.tolist() == [["new", "old"]]
    assert found.compare("new", "new") == {}


def test_old_name_is_explained(command, renamed):
    """R18: who asks for the name that it was made with is told the one that it has."""
    done = command("show", "old", "--root", renamed)

    assert done.returncode == 2
    assert "'old' was renamed since it was made: give" in done.stderr
    assert "new" in done.stderr


def test_sql_knows_both(renamed):
    """R18: the view has the folder's name, and the one it was made with where they differ."""
    pytest.importorskip("duckdb")
    query = "select e.name, made_as, m.exp_name from experiments e join metrics m on m.exp = e.id"

    assert mlv.find(renamed).sql(query).rows() == [("new", "old", "new")]


def test_copies_are_told_apart_by_path(command, renamed):
    """R9: of two copies of one experiment more of the ID tells nothing."""
    shutil.copytree(renamed / "new", renamed / "copy")
    identity = mlv.Exp.open(renamed / "new").id

    done = command("show", identity[:8], "--root", renamed)

    assert "Give the path: they are copies" in done.stderr
