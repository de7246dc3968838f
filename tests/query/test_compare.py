"""What differs between two experiments."""

from __future__ import annotations

import math

import pytest

import mlv
from mlv.query.compare import ABSENT, differences


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ({"x": 1}, {"x": 1}, {}),
        ({"x": 1}, {"x": 1.0}, {}),
        ({"x": 1}, {"x": True}, {"x": (1, True)}),
        ({"x": math.nan}, {"x": math.nan}, {}),
        ({"x": math.nan}, {"x": 1.0}, None),
        ({"x": None}, {}, {"x": (None, ABSENT)}),
        ({}, {"x": [1]}, {"x": (ABSENT, [1])}),
        ({"x": 1, "y": 2}, {"z": 3, "y": 4}, {"x": (1, ABSENT), "y": (2, 4), "z": (ABSENT, 3)}),
    ],
)
def test_differences(a, b, expected):
    """Only what differs is there; a None is a value, and not the same as nothing."""
    found = differences([a, b])

    assert found == expected if expected is not None else set(found) == {"x"}


@pytest.fixture
def two(tmp_path, monkeypatch):
    monkeypatch.setenv("MLV_INLINE", "1")
    for name, lr in (("a", 0.1), ("b", 0.2)):
        with mlv.Exp(tmp_path, name, {"lr": lr, "model": {"size": 3}}, capture=("machine", "env")) as exp:
            exp.log({"loss": lr, "same": 1.0})
    return mlv.find(tmp_path)


@pytest.mark.parametrize("choose", [lambda exp: exp, lambda exp: exp.name, lambda exp: exp.path, lambda exp: exp.short_id])
def test_compare(two, choose):
    """Two experiments differ in what was given and in what came out, not in what is equal."""
    a, b = two

    assert two.compare(choose(a), choose(b)) == {"params": {"lr": (0.1, 0.2)}, "metrics": {"loss": (0.1, 0.2)}}
    assert two.compare(0, -1) == two.compare("a", "b")
    assert two.compare(a, a) == {}


@pytest.mark.parametrize("given", ["c", 2, 0.5, None])
def test_compare_with_none(two, given):
    """What is none of the experiments is refused."""
    with pytest.raises(mlv.NotAnExperiment, match="is none of these experiments"):
        two.compare("a", given)
