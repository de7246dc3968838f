"""`mlv tag`, `untag`, `note`, `archive`, `unarchive`, `mv` and `rm`, on several experiments and on `--where`."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest

import mlv
from mlv import Exp

needs_sql = pytest.mark.skipif(find_spec("duckdb") is None, reason="--where needs duckdb")


@pytest.fixture
def three(tmp_path, monkeypatch):
    """A folder with the experiments a, b and c, of which c failed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLV_INLINE", "1")
    for name, status in (("a", "ok"), ("b", "ok"), ("c", "failed")):
        mlv.Exp("runs", name, capture=(), system=False).close(status)
    return tmp_path / "runs"


def listed(command, *arguments):
    return [json.loads(line)["name"] for line in command("ls", "--json", "runs", *arguments).stdout.splitlines()]


def test_tags_and_notes(command, three):
    """Several experiments are named, by whatever names them."""
    command("tag", "paper,night", "runs/a", "b", "--root", "runs")
    command("untag", "night", "runs/a")
    shown = command("note", "Look again.", "runs/c")

    assert shown.stdout == "runs/c: noted\n"
    assert [Exp.open(three / name).tags for name in "abc"] == [("paper",), ("paper", "night"), ()]
    assert Exp.open(three / "c").notes == ("Look again.",)


@pytest.mark.parametrize("arguments", [(), pytest.param(("--sort", "name"), marks=needs_sql)])
def test_archive(command, three, arguments):
    """`ls` leaves out what is archived, and says so; `--all` lists it."""
    shown = command("archive", "runs/a", "runs/b")
    assert shown.stdout == "runs/a: archived\nruns/b: archived\n"

    table = command("ls", "runs", *arguments)

    assert [line.split()[0] for line in table.stdout.splitlines()[1:]] == ["c"]
    assert "2 archived: --all lists them too" in table.stderr
    assert listed(command, *arguments) == ["c"]
    assert sorted(listed(command, "--all", *arguments)) == ["a", "b", "c"]
    command("unarchive", "runs/a", "runs/b")
    assert sorted(listed(command, *arguments)) == ["a", "b", "c"]
    assert "archived" in command("show", "runs/a", "--json").stdout


def test_below_an_archived_one(command, runs):
    """Its sub-experiments are left out with it."""
    command("archive", "runs/digits")

    assert command("ls", "runs").stdout == ""
    assert "2 archived" in command("ls", "runs").stderr
    assert len(command("ls", "runs", "--all").stdout.splitlines()) == 3


@needs_sql
def test_where(command, three):
    """A predicate chooses, among those that are named or below the root; one that nothing matches is an error."""
    command("tag", "again", "--where", "status = 'ok'", "--root", "runs")
    command("untag", "again", "runs/a", "--where", "status = 'ok'", "--root", "runs")

    assert [Exp.open(three / name).tags for name in "abc"] == [(), ("again",), ()]
    missing = command("tag", "again", "--where", "status = 'killed'", "--root", "runs")
    assert (missing.returncode, "no experiment matches" in missing.stderr) == (2, True)


@pytest.mark.parametrize("words", [("tag", "x"), ("rm",), ("archive",), ("mv", "new")])
def test_nothing_is_meant_by_nothing(command, three, words):
    """Without a name and without a predicate no experiment is changed."""
    shown = command(*words, "--root", "runs")

    assert shown.returncode == 2
    assert "no experiment is named" in shown.stderr
    assert command("rm", "runs").returncode == 2, "a folder that holds experiments is none"
    assert len(mlv.find(three)) == 3


def test_move(command, three):
    """One goes to a new path, several go into a folder that is there."""
    assert command("mv", "runs/a", "runs/first").stdout == "runs/a: moved to runs/first\n"
    assert command("mv", "runs/b", "runs/c", "kept").returncode == 2
    (three.parent / "kept").mkdir()
    assert command("mv", "runs/b", "runs/c", "kept", "--dry-run").stdout.count("would be moved") == 2
    assert command("mv", "runs/b", "runs/c", "kept").returncode == 0

    assert [exp.name for exp in mlv.find(three.parent)] == ["b", "c", "first"]
    assert command("mv", "kept/b", "kept/c").returncode == 2


def test_remove(command, runs):
    """It says which sub-experiments go along, and where it is now; from there it comes back."""
    along = "with 1 sub-experiment (squeeze/subexp_1)"
    assert command("rm", "runs/digits", "--dry-run").stdout == f"runs/digits: would be moved into the trash, {along}\n"

    shown = command("rm", "runs/digits", "runs/digits/squeeze/subexp_1")

    begin = f"runs/digits: moved into the trash, {along}: runs/.mlv/trash/"
    assert shown.stdout.startswith(begin), "one that lies in another goes along, and is not removed again"
    assert command("ls", "runs").returncode == 2
    command("mv", shown.stdout.rpartition(": ")[2].strip(), "runs")
    assert len(mlv.find(runs)) == 2
    assert command("rm", "--now", "runs/digits").stdout == f"runs/digits: deleted, {along}\n"
    assert not list(runs.rglob("meta.json"))
