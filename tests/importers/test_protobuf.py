"""Messages of protobuf are decoded as they were encoded, and bytes that are none are refused."""

from __future__ import annotations

import pytest

from importers.protobuf_bytes import field
from mlv.importers import protobuf
from mlv.importers.protobuf import BadMessage


def test_fields():
    """Integers, numbers, texts and messages come back by their numbers, in order."""
    message = field(1, 300) + field(2, "é") + field(15, -1) + field(16, 2.5) + field(2, field(1, 1))

    values = list(protobuf.fields(message))

    assert values[:2] == [(1, 300), (2, "é".encode())]
    assert protobuf.signed(values[2][1]) == -1
    assert protobuf.double(values[3][1]) == 2.5
    assert protobuf.grouped(message)[2] == ["é".encode(), b"\x08\x01"]


@pytest.mark.parametrize(
    "message", [b"\x0a", b"\x0a\x05ab", b"\x08\x80", b"\x0b", b"\x09abc", b"\x08" + b"\x80" * 11 + b"\x01"]
)
def test_no_message(message):
    """What is cut off, leads out of its bytes, or is of no wire type is refused."""
    with pytest.raises(BadMessage):
        list(protobuf.fields(message))


def test_a_text_that_is_none():
    """Bytes that are no UTF-8 are escaped; a number in place of a text is refused."""
    assert protobuf.text(b"a\xff") == "a\\xff"
    with pytest.raises(BadMessage):
        protobuf.text(3)
