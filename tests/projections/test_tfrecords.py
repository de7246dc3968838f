"""Records of TensorBoard's files, and points of lines, are made quickly, and as the plain way makes them."""

from __future__ import annotations

import json

import pytest
from logs import line

from mlv.encoding import BadLine, event_from_line
from mlv.projections.batch import LineBatch
from mlv.projections.points import points_and_events
from mlv.projections.selecting import selection
from mlv.query.metrics.lines import MetricsLine, microseconds

pytest.importorskip("hypothesis")
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("tensorboardX")

from tensorboardX.proto.event_pb2 import Event as Record
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter

from mlv.projections import scalar_records
from mlv.projections.tfrecords import framed, unframed

groups = st.one_of(
    st.tuples(st.integers(0, 80), st.integers(1, 60)),
    st.tuples(st.integers(500, 530), st.integers(1, 30)),
    st.tuples(st.integers(12_200, 12_900), st.just(1)),
)
"""Length, and number of records of that length."""


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(groups, st.binary(min_size=1, max_size=5)), max_size=4))
def test_records_are_those_of_the_record_writer(tmp_path_factory, given):
    """Whatever the lengths and numbers of records, the file is the one that tensorboardX writes."""
    records = [(seed * (size // len(seed) + 1))[:size] for (size, count), seed in given for _ in range(count)]
    path = tmp_path_factory.mktemp("records") / "file"

    writer = RecordWriter(str(path))
    for record in records:
        writer.write(record)
    writer.close()

    assert framed(records) == path.read_bytes()


def _payloads(content: bytes) -> list[bytes]:
    """The records of some bytes, in their order."""
    numbered = [
        (number, row.tobytes())
        for group in unframed(content).groups
        for number, row in zip(group.numbers, group.contents, strict=True)
    ]
    return [payload for _, payload in sorted(numbered)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=600).filter(lambda record: len(record) != 8), max_size=40), st.data())
def test_records_are_read_as_they_were_written(records, drawn):
    """All whole records come back; a flipped bit costs its own only.

    A record of eight bytes looks like a length, with its checksum: no event is as short.
    """
    content = framed(records)
    assert _payloads(content) == records
    assert unframed(content)[1:] == (len(content), 0)

    cut = drawn.draw(st.integers(0, len(content)))
    whole, payloads = unframed(content[:cut]), _payloads(content[:cut])
    assert records[: len(payloads)] == payloads
    assert (whole.damaged, content[: whole.end]) == (0, framed(payloads))
    if content:
        position = drawn.draw(st.integers(0, len(content) - 1))
        flipped = content[:position] + bytes([content[position] ^ 1 << position % 8]) + content[position + 1 :]
        read = _payloads(flipped)
        assert unframed(flipped).damaged == 1
        lost = next(number for number in range(len(records)) if len(framed(records[: number + 1])) > position)
        assert read[:lost] == records[:lost]
        assert read[lost:] == records[lost + 1 :]


def test_many_damages_cost_no_more_than_one():
    """A file that is damaged at every second record is read to its end, in a time that grows as its size does."""
    payloads = [bytes([number % 251]) * (30 + number % 7) for number in range(20_000)]
    content, position = bytearray(framed(payloads)), 0
    for number, payload in enumerate(payloads):
        content[position] ^= number % 2  # of the length
        position += len(payload) + 16
    whole = unframed(bytes(content))

    assert (whole.damaged, whole.end) == (10_000, len(content) - 11)
    assert sum(len(group.numbers) for group in whole.groups) == 10_000


@given(st.floats(1, 2**40), st.integers(-(2**63), 2**63 - 1), st.text(max_size=300), st.floats(width=32, allow_nan=False))
def test_scalar_is_that_of_protobuf(time_s, step, tag, value):
    """A scalar's record, put together by hand, is what protobuf makes of it."""
    by_hand = (
        scalar_records.time_field(time_s)
        + scalar_records.step_field(step)
        + scalar_records.scalar_head(tag)
        + scalar_records.packed_value(value)
    )

    record = Record(wall_time=time_s, step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)]))

    assert by_hand == record.SerializeToString()


ODD = [
    b"",
    b"{}",
    b"[1]",
    b'{"half": ',
    line("r1", 1, "metrics", data=[1]),
    line("r1", 1, "metrics", data={"a": 1}, name=3),
    line("r1", "1", "metrics", data={"a": 1}),
    line("r1", 1, "metrics", data={"a": 1}).replace(b"2026", b"never"),
    line("r1", 1, "metrics", data={"a": 1}).replace(b".000000Z", b"+02:00"),
    line("r1", 1, "metrics", data={"a": 1}).replace(b".000000Z", b".000Z"),
    line("r1", 1, "metrics", data={"a": None, "b": None, "c/d": None}, nonfinite={"/a": "nan", "/c~1d": "-inf"}),
    line("r1", 1, "metrics", data={"a": None}, nonfinite="no"),
    line("r1", 1, "metrics", data={"_mlv_x": 1, "y": {"_mlv": "int", "value": "99999999999999999999"}}),
    line("r1", 1, "event", 3.25, name="e", data={"a": 1}),
    line("r1", 1, "metrics", 59.999999, name="train", step=3.5, at={"epoch": 1}, data={"a": True, "b": "x", "c": [1]}),
]


@pytest.mark.parametrize("filter", [None, ""], ids=["quick", "plain"])
@pytest.mark.parametrize("odd", ODD)
def test_points_are_those_of_the_events(tmp_path, odd, filter):
    """Lines are read the same in the quick way, and in the one for filters, as events are."""
    whole = (
        line("r1", 1, "metrics", 1.5, data={"a": 1}) + odd.rstrip(b"\n") + b"\n" + line("r1", 2, "metrics", 2, data={"b": 2})
    )

    found = list(points_and_events(LineBatch(tmp_path, "log", 0, whole, selection(filter))))

    assert json.dumps(list(map(_told, found)), default=repr) == json.dumps(_events(whole), default=repr)


def _events(lines: bytes) -> list[object]:
    found = []
    for one in lines.splitlines():
        try:
            found.append(_told(event_from_line(one, "log")))
        except BadLine:
            continue
    return found


def _told(one: object) -> list[object]:
    if isinstance(one, MetricsLine):
        return [one.run, one.time_us, one.step, one.prefix, dict(one.data)]
    if one.type == "metrics" and isinstance(one.data, dict):
        return [one.run, microseconds(one.time), one.step, f"{one.name}/" if one.name else "", one.data]
    return [one.run, microseconds(one.time), one.type, one.data]
