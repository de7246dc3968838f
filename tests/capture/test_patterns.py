"""Which of the user's own patterns an experiment keeps: those that no text makes slow."""

from __future__ import annotations

import re

import orjson
import pytest

import mlv
from mlv.capture.patterns import is_bounded, storable, stored

SLOW = [
    r"(a|aa)*b", r"(?:.|.)*\x00", r"(?:a|ab|b)*c", r"(a?){30}a{30}", "a?" * 30 + "a" * 30, r"a*a*a*a*a*b", r".*.*.*.*x",
    r"(?:a{0,9}){0,9}b", r"(?:\w\w?)*\x00", r"(.)(?:\1|.)*\x00", r"(?=(a+))\1*b", r"(a+)+$", r"(?:x*)*", "(a|a.)" * 40 + "c",
    r"a*b*a*c", r"(|a)*b", r"(?=.*.*x)y", r"\w+a\w+b", r"(?i)k*\u212a*x", r"[\x00-\U0010ffff]", r"(?:[a-z]+-){2,40}\d",
]  # fmt: skip
QUICK = [
    r"corp-\w+", r"\w+@acme", r"https?://\S+", "acme", r"(?i)secret-[a-z0-9]{8,}", r"\d{4}-\d{4}",
    r"user=\w+;pass=\w+", r"^tok_",
    r"(?:ab|cd)+x", r"[A-Z]{3}\d+(?:-\d+)?", r".*secret.*", r"\S+@\S+", r"x*", r"corp-?\w+", r"\bkey\b",
    r"(?P<a>a|b)c", r"[^a]+",
    r"\s*=\s*\S+", r"(?:secret|password)=\S+", r"\[\w+\]", r"(?:(?:ab)?c)*d",
]  # fmt: skip


@pytest.mark.parametrize("pattern", SLOW)
def test_slow(pattern):
    """B12: a pattern that tries many ends for one beginning is not kept, and not taken from a meta.json."""
    assert not is_bounded(pattern)
    assert not storable([pattern])
    assert stored({"redact": [pattern]}, "redact") == ()


@pytest.mark.parametrize("pattern", QUICK)
def test_quick(pattern):
    """B12: what users write is kept."""
    assert is_bounded(pattern)
    assert stored({"redact": [pattern]}, "redact") == (pattern,)


def test_bounded_patterns_end():
    """B12: whatever is made of the pieces of patterns and is bounded, matches any text of a few hundred characters at once."""
    hypothesis = pytest.importorskip("hypothesis")
    strategies = hypothesis.strategies
    pieces = strategies.sampled_from(["a", "b", "ab", ".", r"\w", "[ab]", "-", "[^a]"])
    patterns = strategies.recursive(
        pieces,
        lambda inner: strategies.one_of(
            strategies.tuples(inner, inner).map("".join),
            strategies.lists(inner, min_size=2, max_size=3).map(lambda options: f"(?:{'|'.join(options)})"),
            strategies.tuples(inner, strategies.sampled_from(["*", "+", "?", "{0,20}", "{3}"])).map(
                lambda two: f"(?:{two[0]}){two[1]}"
            ),
        ),
        max_leaves=6,
    )

    @hypothesis.given(patterns, strategies.sampled_from(["a", "b", "ab", "a-", "-"]))
    @hypothesis.settings(max_examples=300, deadline=None, derandomize=True)
    def check(pattern: str, text: str) -> None:
        if is_bounded(pattern + "\x00"):  # which no text holds: all is tried
            re.search(pattern + "\x00", text * 150)  # one that is not would take for ever

    check()


def test_many_patterns():
    """B12: as much is taken from a meta.json as can be looked at in no time."""
    content = {"redact": [f"({number}{'[a-z]' * 90})" for number in range(1000)]}
    assert 0 < len(stored(content, "redact")) < 20


@pytest.mark.parametrize("pattern", [r"(a|aa)*\x00", r"(?:.|.)*\x00", 5, None, ["x"], "(", r"(?<=a+)b"])
def test_hostile_meta(tmp_path, pattern):
    """B12: who opens a folder with patterns that take for ever, and logs, is not held up."""
    exp = mlv.Exp(tmp_path, "exp", capture=())
    exp.close()
    (exp.path / "log.jsonl").unlink()  # which tells of another meta.json
    meta = exp.path / "meta.json"
    content = orjson.loads(meta.read_bytes()) | {"redact": [pattern], "keep": [pattern]}
    meta.chmod(0o600)
    meta.write_bytes(orjson.dumps(content))
    with mlv.Exp.open(exp.path) as again:
        again.log.info("a" * 5000)
        again.add_note("a" * 5000)
        assert again.flush()  # within its half a minute, and not after all ends were tried
    assert [event.data["message"] for event in again.events("message")] == ["a" * 5000]
