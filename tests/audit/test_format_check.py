"""What a line of format 1 has to hold."""

from __future__ import annotations

import json

import pytest
from logs import line

from mlv.audit.format_check import checked
from mlv.encoding import BadLine

SEAL = {"of": "r1", "stream": "log", "lines": 2, "sha256": "ab" * 32}


@pytest.mark.parametrize(
    ("type", "fields"),
    [
        ("metrics", {"name": "train", "step": 3, "at": {"epoch": 1}, "data": {"loss": 0.3}}),
        ("metrics", {"step": 2.5, "data": {"loss": None}, "nonfinite": {"/loss": "nan"}}),
        ("metrics", {"step": "a step of a drop-in module", "data": {}}),
        ("metrics", {"step": [1, 2], "data": {}}),
        ("event", {"data": [1, 2]}),
        ("event", {}),
        ("of the future", {"data": 3, "something": "new"}),
        ("note", {"data": {"text": {"_mlv": "text", "text": "\\ud800", "base64": "7aCA"}}}),
        ("seal", {"data": SEAL}),
        ("seal", {"data": {**SEAL, "previous": "cd" * 32, "later": 1}}),
        ("run_started", {"data": {"exp": "ab" * 32}}),
    ],
)
def test_lines_of_the_format(type, fields):
    """What format 1 allows is accepted, types and fields of later versions included."""
    record = line("r1", 1, type, **fields)

    assert checked(record) == json.loads(record)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"run": "x1"}, "run is 'x1', not a text that begins with r"),
        ({"run": 7}, "run is 7, not a text that begins with r"),
        ({"seq": 0}, "seq is 0, not an integer from 1"),
        ({"seq": True}, "seq is True, not an integer from 1"),
        ({"seq": 1.0}, "seq is 1.0, not an integer from 1"),
        ({"seq": 2**63}, "seq is 9223372036854775808, not an integer from 1"),
        ({"time": "2026-01-01T00:00:00"}, "time is '2026-01-01T00:00:00', not a time in UTC with a Z"),
        ({"time": "2026-01-01T00:00:00+00:00"}, "not a time in UTC with a Z"),
        ({"time": "2026-13-01T00:00:00Z"}, "time '2026-13-01T00:00:00Z' is not ISO 8601"),
        ({"type": None}, "type is None, not a text"),
        ({"name": 3}, "name is 3, not a text"),
        ({"step": True}, "step is True, not a number, a text or a list"),
        ({"step": None}, "step is None"),
        ({"at": [1]}, "at is [1], not an object"),
        ({"nonfinite": {"/a": 1}}, "nonfinite is {'/a': 1}, not an object of texts"),
        ({"type": "metrics", "data": 3}, "data of an event of type metrics is 3, not an object"),
        ({"type": "run_started", "data": {"exp": "ab"}}, "data.exp is 'ab', not a SHA-256"),
        ({"type": "run_ended", "data": {"status": 3}}, "data.status is 3, not a text"),
        ({"type": "tags", "data": {"tags": "paper"}}, "data.tags is 'paper', not a list of texts"),
        ({"type": "dropped", "data": {"first": 3}}, "it has no data.last"),
        ({"type": "seal", "data": {**SEAL, "sha256": "ab"}}, "data.sha256 is 'ab', not a SHA-256"),
        ({"type": "seal", "data": {**SEAL, "lines": 0}}, "data.lines is 0, not an integer from 1"),
    ],
)
def test_what_is_wrong(fields, reason):
    """A line that is no event says which field is wrong, and what it should be."""
    record = json.loads(line("r1", 1, "event", data={}))

    with pytest.raises(BadLine) as caught:
        checked(json.dumps({**record, **fields}).encode())

    assert reason in str(caught.value)


@pytest.mark.parametrize("field", ["run", "seq", "time", "type"])
def test_what_every_line_has(field):
    """Run, seq, time and type are in every line."""
    record = json.loads(line("r1", 1))
    del record[field]

    with pytest.raises(BadLine, match=f"it has no {field}"):
        checked(json.dumps(record).encode())


@pytest.mark.parametrize("text", [b"", b"\n", b"{", b"[]", b"3", b"\xff\xfe", b"\0" * 40, b'{"run":"r1"} {}'])
def test_what_is_no_object(text):
    """What is no JSON object is no event."""
    with pytest.raises(BadLine, match="it is not"):
        checked(text)


def test_long_values_are_cut():
    """A message stays readable however long the value is that it is about."""
    with pytest.raises(BadLine) as caught:
        checked(line("r1", 1, at="x" * 1000))

    assert len(str(caught.value)) < 120
