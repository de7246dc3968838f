"""What patterns match is taken out of lines, values and files, and nothing else is."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logs import line

from mlv.errors import InvalidPattern
from mlv.store.masking import Mask
from mlv.store.seals import is_redacted, line_digest, run_and_seq

SECRET = "hunter2xyz"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.just(f"a {SECRET}"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just(SECRET), inner, max_size=3),
    max_leaves=10,
)


@given(VALUES)
def test_values(value):
    """No form of a value holds it afterwards; one that did not hold it is as it was."""
    masked = Mask([SECRET]).value(value)

    assert SECRET not in json.dumps(masked)
    assert (masked == value) == (SECRET not in json.dumps(value))


@given(VALUES, st.sampled_from(["event", "message", "metrics", "note", "params", "run_ended", "something new"]), st.booleans())
def test_lines(data, type, forget):
    """A line that is replaced keeps run, number, time and its hash; one that does not hold it stays."""
    before = line("ra", 7, type, data=data)

    after = Mask([SECRET]).line(before, forget)

    assert (after is None) == (SECRET not in before.decode())
    if after is not None:
        assert SECRET not in after.decode()
        assert run_and_seq(after) == ("ra", 7)
        assert json.loads(after)["time"] == json.loads(before)["time"]
        assert is_redacted(after)
        assert line_digest(after) == (None if forget else hashlib.sha256(before).digest())


@given(VALUES)
def test_lines_twice(data):
    """A line that is redacted twice keeps the hash that it had at first."""
    before = line("ra", 7, "params", data={"deep": data, "other": "word", "own": SECRET})

    once = Mask([SECRET]).line(before, forget=False)
    twice = Mask(["word"]).line(once, forget=False)

    assert line_digest(twice) == hashlib.sha256(before).digest()
    assert Mask([SECRET, "word"]).line(twice, forget=False) is None


def test_data_that_looks_redacted():
    """Only what stands in its place marks a line as redacted, whatever a script logs."""
    for data in ({"redacted": {"sha256": "0" * 64}}, '"redacted":{"sha256":"'):
        assert not is_redacted(line("ra", 1, "event", data=data))


@pytest.mark.parametrize("type", ["seal", "heartbeat", "dropped"])
def test_what_writers_say(type):
    """Proofs and accounts of losses are not redacted, however wide a pattern is."""
    assert Mask(["r"]).line(line("ra", 1, type, data={"of": "rb"}), forget=False) is None


@pytest.mark.parametrize(
    ("content", "after"),
    [
        (b"", None),
        (b"clean", None),
        (f"a {SECRET} ü".encode(), "a <redacted> ü".encode()),
        (b"\0" + SECRET.encode(), False),
        (b"\xff" + SECRET.encode(), False),
        (b"\xff clean", None),
    ],
)
def test_files(tmp_path, content, after):
    """A text is masked; what is no text has to go."""
    path = tmp_path / "file"
    path.write_bytes(content)

    assert Mask([SECRET]).file(path) == after


def test_no_pattern():
    """Without a pattern there is nothing to look for."""
    with pytest.raises(InvalidPattern, match="no pattern is given"):
        Mask([])
