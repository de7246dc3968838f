"""Fingerprints: equal for equal bytes, different for others, and of no use to who does not have the key."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

pytest.importorskip("numpy")

from mlv.query import fingerprint

CONTENT = random.Random(0).randbytes(300_001)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def of(content: bytes | bytearray | memoryview) -> str:
    of_user = fingerprint.of_user()
    assert of_user is not None
    return of_user(content)


def test_equal_bytes():
    """Wherever bytes lie in memory, and whatever object holds them."""
    apart = memoryview(bytearray(b"12345" + CONTENT))[5:]

    assert of(CONTENT) == of(bytearray(CONTENT)) == of(apart)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 16_383, 16_384, 16_385, 32_768, 262_144, 262_145])
def test_length_counts(size):
    """A byte more or less, also one that is zero, at the borders of what is hashed at once."""
    found = [of(CONTENT[:size]), of(CONTENT[:size] + b"\0"), of(CONTENT[: size + 1])]

    assert len(set(found)) == 3


@pytest.mark.parametrize("bit", range(8))
@pytest.mark.parametrize("word", [0, 8, 16_376, 163_840, 262_136, 299_992])
def test_any_bit(word, bit):
    """One bit in any byte of a word, the uppermost included, which a sum of products would lose half of the time."""
    whole = of(CONTENT)
    for place in range(word, word + 8):
        changed = bytearray(CONTENT)
        changed[place] ^= 1 << bit

        assert of(changed) != whole


def test_the_order_of_rows_and_words():
    """What is exchanged is told, word by word and row by row, though each row is hashed with the same key."""
    words = [CONTENT[:8], CONTENT[8:16]]
    rows = [CONTENT[:16_384], CONTENT[16_384:32_768]]

    assert of(b"".join(words) * 4096) != of(b"".join(reversed(words)) * 4096)
    assert of(b"".join(rows)) != of(b"".join(reversed(rows)))


def test_another_key(tmp_path, monkeypatch):
    """Another user has other fingerprints, so that nobody can look for two contents that share one."""
    own = of(CONTENT), of(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))

    assert not {of(CONTENT), of(b"")} & set(own)


def test_without_a_home(tmp_path, monkeypatch):
    """Where no key can be kept there are none."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))

    assert fingerprint.of_user() is None
