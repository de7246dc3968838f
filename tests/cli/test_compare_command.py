"""What `mlv compare` prints."""

from __future__ import annotations

import json

import pytest

import mlv


@pytest.fixture
def two(tmp_path, monkeypatch):
    monkeypatch.setenv("MLV_INLINE", "1")
    for name, params in (("a", {"lr": 0.1, "seed": None}), ("b", {"lr": 0.2})):
        with mlv.Exp(tmp_path, name, params, capture=()) as exp:
            exp.log({"loss": params["lr"]})


def test_side_by_side(command, two):
    """What differs stands side by side, in sections."""
    shown = command("compare", "a", "b")

    assert (shown.returncode, shown.stderr) == (0, "")
    assert [line.split() for line in shown.stdout.splitlines()] == [
        ["a", "b"], ["params", "lr", "0.1", "0.2"], ["seed", "null", "absent"], ["metrics", "loss", "0.1", "0.2"],
    ]  # fmt: skip


def test_json(command, two):
    """As JSON, a side that lacks something has no key."""
    assert json.loads(command("compare", "a", "b", "--json").stdout)["differs"] == {
        "params": {"lr": {"a": 0.1, "b": 0.2}, "seed": {"a": None}}, "metrics": {"loss": {"a": 0.1, "b": 0.2}},
    }  # fmt: skip


def test_equal(command, two):
    """Where nothing differs it is said."""
    shown = command("compare", "a", "a")

    assert (shown.returncode, shown.stdout) == (0, "")
    assert "a and a have equal params" in shown.stderr


def test_none(command, two):
    """An experiment that is not there is an error."""
    assert command("compare", "a", "nothing").returncode == 2


def test_many(command, two, tmp_path):
    """Of more than two, or of all in a folder, what is not the same in all stands in a column for each."""
    with mlv.Exp(tmp_path / "more", "c", {"lr": 0.1, "seed": None}, capture=()) as exp:
        exp.log({"loss": 0.3})

    shown = command("compare", "a", "b", "more")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert [line.split() for line in shown.stdout.splitlines()] == [
        ["a", "b", "c"], ["params", "lr", "0.1", "0.2", "0.1"], ["seed", "null", "absent", "null"],
        ["metrics", "loss", "0.1", "0.2", "0.3"],
    ]  # fmt: skip
    assert command("compare", ".").stdout.split() == shown.stdout.replace(" c", " more/c").split()
    rows = [json.loads(text)["differs"] for text in command("compare", ".", "--json").stdout.splitlines()]
    assert rows[1] == {"params": {"lr": 0.2}, "metrics": {"loss": 0.2}}
    alone = command("compare", "a")
    assert (alone.returncode, "name another" in alone.stderr) == (2, True)


def test_many_as_a_frame(two, tmp_path):
    """`find().compare_many()` is the same table; experiments of equal names are told by their paths."""
    pytest.importorskip("pandas")
    with mlv.Exp(tmp_path / "more", "c", {"lr": 0.1, "seed": None}, capture=()) as exp:
        exp.log({"loss": 0.3})

    table = mlv.find(tmp_path).compare_many()
    assert list(table.columns) == ["section", "name", "a", "b", "c"]
    assert [[str(value) for value in row] for row in table.to_numpy().tolist()] == [
        ["params", "lr", "0.1", "0.2", "0.1"], ["params", "seed", "None", "absent", "None"],
        ["metrics", "loss", "0.1", "0.2", "0.3"],
    ]  # fmt: skip
    with mlv.Exp(tmp_path / "more", "a", {"lr": 3}, capture=()):
        pass
    assert list(mlv.find(tmp_path).compare_many().columns) == ["section", "name", "a", "b", "more/a", "more/c"]
    assert mlv.find(tmp_path / "more")[:1].compare_many().to_numpy().tolist() == []
