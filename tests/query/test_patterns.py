"""Patterns over names whose braces become columns. Those without braces are tested with the events."""

from __future__ import annotations

import pytest

from mlv import InvalidPattern
from mlv.query.patterns import NamePattern


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("train/epoch/{epoch:int}/loss", "train/epoch/12/loss", {"epoch": 12}),
        ("train/epoch/{epoch:int}/loss", "train/epoch/last/loss", None),
        ("{who}/loss", "val/loss", {"who": "val"}),
        ("{who:str}/loss", "a/b/loss", None),
        ("lr_{lr:float}", "lr_1e-3", {"lr": 0.001}),
        ("{a}/**/{b:int}", "x/y/z/-3", {"a": "x", "b": -3}),
        ("{{{x}}}", "{a}", {"x": "a"}),
        ("{{x}}", "{x}", {}),
        ("*/{x:int}", "a.b/3", {"x": 3}),
        ("a", "b", None),
    ],
)
def test_what_braces_stand_for(pattern, name, expected):
    """A brace is a part of one segment, of the type that it says; doubled, it is a brace."""
    assert NamePattern(pattern).match(name) == expected


def test_the_name_of_the_column():
    """What became a column of its own leaves the name."""
    assert NamePattern("{a}/x/{b:int}").folded("one/x/2") == "{a}/x/{b}"


@pytest.mark.parametrize("pattern", ["{x", "x}", "{}", "{1}", "{x:date}", "{x:}", "{x y}", "{x}/{x}", "{a/b}", 3, None])
def test_what_is_no_pattern(pattern):
    """What cannot be read is refused, with what to do."""
    with pytest.raises(InvalidPattern, match=r"pattern .*(double it|give)"):
        NamePattern(pattern)


@pytest.mark.parametrize(("pattern", "expected"), [("a/b", True), ("{{a}}", True), ("a/*", False), ("{a}", False)])
def test_names_one(pattern, expected):
    """A pattern without stars and braces means one name."""
    assert NamePattern(pattern).names_one is expected
