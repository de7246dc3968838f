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
