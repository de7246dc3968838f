"""A reader of a ring sees frames that were published completely, and nothing else, whatever the memory holds."""

from __future__ import annotations

import json
import os
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import pytest

hypothesis = pytest.importorskip("hypothesis", reason="property tests need hypothesis")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from mlv.store.owners import Owner  # noqa: E402
from mlv.transport import frames, new_rings, ring  # noqa: E402
from mlv.transport.frames import OVERHEAD, Frame  # noqa: E402
from mlv.transport.source import Source  # noqa: E402

SIZES = st.one_of(st.integers(0, 300), st.sampled_from([0, 3, 4, 5, 11, 12, 13, 60, 220, 476]))
CAPACITIES = st.integers(64, 256).map(lambda n: 8 * n)


@dataclass
class Model:
    """The memory of a ring and a producer that is written down from the description of the format alone."""

    capacity: int
    memory: bytearray = field(init=False)
    head: int = 0
    seq: int = 0
    published: list[tuple[int, Frame, bytes]] = field(default_factory=list)
    """Position, content and bytes of each frame in the memory."""

    def __post_init__(self) -> None:
        self.memory = bytearray(self.capacity)

    def end_of_next(self, size: int) -> int:
        """Position behind a frame with a payload of that size."""
        left = self.capacity - self.head % self.capacity
        start = self.head if OVERHEAD + size <= left else self.head + left
        return (start + OVERHEAD + size + 7) // 8 * 8

    def take_first(self, before: int) -> tuple[int, int]:
        """What a reader does with the first frame: where its tail is then, and the last number it knows."""
        if not self.published:
            return self.head, before
        position, frame, content = self.published.pop(0)
        return (position + len(content) + 7) // 8 * 8, frame.seq

    def write(self, payload: bytes, kind: int = 1) -> None:
        """Add a frame, on another lap where it does not fit into this one."""
        left = self.capacity - self.head % self.capacity
        if OVERHEAD + len(payload) > left:
            if left >= OVERHEAD:
                self._store(self.head, 0, 0, 0, 0, 0xFFFFFFFF, b"")
            self.head += left
        self.seq += 1
        frame = Frame(self.seq, 1000 + self.seq, -self.seq, self.seq % 7, kind, payload)
        code = frame.cursor * 4 + kind
        content = self._store(self.head, frame.seq, frame.time_ns, frame.step, code, len(payload), payload)
        self.published.append((self.head, frame, content))
        self.head = (self.head + len(content) + 7) // 8 * 8

    def _store(self, position: int, seq: int, time_ns: int, step: int, code: int, length: int, payload: bytes) -> bytes:
        body = struct.pack("<QQqII", seq, time_ns, step, code, length) + payload
        content = struct.pack("<I", zlib.crc32(body, position & 0xFFFFFFFF)) + body
        start = position % self.capacity
        self.memory[start : start + len(content)] = content
        return content

    def read(self, tail: int, last_seq: int) -> list[Frame]:
        """What mlv's reader finds from a tail to the head, lap by lap."""
        found: list[Frame] = []
        while tail < self.head:
            stop = min(self.head, frames.next_lap(tail, self.capacity))
            start = tail % self.capacity
            if frames.next_lap(tail, self.capacity) - tail < OVERHEAD:
                tail = stop
                continue
            data = bytes(self.memory[start : start + stop - tail])
            piece = frames.parse(data, tail, self.capacity, last_seq)
            found += piece.frames
            last_seq = piece.frames[-1].seq if piece.frames else last_seq
            if piece.end == tail:
                break
            tail = piece.end
        return found


