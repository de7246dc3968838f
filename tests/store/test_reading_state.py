"""The state of an experiment, read in one piece or line by line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logs import line, write

from mlv.store.reading import read_state, read_state_by_lines

TYPES = {
    "run_started": {"exp": "x"},
    "run_ended": {"status": "ok", "of": "r1"},
    "tags": {"tags": ["a"]},
    "params": {"lr": 1},
    "metrics": {"loss": 1.0},
    "event": {"text": '{"run":"r1","type":"run_ended"}'},
    "note": {"text": 'x\n{"run":"r1"'},
}
rows = st.lists(
    st.tuples(st.sampled_from(["r1", "r2"]), st.sampled_from(list(TYPES)), st.sampled_from(["log", "val"])), max_size=20
)


@given(rows=rows, cut=st.integers(0, 120))
def test_both_ways_are_one(tmp_path_factory, rows, cut):
    """What is read in one piece is what is read line by line, also of a log that was cut off anywhere."""
    folder = tmp_path_factory.mktemp("exp")
    lines = {"log": [line("r1", 1, "run_started", data={})], "val": []}
    for seq, (run, kind, stream) in enumerate(rows, 2):
        lines[stream].append(line(run, seq, kind, second=seq, data=TYPES[kind]))
    for stream, found in lines.items():
        whole = b"".join(found)
        write(folder, whole[: max(0, len(whole) - cut)], stream=stream)

    assert read_state(folder) == read_state_by_lines(folder, ["log", "val"], lambda stream, line: None)


@pytest.mark.parametrize("damage", [b"not json\n", b'{"type":"run_ended"}\n', b"\xff\xfe\n", b"\n"])
def test_a_damaged_line_in_the_middle(tmp_path, damage):
    """A damaged line costs nothing but itself."""
    write(tmp_path, line("r1", 1, "run_started", data={}), damage, line("r1", 2, "tags", data={"tags": ["a"]}))

    state = read_state(tmp_path)

    assert state.tags == ("a",)
    assert list(state.runs) == ["r1"]
