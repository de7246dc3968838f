"""What is looked at before many lines are parsed in one piece."""

from __future__ import annotations

import pytest

pytest.importorskip("numpy")
pytest.importorskip("hypothesis")
from hypothesis import example, given
from hypothesis import strategies as st

from mlv.encoding import DEEPEST, is_too_deep
from mlv.query.metrics.parse_json import has_deep_line

_DEPTHS = st.sampled_from([0, 1, 50, DEEPEST - 1, DEEPEST, DEEPEST + 7, DEEPEST + 8, DEEPEST + 9, 3 * DEEPEST])


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """A line nested to some depth, or only beginning so, or full of brackets that are no deeper than one."""
    depth, bracket = draw(_DEPTHS), draw(st.sampled_from(["[]", "{}"]))
    shape = draw(st.sampled_from(["nested", "open", "flat", "quoted"]))
    opened, closed = bracket[0] * depth, bracket[1] * depth if shape != "open" else ""
    text = {"flat": bracket * depth, "quoted": f'"{opened}"'}.get(shape, opened + closed)
    return (text + draw(st.sampled_from(["", " " * 300, "\r", "é"]))).encode()


@given(st.lists(lines(), max_size=4), st.booleans())
@example([b"[" * 109 + b"]" * 109], False)
@example([b"{}" * 60, b"{}" * 60, b"[" * 60 + b"]" * 60], True)
def test_deep_lines(several, is_ended):
    """A block has a line that is nested too deeply if one of its lines is, also one without its newline."""
    block = b"\n".join(several) + (b"\n" if is_ended else b"")

    assert has_deep_line(block) == any(map(is_too_deep, block.split(b"\n")))
