"""Patterns over names whose braces become columns. Those without braces are tested with the events."""

from __future__ import annotations

import re

import pytest

from mlv import InvalidPattern
from mlv.query.name_patterns import NamePattern


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
def test_is_one_name(pattern, expected):
    """A pattern without stars and braces means one name."""
    assert NamePattern(pattern).is_one_name is expected


def expression(pattern: str) -> str:
    """A pattern as an expression, which tries all ways."""
    result = ""
    for segment in re.sub(r"(?:(?<=/)|^)\*\*(?:/\*\*)+(?=/|$)", "**", pattern).split("/"):
        if segment == "**":
            result += "(?:/[^/]+)*"
            continue
        parts = re.split(r"(\{\w+:?\w*\}|\*)", segment)
        one = {"*": "[^/]*", "{x}": "(?P<x>[^/]+)", "{y:int}": r"(?P<y>[-+]?[0-9]{1,18})"}
        result += "/" + ("[^/]+" if segment == "*" else "".join(one.get(part, re.escape(part)) for part in parts))
    return result


@pytest.mark.timeout(120)
def test_patterns_match_as_expressions_do():
    """What matches, and what braces stand for, is what an expression of the same meaning says."""
    hypothesis = pytest.importorskip("hypothesis")
    strategies = hypothesis.strategies
    pieces = strategies.sampled_from(["*", "a", "b1", "1", "-2"])
    segment = strategies.lists(pieces, min_size=1, max_size=4).map("".join)
    segments = strategies.lists(
        strategies.just("**") | segment | strategies.sampled_from(["*{x}b", "{x}*", "a{x}1*"]), max_size=4
    )
    numbered = strategies.tuples(segments, strategies.sampled_from(["", "/{y:int}", "/*{y:int}b", "/**/1{y:int}*"])).map(
        lambda pair: "/".join(pair[0]) + pair[1]
    )
    names = strategies.lists(strategies.text("ab1-2", min_size=1, max_size=6), min_size=1, max_size=5).map("/".join)

    @hypothesis.given(numbered.filter(lambda text: text and text[0] != "/" and text.count("{x}") < 2), names)
    @hypothesis.settings(max_examples=200, deadline=None, derandomize=True)
    def check(pattern: str, name: str) -> None:
        found = re.fullmatch(expression(pattern), "/" + name)
        expected = (
            None if found is None else {key: int(text) if key == "y" else text for key, text in found.groupdict().items()}
        )
        assert NamePattern(pattern).match(name) == expected

    check()


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("**/**/**/b", "a/" * 50_000 + "c"), ("**/a/**/b/**/a/**/c", "a/b/" * 25_000 + "d"), ("**loss**", "lo" * 50_000),
        ("*l*o*s*s*b", "los" * 33_000), ("{x}{y:int}{z:float}b", "1" * 50_000), ("{z:float}b", "1e5." * 12_000),
        ("**/{x}a{y:int}/**/b", "1a2/" * 25_000), ("**/*", "/" * 100_000), ("*" * 500 + "b", "a" * 20_000),
    ],
)  # fmt: skip
def test_long_names(pattern, name):
    """H29: no pattern and no name make each other slow."""
    assert NamePattern(pattern).match(name) is None
