"""What a terminal is sent becomes lines: the last state of each, without colours, however the bytes come in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlv.experiment.console.tee import TerminalLines


def lines_of(*pieces):
    """All lines of what was printed in these pieces."""
    lines = TerminalLines()
    return [line for piece in pieces for line in lines.add(piece, 0.0)] + list(lines.last())


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\n\nthree", ["one", "", "three"]),
        (b"dos\r\n", ["dos"]),
        (b"\r 10%\r 20%\r100%\n", ["100%"]),
        (b" 10%\r 20%\r100%\r\n", ["100%"]),
        (b"\r50%\r    \rdone\n", ["done"]),
        (b"\r50%\r     \r", ["50%"]),
        (b"\x1b[1;31mred\x1b[0m and \x1b]0;title\x07plain\n", ["red and plain"]),
        (b"\x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\\n", ["link"]),
        (b"\x1b(Bascii\x1b=\n", ["ascii"]),
        (b" 1/9\b\b\b\b\b 9/9\n", [" 9/9"]),
        (b"\xe4\x00\n", ["\ufffd\0"]),
        (b"", []),
    ],
)
def test_lines(printed, expected):
    """A line is what a reader of the terminal saw in the end."""
    assert lines_of(printed) == expected


def test_bars_above_each_other():
    """Where the cursor goes up, as with several bars, lines that are written again count once."""
    first = b"epoch 1/2\nbatch 1/9\n"
    again = b"".join(b"\x1b[2A\r\x1b[2Kepoch 1/2\n\r\x1b[2Kbatch %d/9\n" % batch for batch in range(2, 10))
    lines = TerminalLines()
    early = [*lines.add(b"\x1b[A", 0.0), *lines.add(first, 0.0)]

    late = [*lines.add(again, 0.1), *lines.last()]

    assert [*early, *late] == ["epoch 1/2", "batch 9/9"]


def test_lines_that_wait_are_not_forgotten():
    """A line that could be written again is given once that has not happened for a while."""
    lines = TerminalLines()
    list(lines.add(b"\x1b[1Abar\n", 5.0))

    assert lines.is_holding
    assert list(lines.due(5.1)) == []
    assert list(lines.due(7.0)) == ["bar"]


def test_an_endless_bar_needs_no_memory():
    """A bar that is rewritten for weeks is kept in its last state only."""
    lines = TerminalLines()
    for i in range(10_000):
        assert list(lines.add(b"\r%d" % i + b"=" * 1000, 0.0)) == []

    assert len(lines._unfinished) < 2000
    assert list(lines.last()) == ["9999" + "=" * 1000]


PRINTED = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r", b"\xc3\xa4", b" ", b"\b", b"\x1b[31m", b"\x1b[0m"]))


@given(PRINTED, st.data())
def test_pieces_do_not_matter(words, data):
    """The lines are the same wherever the stream of bytes is cut."""
    printed = b"".join(words)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(printed)), max_size=5)))
    pieces = [printed[start:end] for start, end in zip([0, *cuts], [*cuts, len(printed)], strict=True)]

    assert lines_of(*pieces) == lines_of(printed)


@pytest.mark.parametrize(
    "printed", [b"aa\r b", b"aa\r\x1b[31m", b"aa\r\x1b[0m\r b", b"aa\r\b", b"\r \r a", b"aa\r\x1b]0;t\x07"]
)
def test_where_the_cursor_stands(printed):
    """What was overwritten in part only, or not at all, is the same wherever the stream of bytes is cut."""
    for cut in range(len(printed)):
        assert lines_of(printed[:cut], printed[cut:]) == lines_of(printed)