@st.composite
def rings(draw: st.DrawFn) -> tuple[Model, int, int]:
    """A ring after several laps, the tail, and the last number before it."""
    model = Model(draw(CAPACITIES))
    tail, before = 0, 0
    for size in draw(st.lists(SIZES.map(lambda size: min(size, model.capacity // 4)), min_size=1, max_size=60)):
        while model.end_of_next(size) > tail + model.capacity:  # the reader follows
            tail, before = model.take_first(before)
        model.write(os.urandom(size))
    return model, tail, before


@given(rings())
def test_whole_frames(made):
    """Frames come back exactly as they were written, over any number of laps."""
    model, tail, before = made
    assert model.read(tail, before) == [frame for _, frame, _ in model.published]


@given(rings(), st.data())
def test_frames_whose_bytes_have_not_all_arrived(made, data):
    """Where the head is seen before the bytes, any part of which may lack, all before the first gap is read and no more.

    What lacks still holds what an earlier lap, or nobody, left there.
    """
    model, tail, before = made
    stale = bytearray(Model(model.capacity).memory)
    intended = bytes(model.memory)
    older = data.draw(st.sampled_from(["zeros", "noise", "earlier lap"]))
    if older == "noise":
        stale = bytearray(os.urandom(model.capacity))
    elif older == "earlier lap":
        for position, frame, _ in model.published:  # the same frames, at the same places, a lap before
            code, length = frame.cursor * 4 + frame.kind, len(frame.payload)
            body = struct.pack("<QQqII", frame.seq, frame.time_ns, frame.step, code, length)
            crc = struct.pack("<I", zlib.crc32(body + frame.payload, (position - model.capacity) & 0xFFFFFFFF))
            start = position % model.capacity
            stale[start : start + 36 + len(frame.payload)] = crc + body + frame.payload
    for start, length in data.draw(st.lists(st.tuples(st.integers(0, model.capacity - 1), st.integers(1, 80)), max_size=6)):
        model.memory[start : start + length] = stale[start : start + length]

    assert model.read(tail, before) == _intact_prefix(model, intended, tail)


@given(rings(), st.data())
def test_flipped_bits(made, data):
    """A frame in which a bit is not as it was written ends what is read."""
    model, tail, before = made
    intended = bytes(model.memory)
    for bit in data.draw(st.lists(st.integers(0, 8 * model.capacity - 1), min_size=1, max_size=5)):
        model.memory[bit // 8] ^= 1 << bit % 8

    assert model.read(tail, before) == _intact_prefix(model, intended, tail)


def _intact_prefix(model: Model, intended: bytes, tail: int) -> list[Frame]:
    """The frames before the first byte that differs from what was written and that a reader has to look at."""
    found = []
    for position, frame, content in model.published:
        lap_end = frames.next_lap(tail, model.capacity)
        if position >= lap_end and lap_end - tail >= OVERHEAD:  # a frame that says that the rest of the lap is empty
            start = tail % model.capacity
            if model.memory[start : start + OVERHEAD] != intended[start : start + OVERHEAD]:
                break
        start = position % model.capacity
        if model.memory[start : start + len(content)] != content:
            break
        found.append(frame)
        tail = (position + len(content) + 7) // 8 * 8
    return found


@given(rings(), st.integers(0, 400))
def test_a_stretch_that_ends_within_a_frame(made, cut):
    """A reader that takes fewer bytes than there are gets the frames that are whole in them."""
    model, tail, before = made
    stop = min(model.head, frames.next_lap(tail, model.capacity))
    start = tail % model.capacity
    data = bytes(model.memory[start : start + max(0, stop - tail - cut)])

    piece = frames.parse(data, tail, model.capacity, before)

    assert piece.frames == [f for at, f, content in model.published if at < stop and at - tail + len(content) <= len(data)]


@given(rings())
def test_numbers_that_do_not_ascend(made):
    """A frame whose number is not above those before it is none."""
    model, tail, _ = made
    for _, frame, _ in model.published:
        assert model.read(tail, frame.seq) == []


TO_THE_END = -1
"""In place of a size: as many bytes as this lap has room for."""


@settings(deadline=None)
@given(
    st.integers(0, 40).map(lambda n: 4096 + 8 * n),
    st.lists(
        st.tuples(st.one_of(SIZES, st.just(TO_THE_END)), st.integers(0, 2), st.sampled_from([True, True, False])),
        min_size=1,
        max_size=300,
    ),
)
@pytest.mark.filterwarnings("ignore::mlv.errors.WritingStalled")
def test_ring_and_source(tmp_path_factory, capacity, script):
    """What a `Ring` publishes a `Source` reads, in order; what found no room is told by number, and nothing else lacks."""
    producer, consumer = _ring_and_source(tmp_path_factory.mktemp("spool"), capacity)
    sent, received = [], []

    def read() -> None:
        while not consumer.is_empty:
            found, end = consumer.next_frames()
            assert end > consumer.tail
            consumer.advance(end)
            received.extend(found)

    for i, (size, kind, does_read) in enumerate(script):
        left = (capacity - producer._head % capacity - OVERHEAD) % capacity
        sent.append((7, kind, -i, os.urandom(min(left, capacity // 8) if size == TO_THE_END else size)))
        producer.put(*sent[-1])
        if does_read:
            read()
    read()
    producer.put(7, 0, 1, b"")
    sent.append((7, 0, 1, b""))
    read()

    told = [frame for frame in received if frame.cursor == 0]
    lacking = {number for frame in told for number in _range(frame)}
    calls = [number for number in range(1, producer._seq + 1) if number not in {frame.seq for frame in told}]
    assert len(calls) == len(sent)
    expected = [(number, *event) for number, event in zip(calls, sent, strict=True) if number not in lacking]
    assert [(f.seq, f.cursor, f.kind, f.step, f.payload) for f in received if f.cursor] == expected
    consumer.close()


def _ring_and_source(folder: Path, capacity: int) -> tuple[ring.Ring, Source]:
    info = {"run": "rtest", "exp": "/", "id": "", "process": Owner.current().to_data()}
    folder.chmod(0o700)
    path, listed_in = new_rings.create([folder / "key"], info, capacity)
    return ring.Ring(path, listed_in, lambda: None, patience_s=0), Source(path)


def _range(frame: Frame) -> range:
    data = json.loads(b"{" + frame.payload)["data"]
    assert data["count"] == data["last"] - data["first"] + 1
    return range(data["first"], data["last"] + 1)
