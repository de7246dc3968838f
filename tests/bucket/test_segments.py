"""Segments: their names, and the longest run of bytes without a hole."""

import pytest

from mlv.bucket import names, segments
from mlv.bucket.names import News, Segment, Whole

pytest.importorskip("hypothesis")
from hypothesis import given
from hypothesis import strategies as st

COPY = "0123456789abcdef"
SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=12)
STREAMS = st.one_of(
    st.just("log"), st.from_regex(r"[a-zA-Z0-9_.@ =-]{1,12}", fullmatch=True).filter(lambda name: name != "log")
)


@given(STREAMS, st.integers(0, 10**15), st.integers(1, 10**15))
def test_the_name_of_a_segment_reads_back(stream, start, length):
    """A key names its stream, copy and bytes."""
    segment = Segment(stream, COPY, start, start + length)

    assert names.segment_of(segment.key) == segment


@given(st.integers(0, 10**11), st.integers(0, 10**11))
def test_segments_sort_as_their_bytes_do(a, b):
    """A listing gives the segments of a copy in the order of their bytes."""
    keys = [Segment("log", COPY, start, start + 5).key for start in (a, b)]

    assert (keys[0] < keys[1]) == (a < b)


@pytest.mark.parametrize(
    "key",
    [
        "log.jsonl",
        "log.d/0123456789abcdef/000000000000-000000000000.jsonl.gz",
        "log.d/0123456789abcdef/000000000009-000000000005.jsonl.gz",
        "log.d/0123456789abcdef/0-5.jsonl.gz",
        "log.d/0123456789ABCDEF/000000000000-000000000005.jsonl.gz",
        "log.d/../0123456789abcdef/000000000000-000000000005.jsonl.gz",
        "a/b.log.d/0123456789abcdef/000000000000-000000000005.jsonl.gz",
        "val.d/0123456789abcdef/000000000000-000000000005.jsonl.gz",
        "log.d/0123456789abcdef/0000000000000-0000000000005.jsonl.gz",
    ],
)
def test_other_objects_are_no_segments(key):
    """An object whose name is not exactly that of a segment is none."""
    assert names.segment_of(key) is None


def test_the_names_of_marks_read_back():
    """The marks of a whole copy and of news name what they are about."""
    whole, news = Whole(COPY, 12345), News("2026-11-30", "ab" * 32, COPY)

    assert names.whole_of(whole.key) == whole
    assert names.news_of(news.key) == news
    assert names.whole_of(news.key) is None
    assert names.news_of(whole.key) is None


@given(SPANS, st.integers(0, 30))
def test_a_chain_is_all_bytes_up_to_the_first_hole(spans, start):
    """The slices are next to each other, and end where no segment holds the next byte."""
    parts = [Segment("log", COPY, first, first + length) for first, length in spans]
    held = {position for part in parts for position in range(part.start, part.end)}

    slices = segments.chain(parts, start)

    positions = [position for piece in slices for position in range(piece.start, piece.end)]
    end = start + len(positions)
    assert positions == list(range(start, end))
    assert end not in held
    assert all(piece.segment.start <= piece.start < piece.end <= piece.segment.end for piece in slices)
    assert [piece.of(bytes(range(piece.segment.start, piece.segment.end))) for piece in slices] == [
        bytes(range(piece.start, piece.end)) for piece in slices
    ]


def test_a_merged_segment_wins():
    """The one object that covers many small ones is read instead of them."""
    small = [Segment("log", COPY, 10 * n, 10 * n + 10) for n in range(8)]
    merged = Segment("log", COPY, 0, 80)

    assert [piece.segment for piece in segments.chain([*small, merged])] == [merged]
    assert segments.end(small) == segments.end([merged]) == 80
